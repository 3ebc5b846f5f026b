// Activating configurations: at start, from a snapshot, and when a change is applied.

#include <utility>

#include "raft/describe.h"
#include "raft/logging.h"
#include "raft/raft.h"
#include "server/base/check.h"

namespace etcdd::raft {

ConfState Raft::ApplyConfChange(const ConfChangeV2& change) {
  absl::StatusOr<ConfChangeResult> result =
      ConfChanger(tracker_, log_.LastIndex()).Apply(change);
  // A committed change was validated when it was proposed.
  ETCDD_CHECK_MSG(result.ok(), std::string(result.status().message()));
  return SwitchTo(*std::move(result));
}

ConfState Raft::SwitchTo(ConfChangeResult result) {
  tracker_.Switch(std::move(result.configuration), std::move(result.progress));
  ETCDD_RAFT_LOG(config_.logger, kInfo, "%x switched to configuration %s", config_.id,
                 Describe(tracker_.configuration()));
  const ConfState active = ToConfState(tracker_.configuration());
  const Progress* own = tracker_.Find(config_.id);
  learner_ = own != nullptr && own->learner();

  if (state_ != StateType::kLeader) return active;
  if (own == nullptr || learner_) {
    // We led the change that removed us; without this option someone must take over by timeout.
    if (config_.step_down_on_removal) BecomeFollower(term_, kNoNode);
    return active;
  }
  // A smaller quorum may hold more than the old one did.
  if (MaybeCommit()) {
    BroadcastAppend();
  } else {
    // Let new members be probed at once, and say nothing to the others.
    for (auto& [id, progress] : tracker_.progress()) {
      if (id != config_.id) MaybeSendAppend(id, &progress, /*even_if_empty=*/false);
    }
  }
  ReleaseConfirmedReads();
  if (transfer_target_ != kNoNode && !tracker_.configuration().voters.Contains(transfer_target_)) {
    transfer_target_ = kNoNode;  // it cannot win any more (R13)
  }
  return active;
}

}  // namespace etcdd::raft
