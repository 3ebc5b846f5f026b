#pragma once

// One raft node with its disk and its state machine, driven by hand; and the messages tests make.
//
// Every step is followed by CheckInvariants. The node's writes are done at once: Run() returns when
// nothing is left to do, with the messages for other nodes.

#include <cstdint>
#include <functional>
#include <memory>
#include <ostream>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "raft/memory_storage.h"
#include "raft/raw_node.h"
#include "server/base/random.h"

namespace etcdd::raft {

// A small generator of its own, so that a seed means the same run everywhere.
class TestRandom : public base::Random {
 public:
  // The seed is scrambled: neighbouring seeds must not give the same stream shifted by one, or
  // several nodes time out together for ever.
  explicit TestRandom(uint64_t seed) : state_(Mix(Mix(seed) ^ 0x5851f42d4c957f2du)) {}
  // splitmix64
  uint64_t Next() override { return Mix(state_ += 0x9e3779b97f4a7c15u); }
  // True in `percent` of 100.
  bool Chance(uint64_t percent) { return Uniform(100) < percent; }

 private:
  static uint64_t Mix(uint64_t z) {
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
  }

  uint64_t state_;
};

// Keeps the library's log lines.
class TestLogger : public Logger {
 public:
  bool Enabled(base::LogLevel) const override { return true; }
  void Log(base::LogLevel, std::string_view line) override { lines.emplace_back(line); }
  bool Contains(std::string_view text) const;

  std::vector<std::string> lines;
};

struct TestNodeOptions {
  NodeId id = 1;
  std::vector<NodeId> voters = {1, 2, 3};
  std::vector<NodeId> learners;
  // A bootstrap snapshot at this index, term 1, carries the configuration.
  uint64_t index = 10;
  std::function<void(Config*)> configure;  // may be empty
};

class TestNode {
 public:
  explicit TestNode(TestNodeOptions options);
  ~TestNode() { raft_->CheckInvariants(); }

  // What the last call left behind is checked before the next.
  RawNode& raft() {
    raft_->CheckInvariants();
    return *raft_;
  }
  const RawNode& raft() const { return *raft_; }
  MemoryStorage& storage() { return storage_; }
  TestLogger& logger() { return logger_; }
  NodeId id() const { return options_.id; }

  // Steps and checks the invariants.
  absl::Status Step(Message message);
  void Tick(int count = 1);
  absl::Status Propose(std::string_view data);

  // Does all pending work: persists, applies (configuration changes too), advances or answers for
  // the storage threads. Returns the messages for other nodes, oldest first.
  std::vector<Message> Run();
  // The same without returning them.
  void Drain() { Run(); }

  // Campaigns, and gets the votes of all `voters`; its first entry of the term is persisted, and
  // acknowledged by nobody. Returns the messages sent as a leader.
  std::vector<Message> BecomeLeader();
  // As BecomeLeader, and all other voters acknowledge everything: the term's entry is committed.
  void BecomeCommittedLeader();
  // Everyone acknowledges the whole log, in the name of all other members.
  void AckAll();

  // A new process on the same disk.
  void Restart(uint64_t applied);

  // What the state machine got, normal entries with data only.
  const std::vector<std::string>& applied() const { return applied_; }
  const std::vector<ReadState>& read_states() const { return read_states_; }
  std::vector<Entry> StableEntries() const;
  // Entries are applied, but configuration changes only while this is true.
  bool apply_conf_changes = true;

 private:
  void Create(uint64_t applied);
  void Persist(const HardState& hard_state, const std::shared_ptr<const Snapshot>& snapshot,
               absl::Span<const Entry> entries);
  void Apply(absl::Span<const Entry> entries);
  void HandleAsync(Ready ready, std::vector<Message>* out);

  const TestNodeOptions options_;
  Config config_;
  MemoryStorage storage_;
  TestRandom random_;
  TestLogger logger_;
  std::unique_ptr<RawNode> raft_;
  std::vector<std::string> applied_;
  std::vector<ReadState> read_states_;
};

// Messages ----------------------------------------------------------------------------------------

Entry MakeEntry(uint64_t term, uint64_t index, std::string_view data = "x");
Message MakeMessage(MessageType type, NodeId from, NodeId to, uint64_t term);
Message MakeApp(NodeId from, NodeId to, uint64_t term, uint64_t prev_index, uint64_t prev_term,
                uint64_t commit, std::vector<Entry> entries);
Message MakeAppResp(NodeId from, NodeId to, uint64_t term, uint64_t index);
Message MakeReject(NodeId from, NodeId to, uint64_t term, uint64_t index, uint64_t hint,
                   uint64_t hint_term);
Message MakeVote(MessageType type, NodeId from, NodeId to, uint64_t term, uint64_t last_index,
                 uint64_t last_term);
Message MakeVoteResp(MessageType type, NodeId from, NodeId to, uint64_t term, bool reject);
Message MakeHeartbeat(NodeId from, NodeId to, uint64_t term, uint64_t commit);

// For GoogleTest's failure texts.
void PrintTo(const Message& message, std::ostream* out);
void PrintTo(const Entry& entry, std::ostream* out);

// The messages of one type, and to one node (0 = any).
std::vector<Message> Select(const std::vector<Message>& messages, MessageType type, NodeId to = 0);
// "1->2 MsgApp ...", one per line.
std::string Text(const std::vector<Message>& messages);

}  // namespace etcdd::raft
