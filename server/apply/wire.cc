#include "server/apply/wire.h"

#include <cstring>
#include <vector>

#include "server/base/coding.h"

namespace etcdd::apply {
namespace {

// The protobuf format's own bound, and the nesting its libraries allow.
constexpr uint64_t kFieldNumberMax = (1u << 29) - 1;
constexpr size_t kGroupDepthMax = 100;

// Walks the fields of one message. A field is a varint or a run of bytes; fixed32, fixed64 and
// group fields (none of our requests has any) are skipped as unknown.
class FieldReader {
 public:
  explicit FieldReader(std::string_view bytes) : rest_(bytes) {}

  // False at the end or when the bytes are malformed (see ok()).
  bool Next() {
    if (rest_.empty()) return false;
    if (!TakeTag()) return Fail();
    switch (wire_) {
      case kVarint: {
        auto value = base::TakeVarint(&rest_);
        if (!value) return Fail();
        varint_ = *value;
        return true;
      }
      case kBytes: {
        auto size = base::TakeVarint(&rest_);
        if (!size || *size > rest_.size()) return Fail();
        bytes_ = rest_.substr(0, *size);
        rest_.remove_prefix(*size);
        return true;
      }
      case kStartGroup:
        return SkipGroup() || Fail();
      default:
        return SkipScalar() || Fail();
    }
  }

  bool ok() const { return ok_; }
  uint32_t field() const { return field_; }
  bool is_varint() const { return wire_ == kVarint; }
  bool is_bytes() const { return wire_ == kBytes; }
  uint64_t varint() const { return varint_; }
  std::string_view bytes() const { return bytes_; }

 private:
  bool Fail() {
    ok_ = false;
    return false;
  }
  bool TakeTag() {
    auto tag = base::TakeVarint(&rest_);
    if (!tag || (*tag >> 3) == 0 || (*tag >> 3) > kFieldNumberMax) return false;
    field_ = static_cast<uint32_t>(*tag >> 3);
    wire_ = static_cast<uint32_t>(*tag & 7);
    return true;
  }
  // What follows the tag of a field that is no group; false when it is malformed or cut short.
  bool SkipScalar() {
    if (wire_ == kVarint) return base::TakeVarint(&rest_).has_value();
    size_t size = 0;
    if (wire_ == kBytes) {
      auto taken = base::TakeVarint(&rest_);
      if (!taken || *taken > rest_.size()) return false;
      size = static_cast<size_t>(*taken);
    } else if (wire_ == kFixed64) {
      size = 8;
    } else if (wire_ == kFixed32) {
      size = 4;
    } else {
      return false;
    }
    if (rest_.size() < size) return false;
    rest_.remove_prefix(size);
    return true;
  }
  // The rest of a group whose start was taken. Afterwards wire_ is that of its end.
  bool SkipGroup() {
    std::vector<uint32_t> open = {field_};
    while (!open.empty()) {
      if (!TakeTag()) return false;
      if (wire_ == kStartGroup) {
        if (open.size() == kGroupDepthMax) return false;
        open.push_back(field_);
      } else if (wire_ == kEndGroup) {
        if (field_ != open.back()) return false;
        open.pop_back();
      } else if (!SkipScalar()) {
        return false;
      }
    }
    return true;
  }

  static constexpr uint32_t kVarint = 0;
  static constexpr uint32_t kFixed64 = 1;
  static constexpr uint32_t kBytes = 2;
  static constexpr uint32_t kStartGroup = 3;
  static constexpr uint32_t kEndGroup = 4;
  static constexpr uint32_t kFixed32 = 5;

