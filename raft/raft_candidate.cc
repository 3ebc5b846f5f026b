// Campaigning, and counting votes.

#include <algorithm>
#include <string>
#include <utility>

#include "raft/describe.h"
#include "raft/logging.h"
#include "raft/raft.h"
#include "server/base/check.h"

namespace etcdd::raft {

void Raft::TickElection() {
  ++election_elapsed_;
  if (!Promotable() || election_elapsed_ < randomized_election_timeout_) return;
  election_elapsed_ = 0;
  Hup(config_.pre_vote ? CampaignType::kPreElection : CampaignType::kElection);
}

bool Raft::Promotable() const {
  const Progress* progress = tracker_.Find(config_.id);
  return progress != nullptr && !progress->learner() && !log_.HasUnstableSnapshot();
}

bool Raft::HasUnappliedConfChanges() const {
  // The application may have compacted what it applied before telling us.
  const uint64_t low = std::max(log_.applied() + 1, log_.FirstIndex());
  bool found = false;
  const absl::Status status =
      log_.Scan(low, log_.committed() + 1, config_.committed_bytes_max,
                [&found](const Entry& entry) {
                  found = entry.type != EntryType::kNormal;
                  return !found;
                });
  ETCDD_CHECK_MSG(status.ok(), "error scanning unapplied entries");
  return found;
}

void Raft::Hup(CampaignType type) {
  if (state_ == StateType::kLeader) {
    ETCDD_RAFT_LOG(config_.logger, kDebug, "%x ignoring MsgHup because already leader",
                   config_.id);
    return;
  }
  if (!Promotable()) {
    ETCDD_RAFT_LOG(config_.logger, kWarn, "%x is unpromotable and can not campaign", config_.id);
    return;
  }
  if (HasUnappliedConfChanges()) {
    // Else two configurations more than one change apart could elect at once (R10).
    ETCDD_RAFT_LOG(config_.logger, kWarn,
                   "%x cannot campaign at term %d since there are still pending configuration "
                   "changes to apply",
                   config_.id, term_);
    return;
  }
  ETCDD_RAFT_LOG(config_.logger, kInfo, "%x is starting a new election at term %d", config_.id,
                 term_);
  Campaign(type);
}

void Raft::Campaign(CampaignType type) {
  ETCDD_CHECK(Promotable());
  const bool pre_vote = type == CampaignType::kPreElection;
  if (pre_vote) {
    BecomePreCandidate();
  } else {
    BecomeCandidate();
  }
  // A pre-vote asks about the next term without entering it.
  const uint64_t term = pre_vote ? term_ + 1 : term_;
  const MessageType request_type = pre_vote ? MessageType::kPreVote : MessageType::kVote;
  const EntryId last = log_.LastEntry();
  for (NodeId id : tracker_.configuration().voters.All()) {
    Message m;
    m.to = id;
    m.term = term;
    if (id == config_.id) {
      // The own vote counts when it is durable, so it travels like any other answer.
      m.type = pre_vote ? MessageType::kPreVoteResp : MessageType::kVoteResp;
      Send(std::move(m));
      continue;
    }
    m.type = request_type;
    m.index = last.index;
    m.log_term = last.term;
    if (type == CampaignType::kTransfer) m.context = base::Bytes::Copy(kCampaignTransfer);
    ETCDD_RAFT_LOG(config_.logger, kInfo,
                   "%x [logterm: %d, index: %d] sent %s request to %x at term %d", config_.id,
                   last.term, last.index, Name(request_type), id, term_);
    Send(std::move(m));
  }
}

void Raft::BecomePreCandidate() {
  ETCDD_CHECK(state_ != StateType::kLeader);
  // Term, vote and timers stay. The leader is forgotten, or by its lease we would go on refusing
  // others for a leader that we ourselves gave up (R7).
  tracker_.ResetVotes();
  state_ = StateType::kPreCandidate;
  leader_ = kNoNode;
  ETCDD_RAFT_LOG(config_.logger, kInfo, "%x became pre-candidate at term %d", config_.id, term_);
}

void Raft::BecomeCandidate() {
  ETCDD_CHECK(state_ != StateType::kLeader);
  ResetTerm(term_ + 1);
  vote_ = config_.id;
  state_ = StateType::kCandidate;
  ETCDD_RAFT_LOG(config_.logger, kInfo, "%x became candidate at term %d", config_.id, term_);
}

void Raft::HandleVoteResp(const Message& m) {
  ETCDD_RAFT_LOG(config_.logger, kInfo, "%x received %s%s from %x at term %d", config_.id,
                 Name(m.type), m.reject ? " rejection" : "", m.from, term_);
  tracker_.RecordVote(m.from, !m.reject);
  const Tracker::Tally tally = tracker_.TallyVotes();
  ETCDD_RAFT_LOG(config_.logger, kInfo, "%x has received %d %s votes and %d vote rejections",
                 config_.id, tally.granted, Name(m.type), tally.rejected);
  switch (tally.result) {
    case VoteResult::kWon:
      if (state_ == StateType::kPreCandidate) {
        Campaign(CampaignType::kElection);
      } else if (tracker_.HasVoted(config_.id) || config_.win_before_own_vote_is_durable) {
        BecomeLeader();
        BroadcastAppend();
      }
      break;
    case VoteResult::kLost:
      // Also after a lost pre-vote: the refusing voter's term may be far ahead, but it did not say
      // so at a term we must adopt.
      BecomeFollower(term_, kNoNode);
      break;
    case VoteResult::kPending:
      break;
  }
}

absl::Status Raft::StepCandidate(Message m) {
  switch (m.type) {
    case MessageType::kProp:
      ETCDD_RAFT_LOG(config_.logger, kInfo, "%x no leader at term %d; dropping proposal",
                     config_.id, term_);
      return ProposalDroppedError("no leader");
    case MessageType::kReadIndex:
      return ReadDroppedError("no leader");
    case MessageType::kApp:
    case MessageType::kHeartbeat:
    case MessageType::kSnap:
      // Someone won this term.
      BecomeFollower(m.term, m.from);
      return StepFollower(std::move(m));
    case MessageType::kVoteResp:
    case MessageType::kPreVoteResp: {
      // A late answer to the pre-vote is none to the vote, and the other way round (R37).
      const MessageType mine = state_ == StateType::kPreCandidate ? MessageType::kPreVoteResp
                                                                  : MessageType::kVoteResp;
      if (m.type == mine) HandleVoteResp(m);
      return absl::OkStatus();
    }
    case MessageType::kTimeoutNow:
      ETCDD_RAFT_LOG(config_.logger, kDebug, "%x [term %d state %s] ignored MsgTimeoutNow from %x",
                     config_.id, term_, Name(state_), m.from);
      return absl::OkStatus();
    default:
      return absl::OkStatus();
  }
}

}  // namespace etcdd::raft
