// What the store costs: put, get, 1000-key range, count, index look-up, memory per key, restore and
// compaction, at a million keys of 16 bytes. `mvcc_bench --benchmark_filter=...`
//
// On the in-memory backend, so that only the store's own work is measured (BM_Put and BM_Compact
// also run on RocksDB, in a temporary directory).

#include <malloc.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <memory>
#include <string>
#include <vector>

#include "benchmark/benchmark.h"
#include "mvcc/backend/mem_backend.h"
#include "mvcc/backend/rocks_backend.h"
#include "mvcc/store.h"
#include "mvcc/tree_index.h"
#include "server/base/check.h"
#include "server/base/random.h"
#include "tests/support/temp_dir.h"

namespace etcdd::mvcc {
namespace {

constexpr int kKeys = 1000000;
constexpr size_t kValueBytes = 256;

std::string SequentialKey(int i) {
  char key[32];
  std::snprintf(key, sizeof key, "/registry%07d", i);
  return std::string(key, 16);
}

// A permutation of 0..count-1.
std::vector<int> Shuffled(int count, uint64_t seed) {
  std::vector<int> order(static_cast<size_t>(count));
  for (int i = 0; i < count; ++i) order[static_cast<size_t>(i)] = i;
  const auto random = base::NewSeededRandom(seed);
  for (size_t i = order.size(); i > 1; --i) std::swap(order[i - 1], order[random->Uniform(i)]);
  return order;
}

// 16 bytes that share nothing.
std::string RandomKey(base::Random& random) {
  std::string key;
  for (int i = 0; i < 2; ++i) {
    uint64_t word = random.Next();
    key.append(reinterpret_cast<const char*>(&word), sizeof word);
  }
  return key;
}

size_t HeapBytes() { return mallinfo2().uordblks + mallinfo2().hblkhd; }

void PutAll(Store& store, Backend& backend, const std::vector<int>& order, size_t value_bytes) {
  const std::string value(value_bytes, 'v');
  for (size_t at = 0; at < order.size();) {
    const auto batch = backend.NewBatch();
    store.BeginBatch(batch.get());
    for (const size_t end = std::min(order.size(), at + 1000); at < end; ++at) {
      WriteTxn txn = store.NewWriteTxn();
      ETCDD_CHECK(txn.Put(SequentialKey(order[at]), value).ok());
      txn.End();
    }
    ETCDD_CHECK(backend.Write(*batch).ok());
    store.FinishBatch();
  }
}

struct Filled {
  std::shared_ptr<Backend> backend;
  std::unique_ptr<Store> store;
};

// A million keys in random order; made once.
Filled& Million() {
  static Filled filled = [] {
    Filled made;
    made.backend = std::make_shared<MemBackend>();
    made.store = *Store::Open(made.backend, nullptr);
    PutAll(*made.store, *made.backend, Shuffled(kKeys, 1), kValueBytes);
    return made;
  }();
  return filled;
}

// Takes what is put into it and forgets it.
class NullBatch : public Batch {
 public:
  void Put(Bucket, std::string_view, std::string_view) override { ++count_; }
  void Delete(Bucket, std::string_view) override { ++count_; }
  size_t count() const override { return count_; }
  size_t bytes() const override { return 0; }
  void Clear() override { count_ = 0; }

