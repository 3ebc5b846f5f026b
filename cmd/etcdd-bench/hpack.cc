#include "cmd/etcdd-bench/hpack.h"

#include <nghttp2/nghttp2.h>

#include <algorithm>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "server/base/check.h"

namespace etcdd::bench {
namespace {

constexpr size_t kFirstDynamicIndex = 62;
constexpr size_t kEntryOverheadBytes = 32;  // RFC 7541 section 4.1
constexpr size_t kKnownBlocksMax = 8;

// An HPACK integer with `prefix_bits` in the first byte, whose upper bits are `first`.
void AppendInteger(uint8_t first, int prefix_bits, uint64_t value, std::string* out) {
  const uint64_t limit = (1u << prefix_bits) - 1;
  if (value < limit) {
    out->push_back(static_cast<char>(first | value));
    return;
  }
  out->push_back(static_cast<char>(first | limit));
  for (value -= limit; value >= 0x80; value >>= 7) {
    out->push_back(static_cast<char>(0x80 | (value & 0x7f)));
  }
  out->push_back(static_cast<char>(value));
}

void AppendLiteral(uint8_t first, int prefix_bits, const std::pair<std::string, std::string>& field,
                   std::string* out) {
  AppendInteger(first, prefix_bits, 0, out);
  AppendInteger(0, 7, field.first.size(), out);
  out->append(field.first);
  AppendInteger(0, 7, field.second.size(), out);
  out->append(field.second);
}

// True when the block holds nothing but one-byte references, so that decoding it changes nothing.
bool OnlyReferences(std::string_view block) {
  return std::all_of(block.begin(), block.end(), [](char c) {
    const auto byte = static_cast<uint8_t>(c);
    return byte > 0x80 && byte < 0xff;
  });
}

}  // namespace

RequestHeaderEncoder::RequestHeaderEncoder(std::vector<std::string> paths, std::string authority)
    : blocks_(paths.size()), block_generation_(paths.size(), 0) {
  for (std::string& path : paths) {
    requests_.push_back({{":path", std::move(path)},
                         {":authority", authority},
                         {"content-type", "application/grpc"},
                         {"te", "trailers"},
                         {"user-agent", "etcdd-bench"}});
  }
}

std::string_view RequestHeaderEncoder::Block(size_t path) {
  ETCDD_CHECK(path < requests_.size());
  std::string& block = blocks_[path];
  if (block_generation_[path] == generation_ && !announce_table_size_) return block;
  block.clear();
  if (announce_table_size_) {
    AppendInteger(0x20, 5, 0, &block);
    AppendInteger(0x20, 5, table_bytes_max_, &block);
    announce_table_size_ = false;
  }
  block.push_back(static_cast<char>(0x83));  // :method POST
  block.push_back(static_cast<char>(0x86));  // :scheme http
  bool only_references = block.size() == 2;
  for (const Field& field : requests_[path]) only_references &= AppendField(field, &block);
  block_generation_[path] = only_references ? generation_ : 0;
  return block;
}

bool RequestHeaderEncoder::AppendField(const Field& field, std::string* out) {
  const auto found = std::find(table_.rbegin(), table_.rend(), field);
  if (found != table_.rend()) {
    const auto age = static_cast<size_t>(found - table_.rbegin());
    AppendInteger(0x80, 7, kFirstDynamicIndex + age, out);
    return true;
  }
  const size_t bytes = field.first.size() + field.second.size() + kEntryOverheadBytes;
  if (table_bytes_ + bytes > table_bytes_max_) {  // never evict: cached blocks must stay true
    AppendLiteral(0, 4, field, out);
    return false;
  }
  AppendLiteral(0x40, 6, field, out);
  table_.push_back(field);
  table_bytes_ += bytes;
  ++generation_;
  return false;
}

void RequestHeaderEncoder::SetTableSizeMax(uint32_t bytes) {
  const size_t limit = std::min<size_t>(bytes, 4096);
  if (limit == table_bytes_max_) return;
  table_bytes_max_ = limit;
  table_.clear();
  table_bytes_ = 0;
  announce_table_size_ = true;
  ++generation_;
}

ReplyHeaderDecoder::ReplyHeaderDecoder() {
  ETCDD_CHECK(nghttp2_hd_inflate_new(&inflater_) == 0);
}

ReplyHeaderDecoder::~ReplyHeaderDecoder() { nghttp2_hd_inflate_del(inflater_); }

absl::StatusOr<const ReplyHeaders*> ReplyHeaderDecoder::Decode(std::string_view block) {
  const bool only_references = OnlyReferences(block);
  if (only_references) {
    for (const auto& [bytes, headers] : known_) {
      if (bytes == block) return &headers;
    }
  } else {
    known_.clear();  // the block may move the table
  }
  absl::StatusOr<ReplyHeaders> headers = Inflate(block);
  if (!headers.ok()) return headers.status();
  if (only_references && known_.size() < kKnownBlocksMax) {
    known_.emplace_back(std::string(block), *headers);
  }
  last_ = *std::move(headers);
  return &last_;
}

absl::StatusOr<ReplyHeaders> ReplyHeaderDecoder::Inflate(std::string_view block) {
  ReplyHeaders headers;
  auto* in = reinterpret_cast<const uint8_t*>(block.data());
  size_t left = block.size();
  for (;;) {
    nghttp2_nv field;
    int flags = 0;
    const ssize_t used = nghttp2_hd_inflate_hd2(inflater_, &field, &flags, in, left, 1);
    if (used < 0) {
      return absl::DataLossError(
          absl::StrCat("reply headers: ", nghttp2_strerror(static_cast<int>(used))));
    }
    in += used;
    left -= static_cast<size_t>(used);
    if ((flags & NGHTTP2_HD_INFLATE_EMIT) != 0) {
      const std::string_view name(reinterpret_cast<char*>(field.name), field.namelen);
      const std::string value(reinterpret_cast<char*>(field.value), field.valuelen);
      int number = -1;
      if (name == ":status" && absl::SimpleAtoi(value, &number)) headers.http_status = number;
      if (name == "grpc-status" && absl::SimpleAtoi(value, &number)) headers.grpc_status = number;
      if (name == "grpc-message") headers.grpc_message = value;
    }
    if ((flags & NGHTTP2_HD_INFLATE_FINAL) != 0) {
      nghttp2_hd_inflate_end_headers(inflater_);
      return headers;
    }
    if ((flags & NGHTTP2_HD_INFLATE_EMIT) == 0 && left == 0) {
      return absl::DataLossError("reply headers: block ends too early");
    }
  }
}

}  // namespace etcdd::bench
