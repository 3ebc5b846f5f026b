#include "raft/raw_node.h"

#include <utility>

#include "raft/describe.h"
#include "raft/raft.h"
#include "server/base/check.h"
#include "server/base/status_macros.h"

namespace etcdd::raft {

void Ready::Clear() {
  soft_state.reset();
  hard_state.reset();
  read_states.clear();
  entries.clear();
  snapshot = nullptr;
  committed_entries.clear();
  messages.clear();
  storage_append.reset();
  storage_apply.reset();
  must_sync = false;
}

absl::StatusOr<std::unique_ptr<RawNode>> RawNode::Create(const Config& config, Storage* storage) {
  ETCDD_ASSIGN_OR_RETURN(std::unique_ptr<Raft> raft, Raft::Create(config, storage));
  return std::unique_ptr<RawNode>(new RawNode(std::move(raft)));
}

RawNode::RawNode(std::unique_ptr<Raft> raft)
    : raft_(std::move(raft)),
      previous_hard_state_(raft_->hard_state()),
      previous_soft_state_(raft_->soft_state()) {
  previous_hard_state_.term = raft_->stored_term();
}

RawNode::~RawNode() = default;

// Inputs ------------------------------------------------------------------------------------------

void RawNode::Tick() { raft_->Tick(); }

absl::Status RawNode::StepLocal(Message message) { return raft_->Step(std::move(message)); }

void RawNode::Campaign() {
  Message m;
  m.type = MessageType::kHup;
  const absl::Status status = StepLocal(std::move(m));
  ETCDD_CHECK(status.ok());
}

absl::Status RawNode::Propose(base::Bytes data) {
  std::vector<base::Bytes> one;
  one.push_back(std::move(data));
  return Propose(std::move(one));
}

absl::Status RawNode::Propose(std::vector<base::Bytes> data) {
  ETCDD_CHECK(!data.empty());
  Message m;
  m.type = MessageType::kProp;
  m.from = raft_->id();
  m.entries.resize(data.size());
  for (size_t i = 0; i < data.size(); ++i) m.entries[i].data = std::move(data[i]);
  return StepLocal(std::move(m));
}

absl::Status RawNode::ProposeConfChange(const ConfChange& change) {
  Message m;
  m.type = MessageType::kProp;
  m.from = raft_->id();
  m.entries.resize(1);
  m.entries[0].type = EntryType::kConfChange;
  m.entries[0].data = Encode(change);
  return StepLocal(std::move(m));
}

absl::Status RawNode::ProposeConfChange(const ConfChangeV2& change) {
  Message m;
  m.type = MessageType::kProp;
  m.from = raft_->id();
  m.entries.resize(1);
  m.entries[0].type = EntryType::kConfChangeV2;
  m.entries[0].data = Encode(change);
  return StepLocal(std::move(m));
}

ConfState RawNode::ApplyConfChange(const ConfChange& change) {
  return raft_->ApplyConfChange(AsV2(change));
}

ConfState RawNode::ApplyConfChange(const ConfChangeV2& change) {
  return raft_->ApplyConfChange(change);
}

absl::StatusOr<ConfState> RawNode::ApplyConfChange(const Entry& entry) {
  ETCDD_ASSIGN_OR_RETURN(const ConfChangeV2 change, DecodeConfChangeEntry(entry));
  const Log& log = raft_->log();
  const bool overtaken =
      entry.index <= log.applied() ||
      (log.HasUnstableSnapshot() && entry.index <= log.unstable().snapshot()->index);
  return overtaken ? conf_state() : raft_->ApplyConfChange(change);
}

absl::Status RawNode::Step(Message message) {
  ETCDD_RETURN_IF_ERROR(raft_->CheckIncoming(message));
  return raft_->Step(std::move(message));
}

absl::Status RawNode::ReadIndex(base::Bytes context) {
  Message m;
  m.type = MessageType::kReadIndex;
  m.from = raft_->id();
  m.entries.resize(1);
  m.entries[0].data = std::move(context);
  return StepLocal(std::move(m));
}

void RawNode::TransferLeader(NodeId target) {
  Message m;
  m.type = MessageType::kTransferLeader;
  m.from = target;
  const absl::Status status = StepLocal(std::move(m));
  ETCDD_CHECK(status.ok());
}

void RawNode::ForgetLeader() {
  Message m;
  m.type = MessageType::kForgetLeader;
  const absl::Status status = StepLocal(std::move(m));
  ETCDD_CHECK(status.ok());
}

void RawNode::ReportUnreachable(NodeId id) {
  Message m;
  m.type = MessageType::kUnreachable;
  m.from = id;
  const absl::Status status = StepLocal(std::move(m));
  ETCDD_CHECK(status.ok());
}

void RawNode::ReportSnapshot(NodeId id, bool ok) {
  Message m;
  m.type = MessageType::kSnapStatus;
  m.from = id;
  m.reject = !ok;
  const absl::Status status = StepLocal(std::move(m));
  ETCDD_CHECK(status.ok());
}

// Readies -----------------------------------------------------------------------------------------

bool RawNode::HasReady() const {
  const Raft& raft = *raft_;
  if (!raft.messages().empty() || !raft.messages_after_append().empty()) return true;
  const Log& log = raft.log();
  if (!log.unstable().NextEntries().empty()) return true;
  if (log.HasNextCommitted(/*allow_unstable=*/!raft.config().async_storage_writes)) return true;
  const HardState hard_state = raft.hard_state();
  if (!hard_state.empty() && hard_state != previous_hard_state_) return true;
  if (raft.soft_state() != previous_soft_state_) return true;
  return !raft.read_states().empty() || log.unstable().NextSnapshot() != nullptr;
}

Ready RawNode::TakeReady() {
  Ready ready;
  TakeReady(&ready);
  return ready;
}

void RawNode::TakeReady(Ready* ready) {
  ETCDD_CHECK_MSG(!ready_outstanding_, "two accepted Ready structs without call to Advance");
  ready->Clear();
  Log& log = raft_->mutable_log();
  const bool async = raft_->config().async_storage_writes;

  if (const SoftState now = raft_->soft_state(); now != previous_soft_state_) {
    ready->soft_state = now;
    previous_soft_state_ = now;
  }
  const absl::Span<const Entry> entries = log.unstable().NextEntries();
  if (const HardState now = raft_->hard_state(); now != previous_hard_state_ && !now.empty()) {
    ready->hard_state = now;
    ready->must_sync =
        now.term != previous_hard_state_.term || now.vote != previous_hard_state_.vote;
    previous_hard_state_ = now;
  }
  ready->must_sync = ready->must_sync || !entries.empty();
  ready->entries.assign(entries.begin(), entries.end());
  ready->snapshot = log.unstable().NextSnapshot();
  log.NextCommitted(/*allow_unstable=*/!async, &ready->committed_entries);
  ready->read_states.swap(raft_->read_states());
  ready->messages.swap(raft_->messages());

  FillStorageAppend(ready);
  FillStorageApply(ready);
  log.AcceptUnstable();
  ready_outstanding_ = !async;
}

void RawNode::FillStorageAppend(Ready* ready) {
  const Log& log = raft_->log();
  std::vector<Message>& after_append = raft_->messages_after_append();
  const bool async = raft_->config().async_storage_writes;

  // Whenever anything is unstable there is an acknowledgement under way that names the log's last
  // entry, so that one of the current term always comes, even if an earlier one is void (R32).
  Message ack;
  const bool needs_ack = log.HasUnstableEntries() || ready->snapshot != nullptr;
  if (needs_ack) {
    ack.type = MessageType::kStorageAppendResp;
    ack.to = raft_->id();
    ack.from = kAppendThread;
    ack.term = raft_->term();
    if (log.HasUnstableEntries()) {
      const EntryId last = log.LastEntry();
      ack.index = last.index;
      ack.log_term = last.term;
    }
    ack.snapshot = ready->snapshot;
  }
  if (!async) {
    for (Message& m : after_append) {
      (m.to == raft_->id() ? steps_on_advance_ : ready->messages).push_back(std::move(m));
    }
    after_append.clear();
    if (needs_ack) steps_on_advance_.push_back(std::move(ack));
    return;
  }
  if (ready->entries.empty() && !ready->hard_state.has_value() && ready->snapshot == nullptr &&
      after_append.empty()) {
    return;
  }
  Message& append = ready->storage_append.emplace();
  append.type = MessageType::kStorageAppend;
  append.to = kAppendThread;
  append.from = raft_->id();
  append.entries = std::exchange(ready->entries, {});
  append.snapshot = std::exchange(ready->snapshot, nullptr);
  if (ready->hard_state.has_value()) {
    append.term = ready->hard_state->term;
    append.vote = ready->hard_state->vote;
    append.commit = ready->hard_state->commit;
  }
  append.responses = std::exchange(after_append, {});
  if (needs_ack) append.responses.push_back(std::move(ack));
}

void RawNode::FillStorageApply(Ready* ready) {
  if (ready->committed_entries.empty()) return;
  const bool async = raft_->config().async_storage_writes;
  uint64_t bytes = 0;
  for (const Entry& entry : ready->committed_entries) bytes += EncodedSize(entry);
  raft_->mutable_log().AcceptApplying(ready->committed_entries.back().index, bytes,
                                      /*allow_unstable=*/!async);
  Message ack;
  ack.type = MessageType::kStorageApplyResp;
  ack.to = raft_->id();
  ack.from = kApplyThread;
  ack.entries = ready->committed_entries;
  if (!async) {
    steps_on_advance_.push_back(std::move(ack));
    return;
  }
  Message& apply = ready->storage_apply.emplace();
  apply.type = MessageType::kStorageApply;
  apply.to = kApplyThread;
  apply.from = raft_->id();
  apply.entries = std::exchange(ready->committed_entries, {});
  apply.responses.push_back(std::move(ack));
}

void RawNode::Advance() {
  ETCDD_CHECK_MSG(!raft_->config().async_storage_writes,
                  "Advance must not be called when using AsyncStorageWrites");
  ETCDD_CHECK_MSG(ready_outstanding_, "Advance without a Ready");
  ready_outstanding_ = false;
  // Stepping never adds to the list: that happens when a Ready is taken.
  for (Message& message : steps_on_advance_) {
    const absl::Status status = raft_->Step(std::move(message));
    ETCDD_CHECK_MSG(status.ok(), std::string(status.message()));
  }
  steps_on_advance_.clear();
}

// State -------------------------------------------------------------------------------------------

NodeId RawNode::id() const { return raft_->id(); }
uint64_t RawNode::term() const { return raft_->term(); }
NodeId RawNode::leader() const { return raft_->leader(); }
StateType RawNode::state() const { return raft_->state(); }
uint64_t RawNode::committed() const { return raft_->log().committed(); }
uint64_t RawNode::applied() const { return raft_->log().applied(); }
uint64_t RawNode::last_index() const { return raft_->log().LastIndex(); }
absl::StatusOr<uint64_t> RawNode::EntryTerm(uint64_t index) const {
  return raft_->log().Term(index);
}
HardState RawNode::hard_state() const { return raft_->hard_state(); }
SoftState RawNode::soft_state() const { return raft_->soft_state(); }
NodeId RawNode::transfer_target() const { return raft_->transfer_target(); }
bool RawNode::IsLearner() const { return raft_->learner(); }

bool RawNode::IsVoter() const {
  return raft_->tracker().configuration().voters.Contains(raft_->id());
}

ConfState RawNode::conf_state() const { return ToConfState(raft_->tracker().configuration()); }

NodeStatus RawNode::Status() const {
  NodeStatus status;
  status.id = raft_->id();
  status.hard_state = raft_->hard_state();
  status.soft_state = raft_->soft_state();
  status.applied = raft_->log().applied();
  status.first_index = raft_->log().FirstIndex();
  status.last_index = raft_->log().LastIndex();
  status.transfer_target = raft_->transfer_target();
  status.conf_state = conf_state();
  if (raft_->state() != StateType::kLeader) return status;
  for (const auto& [id, progress] : raft_->tracker().progress()) {
    PeerStatus peer;
    peer.id = id;
    peer.learner = progress.learner();
    peer.recently_active = progress.recently_active();
    peer.paused = progress.IsPaused();
    peer.state = progress.state();
    peer.match = progress.match();
    peer.next = progress.next();
    peer.pending_snapshot = progress.pending_snapshot();
    peer.inflight_messages = progress.inflights().count();
    status.peers.push_back(peer);
  }
  return status;
}

std::string RawNode::DescribeProgress() const {
  if (raft_->state() != StateType::kLeader) return {};
  return Describe(raft_->tracker().progress());
}

void RawNode::CheckInvariants() const { raft_->CheckInvariants(); }

void RawNode::SetRandomizedElectionTimeout(int ticks) {
  ETCDD_CHECK(ticks > 0);
  raft_->set_randomized_election_timeout(ticks);
}

}  // namespace etcdd::raft
