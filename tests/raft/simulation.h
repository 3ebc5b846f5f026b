#pragma once

// A whole cluster in one thread, from one seed: a network that loses, duplicates and reorders;
// disks that forget what was not yet written; crashes between any two writes; partitions,
// membership changes, transfers, compactions. Checked all the time:
//   * at most one leader per term, and it holds everything committed before its term;
//   * logs that agree on an entry agree on all before it;
//   * no two members apply different entries at an index;
//   * term, vote (within a term) and commit never go back;
//   * a read's index is at least what anyone knew to be committed when it was asked for.
// After Heal() the cluster must make progress again.
//
// A broken rule ends the run: failure() then says what broke, with the seed.

#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "raft/memory_storage.h"
#include "raft/raw_node.h"
#include "tests/raft/test_node.h"

namespace etcdd::raft {

struct SimulationOptions {
  uint64_t seed = 1;
  size_t nodes = 5;           // ids 1..nodes
  size_t initial_voters = 3;  // the others start empty, outside the configuration
  int events = 10000;
  bool membership = true;
  bool restless = false;  // short timeouts, and somebody campaigns all the time
  Logger* logger = nullptr;  // borrowed; of all nodes; null = silent
};

class Simulation {
 public:
  explicit Simulation(const SimulationOptions& options);
  ~Simulation();

  // Random events.
  void RunChaos();
  // Everything is repaired and all members run; then a leader must emerge and commit.
  void Heal();

  const std::string& failure() const { return failure_; }
  // How often things happened, to prove that rare branches were reached.
  const std::map<std::string, int>& counts() const { return counts_; }
  // Inputs to nodes, each followed by a check of everything that must hold.
  uint64_t steps() const { return steps_; }

 private:
  struct Node;
  struct Committed {
    Entry entry;
    uint64_t known_term;  // highest term anywhere when the entry was first applied
  };
  struct Read {
    NodeId node;
    uint64_t floor;  // highest commit index known anywhere when it was asked for
  };

  void Fail(const std::string& what);
  void Count(const char* what) { ++counts_[what]; }

  // Events.
  void Event();
  // One piece of the node's own work. False if it has none.
  bool Work(Node* node);
  void RareEvent();
  void DeliverOne();
  void Deliver(Message message);
  void TakeReady(Node* node);
  void ProcessAppend(Node* node);
  void ProcessApply(Node* node);
  void ProcessLocal(Node* node);
  void Propose(Node* node);
  void ProposeConfChange(Node* node);
  void AskRead(Node* node);
  void Compact(Node* node);
  void Crash(Node* node);
  void Start(Node* node);
  void Partition();

  // The work of the storage threads. False if the node crashed in between.
  bool Persist(Node* node, const HardState& hard_state,
               const std::shared_ptr<const Snapshot>& snapshot, absl::Span<const Entry> entries);
  bool Apply(Node* node, absl::Span<const Entry> entries);
  void Send(std::vector<Message> messages, Node* from);
  void Observe(Node* node);
  void CheckLeader(Node* node);
  void CheckLogs();
  std::string DescribeAll() const;
  uint64_t HighestTerm() const;
  Node* RandomNode();
  Node* LeaderNode();
  // The liveness hole of configurations that take effect when applied (etcd issue 12359, R11): a
  // leader that applied its own removal stepped down before the others heard that the removal is
  // committed. They still need its vote, its log is longer than theirs, and it may not campaign.
  bool LongestLogCannotCampaign() const;
  void Quiesce();

  const SimulationOptions options_;
  TestRandom random_;
  bool crashes_ = true;
  bool lossy_ = true;
  uint64_t loss_percent_ = 0;  // of messages, while lossy_
  std::vector<std::unique_ptr<Node>> nodes_;
  std::deque<Message> network_;
  std::map<NodeId, int> side_;  // of the current partition
  std::map<uint64_t, NodeId> leaders_;  // by term
  std::map<uint64_t, Committed> history_;  // by index
  std::map<std::string, Read> reads_;  // by context
  uint64_t floor_ = 0;  // highest commit index anyone has known
  uint64_t next_payload_ = 0;
  std::map<std::string, int> counts_;
  uint64_t steps_ = 0;
  std::string failure_;
};

}  // namespace etcdd::raft
