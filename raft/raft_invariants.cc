// What must hold between two calls, whatever happened (LogCabin's idea: a check of everything after
// every step finds most mistakes where they are made).

#include "raft/raft.h"
#include "server/base/check.h"

namespace etcdd::raft {

void Raft::CheckInvariants() const {
  log_.CheckInvariants();
  tracker_.CheckInvariants();
  read_only_.CheckInvariants();

  // Nothing in the log is of a later term than ours; a bootstrap snapshot may be.
  const EntryId last = log_.LastEntry();
  if (last.index >= log_.FirstIndex()) ETCDD_CHECK(last.term <= term_);
  ETCDD_CHECK(randomized_election_timeout_ > 0);

  const Progress* own = tracker_.Find(config_.id);
  ETCDD_CHECK(learner_ == (own != nullptr && own->learner()));

  switch (state_) {
    case StateType::kLeader:
      ETCDD_CHECK(leader_ == config_.id);
      ETCDD_CHECK(vote_ == config_.id);
      ETCDD_CHECK(!log_.HasUnstableSnapshot());
      // A leader's log always ends in its own term.
      ETCDD_CHECK(log_.LastEntry().term == term_);
      for (const auto& [id, progress] : tracker_.progress()) {
        ETCDD_CHECK(progress.match() <= log_.LastIndex());
        ETCDD_CHECK(progress.state() == ProgressState::kSnapshot ||
                    progress.next() <= log_.LastIndex() + 1);
      }
      break;
    case StateType::kCandidate:
      ETCDD_CHECK(vote_ == config_.id);
      ETCDD_CHECK(leader_ == kNoNode);
      break;
    case StateType::kPreCandidate:
      ETCDD_CHECK(leader_ == kNoNode);
      break;
    case StateType::kFollower:
      ETCDD_CHECK(leader_ != config_.id);
      break;
  }
  if (state_ != StateType::kLeader) {
    ETCDD_CHECK(transfer_target_ == kNoNode);
    ETCDD_CHECK(!read_only_.HasWaiting());
  }
}

}  // namespace etcdd::raft
