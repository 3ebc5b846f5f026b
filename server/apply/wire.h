#pragma once

// The requests and replies of the hot path read and written on the wire bytes themselves, without
// protobuf objects: a put or a get costs no allocation to decode, its key and value are views into
// the request, and stored KeyValue bytes go into replies as they are.
//
// Unknown fields are skipped and the last value of a repeated scalar wins, as protobuf demands.
// Free functions are thread-safe; views live as long as the bytes they were parsed from.

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "server/base/bytes.h"

namespace etcdd::apply {

struct PutView {
  std::string_view key;
  std::string_view value;
  int64_t lease = 0;
  bool prev_kv = false;
  bool ignore_value = false;
  bool ignore_lease = false;
};

struct RangeView {
  std::string_view key;
  std::string_view range_end;
  int64_t limit = 0;
  int64_t revision = 0;
  int32_t sort_order = 0;
  int32_t sort_target = 0;
  bool serializable = false;
  bool keys_only = false;
  bool count_only = false;
  int64_t min_mod_revision = 0;
  int64_t max_mod_revision = 0;
  int64_t min_create_revision = 0;
  int64_t max_create_revision = 0;
};

struct DeleteRangeView {
  std::string_view key;
  std::string_view range_end;
  bool prev_kv = false;
};

// nullopt when the bytes are no such message.
std::optional<PutView> ParsePut(std::string_view bytes);
std::optional<RangeView> ParseRange(std::string_view bytes);
std::optional<DeleteRangeView> ParseDeleteRange(std::string_view bytes);

// Fields of InternalRaftRequest that carry a request (raft_internal.proto).
enum class RequestKind : uint32_t {
  kNone = 0,
  kRange = 3,
  kPut = 4,
  kDeleteRange = 5,
  kTxn = 6,
  kCompaction = 7,
  kLeaseGrant = 8,
  kLeaseRevoke = 9,
  kAlarm = 10,
  kLeaseCheckpoint = 11,
  kClusterVersionSet = 1300,
  kClusterMemberAttrSet = 1301,
  kDowngradeInfoSet = 1302,
};

struct InternalRequest {
  uint64_t id = 0;  // header.ID, or ID when the header has none
  std::string_view username;
  uint64_t auth_revision = 0;
  // Field number of the request; a number outside RequestKind is a request this build does not
  // know.
  RequestKind kind = RequestKind::kNone;
  std::string_view body;
};

// The entry data for one request: header {id} and the body's bytes in field `kind`.
base::Bytes EncodeInternalRequest(uint64_t id, RequestKind kind, std::string_view body);
std::optional<InternalRequest> ParseInternalRequest(std::string_view bytes);

// What every reply header says about this member.
struct Identity {
  uint64_t cluster_id = 0;
  uint64_t member_id = 0;
};

// Appends field 1 (header) of a response: ResponseHeader with all four fields (KV-006).
void AppendHeader(const Identity& identity, int64_t revision, uint64_t raft_term,
                  std::string* out);
// The same ResponseHeader as a message of its own, without tag and length.
std::string EncodeHeader(const Identity& identity, int64_t revision, uint64_t raft_term);
// Appends field 1 with only a revision: the header of a sub-response inside a Txn (KV-009).
void AppendRevisionHeader(int64_t revision, std::string* out);

}  // namespace etcdd::apply
