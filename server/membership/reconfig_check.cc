#include "server/membership/reconfig_check.h"

#include "server/base/api_error.h"

namespace etcdd::membership {
namespace {

using base::ApiError;
using base::ErrorId;

size_t Majority(size_t voters) { return voters / 2 + 1; }

// Voters that have published their name, but for `except`.
size_t StartedVoters(const Cluster& cluster, uint64_t except) {
  size_t started = 0;
  for (const Member& member : cluster.members()) {
    if (!member.is_learner && member.id != except && !member.name.empty()) ++started;
  }
  return started;
}

// Voters connected for long enough, the local member included.
size_t ConnectedVoters(const Cluster& cluster, const Connections& connections) {
  size_t connected = 0;
  for (uint64_t id : cluster.Voters()) {
    if (id == cluster.local_member_id()) {
      ++connected;
      continue;
    }
    const auto since = connections.active_since(id);
    if (since.has_value() && connections.now - *since >= kConnectedMin) ++connected;
  }
  return connected;
}

// Never fails with one voter: nobody else has to agree.
absl::Status CheckConnectedMajority(const Cluster& cluster, const Connections& connections) {
  const size_t voters = cluster.Voters().size();
  if (voters == 1 || ConnectedVoters(cluster, connections) >= Majority(voters + 1)) {
    return absl::OkStatus();
  }
  return ApiError(ErrorId::kUnhealthy);
}

}  // namespace

absl::Status MayAddVoter(const Cluster& cluster, const Connections& connections) {
  const size_t voters = cluster.Voters().size();
  const size_t started = StartedVoters(cluster, 0);
  const bool lone = voters == 1 && started == 1;
  if (!lone && started < Majority(voters + 1)) {
    return ApiError(ErrorId::kMemberNotEnoughStarted);
  }
  return CheckConnectedMajority(cluster, connections);
}

absl::Status MayAddLearner(const Cluster& cluster, const Connections& connections) {
  return CheckConnectedMajority(cluster, connections);
}

absl::Status MayRemove(const Cluster& cluster, const Connections& connections, uint64_t id) {
  const Member* member = cluster.member(id);
  if (member != nullptr && member->is_learner) return absl::OkStatus();
  const size_t voters = cluster.Voters().size();
  const size_t left = member == nullptr ? voters : voters - 1;
  if (left == 0 || StartedVoters(cluster, id) < Majority(left)) {
    return ApiError(ErrorId::kMemberNotEnoughStarted);
  }
  // A member that is down is no part of the active quorum.
  if (id != cluster.local_member_id() && !connections.active_since(id).has_value()) {
    return absl::OkStatus();
  }
  const size_t connected = ConnectedVoters(cluster, connections);
  if (connected < 2 + (voters - 1) / 2) return ApiError(ErrorId::kUnhealthy);
  return absl::OkStatus();
}

absl::Status MayPromote(const Cluster& cluster, uint64_t id) {
  if (StartedVoters(cluster, id) + 1 >= Majority(cluster.Voters().size() + 1)) {
    return absl::OkStatus();
  }
  return ApiError(ErrorId::kMemberNotEnoughStarted);
}

}  // namespace etcdd::membership