  std::string_view rest_;
  bool ok_ = true;
  uint32_t field_ = 0;
  uint32_t wire_ = 0;
  uint64_t varint_ = 0;
  std::string_view bytes_;
};

void Set(const FieldReader& in, int64_t* out) {
  if (in.is_varint()) *out = static_cast<int64_t>(in.varint());
}
void Set(const FieldReader& in, int32_t* out) {
  if (in.is_varint()) *out = static_cast<int32_t>(in.varint());
}
void Set(const FieldReader& in, bool* out) {
  if (in.is_varint()) *out = in.varint() != 0;
}
void Set(const FieldReader& in, std::string_view* out) {
  if (in.is_bytes()) *out = in.bytes();
}

constexpr uint32_t kHeaderField = 100;

bool IsRequestField(uint32_t field) {
  return (field >= 3 && field <= 11) || field >= 1000;
}

size_t VarintFieldSize(uint32_t field, uint64_t value) {
  return value == 0 ? 0 : base::VarintSize(base::VarintTag(field)) + base::VarintSize(value);
}

char* WriteVarintField(uint32_t field, uint64_t value, char* out) {
  if (value == 0) return out;
  return base::WriteVarint(value, base::WriteVarint(base::VarintTag(field), out));
}

}  // namespace

std::optional<PutView> ParsePut(std::string_view bytes) {
  PutView put;
  FieldReader in(bytes);
  while (in.Next()) {
    switch (in.field()) {
      case 1: Set(in, &put.key); break;
      case 2: Set(in, &put.value); break;
      case 3: Set(in, &put.lease); break;
      case 4: Set(in, &put.prev_kv); break;
      case 5: Set(in, &put.ignore_value); break;
      case 6: Set(in, &put.ignore_lease); break;
      default: break;
    }
  }
  if (!in.ok()) return std::nullopt;
  return put;
}

std::optional<RangeView> ParseRange(std::string_view bytes) {
  RangeView range;
  FieldReader in(bytes);
  while (in.Next()) {
    switch (in.field()) {
      case 1: Set(in, &range.key); break;
      case 2: Set(in, &range.range_end); break;
      case 3: Set(in, &range.limit); break;
      case 4: Set(in, &range.revision); break;
      case 5: Set(in, &range.sort_order); break;
      case 6: Set(in, &range.sort_target); break;
      case 7: Set(in, &range.serializable); break;
      case 8: Set(in, &range.keys_only); break;
      case 9: Set(in, &range.count_only); break;
      case 10: Set(in, &range.min_mod_revision); break;
      case 11: Set(in, &range.max_mod_revision); break;
      case 12: Set(in, &range.min_create_revision); break;
      case 13: Set(in, &range.max_create_revision); break;
      default: break;
    }
  }
  if (!in.ok()) return std::nullopt;
  return range;
}

std::optional<DeleteRangeView> ParseDeleteRange(std::string_view bytes) {
  DeleteRangeView request;
  FieldReader in(bytes);
  while (in.Next()) {
    switch (in.field()) {
      case 1: Set(in, &request.key); break;
      case 2: Set(in, &request.range_end); break;
      case 3: Set(in, &request.prev_kv); break;
      default: break;
    }
  }
  if (!in.ok()) return std::nullopt;
  return request;
}

base::Bytes EncodeInternalRequest(uint64_t id, RequestKind kind, std::string_view body) {
  const uint32_t field = static_cast<uint32_t>(kind);
  const size_t header_size = VarintFieldSize(1, id);
  const size_t size = base::VarintSize(base::BytesTag(field)) + base::VarintSize(body.size()) +
                      body.size() + base::VarintSize(base::BytesTag(kHeaderField)) +
                      base::VarintSize(header_size) + header_size;
  return base::Bytes::Build(size, [&](char* out) {
    const auto write_header = [&] {
      out = base::WriteVarint(base::BytesTag(kHeaderField), out);
      out = base::WriteVarint(header_size, out);
      out = WriteVarintField(1, id, out);
    };
    // Ascending field numbers, as every protobuf writer does.
    if (field > kHeaderField) write_header();
    out = base::WriteVarint(base::BytesTag(field), out);
    out = base::WriteVarint(body.size(), out);
    if (!body.empty()) std::memcpy(out, body.data(), body.size());
    out += body.size();
    if (field < kHeaderField) write_header();
  });
}

std::optional<InternalRequest> ParseInternalRequest(std::string_view bytes) {
  InternalRequest request;
  uint64_t header_id = 0;
  FieldReader in(bytes);
  while (in.Next()) {
    if (in.field() == 1 && in.is_varint()) {
      request.id = in.varint();
    } else if (in.field() == kHeaderField && in.is_bytes()) {
      FieldReader header(in.bytes());
      while (header.Next()) {
        if (header.field() == 1 && header.is_varint()) header_id = header.varint();
        if (header.field() == 2) Set(header, &request.username);
        if (header.field() == 3 && header.is_varint()) request.auth_revision = header.varint();
      }
      if (!header.ok()) return std::nullopt;
    } else if (in.is_bytes() && IsRequestField(in.field())) {
      request.kind = static_cast<RequestKind>(in.field());
      request.body = in.bytes();
    }
  }
  if (!in.ok()) return std::nullopt;
  if (request.id == 0) request.id = header_id;
  return request;
}

void AppendHeader(const Identity& identity, int64_t revision, uint64_t raft_term,
                  std::string* out) {
  char buffer[48];
  char* end = buffer + 2;
  end = WriteVarintField(1, identity.cluster_id, end);
  end = WriteVarintField(2, identity.member_id, end);
  end = WriteVarintField(3, static_cast<uint64_t>(revision), end);
  end = WriteVarintField(4, raft_term, end);
  buffer[0] = static_cast<char>(base::BytesTag(1));
  buffer[1] = static_cast<char>(end - buffer - 2);  // at most 44: one varint byte
  out->append(buffer, static_cast<size_t>(end - buffer));
}

std::string EncodeHeader(const Identity& identity, int64_t revision, uint64_t raft_term) {
  std::string header;
  AppendHeader(identity, revision, raft_term, &header);
  return header.substr(2);  // one byte of tag, one of length
}

void AppendRevisionHeader(int64_t revision, std::string* out) {
  char buffer[16];
  char* end = WriteVarintField(3, static_cast<uint64_t>(revision), buffer + 2);
  buffer[0] = static_cast<char>(base::BytesTag(1));
  buffer[1] = static_cast<char>(end - buffer - 2);
  out->append(buffer, static_cast<size_t>(end - buffer));
}

}  // namespace etcdd::apply
