#include "raft/progress.h"

#include <algorithm>

#include "server/base/check.h"

namespace etcdd::raft {

void Progress::ResetState(ProgressState state) {
  state_ = state;
  flow_paused_ = false;
  pending_snapshot_ = 0;
  inflights_.Reset();
}

void Progress::RegressSentCommit() { sent_commit_ = std::min(sent_commit_, next_ - 1); }

void Progress::Reset(uint64_t match, uint64_t next) {
  ResetState(ProgressState::kProbe);
  match_ = match;
  next_ = next;
  sent_commit_ = 0;
  recently_active_ = false;
}

void Progress::BecomeProbe() {
  // A pending snapshot that was delivered has moved the member to its index.
  const uint64_t floor = state_ == ProgressState::kSnapshot ? pending_snapshot_ : 0;
  ResetState(ProgressState::kProbe);
  next_ = std::max(match_, floor) + 1;
  RegressSentCommit();
}

void Progress::BecomeReplicate() {
  ResetState(ProgressState::kReplicate);
  next_ = match_ + 1;
}

void Progress::BecomeSnapshot(uint64_t snapshot_index) {
  ResetState(ProgressState::kSnapshot);
  pending_snapshot_ = snapshot_index;
  // A snapshot behind match can only come from a storage that answers with an old one.
  next_ = std::max(match_, snapshot_index) + 1;
  sent_commit_ = snapshot_index;
}

void Progress::SentEntries(uint64_t count, uint64_t payload_bytes) {
  switch (state_) {
    case ProgressState::kReplicate:
      if (count > 0) {
        next_ += count;
        inflights_.Add(next_ - 1, payload_bytes);
      }
      // An empty append on a full window was the one probe a heartbeat response allowed.
      flow_paused_ = inflights_.Full();
      break;
    case ProgressState::kProbe:
      if (count > 0) flow_paused_ = true;
      break;
    case ProgressState::kSnapshot:
      ETCDD_CHECK_MSG(false, "append sent in snapshot state");
  }
}

bool Progress::MaybeUpdate(uint64_t index) {
  if (index <= match_) return false;
  match_ = index;
  next_ = std::max(next_, index + 1);
  flow_paused_ = false;
  return true;
}

bool Progress::MaybeDecrement(uint64_t rejected, uint64_t hint) {
  if (state_ == ProgressState::kReplicate) {
    if (rejected <= match_) return false;
    next_ = match_ + 1;
    RegressSentCommit();
    return true;
  }
  if (next_ - 1 != rejected) return false;
  next_ = std::max(std::min(rejected, hint + 1), match_ + 1);
  RegressSentCommit();
  flow_paused_ = false;
  return true;
}

void Progress::CheckInvariants() const {
  ETCDD_CHECK(match_ < next_);
  if (state_ != ProgressState::kSnapshot) ETCDD_CHECK(pending_snapshot_ == 0);
  if (state_ != ProgressState::kReplicate) ETCDD_CHECK(inflights_.count() == 0);
  if (inflights_.count() == 0) ETCDD_CHECK(inflights_.bytes() == 0);
}

}  // namespace etcdd::raft
