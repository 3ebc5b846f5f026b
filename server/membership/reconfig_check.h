#pragma once

// --strict-reconfig-check: whether a change of membership may be proposed without risking that the
// cluster loses its quorum by it (CLUS-020..024).
//
// Thread-safe: free functions on what they are given.

#include <cstdint>
#include <optional>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/time/time.h"
#include "server/membership/cluster.h"

namespace etcdd::membership {

// How long a member must have been reachable without a break to count as connected.
inline constexpr absl::Duration kConnectedMin = absl::Seconds(5);

// A view of the network by the member that checks.
struct Connections {
  absl::Duration now;
  // Since when a member has been reachable; nullopt: it is not. Not asked for the local member.
  absl::FunctionRef<std::optional<absl::Duration>(uint64_t id)> active_since;
};

// Each returns OK or etcd's error.
absl::Status MayAddVoter(const Cluster& cluster, const Connections& connections);
absl::Status MayAddLearner(const Cluster& cluster, const Connections& connections);
absl::Status MayRemove(const Cluster& cluster, const Connections& connections, uint64_t id);
absl::Status MayPromote(const Cluster& cluster, uint64_t id);

}  // namespace etcdd::membership
