#include "tests/raft/test_node.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "raft/describe.h"
#include "server/base/check.h"

namespace etcdd::raft {

bool TestLogger::Contains(std::string_view text) const {
  for (const std::string& line : lines) {
    if (line.find(text) != std::string::npos) return true;
  }
  return false;
}

TestNode::TestNode(TestNodeOptions options)
    : options_(std::move(options)), random_(options_.id) {
  if (options_.index > 0) {
    Snapshot snapshot;
    snapshot.index = options_.index;
    snapshot.term = 1;
    snapshot.conf_state.voters = options_.voters;
    snapshot.conf_state.learners = options_.learners;
    const absl::Status status =
        storage_.ApplySnapshot(std::make_shared<const Snapshot>(std::move(snapshot)));
    ETCDD_CHECK(status.ok());
  }
  config_.id = options_.id;
  config_.election_ticks = 10;
  config_.heartbeat_ticks = 1;
  config_.message_bytes_max = kNoLimit;
  config_.random = &random_;
  config_.logger = &logger_;
  if (options_.configure) options_.configure(&config_);
  Create(options_.index);
}

void TestNode::Create(uint64_t applied) {
  config_.applied = applied;
  absl::StatusOr<std::unique_ptr<RawNode>> raft = RawNode::Create(config_, &storage_);
  ETCDD_CHECK_MSG(raft.ok(), std::string(raft.status().message()));
  raft_ = *std::move(raft);
  raft_->CheckInvariants();
}

void TestNode::Restart(uint64_t applied) {
  raft_ = nullptr;
  read_states_.clear();
  Create(applied);
}

absl::Status TestNode::Step(Message message) {
  const absl::Status status = raft_->Step(std::move(message));
  raft_->CheckInvariants();
  return status;
}

void TestNode::Tick(int count) {
  for (int i = 0; i < count; ++i) {
    raft_->Tick();
    raft_->CheckInvariants();
  }
}

absl::Status TestNode::Propose(std::string_view data) {
  const absl::Status status = raft_->Propose(base::Bytes::Copy(data));
  raft_->CheckInvariants();
  return status;
}

void TestNode::Persist(const HardState& hard_state,
                       const std::shared_ptr<const Snapshot>& snapshot,
                       absl::Span<const Entry> entries) {
  storage_.Append(entries);
  if (!hard_state.empty()) storage_.SetHardState(hard_state);
  if (snapshot != nullptr) {
    const absl::Status status = storage_.ApplySnapshot(snapshot);
    ETCDD_CHECK(status.ok());
  }
}

void TestNode::Apply(absl::Span<const Entry> entries) {
  for (const Entry& entry : entries) {
    if (entry.type == EntryType::kNormal) {
      if (!entry.data.empty()) applied_.emplace_back(entry.data.view());
      continue;
    }
    if (!apply_conf_changes) continue;
    const absl::StatusOr<ConfChangeV2> change = DecodeConfChangeEntry(entry);
    ETCDD_CHECK(change.ok());
    raft_->ApplyConfChange(*change);
    raft_->CheckInvariants();
  }
}

void TestNode::HandleAsync(Ready ready, std::vector<Message>* out) {
  const auto deliver = [this, out](std::vector<Message> responses) {
    for (Message& response : responses) {
      if (response.to != id()) {
        out->push_back(std::move(response));
        continue;
      }
      // A node that is no member refuses its own late answers.
      const absl::Status status = Step(std::move(response));
      ETCDD_CHECK(status.ok() || status == StepPeerNotFoundError());
    }
  };
  if (ready.storage_append.has_value()) {
    Message& append = *ready.storage_append;
    Persist({append.term, append.vote, append.commit}, append.snapshot, append.entries);
    deliver(std::move(append.responses));
  }
  if (ready.storage_apply.has_value()) {
    Apply(ready.storage_apply->entries);
    deliver(std::move(ready.storage_apply->responses));
  }
}

std::vector<Message> TestNode::Run() {
  std::vector<Message> out;
  while (raft_->HasReady()) {
    Ready ready = raft_->TakeReady();
    raft_->CheckInvariants();
    for (Message& m : ready.messages) out.push_back(std::move(m));
    for (ReadState& state : ready.read_states) read_states_.push_back(std::move(state));
    if (config_.async_storage_writes) {
      HandleAsync(std::move(ready), &out);
      continue;
    }
    Persist(ready.hard_state.value_or(HardState()), ready.snapshot, ready.entries);
    Apply(ready.committed_entries);
    raft_->Advance();
    raft_->CheckInvariants();
  }
  return out;
}

std::vector<Message> TestNode::BecomeLeader() {
  raft_->Campaign();
  std::vector<Message> sent = Run();
  for (const MessageType type : {MessageType::kPreVote, MessageType::kVote}) {
    const MessageType answer =
        type == MessageType::kVote ? MessageType::kVoteResp : MessageType::kPreVoteResp;
    std::vector<Message> next;
    for (const Message& m : Select(sent, type)) {
      const absl::Status status = Step(MakeVoteResp(answer, m.to, id(), m.term, false));
      ETCDD_CHECK(status.ok());
    }
    for (Message& m : Run()) next.push_back(std::move(m));
    if (!next.empty()) sent = std::move(next);
  }
  ETCDD_CHECK(raft_->state() == StateType::kLeader);
  return sent;
}

void TestNode::AckAll() {
  for (const PeerStatus& peer : raft_->Status().peers) {
    if (peer.id == id()) continue;
    const absl::Status status =
        Step(MakeAppResp(peer.id, id(), raft_->term(), raft_->last_index()));
    ETCDD_CHECK(status.ok());
  }
}

void TestNode::BecomeCommittedLeader() {
  BecomeLeader();
  AckAll();
  Drain();
  ETCDD_CHECK(raft_->committed() == raft_->last_index());
}

std::vector<Entry> TestNode::StableEntries() const {
  std::vector<Entry> entries;
  if (storage_.LastIndex() >= storage_.FirstIndex()) {
    const absl::Status status =
        storage_.Entries(storage_.FirstIndex(), storage_.LastIndex() + 1, kNoLimit, &entries);
    ETCDD_CHECK(status.ok());
  }
  return entries;
}

// Messages ----------------------------------------------------------------------------------------

Entry MakeEntry(uint64_t term, uint64_t index, std::string_view data) {
  Entry entry;
  entry.term = term;
  entry.index = index;
  entry.data = base::Bytes::Copy(data);
  return entry;
}

Message MakeMessage(MessageType type, NodeId from, NodeId to, uint64_t term) {
  Message m;
  m.type = type;
  m.from = from;
  m.to = to;
  m.term = term;
  return m;
}

Message MakeApp(NodeId from, NodeId to, uint64_t term, uint64_t prev_index, uint64_t prev_term,
                uint64_t commit, std::vector<Entry> entries) {
  Message m = MakeMessage(MessageType::kApp, from, to, term);
  m.index = prev_index;
  m.log_term = prev_term;
  m.commit = commit;
  m.entries = std::move(entries);
  return m;
}

Message MakeAppResp(NodeId from, NodeId to, uint64_t term, uint64_t index) {
  Message m = MakeMessage(MessageType::kAppResp, from, to, term);
  m.index = index;
  return m;
}

Message MakeReject(NodeId from, NodeId to, uint64_t term, uint64_t index, uint64_t hint,
                   uint64_t hint_term) {
  Message m = MakeAppResp(from, to, term, index);
  m.reject = true;
  m.reject_hint = hint;
  m.log_term = hint_term;
  return m;
}

Message MakeVote(MessageType type, NodeId from, NodeId to, uint64_t term, uint64_t last_index,
                 uint64_t last_term) {
  Message m = MakeMessage(type, from, to, term);
  m.index = last_index;
  m.log_term = last_term;
  return m;
}

Message MakeVoteResp(MessageType type, NodeId from, NodeId to, uint64_t term, bool reject) {
  Message m = MakeMessage(type, from, to, term);
  m.reject = reject;
  return m;
}

Message MakeHeartbeat(NodeId from, NodeId to, uint64_t term, uint64_t commit) {
  Message m = MakeMessage(MessageType::kHeartbeat, from, to, term);
  m.commit = commit;
  return m;
}

void PrintTo(const Message& message, std::ostream* out) { *out << Describe(message); }
void PrintTo(const Entry& entry, std::ostream* out) { *out << Describe(entry); }

std::vector<Message> Select(const std::vector<Message>& messages, MessageType type, NodeId to) {
  std::vector<Message> selected;
  for (const Message& m : messages) {
    if (m.type == type && (to == 0 || m.to == to)) selected.push_back(m);
  }
  return selected;
}

std::string Text(const std::vector<Message>& messages) {
  std::string text;
  for (const Message& m : messages) absl::StrAppend(&text, Describe(m), "\n");
  return text;
}

}  // namespace etcdd::raft
