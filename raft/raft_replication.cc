// What a leader does for one member: appends, heartbeats, snapshots, and the answers to them.

#include <algorithm>
#include <string>
#include <utility>

#include "raft/describe.h"
#include "raft/logging.h"
#include "raft/raft.h"
#include "server/base/check.h"

namespace etcdd::raft {

void Raft::BroadcastAppend() {
  for (auto& [id, progress] : tracker_.progress()) {
    if (id != config_.id) MaybeSendAppend(id, &progress, /*even_if_empty=*/true);
  }
}

void Raft::BroadcastHeartbeat() {
  for (auto& [id, progress] : tracker_.progress()) {
    if (id != config_.id) SendHeartbeat(id, &progress);
  }
}

void Raft::SendHeartbeat(NodeId to, Progress* progress) {
  Message m;
  m.type = MessageType::kHeartbeat;
  m.to = to;
  // Not beyond what is known to match, so that the member can commit blindly.
  m.commit = std::min(progress->match(), log_.committed());
  m.context = read_only_.HeartbeatContext();
  progress->SentCommit(m.commit);
  Send(std::move(m));
}

bool Raft::MaybeSendAppend(NodeId to, Progress* progress, bool even_if_empty) {
  if (progress->IsPaused()) return false;
  const uint64_t previous = progress->next() - 1;
  // First of all: an unknown previous term must never travel as 0 (R20).
  const absl::StatusOr<uint64_t> previous_term = log_.Term(previous);
  if (!previous_term.ok()) return MaybeSendSnapshot(to, progress);
  Message m;
  // On a full window only an empty append: it finds out whether the appends got lost (R22).
  const bool window_open =
      progress->state() != ProgressState::kReplicate || !progress->inflights().Full();
  if (window_open && progress->next() <= log_.LastIndex()) {
    const absl::Status status = log_.Entries(progress->next(), log_.LastIndex() + 1,
                                             config_.message_bytes_max, &m.entries);
    if (IsCompacted(status)) return MaybeSendSnapshot(to, progress);
    ETCDD_CHECK_MSG(status.ok(), std::string(status.message()));
  }
  if (m.entries.empty() && !even_if_empty) return false;
  uint64_t payload_bytes = 0;
  for (const Entry& entry : m.entries) payload_bytes += entry.data.size();
  m.type = MessageType::kApp;
  m.to = to;
  m.index = previous;
  m.log_term = *previous_term;
  m.commit = log_.committed();
  progress->SentEntries(m.entries.size(), payload_bytes);
  progress->SentCommit(m.commit);
  Send(std::move(m));
  return true;
}

bool Raft::MaybeSendSnapshot(NodeId to, Progress* progress) {
  if (!progress->recently_active()) {
    ETCDD_RAFT_LOG(config_.logger, kDebug,
                   "ignore sending snapshot to %x since it is not recently active", to);
    return false;
  }
  absl::StatusOr<std::shared_ptr<const Snapshot>> snapshot = log_.storage()->GetSnapshot();
  if (!snapshot.ok() && IsSnapshotTemporarilyUnavailable(snapshot.status())) {
    ETCDD_RAFT_LOG(config_.logger, kDebug,
                   "%x failed to send snapshot to %x because snapshot is temporarily unavailable",
                   config_.id, to);
    return false;
  }
  ETCDD_CHECK_MSG(snapshot.ok(), std::string(snapshot.status().message()));
  ETCDD_CHECK_MSG(*snapshot != nullptr && !(*snapshot)->empty(), "need non-empty snapshot");
  ETCDD_RAFT_LOG(config_.logger, kDebug,
                 "%x [firstindex: %d, commit: %d] sent snapshot[index: %d, term: %d] to %x [%s]",
                 config_.id, log_.FirstIndex(), log_.committed(), (*snapshot)->index,
                 (*snapshot)->term, to, Describe(*progress));
  progress->BecomeSnapshot((*snapshot)->index);
  ETCDD_RAFT_LOG(config_.logger, kDebug, "%x paused sending replication messages to %x [%s]",
                 config_.id, to, Describe(*progress));
  Message m;
  m.type = MessageType::kSnap;
  m.to = to;
  m.snapshot = *std::move(snapshot);
  Send(std::move(m));
  return true;
}

void Raft::HandleAppendRejected(const Message& m, Progress* progress) {
  ETCDD_RAFT_LOG(config_.logger, kDebug,
                 "%x received MsgAppResp(rejected, hint: (index %d, term %d)) from %x for index %d",
                 config_.id, m.reject_hint, m.log_term, m.from, m.index);
  uint64_t guess = m.reject_hint;
  if (m.log_term > 0) {
    // Nothing of ours with a term above the hint's can be in the member's log at or before the
    // hint: skip it all (R26).
    guess = log_.FindConflictByTerm(m.reject_hint, m.log_term).index;
  }
  if (!progress->MaybeDecrement(m.index, guess)) return;
  ETCDD_RAFT_LOG(config_.logger, kDebug, "%x decreased progress of %x to [%s]", config_.id, m.from,
                 Describe(*progress));
  if (progress->state() == ProgressState::kReplicate) progress->BecomeProbe();
  MaybeSendAppend(m.from, progress, /*even_if_empty=*/true);
}

void Raft::HandleAppendResp(const Message& m, Progress* progress) {
  progress->set_recently_active(true);
  if (m.reject) {
    HandleAppendRejected(m, progress);
    return;
  }
  // Nobody can acknowledge what does not exist; committing it would corrupt everything (R42).
  if (m.index > log_.LastIndex()) return;
  const bool news = progress->MaybeUpdate(m.index);
  if (!news &&
      !(progress->match() == m.index && progress->state() == ProgressState::kProbe)) {
    return;
  }
  switch (progress->state()) {
    case ProgressState::kProbe:
      progress->BecomeReplicate();
      break;
    case ProgressState::kSnapshot:
      // Whatever snapshot it got, ours or another: it reconnects to our log (R24).
      if (progress->match() + 1 >= log_.FirstIndex()) {
        ETCDD_RAFT_LOG(config_.logger, kDebug,
                       "%x recovered from needing snapshot, resumed sending replication messages "
                       "to %x [%s]",
                       config_.id, m.from, Describe(*progress));
        progress->BecomeProbe();
        progress->BecomeReplicate();
      }
      break;
    case ProgressState::kReplicate:
      progress->FreeInflightsUpTo(m.index);
      break;
  }
  const bool other = m.from != config_.id;
  if (MaybeCommit()) {
    BroadcastAppend();
  } else if (other && progress->CanBumpCommit(log_.committed())) {
    MaybeSendAppend(m.from, progress, /*even_if_empty=*/true);
  }
  if (!other) return;
  while (MaybeSendAppend(m.from, progress, /*even_if_empty=*/false)) {
  }
  if (m.from == transfer_target_ && progress->match() == log_.LastIndex()) {
    ETCDD_RAFT_LOG(config_.logger, kInfo, "%x sent MsgTimeoutNow to %x after received MsgAppResp",
                   config_.id, m.from);
    SendTimeoutNow(m.from);
  }
}

void Raft::HandleHeartbeatResp(const Message& m, Progress* progress) {
  progress->set_recently_active(true);
  // On the response, not on sending: a dead peer stays paused (R23).
  progress->set_flow_paused(false);
  if (progress->match() < log_.LastIndex() || progress->state() == ProgressState::kProbe) {
    MaybeSendAppend(m.from, progress, /*even_if_empty=*/true);
  }
  if (config_.read_only != ReadOnlyOption::kSafe || m.context.empty()) return;
  if (read_only_.Echoed(m.from, m.context)) ReleaseConfirmedReads();
}

void Raft::HandleSnapStatus(const Message& m, Progress* progress) {
  if (progress->state() != ProgressState::kSnapshot) return;
  if (m.reject) progress->ForgetPendingSnapshot();
  progress->BecomeProbe();
  ETCDD_RAFT_LOG(config_.logger, kDebug,
                 "%x snapshot %s, resumed sending replication messages to %x [%s]", config_.id,
                 m.reject ? "failed" : "succeeded", m.from, Describe(*progress));
  // Wait for the acknowledgement of the snapshot, or after a failure for a heartbeat's answer,
  // before trying again.
  progress->set_flow_paused(true);
}

void Raft::HandleUnreachable(const Message& m, Progress* progress) {
  // Optimistic appends are likely lost.
  if (progress->state() == ProgressState::kReplicate) progress->BecomeProbe();
  ETCDD_RAFT_LOG(config_.logger, kDebug,
                 "%x failed to send message to %x because it is unreachable [%s]", config_.id,
                 m.from, Describe(*progress));
}

}  // namespace etcdd::raft
