#include "raft/raft.h"

#include <algorithm>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "raft/describe.h"
#include "raft/logging.h"
#include "server/base/check.h"
#include "server/base/status_macros.h"

namespace etcdd::raft {
namespace {

bool IsVoteRequest(MessageType type) {
  return type == MessageType::kVote || type == MessageType::kPreVote;
}

bool IsFromLeader(MessageType type) {
  return type == MessageType::kApp || type == MessageType::kHeartbeat ||
         type == MessageType::kSnap;
}

// Messages whose term the sender sets itself: it may not be the node's current one.
bool CarriesOwnTerm(MessageType type) {
  return IsVoteRequest(type) || type == MessageType::kVoteResp ||
         type == MessageType::kPreVoteResp;
}

Config WithDefaults(Config config) {
  if (config.committed_bytes_max == 0) config.committed_bytes_max = config.message_bytes_max;
  if (config.uncommitted_bytes_max == 0) config.uncommitted_bytes_max = kNoLimit;
  return config;
}

}  // namespace

Raft::Raft(const Config& config, Storage* storage)
    : config_(WithDefaults(config)),
      log_(storage, config_.committed_bytes_max, config.logger),
      tracker_(config.inflight_messages_max, config.inflight_bytes_max),
      read_only_(config.pending_reads_max) {}

absl::StatusOr<std::unique_ptr<Raft>> Raft::Create(const Config& config, Storage* storage) {
  ETCDD_RETURN_IF_ERROR(config.Validate());
  ETCDD_ASSIGN_OR_RETURN(Storage::InitialState initial, storage->GetInitialState());
  std::unique_ptr<Raft> raft(new Raft(config, storage));
  Log& log = raft->log_;
  absl::StatusOr<ConfChangeResult> restored =
      RestoreConfiguration(initial.conf_state, config.inflight_messages_max,
                           config.inflight_bytes_max, log.LastIndex());
  if (!restored.ok()) return absl::DataLossError(restored.status().message());
  const ConfState active = raft->SwitchTo(*std::move(restored));
  ETCDD_CHECK(Equivalent(active, initial.conf_state));

  const HardState& hard_state = initial.hard_state;
  if (!hard_state.empty()) {
    // A commit index behind the snapshot or the compaction point is fine: it is written lazily.
    if (hard_state.commit > log.LastIndex()) {
      return absl::DataLossError(absl::StrFormat("%x state.commit %d is out of range [%d, %d]",
                                                 config.id, hard_state.commit, log.committed(),
                                                 log.LastIndex()));
    }
    raft->term_ = hard_state.term;
    raft->vote_ = hard_state.vote;
    log.CommitTo(hard_state.commit);
  }
  raft->stored_term_ = raft->term_;
  if (const EntryId last = log.LastEntry();
      last.index >= log.FirstIndex() && last.term > raft->term_) {
    // A crash between the entries and the hard state of one write. Nothing was said at that term,
    // no vote was given; but going on below it could overwrite what its leader sent (R31).
    raft->term_ = last.term;
    raft->vote_ = kNoNode;
  }
  if (config.applied > log.applied()) {
    if (config.applied > log.LastIndex()) {
      return absl::DataLossError(absl::StrFormat("applied(%d) is beyond the log [lastIndex(%d)]",
                                                 config.applied, log.LastIndex()));
    }
    // What was applied was committed; the commit index is written lazily and may have been lost.
    log.CommitTo(config.applied);
    log.AppliedTo(config.applied, 0);
  }
  raft->BecomeFollower(raft->term_, kNoNode);

  const EntryId last = log.LastEntry();
  ETCDD_RAFT_LOG(config.logger, kInfo,
                 "newRaft %x [peers: [%s], term: %d, commit: %d, applied: %d, lastindex: %d, "
                 "lastterm: %d]",
                 config.id,
                 absl::StrJoin(raft->tracker_.configuration().voters.All(), ",",
                               [](std::string* out, NodeId id) {
                                 absl::StrAppend(out, absl::Hex(id));
                               }),
                 raft->term_, log.committed(), log.applied(), last.index, last.term);
  return raft;
}

void Raft::Tick() {
  if (state_ == StateType::kLeader) {
    TickHeartbeat();
  } else {
    TickElection();
  }
}

void Raft::Send(Message message) {
  if (message.from == kNoNode) message.from = config_.id;
  if (CarriesOwnTerm(message.type)) {
    // Only a node that never saw a term refuses a pre-vote at term 0.
    ETCDD_CHECK_MSG(message.term != 0 || message.reject, "term should be set");
  } else {
    ETCDD_CHECK_MSG(message.term == 0, "term should not be set");
    // Forwarded requests are the business of whoever leads, in whatever term (R36).
    if (message.type != MessageType::kProp && message.type != MessageType::kReadIndex) {
      message.term = term_;
    }
  }
  switch (message.type) {
    case MessageType::kAppResp:
    case MessageType::kVoteResp:
    case MessageType::kPreVoteResp:
      messages_after_append_.push_back(std::move(message));
      break;
    default:
      ETCDD_CHECK_MSG(message.to != config_.id, "message should not be self-addressed");
      messages_.push_back(std::move(message));
  }
}

void Raft::ResetTerm(uint64_t term) {
  if (term != term_) {
    ETCDD_CHECK(term > term_);
    term_ = term;
    vote_ = kNoNode;
  }
  leader_ = kNoNode;
  election_elapsed_ = 0;
  heartbeat_elapsed_ = 0;
  randomized_election_timeout_ =
      config_.election_ticks + static_cast<int>(config_.random->Uniform(
                                   static_cast<uint64_t>(config_.election_ticks)));
  transfer_target_ = kNoNode;
  tracker_.ResetVotes();
  const uint64_t last = log_.LastIndex();
  for (auto& [id, progress] : tracker_.progress()) {
    progress.Reset(/*match=*/id == config_.id ? last : 0, /*next=*/last + 1);
  }
  pending_conf_index_ = 0;
  uncommitted_bytes_ = 0;
  read_only_.Reset();
}

void Raft::BecomeFollower(uint64_t term, NodeId leader) {
  ResetTerm(term);
  state_ = StateType::kFollower;
  leader_ = leader;
  ETCDD_RAFT_LOG(config_.logger, kInfo, "%x became follower at term %d", config_.id, term_);
}

absl::Status Raft::CheckIncoming(const Message& m) const {
  const auto malformed = [](absl::string_view why) {
    return absl::InvalidArgumentError(absl::StrCat("raft: malformed message: ", why));
  };
  if (static_cast<int>(m.type) >= kMessageTypeCount) return malformed("unknown type");
  const bool from_thread = m.from == kAppendThread || m.from == kApplyThread;
  if (IsLocalMessage(m.type) && !from_thread) return StepLocalMessageError();
  if (IsResponseMessage(m.type) && !from_thread && tracker_.Find(m.from) == nullptr) {
    return StepPeerNotFoundError();
  }
  if (from_thread && m.type != MessageType::kStorageAppendResp &&
      m.type != MessageType::kStorageApplyResp) {
    return StepLocalMessageError();
  }
  if (IsFromLeader(m.type) || IsVoteRequest(m.type) || m.type == MessageType::kTimeoutNow) {
    if (!IsMemberId(m.from) || m.from == config_.id) return malformed("impossible sender");
    if (m.term == 0) return malformed("no term");
  }
  switch (m.type) {
    case MessageType::kAppResp:
    case MessageType::kHeartbeatResp:
    case MessageType::kVoteResp:
      if (m.term == 0) return malformed("no term");
      break;
    case MessageType::kPreVoteResp:
      // A node that never saw a term can refuse, but not grant.
      if (m.term == 0 && !m.reject) return malformed("no term");
      break;
    case MessageType::kApp:
      return CheckAppend(m);
    case MessageType::kSnap:
      if (m.snapshot == nullptr || m.snapshot->empty()) return malformed("no snapshot");
      if (m.snapshot->term > m.term) return malformed("snapshot of a later term");
      return RestoreConfiguration(m.snapshot->conf_state, config_.inflight_messages_max,
                                  config_.inflight_bytes_max, m.snapshot->index)
          .status();
    case MessageType::kProp:
      if (m.entries.empty()) return malformed("empty proposal");
      break;
    case MessageType::kReadIndex:
      if (m.entries.size() != 1) return malformed("read without a context");
      break;
    default:
      break;
  }
  return absl::OkStatus();
}

absl::Status Raft::CheckAppend(const Message& m) const {
  uint64_t index = m.index;
  uint64_t term = m.log_term;
  for (const Entry& entry : m.entries) {
    if (entry.index != index + 1) {
      return absl::InvalidArgumentError("raft: malformed message: gap in the entries");
    }
    if (entry.term < term) {
      return absl::InvalidArgumentError("raft: malformed message: entry terms fall");
    }
    index = entry.index;
    term = entry.term;
  }
  if (term > m.term) {
    return absl::InvalidArgumentError("raft: malformed message: entry of a later term");
  }
  return absl::OkStatus();
}

absl::Status Raft::Step(Message m) {
  if (!AdmitTerm(m)) return absl::OkStatus();
  switch (m.type) {
    case MessageType::kHup:
      Hup(config_.pre_vote ? CampaignType::kPreElection : CampaignType::kElection);
      return absl::OkStatus();
    case MessageType::kStorageAppendResp:
      HandleStorageAppendResp(m);
      return absl::OkStatus();
    case MessageType::kStorageApplyResp:
      HandleStorageApplyResp(m);
      return absl::OkStatus();
    case MessageType::kVote:
    case MessageType::kPreVote:
      HandleVote(m);
      return absl::OkStatus();
    default:
      return StepRole(std::move(m));
  }
}

absl::Status Raft::StepRole(Message m) {
  switch (state_) {
    case StateType::kFollower:
      return StepFollower(std::move(m));
    case StateType::kCandidate:
    case StateType::kPreCandidate:
      return StepCandidate(std::move(m));
    case StateType::kLeader:
      return StepLeader(std::move(m));
  }
  return absl::OkStatus();
}

bool Raft::InLease() const {
  return config_.check_quorum && leader_ != kNoNode && election_elapsed_ < config_.election_ticks;
}

bool Raft::AdmitTerm(const Message& m) {
  if (m.term == 0 || m.term == term_) return true;
  if (m.term < term_) {
    HandleLowerTerm(m);
    return false;
  }
  if (IsVoteRequest(m.type) && m.context.view() != kCampaignTransfer && InLease()) {
    // A server that hears of its leader grants no votes and keeps its term (Raft thesis 4.2.3).
    const EntryId last = log_.LastEntry();
    ETCDD_RAFT_LOG(config_.logger, kInfo,
                   "%x [logterm: %d, index: %d, vote: %x] ignored %s from %x [logterm: %d, index: "
                   "%d] at term %d: lease is not expired (remaining ticks: %d)",
                   config_.id, last.term, last.index, vote_, Name(m.type), m.from, m.log_term,
                   m.index, term_, config_.election_ticks - election_elapsed_);
    return false;
  }
  // A pre-vote is about a future term, and its grant carries our own future term.
  if (m.type == MessageType::kPreVote) return true;
  if (m.type == MessageType::kPreVoteResp && !m.reject) return true;
  ETCDD_RAFT_LOG(config_.logger, kInfo,
                 "%x [term: %d] received a %s message with higher term from %x [term: %d]",
                 config_.id, term_, Name(m.type), m.from, m.term);
  BecomeFollower(m.term, IsFromLeader(m.type) ? m.from : kNoNode);
  return true;
}

void Raft::HandleLowerTerm(const Message& m) {
  if ((config_.check_quorum || config_.pre_vote) &&
      (m.type == MessageType::kHeartbeat || m.type == MessageType::kApp)) {
    // We cannot follow a leader of an older term, nor, with these options, make it hear of ours by
    // campaigning. Answering at our term tells it (R6, R8).
    Message response;
    response.type = MessageType::kAppResp;
    response.to = m.from;
    Send(std::move(response));
    return;
  }
  if (m.type == MessageType::kPreVote) {
    // Not silently: a candidate with a longer log but a lower term must learn ours (R6).
    const EntryId last = log_.LastEntry();
    ETCDD_RAFT_LOG(config_.logger, kInfo,
                   "%x [logterm: %d, index: %d, vote: %x] rejected %s from %x [logterm: %d, index: "
                   "%d] at term %d",
                   config_.id, last.term, last.index, vote_, Name(m.type), m.from, m.log_term,
                   m.index, term_);
    Message response;
    response.type = MessageType::kPreVoteResp;
    response.to = m.from;
    response.term = term_;
    response.reject = true;
    Send(std::move(response));
    return;
  }
  if (m.type == MessageType::kStorageAppendResp) {
    // Its entries may have been overwritten since: newer writes of the same indexes may still be in
    // the queue, so only the snapshot counts (R32).
    if (m.index != 0) {
      ETCDD_RAFT_LOG(config_.logger, kInfo,
                     "%x [term: %d] ignored entry appends from a %s message with lower term "
                     "[term: %d]",
                     config_.id, term_, Name(m.type), m.term);
    }
    if (m.snapshot != nullptr) AppliedSnapshot(*m.snapshot);
    return;
  }
  ETCDD_RAFT_LOG(config_.logger, kInfo,
                 "%x [term: %d] ignored a %s message with lower term from %x [term: %d]",
                 config_.id, term_, Name(m.type), m.from, m.term);
}

void Raft::HandleVote(const Message& m) {
  // We may have voted for this candidate already, or not have voted and know no leader, or it is a
  // pre-vote for a term we have not seen. Learners vote too: they may have been promoted without
  // knowing (R9).
  const bool free_to_vote = vote_ == m.from || (vote_ == kNoNode && leader_ == kNoNode) ||
                            (m.type == MessageType::kPreVote && m.term > term_);
  const bool grant = free_to_vote && log_.IsUpToDate({m.log_term, m.index});
  const EntryId last = log_.LastEntry();
  ETCDD_RAFT_LOG(config_.logger, kInfo,
                 "%x [logterm: %d, index: %d, vote: %x] %s %s %s %x [logterm: %d, index: %d] at "
                 "term %d",
                 config_.id, last.term, last.index, vote_, grant ? "cast" : "rejected",
                 Name(m.type), grant ? "for" : "from", m.from, m.log_term, m.index, term_);
  Message response;
  response.type = m.type == MessageType::kVote ? MessageType::kVoteResp
                                               : MessageType::kPreVoteResp;
  response.to = m.from;
  // A grant carries the term voted for: the candidate's term and ours may be apart (R5).
  response.term = grant ? m.term : term_;
  response.reject = !grant;
  Send(std::move(response));
  if (grant && m.type == MessageType::kVote) {
    election_elapsed_ = 0;
    vote_ = m.from;
  }
}

void Raft::HandleStorageAppendResp(const Message& m) {
  if (m.index != 0) log_.StableTo(m.index, m.log_term);
  if (m.snapshot != nullptr) AppliedSnapshot(*m.snapshot);
}

void Raft::HandleStorageApplyResp(const Message& m) {
  if (m.entries.empty()) return;
  uint64_t bytes = 0;
  uint64_t payload_bytes = 0;
  for (const Entry& entry : m.entries) {
    bytes += EncodedSize(entry);
    payload_bytes += entry.data.size();
  }
  AppliedTo(m.entries.back().index, bytes);
  ReduceUncommitted(payload_bytes);
}

void Raft::AppliedSnapshot(const Snapshot& snapshot) {
  log_.StableSnapshotTo(snapshot.index);
  AppliedTo(snapshot.index, 0);
}

void Raft::AppliedTo(uint64_t index, uint64_t bytes) {
  log_.AppliedTo(std::max(index, log_.applied()), bytes);
  LeaveJointIfDue();
}

}  // namespace etcdd::raft
