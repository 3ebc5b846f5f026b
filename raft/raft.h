#pragma once

// Raft: the state of one node and the rules every message passes. raw_node.h is the face; nothing
// else outside this folder uses this class.
//
// The rules are split by role:
//   raft.cc            construction, terms, sending, elections' answers, storage acknowledgements
//   raft_follower.cc   follower: appends, heartbeats, snapshots, forwarding
//   raft_candidate.cc  campaigning and counting votes
//   raft_leader.cc     proposals, commit, transfers, configuration checks
//   raft_replication.cc  leader: appends and snapshots to one member, and its answers
//   raft_conf.cc       activating configurations
//   raft_invariants.cc what must hold between two calls
//
// Confined to the raft strand.

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "raft/conf_changer.h"
#include "raft/config.h"
#include "raft/log.h"
#include "raft/read_only.h"
#include "raft/storage.h"
#include "raft/tracker.h"
#include "raft/types.h"

namespace etcdd::raft {

class Raft {
 public:
  static absl::StatusOr<std::unique_ptr<Raft>> Create(const Config& config, Storage* storage);

  // Inputs ------------------------------------------------------------------------------------

  void Tick();
  // A message that passed the checks of CheckIncoming, or the node's own.
  absl::Status Step(Message message);
  // What a message from outside must satisfy before it may touch the state.
  absl::Status CheckIncoming(const Message& message) const;
  // Activates a committed configuration change.
  ConfState ApplyConfChange(const ConfChangeV2& change);

  // State -------------------------------------------------------------------------------------

  NodeId id() const { return config_.id; }
  uint64_t term() const { return term_; }
  NodeId vote() const { return vote_; }
  NodeId leader() const { return leader_; }
  StateType state() const { return state_; }
  NodeId transfer_target() const { return transfer_target_; }
  HardState hard_state() const { return {term_, vote_, log_.committed()}; }
  SoftState soft_state() const { return {leader_, state_}; }
  // Term of the hard state the node started from; below term() at start after a torn write.
  uint64_t stored_term() const { return stored_term_; }
  bool learner() const { return learner_; }
  const Config& config() const { return config_; }
  const Log& log() const { return log_; }
  const Tracker& tracker() const { return tracker_; }

  void set_randomized_election_timeout(int ticks) { randomized_election_timeout_ = ticks; }

  // For RawNode, which assembles Readies from them --------------------------------------------

  Log& mutable_log() { return log_; }
  // May leave at once.
  std::vector<Message>& messages() { return messages_; }
  // Assert durability: only after everything now unstable is stable.
  std::vector<Message>& messages_after_append() { return messages_after_append_; }
  std::vector<ReadState>& read_states() { return read_states_; }
  const std::vector<Message>& messages() const { return messages_; }
  const std::vector<Message>& messages_after_append() const { return messages_after_append_; }
  const std::vector<ReadState>& read_states() const { return read_states_; }

  void CheckInvariants() const;

 private:
  enum class CampaignType : uint8_t { kPreElection, kElection, kTransfer };

  Raft(const Config& config, Storage* storage);

  // raft.cc
  void Send(Message message);
  void ResetTerm(uint64_t term);
  void BecomeFollower(uint64_t term, NodeId leader);
  // Term rules; returns false if the message needs no further handling.
  bool AdmitTerm(const Message& message);
  void HandleLowerTerm(const Message& message);
  bool InLease() const;
  void HandleVote(const Message& message);
  void HandleStorageAppendResp(const Message& message);
  void HandleStorageApplyResp(const Message& message);
  void AppliedSnapshot(const Snapshot& snapshot);
  void AppliedTo(uint64_t index, uint64_t bytes);
  absl::Status StepRole(Message message);
  absl::Status CheckAppend(const Message& message) const;
  absl::Status CheckCommitKnown(uint64_t commit) const;

  // raft_candidate.cc
  void TickElection();
  bool Promotable() const;
  bool HasUnappliedConfChanges() const;
  void Hup(CampaignType type);
  void Campaign(CampaignType type);
  void BecomePreCandidate();
  void BecomeCandidate();
  void HandleVoteResp(const Message& message);
  absl::Status StepCandidate(Message message);

