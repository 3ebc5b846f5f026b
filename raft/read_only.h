#pragma once

// Linearizable reads waiting on a leader (Raft thesis 6.4).
//
// Each read queued in this term has a number: how many were queued before it, plus one. Heartbeats
// carry the number of the last one; a peer echoes it. So an echo can only confirm reads that were
// queued before its heartbeat left, whatever the callers' contexts are and however late or often
// it arrives (etcd issue 20418: reads keyed by the caller's context confirmed a retry by old
// echoes). The numbers a quorum has echoed are released, oldest first.
//
// Reads that arrive before the leader has committed an entry of its term wait in a second list,
// since the commit index may be behind the previous leader's; they survive a change of term.
// Confined to the raft strand.

#include <cstdint>
#include <deque>
#include <map>
#include <utility>
#include <vector>

#include "raft/quorum.h"
#include "raft/types.h"

namespace etcdd::raft {

class ReadOnly {
 public:
  struct Request {
    Message message;  // the MsgReadIndex
    uint64_t index;   // commit index when it was queued: what the answer will say
  };

  // `pending_max` bounds each of the two lists.
  explicit ReadOnly(uint64_t pending_max) : pending_max_(pending_max) {}

  // Forgets everything but the postponed reads: a new term begins.
  void Reset();

  // Queues a read behind the others; `leader` has heard of it. False if there are too many.
  bool Add(Message message, uint64_t commit, NodeId leader);
  bool HasWaiting() const { return !waiting_.empty(); }
  // What heartbeats carry: empty while nothing waits. Shared by all heartbeats until the next read.
  const base::Bytes& HeartbeatContext() const { return context_; }
  // `id` echoed `context`. Returns false if it means nothing.
  bool Echoed(NodeId id, const base::Bytes& context);
  // The reads a quorum has confirmed, oldest first.
  std::vector<Request> TakeConfirmed(const JointVoters& voters);

  // Reads to be handled at the first commit of the term. False if there are too many.
  bool Postpone(Message message);
  std::vector<Message> TakePostponed() { return std::exchange(postponed_, {}); }

  void CheckInvariants() const;

 private:
  const uint64_t pending_max_;
  uint64_t confirmed_ = 0;  // reads released in this term; only grows within a term
  std::deque<Request> waiting_;
  std::map<NodeId, uint64_t> echoes_;  // highest number each peer has echoed in this term
  base::Bytes context_;                // confirmed_ + waiting_.size(), or empty if none waits
  std::vector<Message> postponed_;
};

}  // namespace etcdd::raft