 private:
  size_t count_ = 0;
};

// New keys, in ascending or random order; `range(0)`: random. Without a backend.
void BM_PutNew(benchmark::State& state) {
  const std::vector<int> order = state.range(0) == 0 ? [] {
    std::vector<int> sequence = Shuffled(kKeys, 1);
    std::sort(sequence.begin(), sequence.end());
    return sequence;
  }() : Shuffled(kKeys, 1);
  const std::string value(kValueBytes, 'v');
  for (auto _ : state) {
    auto store = *Store::Open(std::make_shared<MemBackend>(), nullptr);
    NullBatch batch;
    for (size_t at = 0; at < order.size();) {
      store->BeginBatch(&batch);
      for (const size_t end = at + 1000; at < end; ++at) {
        WriteTxn txn = store->NewWriteTxn();
        ETCDD_CHECK(txn.Put(SequentialKey(order[at]), value).ok());
        txn.End();
      }
      store->FinishBatch();
    }
    state.PauseTiming();
    store.reset();
    state.ResumeTiming();
  }
  state.SetItemsProcessed(state.iterations() * kKeys);
}
BENCHMARK(BM_PutNew)->Arg(0)->Arg(1)->Unit(benchmark::kMillisecond)->Iterations(2);

// Overwrites at random over a million keys.
void BM_PutOver(benchmark::State& state) {
  Filled& filled = Million();
  const std::vector<int> order = Shuffled(kKeys, 2);
  const std::string value(kValueBytes, 'w');
  NullBatch batch;
  size_t at = 0;
  // A store of its own: what it writes goes nowhere.
  auto store = *Store::Open(filled.backend, nullptr);
  for (auto _ : state) {
    if (at % 1000 == 0) store->BeginBatch(&batch);
    WriteTxn txn = store->NewWriteTxn();
    ETCDD_CHECK(txn.Put(SequentialKey(order[at % kKeys]), value).ok());
    txn.End();
    if (++at % 1000 == 0) store->FinishBatch();
  }
  if (at % 1000 != 0) store->FinishBatch();
  state.SetItemsProcessed(state.iterations());
}
BENCHMARK(BM_PutOver)->Iterations(1000000);

void BM_PutRocks(benchmark::State& state) {
  const etcdd::testing::TempDir directory;
  std::shared_ptr<Backend> backend = *OpenRocksBackend(directory.Path("db"), {});
  auto store = *Store::Open(backend, nullptr);
  const std::vector<int> order = Shuffled(200000, 1);
  for (auto _ : state) PutAll(*store, *backend, order, kValueBytes);
  state.SetItemsProcessed(state.iterations() * static_cast<int64_t>(order.size()));
}
BENCHMARK(BM_PutRocks)->Unit(benchmark::kMillisecond)->Iterations(3);

void BM_Get(benchmark::State& state) {
  Filled& filled = Million();
  const std::vector<int> order = Shuffled(kKeys, 3);
  std::string kvs;
  size_t at = 0;
  for (auto _ : state) {
    kvs.clear();
    const std::string key = SequentialKey(order[at++ % kKeys]);
    ETCDD_CHECK(filled.store->Range({.key = key}, &kvs)->kvs_count == 1);
  }
}
BENCHMARK(BM_Get)->Iterations(1000000);

void BM_Range1000(benchmark::State& state) {
  Filled& filled = Million();
  const std::vector<int> order = Shuffled(kKeys - 1000, 3);
  const std::string end = "/registry9";
  size_t at = 0;
  for (auto _ : state) {
    std::string kvs;
    const std::string key = SequentialKey(order[at++ % order.size()]);
    const auto result = filled.store->Range({.key = key, .range_end = end, .limit = 1000}, &kvs);
    ETCDD_CHECK(result->kvs_count == 1000);
  }
}
BENCHMARK(BM_Range1000)->Unit(benchmark::kMicrosecond)->Iterations(5000);

void BM_Count(benchmark::State& state) {
  Filled& filled = Million();
  const std::vector<int> order = Shuffled(kKeys, 3);
  const std::string end = "/registry9";
  std::string kvs;
  size_t at = 0;
  for (auto _ : state) {
    const std::string key = SequentialKey(order[at++ % kKeys]);
    benchmark::DoNotOptimize(
        filled.store->Range({.key = key, .range_end = end, .count_only = true}, &kvs)->count);
  }
}
BENCHMARK(BM_Count)->Iterations(500000);

// The index alone: look-up, and memory with nothing but keys and revisions in it (stubs).
// `range(0)`: 0 ascending fill, 1 random fill of ascending names, 2 random bytes, 3 bulk build.
void BM_IndexLookup(benchmark::State& state) {
  std::vector<std::string> keys;
  const auto random = base::NewSeededRandom(7);
  for (int i = 0; i < kKeys; ++i) {
    keys.push_back(state.range(0) == 2 ? RandomKey(*random) : SequentialKey(i));
  }
  std::vector<int> order = Shuffled(kKeys, 4);
  if (state.range(0) == 0 || state.range(0) == 3) std::sort(order.begin(), order.end());
  const size_t before = HeapBytes();
  auto index = std::make_unique<TreeIndex>();
  std::vector<KeySlot> slots;
  int64_t revision = 2;
  for (const int i : order) {
    const std::string& key = keys[static_cast<size_t>(i)];
    const KeySlot slot = KeySlot::Make(
        EncodeRecord({.key = key, .create_revision = revision, .mod_revision = revision,
                      .version = 1}), KeyRevision{{revision, 0}, false});
    ++revision;
    if (state.range(0) == 3) {
      slots.push_back(slot);
      continue;
    }
    TreeIndex::Path path;
    ETCDD_CHECK(!index->Locate(key, &path));
    index->Insert(&path, slot);
  }
  if (state.range(0) == 3) index->BuildSorted(slots);
  std::vector<KeySlot>().swap(slots);
  state.counters["bytes_per_key"] = static_cast<double>(HeapBytes() - before) / kKeys;
  state.counters["tree_bytes_per_key"] = static_cast<double>(index->bytes()) / kKeys;
  const std::vector<int> lookups = Shuffled(kKeys, 5);
  size_t at = 0;
  for (auto _ : state) {
    const KeySlot* slot = index->Find(keys[static_cast<size_t>(lookups[at++ % kKeys])]);
    ETCDD_CHECK(slot != nullptr);
  }
}
BENCHMARK(BM_IndexLookup)->DenseRange(0, 3)->Iterations(1000000);

// Heap bytes per further revision, `range(0)` of them on each of 100,000 keys.
void BM_RevisionBytes(benchmark::State& state) {
  for (auto _ : state) {
    TreeIndex index;
    int64_t revision = 2;
    const int keys = 100000;
    size_t first = 0;
    for (int64_t round = 0; round <= state.range(0); ++round) {
      for (int i = 0; i < keys; ++i, ++revision) {
        const std::string key = SequentialKey(i);
        TreeIndex::Path path;
        base::Bytes record = EncodeRecord(
            {.key = key, .create_revision = 1 << 20, .mod_revision = revision + (1 << 21),
             .version = 1});
        if (index.Locate(key, &path)) {
          index.Update(&path, [&](KeySlot& slot) {
            slot.Append(std::move(record), {{revision + (1 << 21), 0}, false});
          });
        } else {
          index.Insert(&path, KeySlot::Make(std::move(record), {{revision + (1 << 21), 0}, false}));
        }
      }
      if (round == 0) first = HeapBytes();
    }
    state.counters["bytes_per_revision"] =
        static_cast<double>(HeapBytes() - first) / static_cast<double>(keys * state.range(0));
  }
}
BENCHMARK(BM_RevisionBytes)->Arg(1)->Arg(2)->Arg(10)->Arg(100)->Iterations(1);

// Opening a store of a million keys on RocksDB. `range(0)`: 1 = written in random order.
void BM_Restore(benchmark::State& state) {
  const etcdd::testing::TempDir directory;
  std::vector<int> order = Shuffled(kKeys, 6);
  if (state.range(0) == 0) std::sort(order.begin(), order.end());
  std::shared_ptr<Backend> backend = *OpenRocksBackend(directory.Path("db"), {});
  {
    auto store = *Store::Open(backend, nullptr);
    PutAll(*store, *backend, order, kValueBytes);
    ETCDD_CHECK(backend->Flush().ok());
  }
  backend.reset();
  for (auto _ : state) {
    backend = *OpenRocksBackend(directory.Path("db"), {});
    auto store = *Store::Open(backend, nullptr);
    ETCDD_CHECK(store->stats().keys == kKeys);
    state.PauseTiming();
    store.reset();
    backend.reset();
    state.ResumeTiming();
  }
}
BENCHMARK(BM_Restore)->Arg(0)->Arg(1)->Unit(benchmark::kMillisecond)->Iterations(3);

// 567k superseded of 1.57M revisions on RocksDB, steps without pause.
void BM_Compact(benchmark::State& state) {
  for (auto _ : state) {
    state.PauseTiming();
    const etcdd::testing::TempDir directory;
    std::shared_ptr<Backend> backend = *OpenRocksBackend(directory.Path("db"), {});
    auto store = *Store::Open(backend, nullptr);
    PutAll(*store, *backend, Shuffled(kKeys, 6), kValueBytes);
    std::vector<int> again = Shuffled(kKeys, 7);
    again.resize(567000);
    PutAll(*store, *backend, again, kValueBytes);
    state.ResumeTiming();
    const auto schedule = backend->NewBatch();
    store->BeginBatch(schedule.get());
    ETCDD_CHECK(store->ScheduleCompaction(store->latest_revision()).ok());
    ETCDD_CHECK(backend->Write(*schedule).ok());
    store->FinishBatch();
    const auto compaction = store->NewCompaction();
    double longest_ms = 0;
    for (bool more = true; more;) {
      const auto begin = std::chrono::steady_clock::now();
      const auto batch = backend->NewBatch();
      more = *compaction->Step(batch.get());
      if (batch->count() > 0) ETCDD_CHECK(backend->Write(*batch).ok());
      const std::chrono::duration<double, std::milli> took =
          std::chrono::steady_clock::now() - begin;
      longest_ms = std::max(longest_ms, took.count());
    }
    compaction->Finish();
    ETCDD_CHECK(compaction->removed() == 567000);
    state.counters["longest_step_ms"] = longest_ms;
  }
}
BENCHMARK(BM_Compact)->Unit(benchmark::kMillisecond)->Iterations(1);

}  // namespace
}  // namespace etcdd::mvcc

BENCHMARK_MAIN();
