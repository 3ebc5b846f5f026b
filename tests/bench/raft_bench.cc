// The consensus library by itself: what one proposal, one replicated entry and one heartbeat cost
// in CPU time and in heap allocations (counter "allocs", per item; "steps": messages stepped into
// nodes, per second).

#include <benchmark/benchmark.h>

#include <atomic>
#include <cstdlib>
#include <memory>
#include <new>
#include <string>
#include <utility>
#include <vector>

#include "raft/codec.h"
#include "raft/raw_node.h"
#include "server/base/check.h"
#include "tests/raft/lean_group.h"

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

std::vector<base::Bytes> Batch(size_t size) {
  static const auto* const payload = new base::Bytes(base::Bytes::Copy(std::string(256, 'p')));
  return std::vector<base::Bytes>(size, *payload);
}

void ReportItems(benchmark::State& state, const LeanGroup& group, uint64_t items,
                 uint64_t allocations_before) {
  state.SetItemsProcessed(static_cast<int64_t>(items));
  state.counters["steps"] =
      benchmark::Counter(static_cast<double>(group.steps()), benchmark::Counter::kIsRate);
  state.counters["allocs"] =
      static_cast<double>(allocations - allocations_before) / static_cast<double>(items);
}

// range(0): voters; range(1): proposals a batch. From Propose to applied on the leader.
void BM_Propose(benchmark::State& state) {
  LeanGroup group(static_cast<size_t>(state.range(0)));
  const auto batch = static_cast<size_t>(state.range(1));
  uint64_t items = 0;
  const uint64_t before = allocations;
  for (auto _ : state) {
    ETCDD_CHECK(group.leader().Propose(Batch(batch)).ok());
    group.Settle();
    items += batch;
  }
  ETCDD_CHECK(group.leader().applied() == group.leader().last_index());
  ReportItems(state, group, items, before);
}
BENCHMARK(BM_Propose)->ArgsProduct({{1, 3, 5}, {1, 10, 1000}});
// The same a known number of times, to count instructions under valgrind; see docs/performance.md.
BENCHMARK(BM_Propose)->Name("BM_Counted")->Args({3, 1})->Iterations(5000);
BENCHMARK(BM_Propose)->Name("BM_Counted")->Args({3, 10})->Iterations(2000);
BENCHMARK(BM_Propose)->Name("BM_Counted")->Args({3, 1000})->Iterations(50);

// One leader tick: two heartbeats out, two answers in.
void BM_HeartbeatRound(benchmark::State& state) {
  LeanGroup group(3);
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
  ReportItems(state, group, items, before);
}
BENCHMARK(BM_HeartbeatRound);

// range(0): reads that share a heartbeat round of three voters.
void BM_ReadIndex(benchmark::State& state) {
  LeanGroup group(3);
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
  ReportItems(state, group, items, before);
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
