#pragma once

// Several raft nodes in one process whose messages are moved by hand: the environment of the
// data-driven interaction files. All nodes and the environment write to one output.

#include <deque>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/types/span.h"
#include "raft/memory_storage.h"
#include "raft/raw_node.h"
#include "tests/raft/datadriven.h"

namespace etcdd::raft {

// Collects what a command prints, and the library's log lines from a level on.
class ScriptOutput : public Logger {
 public:
  static constexpr int kNone = 5;  // nothing at all is printed

  bool Enabled(base::LogLevel level) const override { return static_cast<int>(level) >= level_; }
  void Log(base::LogLevel level, std::string_view line) override;

  // Levels in order: DEBUG INFO WARN ERROR FATAL NONE. False if the name is none of them.
  bool SetLevel(std::string_view name);
  int level() const { return level_; }
  void set_level(int level) { level_ = level; }

  // Printed at every level but NONE.
  void Print(std::string_view text) {
    if (level_ != kNone) text_.append(text);
  }
  std::string Take() { return std::exchange(text_, {}); }
  // Runs `body` and puts two blanks before each line it printed.
  absl::Status Indented(absl::FunctionRef<absl::Status()> body);
  // For errors: also at NONE.
  void PrintAlways(std::string_view text) { text_.append(text); }
  bool empty() const { return text_.empty(); }

 private:
  std::string text_;
  int level_ = 0;
};

// A node's storage. Raft gets its snapshots from the history of applied states, whatever the
// storage itself holds.
class HistoryStorage : public MemoryStorage {
 public:
  absl::StatusOr<std::shared_ptr<const Snapshot>> GetSnapshot() const override {
    return history.back();
  }

  std::vector<std::shared_ptr<const Snapshot>> history;
};

class InteractionEnv {
 public:
  InteractionEnv();
  ~InteractionEnv();

  // One command of a script; its whole output.
  std::string Run(const ScriptCase& one);

 private:
  struct Node;
  struct Recipient {
    NodeId id;
    bool drop;
  };

  absl::Status Dispatch(const ScriptCase& one);
  absl::Status RunNodeCommand(const ScriptCase& one);
  absl::Status RunProcessing(const ScriptCase& one);

  // Commands.
  absl::Status AddNodes(const ScriptCase& one);
  absl::Status AddNode(const ScriptCase& one, std::shared_ptr<const Snapshot> snapshot);
  absl::Status ProposeConfChange(const ScriptCase& one);
  absl::Status DeliverMessages(const ScriptCase& one);
  absl::Status Stabilize(const ScriptCase& one);
  absl::Status StabilizeNodes(const std::vector<NodeId>& ids);
  absl::Status RaftLog(const Node& node);
  void RaftState();
  void SendSnapshot(const Node& from, NodeId to);

  // Steps.
  absl::Status ProcessReady(Node* node);
  absl::Status ProcessAppend(Node* node);
  absl::Status ProcessApply(Node* node);
  absl::Status Append(Node* node, const HardState& hard_state,
                      const std::shared_ptr<const Snapshot>& snapshot,
                      absl::Span<const Entry> entries);
  absl::Status Apply(Node* node, absl::Span<const Entry> entries);
  // Returns how many messages were delivered or dropped.
  int Deliver(absl::Span<const Recipient> recipients, std::optional<MessageType> type);
  bool HasMessagesFor(NodeId id) const;

  Node* FindNode(NodeId id);
  Node* NodeOf(const ScriptCase& one, size_t position);
  // The ids among the arguments; those with values are no ids.
  std::vector<NodeId> Ids(const ScriptCase& one) const;

  ScriptOutput output_;
  std::vector<std::unique_ptr<Node>> nodes_;  // id n at position n - 1
  std::deque<Message> messages_;              // in flight, oldest first
};

}  // namespace etcdd::raft
