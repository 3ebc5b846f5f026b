#pragma once

// A few TestNodes and a network that delivers at once, in order, except what a test cuts. For
// scenarios; the randomized cluster is simulation.h.

#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "tests/raft/test_node.h"

namespace etcdd::raft {

class Cluster {
 public:
  // Nodes 1..count, all voters. Both storage modes behave the same; tests use either.
  explicit Cluster(size_t count, std::function<void(Config*)> configure = nullptr);
  // Nodes with the given options, whatever their ids.
  explicit Cluster(std::vector<TestNodeOptions> options);

  TestNode& operator[](NodeId id) { return *nodes_.at(id); }
  void Add(TestNodeOptions options);

  // Messages between a and b are lost, both ways, until Heal.
  void Cut(NodeId a, NodeId b);
  void Isolate(NodeId id);
  void Heal() { cut_.clear(); }
  // Messages for which this returns true are lost.
  std::function<bool(const Message&)> drop;

  // Runs nodes and network until nothing moves.
  void Settle();
  // Campaigns, and settles.
  void Elect(NodeId id);
  // One tick of everybody, and settles; `count` times.
  void Tick(int count = 1);
  // A tick of one, and settles.
  void TickOne(NodeId id, int count = 1);
  // Proposes at `id`, and settles.
  absl::Status Propose(NodeId id, std::string_view data);

  // The leader of the highest term, or 0.
  NodeId Leader() const;
  // "" if all nodes hold the same stable log and commit index, else what differs.
  std::string Divergence();

 private:
  std::map<NodeId, std::unique_ptr<TestNode>> nodes_;
  std::deque<Message> network_;
  std::set<std::pair<NodeId, NodeId>> cut_;
};

}  // namespace etcdd::raft