  // raft_follower.cc
  absl::Status StepFollower(Message message);
  absl::Status HandleAppend(Message message);
  absl::Status HandleHeartbeat(const Message& message);
  absl::Status HandleSnapshot(Message message);
  absl::StatusOr<bool> RestoreSnapshot(const std::shared_ptr<const Snapshot>& snapshot);
  absl::Status Forward(Message message);

  // raft_leader.cc
  void BecomeLeader();
  void TickHeartbeat();
  absl::Status StepLeader(Message message);
  void CheckQuorum();
  absl::Status HandleProposal(Message message);
  absl::Status ScreenConfChanges(std::vector<Entry>* entries, uint64_t* pending_conf_index) const;
  std::string ConfChangeRefusal(const ConfChangeV2& change, uint64_t pending_conf_index) const;
  // Gives the entries their places. False if they would exceed the uncommitted limit.
  bool AppendEntries(std::vector<Entry> entries);
  bool IncreaseUncommitted(const std::vector<Entry>& entries);
  void ReduceUncommitted(uint64_t payload_bytes);
  // Whether an entry of this very leadership is committed. (Comparing terms would not do: a
  // bootstrap snapshot may carry the first leader's term.)
  bool CommittedInTerm() const { return log_.committed() >= term_start_index_; }
  // Commits what a quorum holds; then reads that waited for the term's first commit go on.
  bool MaybeCommit();
  void HandleTransferLeader(NodeId target);
  absl::Status HandleReadIndex(Message message);
  // Returns whether the read was queued, so that a heartbeat round must confirm it.
  absl::StatusOr<bool> AnswerOrQueueRead(Message message);
  void ReleasePostponedReads();
  void ReleaseConfirmedReads();
  void RespondToRead(const Message& request, uint64_t index);
  void LeaveJointIfDue();

  // raft_replication.cc
  void BroadcastAppend();
  void BroadcastHeartbeat();
  void SendHeartbeat(NodeId to, Progress* progress);
  // Sends an append or a snapshot if the member may get one now; an empty append only if
  // `even_if_empty`. Returns whether something was sent.
  bool MaybeSendAppend(NodeId to, Progress* progress, bool even_if_empty);
  bool MaybeSendSnapshot(NodeId to, Progress* progress);
  void SendTimeoutNow(NodeId to);
  void HandleAppendResp(const Message& message, Progress* progress);
  void HandleAppendRejected(const Message& message, Progress* progress);
  void HandleHeartbeatResp(const Message& message, Progress* progress);
  void HandleSnapStatus(const Message& message, Progress* progress);
  void HandleUnreachable(const Message& message, Progress* progress);

  // raft_conf.cc
  ConfState SwitchTo(ConfChangeResult result);

  // Fixed after construction.
  const Config config_;

  uint64_t stored_term_ = 0;  // fixed after Create
  uint64_t term_ = 0;         // only grows
  NodeId vote_ = kNoNode;    // in term_; changes at most once per term
  NodeId leader_ = kNoNode;  // in term_, if known
  StateType state_ = StateType::kFollower;
  bool learner_ = false;  // in the active configuration
  Log log_;
  Tracker tracker_;
  ReadOnly read_only_;

  // Leader only: no change may be proposed while this index is not applied.
  uint64_t pending_conf_index_ = 0;
  // Leader only: index of the empty entry it began with.
  uint64_t term_start_index_ = 0;
  // Leader only: payload of its entries not yet applied; an estimate that saturates at 0.
  uint64_t uncommitted_bytes_ = 0;
  NodeId transfer_target_ = kNoNode;  // leader only

  // Ticks since: the term or leader was last heard of (follower, candidate), the last check-quorum
  // round (leader).
  int election_elapsed_ = 0;
  int heartbeat_elapsed_ = 0;  // leader only
  int randomized_election_timeout_ = 0;  // in [election_ticks, 2 * election_ticks)

  std::vector<Message> messages_;
  std::vector<Message> messages_after_append_;
  std::vector<ReadState> read_states_;
};

}  // namespace etcdd::raft
