// What one Save + Sync costs on the real disk, by batch size, on pre-written and on merely
// allocated space. Run it on the disk in question: TMPDIR=/path wal_bench.

#include <benchmark/benchmark.h>

#include <memory>
#include <string>
#include <vector>

#include "server/base/check.h"
#include "server/base/clock.h"
#include "server/base/file_system.h"
#include "server/base/strand.h"
#include "tests/support/temp_dir.h"
#include "wal/record.h"
#include "wal/wal.h"

namespace etcdd::wal {
namespace {

constexpr size_t kPayloadBytes = 300;

class Log {
 public:
  explicit Log(bool prewrite) {
    Options options;
    options.clock = clock_.get();
    options.background = strand_.get();
    if (!prewrite) options.prewrite_chunk_bytes = 0;
    auto wal = Wal::Create(*fs_, options, temp_.Path("wal"), "metadata");
    ETCDD_CHECK_MSG(wal.ok(), wal.status().ToString());
    wal_ = *std::move(wal);
  }
  ~Log() { wal_.reset(); }

  void Append(size_t batch) {
    entries_.clear();
    for (size_t i = 0; i < batch; ++i) entries_.push_back({0, 1, ++last_, payload_});
    ETCDD_CHECK(wal_->Save({1, 1, last_}, entries_).ok());
  }
  void Sync() { ETCDD_CHECK(wal_->Sync().ok()); }
  void Purge() {
    ETCDD_CHECK(wal_->ReleaseTo(last_).ok());
    ETCDD_CHECK(PurgeSegments(*fs_, temp_.Path("wal"), 1).ok());
  }

 private:
  const testing::TempDir temp_;
  const std::unique_ptr<base::FileSystem> fs_ = base::NewPosixFileSystem();
  const std::unique_ptr<base::Clock> clock_ = base::NewSystemClock();
  const std::unique_ptr<base::Strand> strand_ = base::NewThreadStrand("wal-background");
  const std::string payload_ = std::string(kPayloadBytes, 'p');
  std::vector<EntryView> entries_;
  uint64_t last_ = 0;
  std::unique_ptr<Wal> wal_;
};

// range(0): entries a batch; range(1): 1 pre-written, 0 allocated only.
void BM_SaveAndSync(benchmark::State& state) {
  const auto batch = static_cast<size_t>(state.range(0));
  Log log(state.range(1) != 0);
  uint64_t batches = 0;
  for (auto _ : state) {
    log.Append(batch);
    log.Sync();
    if (++batches * batch % 500'000 < batch) log.Purge();
  }
  state.SetItemsProcessed(static_cast<int64_t>(state.iterations() * batch));
}
BENCHMARK(BM_SaveAndSync)
    ->ArgNames({"batch", "prewritten"})
    ->ArgsProduct({{1, 64, 1000}, {1, 0}})
    ->UseRealTime();

// The append path alone: encode and write, no sync.
void BM_Save(benchmark::State& state) {
  const auto batch = static_cast<size_t>(state.range(0));
  Log log(false);
  uint64_t batches = 0;
  for (auto _ : state) {
    log.Append(batch);
    if (++batches * batch % 500'000 < batch) log.Purge();
  }
  state.SetItemsProcessed(static_cast<int64_t>(state.iterations() * batch));
}
BENCHMARK(BM_Save)->ArgName("batch")->Arg(1)->Arg(64)->Arg(1000)->UseRealTime();

void BM_Encode(benchmark::State& state) {
  const std::string payload(static_cast<size_t>(state.range(0)), 'p');
  std::vector<EntryView> entries;
  for (uint64_t i = 1; i <= 100; ++i) entries.push_back({0, 1, 1'000'000 + i, payload});
  RecordEncoder encoder(0);
  for (auto _ : state) {
    encoder.AddEntries(entries);
    benchmark::DoNotOptimize(encoder.Pieces().data());
    encoder.Clear();
  }
  state.SetItemsProcessed(state.iterations() * 100);
  state.SetBytesProcessed(state.iterations() * 100 * state.range(0));
}
BENCHMARK(BM_Encode)->ArgName("bytes")->Arg(16)->Arg(300)->Arg(4096)->Arg(65536);

}  // namespace
}  // namespace etcdd::wal

BENCHMARK_MAIN();
