// The follower: appends, heartbeats and snapshots of its leader; requests passed on to it.

#include <algorithm>
#include <utility>

#include "absl/strings/str_format.h"
#include "raft/describe.h"
#include "raft/logging.h"
#include "raft/raft.h"
#include "server/base/check.h"
#include "server/base/status_macros.h"

namespace etcdd::raft {

absl::Status Raft::StepFollower(Message m) {
  switch (m.type) {
    case MessageType::kApp:
      election_elapsed_ = 0;
      leader_ = m.from;
      return HandleAppend(std::move(m));
    case MessageType::kHeartbeat:
      election_elapsed_ = 0;
      leader_ = m.from;
      return HandleHeartbeat(m);
    case MessageType::kSnap:
      election_elapsed_ = 0;
      leader_ = m.from;
      return HandleSnapshot(std::move(m));
    case MessageType::kProp:
    case MessageType::kReadIndex:
    case MessageType::kTransferLeader:
      return Forward(std::move(m));
    case MessageType::kForgetLeader:
      if (config_.read_only == ReadOnlyOption::kLeaseBased) {
        ETCDD_RAFT_LOG(config_.logger, kError,
                       "ignoring MsgForgetLeader due to ReadOnlyLeaseBased");
      } else if (leader_ != kNoNode) {
        ETCDD_RAFT_LOG(config_.logger, kInfo, "%x forgetting leader %x at term %d", config_.id,
                       leader_, term_);
        leader_ = kNoNode;
      }
      return absl::OkStatus();
    case MessageType::kTimeoutNow:
      ETCDD_RAFT_LOG(config_.logger, kInfo,
                     "%x [term %d] received MsgTimeoutNow from %x and starts an election to get "
                     "leadership.",
                     config_.id, term_, m.from);
      // No pre-vote: the leader itself asked us to disturb.
      Hup(CampaignType::kTransfer);
      return absl::OkStatus();
    case MessageType::kReadIndexResp:
      if (m.entries.size() != 1) {
        ETCDD_RAFT_LOG(config_.logger, kError,
                       "%x invalid format of MsgReadIndexResp from %x, entries count: %d",
                       config_.id, m.from, m.entries.size());
        return absl::InvalidArgumentError("raft: malformed message: read answer without context");
      }
      read_states_.push_back({m.index, std::move(m.entries[0].data)});
      return absl::OkStatus();
    default:
      return absl::OkStatus();
  }
}

absl::Status Raft::Forward(Message m) {
  const bool proposal = m.type == MessageType::kProp;
  const bool read = m.type == MessageType::kReadIndex;
  if (leader_ == kNoNode) {
    ETCDD_RAFT_LOG(config_.logger, kInfo, "%x no leader at term %d; dropping %s", config_.id,
                   term_,
                   proposal ? "proposal" : read ? "index reading msg" : "leader transfer msg");
    if (proposal) return ProposalDroppedError("no leader");
    return read ? ReadDroppedError("no leader") : absl::OkStatus();
  }
  if (proposal && config_.disable_proposal_forwarding) {
    ETCDD_RAFT_LOG(config_.logger, kInfo,
                   "%x not forwarding to leader %x at term %d; dropping proposal", config_.id,
                   leader_, term_);
    return ProposalDroppedError("not the leader, and forwarding is off");
  }
  // The sender stays: it says whom to answer (reads) or who should lead (transfers).
  m.to = leader_;
  m.term = 0;
  Send(std::move(m));
  return absl::OkStatus();
}

absl::Status Raft::HandleAppend(Message m) {
  Message response;
  response.type = MessageType::kAppResp;
  response.to = m.from;
  if (m.index < log_.committed()) {
    response.index = log_.committed();
    Send(std::move(response));
    return absl::OkStatus();
  }
  const EntryId previous{m.log_term, m.index};
  ETCDD_ASSIGN_OR_RETURN(const Log::AppendResult result,
                         log_.MaybeAppend(previous, m.commit, absl::MakeSpan(m.entries)));
  if (result.matched) {
    response.index = result.last_new_index;
    Send(std::move(response));
    return absl::OkStatus();
  }
  absl::StatusOr<uint64_t> own_term = log_.Term(m.index);
  ETCDD_RAFT_LOG(config_.logger, kDebug,
                 "%x [logterm: %d, index: %d] rejected MsgApp [logterm: %d, index: %d] from %x",
                 config_.id, own_term.ok() ? *own_term : 0, m.index, m.log_term, m.index, m.from);
  // The hint lets the leader skip a whole term of ours per probe: nothing of ours with a term above
  // the leader's at that place can match.
  const EntryId hint =
      log_.FindConflictByTerm(std::min(m.index, log_.LastIndex()), m.log_term);
  response.index = m.index;
  response.reject = true;
  response.reject_hint = hint.index;
  response.log_term = hint.term;
  Send(std::move(response));
  return absl::OkStatus();
}

absl::Status Raft::CheckCommitKnown(uint64_t commit) const {
  if (commit <= log_.LastIndex()) return absl::OkStatus();
  // A leader only says this after we acknowledged those entries (R28).
  return absl::DataLossError(absl::StrFormat(
      "tocommit(%d) is out of range [lastIndex(%d)]. Was the raft log corrupted, truncated, or "
      "lost?",
      commit, log_.LastIndex()));
}

absl::Status Raft::HandleHeartbeat(const Message& m) {
  ETCDD_RETURN_IF_ERROR(CheckCommitKnown(m.commit));
  log_.CommitTo(m.commit);
  Message response;
  response.type = MessageType::kHeartbeatResp;
  response.to = m.from;
  response.context = m.context;
  Send(std::move(response));
  return absl::OkStatus();
}

absl::Status Raft::HandleSnapshot(Message m) {
  const uint64_t index = m.snapshot->index;
  const uint64_t term = m.snapshot->term;
  ETCDD_ASSIGN_OR_RETURN(const bool restored, RestoreSnapshot(m.snapshot));
  ETCDD_RAFT_LOG(config_.logger, kInfo, "%x [commit: %d] %s snapshot [index: %d, term: %d]",
                 config_.id, log_.committed(), restored ? "restored" : "ignored", index, term);
  Message response;
  response.type = MessageType::kAppResp;
  response.to = m.from;
  response.index = restored ? log_.LastIndex() : log_.committed();
  Send(std::move(response));
  return absl::OkStatus();
}

absl::StatusOr<bool> Raft::RestoreSnapshot(const std::shared_ptr<const Snapshot>& snapshot) {
  if (snapshot->index <= log_.committed()) return false;
  ETCDD_CHECK(state_ == StateType::kFollower);
  const ConfState& conf_state = snapshot->conf_state;
  const auto named = [this](const std::vector<NodeId>& ids) {
    return std::find(ids.begin(), ids.end(), config_.id) != ids.end();
  };
  // learners_next is no place of its own: those are outgoing voters.
  if (!named(conf_state.voters) && !named(conf_state.learners) &&
      !named(conf_state.voters_outgoing)) {
    ETCDD_RAFT_LOG(config_.logger, kWarn,
                   "%x attempted to restore snapshot but it is not in the ConfState %s; should "
                   "never happen",
                   config_.id, Describe(conf_state));
    return false;
  }
  if (log_.Matches({snapshot->term, snapshot->index})) {
    const EntryId last = log_.LastEntry();
    ETCDD_RAFT_LOG(config_.logger, kInfo,
                   "%x [commit: %d, lastindex: %d, lastterm: %d] fast-forwarded commit to snapshot "
                   "[index: %d, term: %d]",
                   config_.id, log_.committed(), last.index, last.term, snapshot->index,
                   snapshot->term);
    log_.CommitTo(snapshot->index);
    return false;
  }
  // Possible: CheckIncoming tried it.
  ETCDD_ASSIGN_OR_RETURN(
      ConfChangeResult configuration,
      RestoreConfiguration(conf_state, config_.inflight_messages_max, config_.inflight_bytes_max,
                           snapshot->index));
  log_.Restore(snapshot);
  const ConfState active = SwitchTo(std::move(configuration));
  ETCDD_CHECK(Equivalent(active, conf_state));
  const EntryId last = log_.LastEntry();
  tracker_.Find(config_.id)->MaybeUpdate(last.index);
  ETCDD_RAFT_LOG(config_.logger, kInfo,
                 "%x [commit: %d, lastindex: %d, lastterm: %d] restored snapshot [index: %d, term: "
                 "%d]",
                 config_.id, log_.committed(), last.index, last.term, snapshot->index,
                 snapshot->term);
  return true;
}

}  // namespace etcdd::raft
