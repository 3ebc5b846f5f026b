#pragma once

// The requests the generator sends, encoded once as templates whose key (and the head of whose
// value) is overwritten per request, and the parts of replies it looks at. Pure.
//
// Keys are `key_bytes` long: 'k' and the key's number in decimal, zero-filled, so that number order
// is byte order.

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "cmd/etcdd-bench/reply_scanner.h"

namespace etcdd::bench {

// gRPC methods, in the order of MethodPaths().
enum Method : uint32_t {
  kMethodRange,
  kMethodPut,
  kMethodTxn,
  kMethodCompact,
  kMethodWatch,
  kMethodLeaseGrant,
  kMethodLeaseKeepAlive,
  kMethodEcho,  // of tests/net/echo_server
};
std::vector<std::string> MethodPaths();

// Writes key number `index` over `out`. Requires: out has key_bytes bytes, 2 <= key_bytes, and the
// number fits key_bytes - 1 digits.
void WriteKey(uint64_t index, size_t key_bytes, char* out);
std::string MakeKey(uint64_t index, size_t key_bytes);

// Text of `size` random letters and digits, so that compression finds as much as in real text that
// does not repeat: six bits a byte. The same seed gives the same text.
std::string RandomText(size_t size, uint64_t seed);

// One request message with its gRPC prefix and the places that change from call to call.
class RequestTemplate {
 public:
  // A PutRequest; the value is `value`.
  static RequestTemplate Put(size_t key_bytes, std::string_view value);
  // A RangeRequest for one key (keys == 1) or for `keys` adjacent keys by number.
  static RequestTemplate Range(size_t key_bytes, uint64_t keys, bool serializable);
  // If version(key) > 0 then Put(key, value) else Range(key).
  static RequestTemplate Txn(size_t key_bytes, std::string_view value);

  // The message for key number `index`; `stamp` goes over the first 8 value bytes (put and txn;
  // little-endian). The view is valid until the next call.
  std::string_view Fill(uint64_t index, uint64_t stamp);

 private:
  // Notes the places where a key was encoded as `marker`; key number + `added` belongs there.
  void FindKeys(std::string_view marker, uint64_t added);

  struct KeyPlace {
    size_t offset;
    uint64_t added;  // to the key number
  };
  size_t key_bytes_ = 0;
  std::string framed_;
  std::vector<KeyPlace> keys_;
  size_t stamp_offset_ = 0;  // 0: no value
};

// Whole messages with their gRPC prefix.
std::string LeaseGrantMessage(int64_t ttl_s);
std::string LeaseKeepAliveMessage(int64_t id);
std::string CompactMessage(int64_t revision, bool physical);
std::string WatchCreateMessage(std::string_view key);

// What a reply must look like to count as one.
struct Expectation {
  enum Kind { kPutReply, kRangeReply, kTxnReply, kLeaseGrantReply, kHeaderReply };
  Kind kind = kHeaderReply;
  uint32_t kvs = 0;  // kRangeReply: key-values in it
};
bool ReplyMatches(const Expectation& expected, const ReplyScanner& reply);

// header.revision of any etcd reply message (without gRPC prefix); nullopt without a header.
std::optional<int64_t> HeaderRevision(std::string_view message);

// Field 2 (ID) and field 3 (TTL) of a lease reply.
struct LeaseReply {
  int64_t id = 0;
  int64_t ttl_s = 0;
};
std::optional<LeaseReply> ParseLeaseReply(std::string_view message);

struct WatchEvent {
  int64_t version = 0;
  uint64_t stamp = 0;  // the first 8 value bytes; 0 when the value is shorter
};
struct WatchReply {
  int64_t watch_id = 0;
  bool created = false;
  bool canceled = false;
  std::vector<WatchEvent> events;
};
// Parses a WatchResponse into `reply`, whose memory is reused. False when malformed.
bool ParseWatchReply(std::string_view message, WatchReply* reply);

}  // namespace etcdd::bench
