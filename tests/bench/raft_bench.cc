// The consensus library by itself: what one proposal, one replicated entry and one heartbeat cost
// in CPU time and in heap allocations (counter "allocs", per item).

#include <benchmark/benchmark.h>

#include <atomic>
#include <cstdlib>
#include <memory>
#include <new>
#include <string>
#include <utility>
#include <vector>

#include "raft/codec.h"
#include "raft/memory_storage.h"
#include "raft/raw_node.h"
#include "server/base/check.h"
#include "server/base/random.h"

namespace {
std::atomic<uint64_t> allocations{0};
}  // namespace

// Not inlined: the compiler would see free() meet operator new.
[[gnu::noinline]] void* operator new(size_t size) {
  allocations.fetch_add(1, std::memory_order_relaxed);
  void* memory = std::malloc(size);
  ETCDD_CHECK(memory != nullptr);
  return memory;
}
[[gnu::noinline]] void operator delete(void* memory) noexcept { std::free(memory); }
[[gnu::noinline]] void operator delete(void* memory, size_t) noexcept { std::free(memory); }

namespace etcdd::raft {
namespace {

constexpr uint64_t kCompactEvery = 10000;

// A node whose storage threads work at once.
class Node {
 public:
  Node(NodeId id, const std::vector<NodeId>& voters) : random_(base::NewSeededRandom(id)) {
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
  void Deliver(std::vector<Message> responses, std::vector<Message>* out) {
    for (Message& m : responses) {
      if (m.to == raft_->id()) {
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
};

// Nodes 1..n, the first of them leader.
class Group {
 public:
  explicit Group(size_t count) {
    std::vector<NodeId> ids;
    for (NodeId id = 1; id <= count; ++id) ids.push_back(id);
    for (NodeId id : ids) nodes_.push_back(std::make_unique<Node>(id, ids));
    leader().Campaign();
    Settle();
    ETCDD_CHECK(leader().state() == StateType::kLeader);
  }

  RawNode& leader() { return nodes_[0]->raft(); }

  void Settle() {
    do {
      for (Message& m : network_) ETCDD_CHECK(nodes_[m.to - 1]->raft().Step(std::move(m)).ok());
      network_.clear();
      for (auto& node : nodes_) node->Run(&network_);
    } while (!network_.empty());
  }

 private:
  std::vector<std::unique_ptr<Node>> nodes_;
  std::vector<Message> network_;
};

std::vector<base::Bytes> Batch(size_t size) {
  static const auto* const payload = new base::Bytes(base::Bytes::Copy(std::string(256, 'p')));
  return std::vector<base::Bytes>(size, *payload);
}

void ReportItems(benchmark::State& state, uint64_t items, uint64_t allocations_before) {
  state.SetItemsProcessed(static_cast<int64_t>(items));
  state.counters["allocs"] =
      static_cast<double>(allocations - allocations_before) / static_cast<double>(items);
}

// range(0): voters; range(1): proposals a batch. From Propose to applied on the leader.
void BM_Propose(benchmark::State& state) {
  Group group(static_cast<size_t>(state.range(0)));
  const auto batch = static_cast<size_t>(state.range(1));
  uint64_t items = 0;
  const uint64_t before = allocations;
  for (auto _ : state) {
    ETCDD_CHECK(group.leader().Propose(Batch(batch)).ok());
    group.Settle();
    items += batch;
  }
  ETCDD_CHECK(group.leader().applied() == group.leader().last_index());
  ReportItems(state, items, before);
}
BENCHMARK(BM_Propose)->ArgsProduct({{1, 3, 5}, {1, 10, 1000}});

// One leader tick: two heartbeats out, two answers in.
void BM_HeartbeatRound(benchmark::State& state) {
  Group group(3);
  uint64_t items = 0;
  // The vectors reach their size.
  for (int i = 0; i < 100; ++i) {
    group.leader().Tick();
    group.Settle();
  }
  const uint64_t before = allocations;
  for (auto _ : state) {
    group.leader().Tick();
    group.Settle();
    ++items;
  }
  ReportItems(state, items, before);
}
BENCHMARK(BM_HeartbeatRound);

// range(0): reads that share a heartbeat round of three voters.
void BM_ReadIndex(benchmark::State& state) {
  Group group(3);
  const base::Bytes context = base::Bytes::Copy("12345678");
  uint64_t items = 0;
  const uint64_t before = allocations;
  for (auto _ : state) {
    for (int64_t i = 0; i < state.range(0); ++i) {
      ETCDD_CHECK(group.leader().ReadIndex(context).ok());
    }
    group.Settle();
    items += static_cast<uint64_t>(state.range(0));
  }
  ReportItems(state, items, before);
}
BENCHMARK(BM_ReadIndex)->Arg(1)->Arg(16);

// range(0): entries of the append.
void BM_EncodeAndDecodeAppend(benchmark::State& state) {
  Message m;
  m.type = MessageType::kApp;
  m.from = 1;
  m.to = 2;
  m.term = 5;
  for (base::Bytes& data : Batch(static_cast<size_t>(state.range(0)))) {
    m.entries.push_back({EntryType::kNormal, 5, 100 + m.entries.size(), std::move(data)});
  }
  std::string out;
  for (auto _ : state) {
    out.clear();
    AppendEncoded(m, &out);
    benchmark::DoNotOptimize(DecodeMessage(out));
  }
  state.SetItemsProcessed(state.iterations() * state.range(0));
}
BENCHMARK(BM_EncodeAndDecodeAppend)->Arg(1)->Arg(100);

}  // namespace
}  // namespace etcdd::raft

BENCHMARK_MAIN();
