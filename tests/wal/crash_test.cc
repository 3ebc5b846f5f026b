// Crashes and failing disks at every step of a log's life.

#include <functional>
#include <optional>

#include "server/base/random.h"
#include "tests/wal/log_fixture.h"

namespace etcdd::wal {
namespace {

using testing::FaultFileSystem;
using testing::FileFault;
using testing::FileOp;

// What a reader after the crash may find at most and must find at least.
struct Promise {
  std::vector<Entry> written;   // the log as appended, overwrites applied
  HardState written_state;
  std::vector<Entry> synced;    // the same at the last successful Sync
  HardState synced_state;
  bool created = false;
};

// A small life of a log: entries over several segments, an overwrite, a snapshot mark, a release,
// a restart in between. Stops at the first error.
class Life {
 public:
  // `entry_bytes` is about a sixth of a segment. `strand` may be null; its tasks run in between.
  Life(FaultFileSystem& fs, const Options& options, size_t entry_bytes,
       testing::FakeStrand* strand)
      : fs_(fs), options_(options), entry_bytes_(entry_bytes), strand_(strand) {}

  void Run() {
    auto created = Wal::Create(fs_, options_, kDir, kMemberMetadata);
    if (!created.ok()) return;
    wal_ = *std::move(created);
    promise_.created = true;
    for (uint64_t index = 1; index <= 6; ++index) {
      if (!Append({1, 7, index - 1}, {MakeEntry(index, 1, entry_bytes_)})) return;
    }
    // The new leader of term 2 replaces 6 and goes on.
    if (!Append({2, 8, 5}, MakeEntries(6, 9, 2, entry_bytes_))) return;
    if (!Append({2, 8, 8}, {})) return;
    if (!wal_->SaveSnapshot({5, 1, "conf"}).ok()) return;
    Synced();
    if (!wal_->ReleaseTo(5).ok()) return;
    wal_.reset();
    absl::StatusOr<Wal::Opened> opened = Wal::Open(fs_, options_, kDir, {});
    if (!opened.ok()) return;
    EXPECT_EQ(opened->contents.entries, promise_.written);
    wal_ = std::move(opened->wal);
    for (uint64_t index = 10; index <= 16; ++index) {
      if (!Append({2, 8, index - 1}, {MakeEntry(index, 2, entry_bytes_)})) return;
    }
    finished_ = true;
  }

  const Promise& promise() const { return promise_; }
  bool finished() const { return finished_; }
  Wal* wal() { return wal_.get(); }
  void Drop() { wal_.reset(); }

 private:
  bool Append(const HardState& state, const std::vector<Entry>& entries) {
    // Even a failing Save may have written some of it.
    std::vector<Entry>& log = promise_.written;
    for (const Entry& entry : entries) {
      log.resize(entry.index - 1);
      log.push_back(entry);
    }
    promise_.written_state = state;
    if (!wal_->Save(state, Views(entries)).ok()) return false;
    if (strand_ != nullptr) strand_->RunOne();
    if (!wal_->Sync().ok()) return false;
    Synced();
    if (strand_ != nullptr) strand_->RunOne();
    return true;
  }
  void Synced() {
    promise_.synced = promise_.written;
    promise_.synced_state = promise_.written_state;
  }

  FaultFileSystem& fs_;
  const Options options_;
  const size_t entry_bytes_;
  testing::FakeStrand* const strand_;
  std::unique_ptr<Wal> wal_;
  Promise promise_;
  bool finished_ = false;
};

class CrashTest : public LogTest {
 protected:
  CrashTest() { segment_bytes_ = 1024; }
  void TearDown() override { wal_.reset(); }

  Options options() override {
    Options options = LogTest::options();
    options.background = strand_.get();
    options.prewrite_chunk_bytes = 4096;
    options.prewrite_pause = absl::ZeroDuration();
    return options;
  }

  // Makes segments large enough to be pre-written, by a strand that runs between the calls.
  void UseBackground() {
    strand_ = std::make_unique<testing::FakeStrand>(&clock_);
    segment_bytes_ = 32 * 1024;
    entry_bytes_ = 5 * 1024;
  }

