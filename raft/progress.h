#pragma once

// One member's replication state machine, as its leader sees it.
//
//   probe      one append, then silence until it (or a heartbeat) is answered: the leader does not
//              know where the logs agree.
//   replicate  appends are pipelined: next moves past what was sent, bounded by the window.
//   snapshot   nothing but heartbeats until the snapshot's fate is known.
//
// Confined to the raft strand.

#include <cstdint>
#include <utility>

#include "raft/inflights.h"
#include "raft/types.h"

namespace etcdd::raft {

class Progress {
 public:
  Progress(uint64_t match, uint64_t next, bool learner, bool recently_active, Inflights inflights)
      : match_(match),
        next_(next),
        learner_(learner),
        recently_active_(recently_active),
        inflights_(std::move(inflights)) {}

  uint64_t match() const { return match_; }
  uint64_t next() const { return next_; }
  uint64_t sent_commit() const { return sent_commit_; }
  ProgressState state() const { return state_; }
  uint64_t pending_snapshot() const { return pending_snapshot_; }
  bool learner() const { return learner_; }
  bool recently_active() const { return recently_active_; }
  const Inflights& inflights() const { return inflights_; }

  void set_learner(bool learner) { learner_ = learner; }
  void set_recently_active(bool active) { recently_active_ = active; }
  void set_flow_paused(bool paused) { flow_paused_ = paused; }

  // No append of any kind may be sent now.
  bool IsPaused() const { return state_ == ProgressState::kSnapshot || flow_paused_; }

  // As at the start of a term.
  void Reset(uint64_t match, uint64_t next);

  // Behind match, and behind a snapshot that was pending.
  void BecomeProbe();
  void BecomeReplicate();
  void BecomeSnapshot(uint64_t snapshot_index);
  void ForgetPendingSnapshot() { pending_snapshot_ = 0; }

  // An append with `count` entries of `payload_bytes` from next() on was sent.
  void SentEntries(uint64_t count, uint64_t payload_bytes);
  void SentCommit(uint64_t commit) { sent_commit_ = commit; }
  // Whether telling the member `commit` could make it commit more (of what is already under way).
  bool CanBumpCommit(uint64_t commit) const {
    return commit > sent_commit_ && sent_commit_ + 1 < next_;
  }

  // The member holds everything up to `index`. Returns false if that is not news.
  bool MaybeUpdate(uint64_t index);
  // The member refused an append behind `rejected` and suggests `hint`. Returns false, without
  // effect, if that answer is stale.
  bool MaybeDecrement(uint64_t rejected, uint64_t hint);
  void FreeInflightsUpTo(uint64_t index) { inflights_.FreeUpTo(index); }

  void CheckInvariants() const;

 private:
  void ResetState(ProgressState state);
  void RegressSentCommit();

  uint64_t match_;            // highest index known to agree; only grows within a term
  uint64_t next_;             // first index to send next; > match_
  uint64_t sent_commit_ = 0;  // commit index the member was last told
  uint64_t pending_snapshot_ = 0;
  ProgressState state_ = ProgressState::kProbe;
  bool flow_paused_ = false;
  bool learner_;
  bool recently_active_;  // heard of since the last check-quorum round
  Inflights inflights_;   // used in replicate state
};

}  // namespace etcdd::raft
