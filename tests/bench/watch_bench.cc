// The watch hub by itself: what a delivered event costs, and what watches that do not match cost a
// put. The sink does what a connection has to do at the least: it copies the head and keeps a
// reference to the events.

#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "benchmark/benchmark.h"
#include "mvcc/backend/mem_backend.h"
#include "mvcc/backend_history.h"
#include "mvcc/record.h"
#include "mvcc/watch_hub.h"
#include "server/base/random.h"
#include "tests/support/fake_clock.h"

namespace etcdd::mvcc {
namespace {

constexpr size_t kValueBytes = 256;

class CountingSink : public WatchSink {
 public:
  bool Send(std::string head, base::Bytes events) override {
    out_.append(head);
    held_.push_back(std::move(events));
    if (held_.size() >= 64) {  // as if written to the socket
      benchmark::DoNotOptimize(out_.data());
      out_.clear();
      held_.clear();
    }
    return true;
  }

 private:
  std::string out_;
  std::vector<base::Bytes> held_;
};

class Bench {
 public:
  Bench() {
    BackendHistorySources sources;
    sources.backend = [this] { return backend_; };
    sources.compact_revision = [] { return int64_t{-1}; };
    sources.pair_at = [](std::string_view, int64_t) { return base::Bytes(); };
    history_ = std::make_unique<BackendHistory>(std::move(sources));
    WatchWorld world;
    world.apply = &strand_;
    world.worker = &strand_;
    world.random = random_.get();
    world.history = history_.get();
    // A header of the usual size.
    world.header = [](int64_t revision) { return std::string(24, 'h') + std::to_string(revision); };
    world.on_failure = [](absl::Status) {};
    hub_ = std::make_unique<WatchHub>(std::move(world), WatchHubOptions(), 1);
  }

  // `watches` watches on each of `streams` streams, key(i) for the i-th of all.
  template <typename KeyOf>
  void Watch(int streams, int watches, KeyOf key_of, bool prefix = false) {
    int number = 0;
    for (int i = 0; i < streams; ++i) {
      sinks_.push_back(std::make_unique<CountingSink>());
      streams_.push_back(hub_->NewStream(sinks_.back().get()));
      for (int j = 0; j < watches; ++j) {
        WatchCreate create;
        create.key = key_of(number++);
        if (prefix) {
          create.range_end = create.key;
          ++create.range_end.back();
        }
        streams_.back()->Create(create);
      }
    }
  }

  // What a store hands over for one put; made outside of the measured time.
  RevisionEvents MakePut(const std::string& key) {
    RecordFields fields;
    fields.key = key;
    fields.create_revision = 2;
    fields.mod_revision = ++revision_;
    fields.version = revision_;
    const std::string value(kValueBytes, 'v');
    fields.value = value;
    Event event;
    event.kv = EncodeRecord(fields);
    event.key = RecordKey(event.kv.view());
    RevisionEvents events;
    events.revision = revision_;
    events.events.push_back(std::move(event));
    return events;
  }
  std::vector<RevisionEvents> MakePuts(const std::string& key, int count) {
    std::vector<RevisionEvents> puts;
    for (int i = 0; i < count; ++i) puts.push_back(MakePut(key));
    return puts;
  }

  WatchHub& hub() { return *hub_; }

 private:
  testing::FakeClock clock_;
  testing::FakeStrand strand_{&clock_};
  std::unique_ptr<base::Random> random_ = base::NewSeededRandom(1);
  std::shared_ptr<Backend> backend_ = std::make_shared<MemBackend>();
  std::unique_ptr<BackendHistory> history_;
  std::unique_ptr<WatchHub> hub_;
  std::vector<std::unique_ptr<CountingSink>> sinks_;
  std::vector<std::unique_ptr<WatchStream>> streams_;
  int64_t revision_ = 1;
};

constexpr int kPutsPerRound = 100;

// Puts the same key; `items` are delivered events, or puts when nobody watches it.
void Measure(benchmark::State& state, Bench& bench, const std::string& key) {
  const uint64_t before = bench.hub().stats().events_sent;
  int64_t puts = 0;
  for (auto _ : state) {
    state.PauseTiming();
    std::vector<RevisionEvents> round = bench.MakePuts(key, kPutsPerRound);
    state.ResumeTiming();
    for (RevisionEvents& put : round) bench.hub().OnRevision(std::move(put));
    puts += kPutsPerRound;
  }
  const auto delivered = static_cast<int64_t>(bench.hub().stats().events_sent - before);
  state.SetItemsProcessed(delivered > 0 ? delivered : puts);
}

// 1000 watches of one key: on 1000 streams, on 100, on 8.
void BM_DeliverToWatchersOfOneKey(benchmark::State& state) {
  Bench bench;
  const auto streams = static_cast<int>(state.range(0));
  bench.Watch(streams, 1000 / streams, [](int) { return "watched"; });
  Measure(state, bench, "watched");
}
BENCHMARK(BM_DeliverToWatchersOfOneKey)->Arg(1000)->Arg(100)->Arg(8);

// One prefix watch sees every put, as a controller's does.
void BM_DeliverToOnePrefixWatcher(benchmark::State& state) {
  Bench bench;
  bench.Watch(1, 1, [](int) { return "registry/"; }, /*prefix=*/true);
  Measure(state, bench, "registry/pods/default/some-pod");
}
BENCHMARK(BM_DeliverToOnePrefixWatcher);

void BM_PutNobodyWatchesAnything(benchmark::State& state) {
  Bench bench;
  Measure(state, bench, "unwatched");
}
BENCHMARK(BM_PutNobodyWatchesAnything);

// range(0) watches of other keys; the cost of a put must not depend on their number.
void BM_PutBesideKeyWatchers(benchmark::State& state) {
  Bench bench;
  bench.Watch(10, static_cast<int>(state.range(0)) / 10,
              [](int i) { return absl::StrCat("other/", i); });
  Measure(state, bench, "unwatched");
}
BENCHMARK(BM_PutBesideKeyWatchers)->Arg(10)->Arg(10000);

void BM_PutBesidePrefixWatchers(benchmark::State& state) {
  Bench bench;
  bench.Watch(10, static_cast<int>(state.range(0)) / 10,
              [](int i) { return absl::StrCat("other/", i, "/"); }, /*prefix=*/true);
  Measure(state, bench, "other/5000x");
}
BENCHMARK(BM_PutBesidePrefixWatchers)->Arg(10)->Arg(10000);

}  // namespace
}  // namespace etcdd::mvcc

BENCHMARK_MAIN();
