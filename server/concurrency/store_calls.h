#pragma once

// The requests of a recipe, sent to the server it runs in. Answers come decoded.
//
// Errors keep etcd's text and have the code Unknown (LOCK-007).
//
// Confined to the server strand.

#include <cstdint>
#include <functional>
#include <string_view>

#include "absl/functional/any_invocable.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "proto/rpc.pb.h"
#include "server/etcd_server.h"

namespace etcdd::concurrency {

// How long a lease lives that the server grants itself (LOCK-001).
inline constexpr int64_t kOwnLeaseTtlSeconds = 60;
// A request that found no quorum is tried again after this time, where it is tried again.
inline constexpr absl::Duration kRetryInterval = absl::Milliseconds(100);

// The same text under the code Unknown; OK stays OK.
absl::Status AsUnknown(const absl::Status& status);

// `lease`, or when it is 0 a new one of kOwnLeaseTtlSeconds that nobody renews.
using LeaseDone = absl::AnyInvocable<void(absl::StatusOr<int64_t> lease)>;
void EnsureLease(server::EtcdServer* server, int64_t lease, LeaseDone done);

// Requires: one of its operations is a write.
using TxnDone = absl::AnyInvocable<void(absl::StatusOr<etcdserverpb::TxnResponse>)>;
void RunTxn(server::EtcdServer* server, const etcdserverpb::TxnRequest& request, TxnDone done);

using RangeDone = absl::AnyInvocable<void(absl::StatusOr<etcdserverpb::RangeResponse>)>;
void ReadRange(server::EtcdServer* server, etcdserverpb::RangeRequest request, RangeDone done);
// For those who wait anyway: reads again while the cluster has no leader or no quorum, until
// `wanted` says no (then `done` does not run) or the server stops.
using Wanted = std::function<bool()>;
void ReadPatiently(server::EtcdServer* server, etcdserverpb::RangeRequest request, Wanted wanted,
                   RangeDone done);

using DeleteDone = absl::AnyInvocable<void(absl::StatusOr<etcdserverpb::DeleteRangeResponse>)>;
void DeleteKey(server::EtcdServer* server, std::string_view key, DeleteDone done);

}  // namespace etcdd::concurrency
