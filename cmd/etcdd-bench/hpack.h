#pragma once

// HPACK (RFC 7541) at the price a load generator can pay: request blocks come out of a cache after
// their first use, reply blocks that consist of table references only are looked up by their bytes.
// Both directions of one connection; confined to its owner.

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"

struct nghttp2_hd_inflater;

namespace etcdd::bench {

// Encodes gRPC request headers as real clients do: a field is sent as a literal once, and as a
// reference to the dynamic table from then on.
class RequestHeaderEncoder {
 public:
  // `paths` are all the method paths that will be asked for; `authority` is the :authority.
  RequestHeaderEncoder(std::vector<std::string> paths, std::string authority);

  // The block for paths[path]. Blocks must be sent in the order of these calls. The view is valid
  // until the next call. Requires: path < number of paths.
  std::string_view Block(size_t path);

  // The peer's SETTINGS_HEADER_TABLE_SIZE.
  void SetTableSizeMax(uint32_t bytes);

 private:
  using Field = std::pair<std::string, std::string>;

  bool AppendField(const Field& field, std::string* out);

  std::vector<std::vector<Field>> requests_;
  std::vector<std::string> blocks_;  // valid where block_generation_ equals generation_
  std::vector<uint64_t> block_generation_;
  std::vector<Field> table_;  // oldest first; the wire counts from the newest
  size_t table_bytes_ = 0;
  size_t table_bytes_max_ = 4096;
  bool announce_table_size_ = false;
  uint64_t generation_ = 1;  // grows with every insertion
};

// What matters of a reply's headers or trailers.
struct ReplyHeaders {
  int http_status = -1;  // -1: absent
  int grpc_status = -1;  // -1: absent
  std::string grpc_message;
};

class ReplyHeaderDecoder {
 public:
  ReplyHeaderDecoder();
  ~ReplyHeaderDecoder();
  ReplyHeaderDecoder(const ReplyHeaderDecoder&) = delete;
  ReplyHeaderDecoder& operator=(const ReplyHeaderDecoder&) = delete;

  // Decodes one complete block. The pointer is valid until the next call. An error leaves the
  // decoder unusable (the connection must be closed).
  absl::StatusOr<const ReplyHeaders*> Decode(std::string_view block);

 private:
  absl::StatusOr<ReplyHeaders> Inflate(std::string_view block);

  nghttp2_hd_inflater* inflater_ = nullptr;
  std::vector<std::pair<std::string, ReplyHeaders>> known_;  // blocks of references only
  ReplyHeaders last_;
};

}  // namespace etcdd::bench
