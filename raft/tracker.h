#pragma once

// The active configuration with every member's progress, and the votes of the current election.
// Iteration is always in ascending id order: it decides the order of messages.
// Confined to the raft strand.

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <utility>

#include "raft/progress.h"
#include "raft/quorum.h"
#include "raft/types.h"

namespace etcdd::raft {

// Invariants: learners and voters are disjoint; learners_next is a subset of voters.outgoing; not
// joint means outgoing and learners_next are empty and auto_leave is false.
struct Configuration {
  JointVoters voters;
  IdSet learners;
  IdSet learners_next;  // outgoing voters that become learners when the joint state is left
  bool auto_leave = false;

  bool joint() const { return !voters.outgoing.empty(); }
  friend bool operator==(const Configuration&, const Configuration&) = default;
};

ConfState ToConfState(const Configuration& configuration);

// Ascending ids; pointers to values are stable.
using ProgressMap = std::map<NodeId, Progress>;

class Tracker {
 public:
  Tracker(uint64_t inflight_messages_max, uint64_t inflight_bytes_max)
      : inflight_messages_max_(inflight_messages_max), inflight_bytes_max_(inflight_bytes_max) {}

  const Configuration& configuration() const { return configuration_; }
  ProgressMap& progress() { return progress_; }
  const ProgressMap& progress() const { return progress_; }
  // Null if `id` is not tracked.
  Progress* Find(NodeId id);
  const Progress* Find(NodeId id) const;
  uint64_t inflight_messages_max() const { return inflight_messages_max_; }
  uint64_t inflight_bytes_max() const { return inflight_bytes_max_; }

  void Switch(Configuration configuration, ProgressMap progress);

  // What a quorum holds.
  uint64_t Committed() const;
  // Whether the recently active voters are a quorum.
  bool QuorumActive() const;

  void ResetVotes() { votes_.clear(); }
  // The first vote of `id` counts.
  void RecordVote(NodeId id, bool granted);
  bool HasVoted(NodeId id) const { return votes_.count(id) != 0; }
  struct Tally {
    int granted = 0;  // of voters
    int rejected = 0;
    VoteResult result = VoteResult::kPending;
  };
  Tally TallyVotes() const;

  void CheckInvariants() const;

 private:
  // Fixed after construction.
  const uint64_t inflight_messages_max_;
  const uint64_t inflight_bytes_max_;

  Configuration configuration_;
  ProgressMap progress_;  // one per voter and learner
  std::map<NodeId, bool> votes_;
};

}  // namespace etcdd::raft