  Life MakeLife(FaultFileSystem& fs) { return Life(fs, options(), entry_bytes_, strand_.get()); }

  void StartAfresh() {
    ASSERT_EQ(fs_.RemoveTree("/member"), absl::OkStatus());
    fs_.SyncAll();
  }

  // Opens after the crash and compares with the promise, then proves that the log goes on.
  void CheckRecovery(const Promise& promise) {
    if (!Wal::Exists(fs_, kDir)) {
      EXPECT_FALSE(promise.created);
      Create();
      return;
    }
    const absl::StatusOr<std::vector<SnapshotRecord>> marks = ValidSnapshotRecords(fs_, kDir);
    ASSERT_TRUE(marks.ok()) << marks.status();
    EXPECT_FALSE(marks->empty());
    ASSERT_EQ(Reopen(), absl::OkStatus());
    ExpectBetween(promise);
    const uint64_t next = contents_.entries.size() + 1;
    std::vector<Entry> expected = contents_.entries;
    expected.push_back(MakeEntry(next, 9, 150));
    SaveAndSync({9, 9, contents_.hard_state.commit}, {expected.back()});
    Crash();
    ASSERT_EQ(Reopen(), absl::OkStatus());
    EXPECT_EQ(contents_.entries, expected);
    EXPECT_EQ(contents_.hard_state.term, 9u);
  }

  // The log found extends what was synced by a part of what was appended after that.
  void ExpectBetween(const Promise& promise) {
    const std::vector<Entry>& found = contents_.entries;
    const std::vector<Entry>& synced = promise.synced;
    const std::vector<Entry>& written = promise.written;
    EXPECT_EQ(contents_.metadata, kMemberMetadata);
    // Entry by entry the log is the synced one or already the one written over it.
    size_t replaced = 0;
    for (size_t i = 0; i < found.size(); ++i) {
      const bool new_one = i < written.size() && found[i] == written[i];
      const bool old_one = i < synced.size() && found[i] == synced[i];
      EXPECT_TRUE(new_one || old_one) << "entry " << i + 1;
      if (new_one && !old_one) ++replaced;
    }
    if (replaced == 0) {
      EXPECT_GE(found.size(), synced.size()) << "synced entries lost";
    }
    EXPECT_GE(contents_.hard_state.term, promise.synced_state.term);
    EXPECT_LE(contents_.hard_state.term, promise.written_state.term);
    EXPECT_GE(contents_.hard_state.commit, promise.synced_state.commit);
    EXPECT_LE(contents_.hard_state.commit, promise.written_state.commit);
  }

  // Runs a whole life and returns how many changes of the disk it takes.
  uint64_t ChangesOfALife() {
    FaultFileSystem fs;
    Life life = MakeLife(fs);
    life.Run();
    EXPECT_TRUE(life.finished());
    return fs.changes();
  }

  void PowerLossAfterEveryOperation();
  void PowerLossWithAnyMixOfSectors(uint64_t seeds);

