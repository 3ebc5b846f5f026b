#include "mvcc/record.h"

#include <cstring>

#include "server/base/check.h"
#include "server/base/coding.h"

namespace etcdd::mvcc {
namespace {

constexpr char kKeyTag = 0x0a;
constexpr char kCreateTag = 0x10;
constexpr char kModTag = 0x18;
constexpr char kVersionTag = 0x20;
constexpr char kValueTag = 0x2a;
constexpr char kLeaseTag = 0x30;

size_t IntFieldSize(int64_t value) {
  return value == 0 ? 0 : 1 + base::VarintSize(static_cast<uint64_t>(value));
}
size_t BytesFieldSize(std::string_view value) {
  return value.empty() ? 0 : 1 + base::VarintSize(value.size()) + value.size();
}
char* WriteIntField(char tag, int64_t value, char* out) {
  if (value == 0) return out;
  *out++ = tag;
  return base::WriteVarint(static_cast<uint64_t>(value), out);
}
char* WriteBytesField(char tag, std::string_view value, char* out) {
  if (value.empty()) return out;
  *out++ = tag;
  out = base::WriteVarint(value.size(), out);
  std::memcpy(out, value.data(), value.size());
  return out + value.size();
}

const char* SkipVarint(const char* at) {
  while (static_cast<uint8_t>(*at) >= 0x80) ++at;
  return at + 1;
}

// Position after fields 1 to 4.
const char* AfterVersion(std::string_view record) {
  const std::string_view key = RecordKey(record);
  const char* at = key.data() + key.size();
  const char* const end = record.data() + record.size();
  for (const char tag : {kCreateTag, kModTag, kVersionTag}) {
    if (at < end && *at == tag) at = SkipVarint(at + 1);
  }
  return at;
}

bool SkipField(uint64_t tag, std::string_view* in) {
  switch (tag & 7) {
    case 0:
      return base::TakeVarint(in).has_value();
    case 1:
      if (in->size() < 8) return false;
      in->remove_prefix(8);
      return true;
    case 2: {
      const auto size = base::TakeVarint(in);
      if (!size || *size > in->size()) return false;
      in->remove_prefix(static_cast<size_t>(*size));
      return true;
    }
    case 5:
      if (in->size() < 4) return false;
      in->remove_prefix(4);
      return true;
    default:
      return false;
  }
}

}  // namespace

base::Bytes EncodeRecord(const RecordFields& fields) {
  const size_t size = BytesFieldSize(fields.key) + IntFieldSize(fields.create_revision) +
                      IntFieldSize(fields.mod_revision) + IntFieldSize(fields.version) +
                      BytesFieldSize(fields.value) + IntFieldSize(fields.lease);
  return base::Bytes::Build(size, [&](char* out) {
    const char* const begin = out;
    out = WriteBytesField(kKeyTag, fields.key, out);
    out = WriteIntField(kCreateTag, fields.create_revision, out);
    out = WriteIntField(kModTag, fields.mod_revision, out);
    out = WriteIntField(kVersionTag, fields.version, out);
    out = WriteBytesField(kValueTag, fields.value, out);
    out = WriteIntField(kLeaseTag, fields.lease, out);
    ETCDD_CHECK(static_cast<size_t>(out - begin) == size);
  });
}

std::optional<RecordFields> DecodeRecord(std::string_view bytes) {
  RecordFields fields;
  while (!bytes.empty()) {
    const auto tag = base::TakeVarint(&bytes);
    if (!tag) return std::nullopt;
    if (*tag == kKeyTag || *tag == kValueTag) {
      const auto size = base::TakeVarint(&bytes);
      if (!size || *size > bytes.size()) return std::nullopt;
      const std::string_view content = bytes.substr(0, static_cast<size_t>(*size));
      (*tag == kKeyTag ? fields.key : fields.value) = content;
      bytes.remove_prefix(content.size());
      continue;
    }
    int64_t* target = nullptr;
    switch (*tag) {
      case kCreateTag: target = &fields.create_revision; break;
      case kModTag: target = &fields.mod_revision; break;
      case kVersionTag: target = &fields.version; break;
      case kLeaseTag: target = &fields.lease; break;
      default: break;
    }
    if (target == nullptr) {
      if (!SkipField(*tag, &bytes)) return std::nullopt;
      continue;
    }
    const auto number = base::TakeVarint(&bytes);
    if (!number) return std::nullopt;
    *target = static_cast<int64_t>(*number);
  }
  return fields;
}

bool IsCanonicalRecord(std::string_view bytes, const RecordFields& fields) {
  if (fields.key.empty()) return false;
  // Equal length and ascending order of all fields present leave no room for anything else.
  const size_t size = BytesFieldSize(fields.key) + IntFieldSize(fields.create_revision) +
                      IntFieldSize(fields.mod_revision) + IntFieldSize(fields.version) +
                      BytesFieldSize(fields.value) + IntFieldSize(fields.lease);
  if (bytes.size() != size || bytes[0] != kKeyTag) return false;
  const char* at = AfterVersion(bytes);
  const char* const end = bytes.data() + bytes.size();
  if (!fields.value.empty()) {
    if (at >= end || *at != kValueTag) return false;
    at = fields.value.data() + fields.value.size();
  }
  if (fields.lease != 0) {
    if (at >= end || *at != kLeaseTag) return false;
    at = SkipVarint(at + 1);
  }
  return at == end;
}

int64_t RecordModRevision(std::string_view record) {
  const std::string_view key = RecordKey(record);
  const char* at = key.data() + key.size();
  const char* const end = record.data() + record.size();
  if (at < end && *at == kCreateTag) at = SkipVarint(at + 1);
  if (at >= end || *at != kModTag) return 0;
  uint64_t value = 0;
  for (int shift = 0;; shift += 7) {
    const auto byte = static_cast<uint8_t>(*++at);
    value |= static_cast<uint64_t>(byte & 0x7f) << shift;
    if (byte < 0x80) return static_cast<int64_t>(value);
  }
}

std::string_view RecordWithoutValueAndLease(std::string_view record) {
  return record.substr(0, static_cast<size_t>(AfterVersion(record) - record.data()));
}

std::string RecordWithoutValue(std::string_view record) {
  const std::string_view head = RecordWithoutValueAndLease(record);
  std::string_view rest = record.substr(head.size());
  if (!rest.empty() && rest[0] == kValueTag) {
    rest.remove_prefix(1);
    const auto size = base::TakeVarint(&rest);
    ETCDD_CHECK(size.has_value() && *size <= rest.size());
    rest.remove_prefix(static_cast<size_t>(*size));
  }
  std::string stub;
  stub.reserve(head.size() + rest.size());
  stub.append(head).append(rest);
  return stub;
}

}  // namespace etcdd::mvcc
