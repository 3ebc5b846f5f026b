#pragma once

// Computes the next configuration from the current one and a list of operations. Nothing is
// changed in place: a failed change leaves no trace, and every result is checked.
//
// Rules: Raft thesis 4.3 and etcd's learners. A voter demoted to learner in a joint change stays a
// voter of the outgoing half and waits in learners_next.

#include <cstdint>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "raft/conf_change.h"
#include "raft/tracker.h"

namespace etcdd::raft {

struct ConfChangeResult {
  Configuration configuration;
  ProgressMap progress;
};

class ConfChanger {
 public:
  // Changes `tracker`'s configuration; new members start to be probed at `last_index`. Borrows the
  // tracker for its own lifetime.
  ConfChanger(const Tracker& tracker, uint64_t last_index)
      : tracker_(tracker), last_index_(last_index) {}

  // At most one voter may differ afterwards.
  absl::StatusOr<ConfChangeResult> Simple(absl::Span<const ConfChangeSingle> changes) const;
  absl::StatusOr<ConfChangeResult> EnterJoint(bool auto_leave,
                                              absl::Span<const ConfChangeSingle> changes) const;
  absl::StatusOr<ConfChangeResult> LeaveJoint() const;

  // Whatever `change` asks for.
  absl::StatusOr<ConfChangeResult> Apply(const ConfChangeV2& change) const;

 private:
  absl::StatusOr<ConfChangeResult> CheckedCopy() const;
  absl::Status ApplyChanges(absl::Span<const ConfChangeSingle> changes,
                            ConfChangeResult* result) const;
  void MakeVoter(NodeId id, ConfChangeResult* result) const;
  void MakeLearner(NodeId id, ConfChangeResult* result) const;
  void Remove(NodeId id, ConfChangeResult* result) const;
  void AddProgress(NodeId id, bool learner, ConfChangeResult* result) const;

  const Tracker& tracker_;
  const uint64_t last_index_;
};

// The configuration a snapshot carries, from nothing. InvalidArgument if it is not a possible one.
absl::StatusOr<ConfChangeResult> RestoreConfiguration(const ConfState& state,
                                                      uint64_t inflight_messages_max,
                                                      uint64_t inflight_bytes_max,
                                                      uint64_t last_index);

}  // namespace etcdd::raft
