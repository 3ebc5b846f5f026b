#pragma once

// A cluster in memory that does nothing but raft, for the benchmark and the allocation test.

#include <cstdint>
#include <memory>
#include <utility>
#include <vector>

#include "raft/memory_storage.h"
#include "raft/raw_node.h"
#include "server/base/check.h"
#include "server/base/random.h"

namespace etcdd::raft {

// A node whose storage threads work at once.
class LeanNode {
 public:
  LeanNode(NodeId id, const std::vector<NodeId>& voters) : random_(base::NewSeededRandom(id)) {
    Snapshot snapshot;
    snapshot.index = 1;
    snapshot.term = 1;
    snapshot.conf_state.voters = voters;
    ETCDD_CHECK(storage_.ApplySnapshot(std::make_shared<const Snapshot>(snapshot)).ok());
    Config config;
    config.id = id;
    config.async_storage_writes = true;
    config.random = random_.get();
    config.applied = 1;
    raft_ = *RawNode::Create(config, &storage_);
  }

  RawNode& raft() { return *raft_; }
  // Answers of its own storage threads it was stepped with.
  uint64_t steps() const { return steps_; }

  // Appends the messages for others to *out.
  void Run(std::vector<Message>* out) {
    while (raft_->HasReady()) {
      raft_->TakeReady(&ready_);
      for (Message& m : ready_.messages) out->push_back(std::move(m));
      if (ready_.storage_append.has_value()) {
        storage_.Append(ready_.storage_append->entries);
        Deliver(std::move(ready_.storage_append->responses), out);
      }
      if (ready_.storage_apply.has_value()) {
        Deliver(std::move(ready_.storage_apply->responses), out);
      }
    }
    const uint64_t applied = raft_->applied();
    if (applied > storage_.FirstIndex() + 2 * kCompactEvery) {
      ETCDD_CHECK(storage_.Compact(applied - kCompactEvery).ok());
    }
  }

 private:
  static constexpr uint64_t kCompactEvery = 10000;

  void Deliver(std::vector<Message> responses, std::vector<Message>* out) {
    for (Message& m : responses) {
      if (m.to == raft_->id()) {
        ++steps_;
        ETCDD_CHECK(raft_->Step(std::move(m)).ok());
      } else {
        out->push_back(std::move(m));
      }
    }
  }

  MemoryStorage storage_;
  std::unique_ptr<base::Random> random_;
  std::unique_ptr<RawNode> raft_;
  Ready ready_;
  uint64_t steps_ = 0;
};

// Nodes 1..n, the first of them leader.
class LeanGroup {
 public:
  explicit LeanGroup(size_t count) {
    std::vector<NodeId> ids;
    for (NodeId id = 1; id <= count; ++id) ids.push_back(id);
    for (NodeId id : ids) nodes_.push_back(std::make_unique<LeanNode>(id, ids));
    leader().Campaign();
    Settle();
    ETCDD_CHECK(leader().state() == StateType::kLeader);
  }

  RawNode& leader() { return nodes_[0]->raft(); }
  // Messages stepped into any node.
  uint64_t steps() const {
    uint64_t steps = steps_;
    for (const auto& node : nodes_) steps += node->steps();
    return steps;
  }

  void Settle() {
    do {
      for (Message& m : network_) ETCDD_CHECK(nodes_[m.to - 1]->raft().Step(std::move(m)).ok());
      steps_ += network_.size();
      network_.clear();
      for (auto& node : nodes_) node->Run(&network_);
    } while (!network_.empty());
  }

 private:
  std::vector<std::unique_ptr<LeanNode>> nodes_;
  std::vector<Message> network_;
  uint64_t steps_ = 0;
};

}  // namespace etcdd::raft
