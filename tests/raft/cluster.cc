#include "tests/raft/cluster.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "raft/describe.h"
#include "server/base/check.h"

namespace etcdd::raft {

Cluster::Cluster(size_t count, std::function<void(Config*)> configure) {
  std::vector<NodeId> ids;
  for (NodeId id = 1; id <= count; ++id) ids.push_back(id);
  for (NodeId id : ids) {
    TestNodeOptions options;
    options.id = id;
    options.voters = ids;
    options.configure = configure;
    Add(std::move(options));
  }
}

Cluster::Cluster(std::vector<TestNodeOptions> options) {
  for (TestNodeOptions& one : options) Add(std::move(one));
}

void Cluster::Add(TestNodeOptions options) {
  const NodeId id = options.id;
  nodes_[id] = std::make_unique<TestNode>(std::move(options));
}

void Cluster::Cut(NodeId a, NodeId b) {
  cut_.insert({a, b});
  cut_.insert({b, a});
}

void Cluster::Isolate(NodeId id) {
  for (const auto& [other, node] : nodes_) {
    if (other != id) Cut(id, other);
  }
}

void Cluster::Settle() {
  for (bool busy = true; busy;) {
    busy = false;
    for (auto& [id, node] : nodes_) {
      for (Message& m : node->Run()) network_.push_back(std::move(m));
    }
    while (!network_.empty()) {
      busy = true;
      Message m = std::move(network_.front());
      network_.pop_front();
      auto it = nodes_.find(m.to);
      if (it == nodes_.end() || cut_.count({m.from, m.to}) != 0) continue;
      if (drop && drop(m)) continue;
      const absl::Status status = it->second->Step(std::move(m));
      ETCDD_CHECK_MSG(!absl::IsDataLoss(status), std::string(status.message()));
    }
  }
}

void Cluster::Elect(NodeId id) {
  nodes_.at(id)->raft().Campaign();
  Settle();
}

void Cluster::Tick(int count) {
  for (int i = 0; i < count; ++i) {
    for (auto& [id, node] : nodes_) node->Tick();
    Settle();
  }
}

void Cluster::TickOne(NodeId id, int count) {
  for (int i = 0; i < count; ++i) {
    nodes_.at(id)->Tick();
    Settle();
  }
}

absl::Status Cluster::Propose(NodeId id, std::string_view data) {
  const absl::Status status = nodes_.at(id)->Propose(data);
  Settle();
  return status;
}

NodeId Cluster::Leader() const {
  NodeId leader = kNoNode;
  uint64_t term = 0;
  for (const auto& [id, node] : nodes_) {
    if (node->raft().state() == StateType::kLeader && node->raft().term() >= term) {
      leader = id;
      term = node->raft().term();
    }
  }
  return leader;
}

std::string Cluster::Divergence() {
  std::string out;
  const auto log_of = [](TestNode& node) { return DescribeEntries(node.StableEntries()); };
  TestNode& first = *nodes_.begin()->second;
  for (auto& [id, node] : nodes_) {
    if (log_of(*node) != log_of(first) || node->raft().committed() != first.raft().committed()) {
      absl::StrAppend(&out, "node ", id, " commit ", node->raft().committed(), "\n", log_of(*node),
                      "node ", first.id(), " commit ", first.raft().committed(), "\n",
                      log_of(first));
    }
  }
  return out;
}

}  // namespace etcdd::raft