  size_t entry_bytes_ = 150;
  std::unique_ptr<testing::FakeStrand> strand_;
};

void CrashTest::PowerLossAfterEveryOperation() {
  const uint64_t changes = ChangesOfALife();
  ASSERT_GT(changes, 50u);
  for (uint64_t n = 0; n <= changes; ++n) {
    SCOPED_TRACE(n);
    StartAfresh();
    Life life = MakeLife(fs_);
    fs_.PowerOffAfter(n);
    life.Run();
    fs_.Crash();
    life.Drop();
    CheckRecovery(life.promise());
    wal_.reset();
  }
}

void CrashTest::PowerLossWithAnyMixOfSectors(uint64_t seeds) {
  const uint64_t changes = ChangesOfALife();
  for (uint64_t seed = 1; seed <= seeds; ++seed) {
    const std::unique_ptr<base::Random> random = base::NewSeededRandom(seed);
    for (uint64_t n = 0; n <= changes; ++n) {
      SCOPED_TRACE(absl::StrCat("seed ", seed, " operation ", n));
      StartAfresh();
      Life life = MakeLife(fs_);
      fs_.PowerOffAfter(n);
      life.Run();
      fs_.CrashAtRandom(*random);
      life.Drop();
      CheckRecovery(life.promise());
      wal_.reset();
    }
  }
}

TEST_F(CrashTest, PowerLossAfterEveryOperationKeepsWhatWasSynced) {
  PowerLossAfterEveryOperation();
}

TEST_F(CrashTest, PowerLossAfterEveryOperationKeepsWhatWasSyncedBesidePrewriting) {
  UseBackground();
  PowerLossAfterEveryOperation();
}

TEST_F(CrashTest, PowerLossWithAnyMixOfSectorsKeepsWhatWasSynced) {
  PowerLossWithAnyMixOfSectors(20);
}

TEST_F(CrashTest, PowerLossWithAnyMixOfSectorsKeepsWhatWasSyncedBesidePrewriting) {
  UseBackground();
  PowerLossWithAnyMixOfSectors(8);
}

TEST_F(CrashTest, AKilledProcessLosesNothingThatWasWritten) {
  Life life = MakeLife(fs_);
  life.Run();
  ASSERT_TRUE(life.finished());
  fs_.KillProcess();
  life.Drop();
  ASSERT_EQ(Reopen(), absl::OkStatus());
  EXPECT_EQ(contents_.entries, life.promise().written);
  EXPECT_EQ(contents_.hard_state, life.promise().written_state);
}

// Fails the nth operation of a kind in a life, for every n.
class FaultTest : public CrashTest, public ::testing::WithParamInterface<FileOp> {};

TEST_P(FaultTest, AfterAFailureTheLogIsPoisonedAndTheDiskRecovers) {
  uint64_t failures = 0;
  for (uint64_t n = 1;; ++n) {
    SCOPED_TRACE(n);
    StartAfresh();
    Life life = MakeLife(fs_);
    fs_.Inject({.op = GetParam(), .nth = n, .written_bytes = 100});
    life.Run();
    fs_.ClearFaults();
    if (life.finished()) break;
    ++failures;
    if (life.wal() != nullptr) {
      const uint64_t changes = fs_.changes();
      EXPECT_FALSE(life.wal()->Save({9, 9, 99}, {}).ok());
      EXPECT_FALSE(life.wal()->Sync().ok());
      EXPECT_FALSE(life.wal()->SaveSnapshot({5, 1, "conf"}).ok());
      EXPECT_FALSE(life.wal()->ReleaseTo(1).ok());
      EXPECT_EQ(fs_.changes(), changes) << "a poisoned log touches nothing";
    }
    fs_.Crash();
    life.Drop();
    CheckRecovery(life.promise());
    wal_.reset();
  }
  EXPECT_GT(failures, 0u);
}

INSTANTIATE_TEST_SUITE_P(Operations, FaultTest,
                         ::testing::Values(FileOp::kWrite, FileOp::kSync, FileOp::kTruncate,
                                           FileOp::kPreallocate, FileOp::kRename,
                                           FileOp::kSyncDir, FileOp::kOpen, FileOp::kLock),
                         [](const auto& param_info) {
                           return absl::StrCat("Op", static_cast<int>(param_info.param));
                         });

TEST_F(CrashTest, AFullDiskPoisonsAndLeavesAReadableLog) {
  Create();
  SaveAndSync({1, 7, 0}, MakeEntries(1, 3, 1, 150));
  fs_.SetCapacity(fs_.used_bytes() + 10);
  std::vector<Entry> expected = MakeEntries(1, 3, 1, 150);
  absl::Status status;
  for (uint64_t index = 4; status.ok() && index < 100; ++index) {
    status = Save({}, {MakeEntry(index, 1, 150)}).status();
    if (status.ok()) status = wal_->Sync();
    if (status.ok()) expected.push_back(MakeEntry(index, 1, 150));
  }
  EXPECT_TRUE(absl::IsResourceExhausted(status)) << status;
  EXPECT_EQ(wal_->Sync(), status);
  fs_.SetCapacity(std::nullopt);
  Crash();
  ASSERT_EQ(Reopen(), absl::OkStatus());
  EXPECT_GE(contents_.entries.size(), expected.size());
  EXPECT_EQ(Prefix(contents_.entries, expected.size()), expected);
}

}  // namespace
}  // namespace etcdd::wal
