// The leader's own affairs: proposals, commit, quorum checks, reads and transfers. What it does for
// one member is in raft_replication.cc.

#include <algorithm>
#include <string>
#include <utility>

#include "absl/strings/str_format.h"
#include "raft/describe.h"
#include "raft/logging.h"
#include "raft/raft.h"
#include "server/base/check.h"
#include "server/base/status_macros.h"

namespace etcdd::raft {

void Raft::BecomeLeader() {
  ETCDD_CHECK(state_ == StateType::kCandidate);
  ResetTerm(term_);
  leader_ = config_.id;
  state_ = StateType::kLeader;
  Progress* own = tracker_.Find(config_.id);
  own->BecomeReplicate();
  own->set_recently_active(true);
  // There may be an unapplied change among the entries of earlier terms; until they are all
  // applied, none is proposed (R15).
  pending_conf_index_ = log_.LastIndex();
  term_start_index_ = log_.LastIndex() + 1;
  std::vector<Entry> first(1);
  const bool appended = AppendEntries(std::move(first));
  ETCDD_CHECK_MSG(appended, "empty entry was dropped");
  ETCDD_RAFT_LOG(config_.logger, kInfo, "%x became leader at term %d", config_.id, term_);
}

void Raft::TickHeartbeat() {
  ++heartbeat_elapsed_;
  ++election_elapsed_;
  if (election_elapsed_ >= config_.election_ticks) {
    election_elapsed_ = 0;
    if (config_.check_quorum) CheckQuorum();
    // A transfer that did not succeed within an election timeout never will.
    transfer_target_ = kNoNode;
  }
  if (state_ != StateType::kLeader) return;
  if (heartbeat_elapsed_ >= config_.heartbeat_ticks) {
    heartbeat_elapsed_ = 0;
    BroadcastHeartbeat();
  }
}

void Raft::CheckQuorum() {
  if (!tracker_.QuorumActive()) {
    ETCDD_RAFT_LOG(config_.logger, kWarn,
                   "%x stepped down to follower since quorum is not active", config_.id);
    BecomeFollower(term_, kNoNode);
    return;
  }
  for (auto& [id, progress] : tracker_.progress()) {
    if (id != config_.id) progress.set_recently_active(false);
  }
}

absl::Status Raft::StepLeader(Message m) {
  switch (m.type) {
    case MessageType::kProp:
      return HandleProposal(std::move(m));
    case MessageType::kReadIndex:
      return HandleReadIndex(std::move(m));
    case MessageType::kAppResp:
    case MessageType::kHeartbeatResp:
    case MessageType::kSnapStatus:
    case MessageType::kUnreachable:
    case MessageType::kTransferLeader:
      break;
    default:
      return absl::OkStatus();
  }
  Progress* progress = tracker_.Find(m.from);
  if (progress == nullptr) {
    ETCDD_RAFT_LOG(config_.logger, kDebug, "%x no progress available for %x", config_.id, m.from);
    return absl::OkStatus();
  }
  switch (m.type) {
    case MessageType::kAppResp:
      HandleAppendResp(m, progress);
      break;
    case MessageType::kHeartbeatResp:
      HandleHeartbeatResp(m, progress);
      break;
    case MessageType::kSnapStatus:
      HandleSnapStatus(m, progress);
      break;
    case MessageType::kUnreachable:
      HandleUnreachable(m, progress);
      break;
    default:
      HandleTransferLeader(m.from);
  }
  return absl::OkStatus();
}

// Proposals ---------------------------------------------------------------------------------------

absl::Status Raft::HandleProposal(Message m) {
  ETCDD_CHECK_MSG(!m.entries.empty(), "stepped empty MsgProp");
  if (tracker_.Find(config_.id) == nullptr) {
    return ProposalDroppedError("the leader is no longer a member");
  }
  if (transfer_target_ != kNoNode) {
    ETCDD_RAFT_LOG(config_.logger, kDebug,
                   "%x [term %d] transfer leadership to %x is in progress; dropping proposal",
                   config_.id, term_, transfer_target_);
    return ProposalDroppedError("leadership transfer in progress");
  }
  uint64_t pending_conf_index = pending_conf_index_;
  ETCDD_RETURN_IF_ERROR(ScreenConfChanges(&m.entries, &pending_conf_index));
  // The size is that of the entries as they go into the log (R34).
  if (!AppendEntries(std::move(m.entries))) {
    return ProposalDroppedError("uncommitted entries exceed their limit");
  }
  pending_conf_index_ = pending_conf_index;
  BroadcastAppend();
  return absl::OkStatus();
}

absl::Status Raft::ScreenConfChanges(std::vector<Entry>* entries,
                                     uint64_t* pending_conf_index) const {
  const uint64_t first_index = log_.LastIndex() + 1;
  for (size_t i = 0; i < entries->size(); ++i) {
    Entry& entry = (*entries)[i];
    if (entry.type == EntryType::kNormal) continue;
    ETCDD_ASSIGN_OR_RETURN(const ConfChangeV2 change, DecodeConfChangeEntry(entry));
    const std::string refusal = ConfChangeRefusal(change, *pending_conf_index);
    if (refusal.empty()) {
      *pending_conf_index = first_index + i;
      continue;
    }
    ETCDD_RAFT_LOG(config_.logger, kInfo, "%x ignoring conf change %s at config %s: %s",
                   config_.id, Describe(change), Describe(tracker_.configuration()), refusal);
    entry.type = EntryType::kNormal;
    entry.data = base::Bytes();
  }
  return absl::OkStatus();
}

std::string Raft::ConfChangeRefusal(const ConfChangeV2& change,
                                    uint64_t pending_conf_index) const {
  if (config_.conf_change_validation == ConfChangeValidation::kNone) return {};
  if (pending_conf_index > log_.applied()) {
    return absl::StrFormat("possible unapplied conf change at index %d (applied to %d)",
                           pending_conf_index, log_.applied());
  }
  if (config_.conf_change_validation == ConfChangeValidation::kPendingOnly) return {};
  const bool joint = tracker_.configuration().joint();
  const bool leaving = change.changes.empty();
  if (joint && !leaving) return "must transition out of joint config first";
  if (!joint && leaving) return "not in joint state; refusing empty conf change";
  return {};
}

bool Raft::IncreaseUncommitted(const std::vector<Entry>& entries) {
  uint64_t bytes = 0;
  for (const Entry& entry : entries) bytes += entry.data.size();
  // Something is always let in when nothing is under way, and empty payloads (a leader's first
  // entry, leaving a joint configuration) are never refused (R16).
  if (uncommitted_bytes_ > 0 && bytes > 0 &&
      uncommitted_bytes_ + bytes > config_.uncommitted_bytes_max) {
    return false;
  }
  uncommitted_bytes_ += bytes;
  return true;
}

void Raft::ReduceUncommitted(uint64_t payload_bytes) {
  // Entries of earlier terms were never counted, so the estimate may run out early.
  uncommitted_bytes_ -= std::min(uncommitted_bytes_, payload_bytes);
}

bool Raft::AppendEntries(std::vector<Entry> entries) {
  uint64_t index = log_.LastIndex();
  for (Entry& entry : entries) {
    entry.term = term_;
    entry.index = ++index;
  }
  if (!IncreaseUncommitted(entries)) {
    ETCDD_RAFT_LOG(config_.logger, kWarn,
                   "%x appending new entries to log would exceed uncommitted entry size limit; "
                   "dropping proposal",
                   config_.id);
    return false;
  }
  log_.Append(absl::MakeSpan(entries));
  // Our own acknowledgement counts once the entries are durable here (R29).
  Message own;
  own.type = MessageType::kAppResp;
  own.to = config_.id;
  own.index = index;
  Send(std::move(own));
  return true;
}

bool Raft::MaybeCommit() {
  if (!log_.MaybeCommit(tracker_.Committed(), term_)) return false;
  ReleasePostponedReads();
  return true;
}

void Raft::LeaveJointIfDue() {
  const Configuration& configuration = tracker_.configuration();
  if (!configuration.auto_leave || state_ != StateType::kLeader) return;
  if (log_.applied() < pending_conf_index_) return;
  // Through the front door: so it is broadcast, and cannot be proposed twice (R16).
  Message m;
  m.type = MessageType::kProp;
  m.from = config_.id;
  m.entries.resize(1);
  m.entries[0].type = EntryType::kConfChangeV2;
  const absl::Status status = Step(std::move(m));
  if (status.ok()) {
    ETCDD_RAFT_LOG(config_.logger, kInfo,
                   "initiating automatic transition out of joint configuration %s",
                   Describe(configuration));
  } else {
    ETCDD_RAFT_LOG(config_.logger, kDebug,
                   "not initiating automatic transition out of joint configuration %s: %s",
                   Describe(configuration), std::string(status.message()));
  }
}

// Transfers ---------------------------------------------------------------------------------------

void Raft::HandleTransferLeader(NodeId target) {
  Progress* progress = tracker_.Find(target);
  if (progress->learner()) {
    ETCDD_RAFT_LOG(config_.logger, kDebug, "%x is learner. Ignored transferring leadership",
                   config_.id);
    return;
  }
  if (transfer_target_ != kNoNode) {
    if (transfer_target_ == target) {
      ETCDD_RAFT_LOG(config_.logger, kInfo,
                     "%x [term %d] transfer leadership to %x is in progress, ignores request to "
                     "same node %x",
                     config_.id, term_, target, target);
      return;
    }
    ETCDD_RAFT_LOG(config_.logger, kInfo,
                   "%x [term %d] abort previous transferring leadership to %x", config_.id, term_,
                   transfer_target_);
    transfer_target_ = kNoNode;
  }
  if (target == config_.id) {
    ETCDD_RAFT_LOG(config_.logger, kDebug,
                   "%x is already leader. Ignored transferring leadership to self", config_.id);
    return;
  }
  ETCDD_RAFT_LOG(config_.logger, kInfo, "%x [term %d] starts to transfer leadership to %x",
                 config_.id, term_, target);
  // It has one election timeout to succeed.
  election_elapsed_ = 0;
  transfer_target_ = target;
  if (progress->match() == log_.LastIndex()) {
    SendTimeoutNow(target);
    ETCDD_RAFT_LOG(config_.logger, kInfo,
                   "%x sends MsgTimeoutNow to %x immediately as %x already has up-to-date log",
                   config_.id, target, target);
  } else {
    MaybeSendAppend(target, progress, /*even_if_empty=*/true);
  }
}

void Raft::SendTimeoutNow(NodeId to) {
  Message m;
  m.type = MessageType::kTimeoutNow;
  m.to = to;
  Send(std::move(m));
}

// Reads -------------------------------------------------------------------------------------------

absl::Status Raft::HandleReadIndex(Message m) {
  // Until an entry of this term is committed, our commit index may be behind the previous leader's
  // (R2), or behind what we ourselves applied before a restart (R3): so a single voter waits too.
  if (!CommittedInTerm()) {
    if (!read_only_.Postpone(std::move(m))) return ReadDroppedError("too many reads waiting");
    return absl::OkStatus();
  }
  ETCDD_ASSIGN_OR_RETURN(const bool queued, AnswerOrQueueRead(std::move(m)));
  if (queued) BroadcastHeartbeat();
  return absl::OkStatus();
}

absl::StatusOr<bool> Raft::AnswerOrQueueRead(Message m) {
  const JointVoters& voters = tracker_.configuration().voters;
  const bool alone = voters.IsSingleton() && voters.incoming.Contains(config_.id);
  if (alone || config_.read_only == ReadOnlyOption::kLeaseBased) {
    RespondToRead(m, log_.committed());
    return false;
  }
  if (!read_only_.Add(std::move(m), log_.committed(), config_.id)) {
    return ReadDroppedError("too many reads waiting");
  }
  return true;
}

void Raft::ReleasePostponedReads() {
  if (!CommittedInTerm()) {
    ETCDD_RAFT_LOG(config_.logger, kError,
                   "pending MsgReadIndex should be released only after first commit in current "
                   "term");
    return;
  }
  // One heartbeat round serves them all: an echo of the last one's number covers the others. One
  // that no longer fits is lost like a message; its caller retries.
  bool queued = false;
  for (Message& m : read_only_.TakePostponed()) {
    const absl::StatusOr<bool> one = AnswerOrQueueRead(std::move(m));
    queued = queued || (one.ok() && *one);
  }
  if (queued) BroadcastHeartbeat();
}

void Raft::ReleaseConfirmedReads() {
  for (const ReadOnly::Request& request :
       read_only_.TakeConfirmed(tracker_.configuration().voters)) {
    RespondToRead(request.message, request.index);
  }
}

void Raft::RespondToRead(const Message& request, uint64_t index) {
  const base::Bytes& context = request.entries[0].data;
  if (request.from == kNoNode || request.from == config_.id) {
    read_states_.push_back({index, context});
    return;
  }
  Message response;
  response.type = MessageType::kReadIndexResp;
  response.to = request.from;
  response.index = index;
  response.entries = request.entries;
  Send(std::move(response));
}

}  // namespace etcdd::raft
