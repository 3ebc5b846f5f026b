#include "raft/conf_changer.h"

#include <algorithm>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "server/base/check.h"
#include "server/base/status_macros.h"

namespace etcdd::raft {
namespace {

absl::Status Refused(absl::string_view text) { return absl::InvalidArgumentError(text); }

absl::Status CheckResult(const ConfChangeResult& result) {
  const Configuration& c = result.configuration;
  const auto find = [&result](NodeId id) {
    auto it = result.progress.find(id);
    return it == result.progress.end() ? nullptr : &it->second;
  };
  for (NodeId id : c.voters.All()) {
    if (find(id) == nullptr) return Refused(absl::StrCat("no progress for ", id));
  }
  for (NodeId id : c.learners) {
    const Progress* progress = find(id);
    if (progress == nullptr) return Refused(absl::StrCat("no progress for ", id));
    if (c.voters.Contains(id)) return Refused(absl::StrCat(id, " is in learners and voters"));
    if (!progress->learner()) {
      return Refused(absl::StrCat(id, " is in learners, but is not marked as learner"));
    }
  }
  for (NodeId id : c.learners_next) {
    const Progress* progress = find(id);
    if (progress == nullptr) return Refused(absl::StrCat("no progress for ", id));
    if (!c.voters.outgoing.Contains(id)) {
      return Refused(absl::StrCat(id, " is in learners_next, but not in outgoing voters"));
    }
    if (progress->learner()) {
      return Refused(absl::StrCat(id, " is in learners_next, but is already marked as learner"));
    }
  }
  if (!c.joint()) {
    if (!c.learners_next.empty()) return Refused("learners_next must be empty when not joint");
    if (c.auto_leave) return Refused("auto_leave must be false when not joint");
  }
  return absl::OkStatus();
}

absl::StatusOr<ConfChangeResult> Checked(ConfChangeResult result) {
  ETCDD_RETURN_IF_ERROR(CheckResult(result));
  return result;
}

// How many ids are in exactly one of the sets.
size_t SymmetricDifference(const IdSet& a, const IdSet& b) {
  size_t count = 0;
  for (NodeId id : a) count += b.Contains(id) ? 0 : 1;
  for (NodeId id : b) count += a.Contains(id) ? 0 : 1;
  return count;
}

}  // namespace

absl::StatusOr<ConfChangeResult> ConfChanger::CheckedCopy() const {
  return Checked({tracker_.configuration(), tracker_.progress()});
}

void ConfChanger::AddProgress(NodeId id, bool learner, ConfChangeResult* result) const {
  if (learner) {
    result->configuration.learners.Insert(id);
  } else {
    result->configuration.voters.incoming.Insert(id);
  }
  // Active from the start, so that check-quorum does not depose the leader before the new member
  // had a chance to speak (R17).
  result->progress.emplace(
      id, Progress(/*match=*/0, /*next=*/std::max<uint64_t>(last_index_, 1), learner,
                   /*recently_active=*/true,
                   Inflights(tracker_.inflight_messages_max(), tracker_.inflight_bytes_max())));
}

void ConfChanger::MakeVoter(NodeId id, ConfChangeResult* result) const {
  auto it = result->progress.find(id);
  if (it == result->progress.end()) return AddProgress(id, /*learner=*/false, result);
  it->second.set_learner(false);
  result->configuration.learners.Erase(id);
  result->configuration.learners_next.Erase(id);
  result->configuration.voters.incoming.Insert(id);
}

void ConfChanger::MakeLearner(NodeId id, ConfChangeResult* result) const {
  auto it = result->progress.find(id);
  if (it == result->progress.end()) return AddProgress(id, /*learner=*/true, result);
  if (it->second.learner()) return;
  Configuration& c = result->configuration;
  c.voters.incoming.Erase(id);
  c.learners.Erase(id);
  c.learners_next.Erase(id);
  if (c.voters.outgoing.Contains(id)) {
    // Still a voter there; becomes a learner when the joint configuration is left.
    c.learners_next.Insert(id);
  } else {
    it->second.set_learner(true);
    c.learners.Insert(id);
  }
}

void ConfChanger::Remove(NodeId id, ConfChangeResult* result) const {
  if (result->progress.count(id) == 0) return;
  Configuration& c = result->configuration;
  c.voters.incoming.Erase(id);
  c.learners.Erase(id);
  c.learners_next.Erase(id);
  if (!c.voters.outgoing.Contains(id)) result->progress.erase(id);
}

absl::Status ConfChanger::ApplyChanges(absl::Span<const ConfChangeSingle> changes,
                                       ConfChangeResult* result) const {
  for (const ConfChangeSingle& change : changes) {
    if (change.node_id == kNoNode) continue;  // the application's way to refuse a change
    switch (change.type) {
      case ConfChangeType::kAddNode:
        MakeVoter(change.node_id, result);
        break;
      case ConfChangeType::kAddLearnerNode:
        MakeLearner(change.node_id, result);
        break;
      case ConfChangeType::kRemoveNode:
        Remove(change.node_id, result);
        break;
      case ConfChangeType::kUpdateNode:
        break;
    }
  }
  if (result->configuration.voters.incoming.empty()) return Refused("removed all voters");
  return absl::OkStatus();
}

absl::StatusOr<ConfChangeResult> ConfChanger::Simple(
    absl::Span<const ConfChangeSingle> changes) const {
  ETCDD_ASSIGN_OR_RETURN(ConfChangeResult result, CheckedCopy());
  if (result.configuration.joint()) {
    return Refused("can't apply simple config change in joint config");
  }
  ETCDD_RETURN_IF_ERROR(ApplyChanges(changes, &result));
  if (SymmetricDifference(tracker_.configuration().voters.incoming,
                          result.configuration.voters.incoming) > 1) {
    return Refused("more than one voter changed without entering joint config");
  }
  return Checked(std::move(result));
}

absl::StatusOr<ConfChangeResult> ConfChanger::EnterJoint(
    bool auto_leave, absl::Span<const ConfChangeSingle> changes) const {
  ETCDD_ASSIGN_OR_RETURN(ConfChangeResult result, CheckedCopy());
  if (result.configuration.joint()) return Refused("config is already joint");
  JointVoters& voters = result.configuration.voters;
  if (voters.incoming.empty()) return Refused("can't make a zero-voter config joint");
  voters.outgoing = voters.incoming;
  ETCDD_RETURN_IF_ERROR(ApplyChanges(changes, &result));
  result.configuration.auto_leave = auto_leave;
  return Checked(std::move(result));
}

absl::StatusOr<ConfChangeResult> ConfChanger::LeaveJoint() const {
  ETCDD_ASSIGN_OR_RETURN(ConfChangeResult result, CheckedCopy());
  Configuration& c = result.configuration;
  if (!c.joint()) return Refused("can't leave a non-joint config");
  for (NodeId id : c.learners_next) {
    c.learners.Insert(id);
    result.progress.at(id).set_learner(true);
  }
  c.learners_next.Clear();
  for (NodeId id : c.voters.outgoing) {
    if (!c.voters.incoming.Contains(id) && !c.learners.Contains(id)) result.progress.erase(id);
  }
  c.voters.outgoing.Clear();
  c.auto_leave = false;
  return Checked(std::move(result));
}

absl::StatusOr<ConfChangeResult> ConfChanger::Apply(const ConfChangeV2& change) const {
  if (change.LeaveJoint()) return LeaveJoint();
  if (change.EnterJoint()) return EnterJoint(change.AutoLeave(), change.changes);
  return Simple(change.changes);
}

absl::StatusOr<ConfChangeResult> RestoreConfiguration(const ConfState& state,
                                                      uint64_t inflight_messages_max,
                                                      uint64_t inflight_bytes_max,
                                                      uint64_t last_index) {
  ConfChangeResult result;
  Configuration& c = result.configuration;
  c.voters.incoming = IdSet(state.voters);
  c.voters.outgoing = IdSet(state.voters_outgoing);
  c.learners = IdSet(state.learners);
  c.learners_next = IdSet(state.learners_next);
  c.auto_leave = state.auto_leave;
  if (!Equivalent(ToConfState(c), state)) return Refused("conf state names an id twice");
  const auto add = [&](NodeId id, bool learner) {
    result.progress.emplace(id, Progress(0, std::max<uint64_t>(last_index, 1), learner, true,
                                         Inflights(inflight_messages_max, inflight_bytes_max)));
  };
  for (NodeId id : c.voters.All()) add(id, false);
  for (NodeId id : c.learners) add(id, true);
  for (const auto& [id, progress] : result.progress) {
    if (!IsMemberId(id)) return Refused("conf state names a reserved id");
  }
  if (c.joint() && c.voters.incoming.empty()) return Refused("conf state has no incoming voters");
  return Checked(std::move(result));
}

}  // namespace etcdd::raft
