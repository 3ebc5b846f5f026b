// Zeros written in the background never touch what was appended.

#include "wal/prewriter.h"

#include <algorithm>
#include <thread>

#include "server/base/random.h"
#include "tests/support/temp_dir.h"
#include "tests/wal/log_fixture.h"

namespace etcdd::wal {
namespace {

using testing::FaultFileSystem;
using testing::FileOp;

constexpr char kPath[] = "/file";
constexpr uint64_t kPageBytes = 4096;

// Ranges of the file that were written, taken from a line such as "write /file 4096+512".
struct Written {
  uint64_t begin;
  uint64_t end;
};
std::vector<Written> WritesIn(const std::vector<std::string>& trace) {
  std::vector<Written> writes;
  for (const std::string& line : trace) {
    unsigned long long offset = 0;
    unsigned long long size = 0;
    if (std::sscanf(line.c_str(), "write /file %llu+%llu", &offset, &size) == 2) {
      writes.push_back({offset, offset + size});
    }
  }
  return writes;
}

class PrewriterTest : public ::testing::Test {
 protected:
  PrewriterTest() {
    auto file = fs_.Open(kPath, base::OpenMode::kCreate);
    EXPECT_TRUE(file.ok());
    appender_ = *std::move(file);
    EXPECT_EQ(appender_->Preallocate(16 * kPageBytes), absl::OkStatus());
  }

  std::shared_ptr<Prewriter> Make(uint64_t begin, uint64_t chunk_bytes = kPageBytes) {
    auto file = fs_.Open(kPath, base::OpenMode::kReadWrite);
    EXPECT_TRUE(file.ok());
    return std::make_shared<Prewriter>(*std::move(file), strand_,
                                       PrewriteOptions{chunk_bytes, absl::Milliseconds(2)}, begin,
                                       16 * kPageBytes);
  }

  testing::FakeClock clock_;
  testing::FakeStrand strand_{&clock_};
  FaultFileSystem fs_;
  std::unique_ptr<base::File> appender_;
};

TEST_F(PrewriterTest, FillsTheRestInStepsWithPausesAndSyncs) {
  fs_.EnableTrace();
  auto prewriter = Make(100);
  prewriter->Start();
  prewriter->Start();
  EXPECT_EQ(fs_.Count(FileOp::kWrite), 0u) << "never inside Start";
  strand_.RunReady();
  EXPECT_EQ(fs_.Count(FileOp::kWrite), 1u) << "one step, then a pause";
  strand_.AdvanceBy(absl::Milliseconds(2));
  EXPECT_EQ(fs_.Count(FileOp::kWrite), 2u);
  EXPECT_EQ(fs_.Count(FileOp::kSync), 2u);
  strand_.AdvanceBy(absl::Seconds(1));
  const std::vector<Written> writes = WritesIn(fs_.trace());
  ASSERT_EQ(writes.size(), 15u);
  EXPECT_EQ(writes.front().begin, kPageBytes) << "begins at the next page";
  EXPECT_EQ(writes.back().end, 16 * kPageBytes);
  EXPECT_EQ(strand_.timer_count(), 0u) << "and ends";
  EXPECT_EQ(*appender_->Size(), 16 * kPageBytes);
}

TEST_F(PrewriterTest, RestsWhenFarEnoughAheadAndGoesOnWhenHalfIsUsed) {
  auto file = fs_.Open(kPath, base::OpenMode::kReadWrite);
  ASSERT_TRUE(file.ok());
  const PrewriteOptions options{kPageBytes, absl::Milliseconds(2), 4 * kPageBytes};
  auto prewriter =
      std::make_shared<Prewriter>(*std::move(file), strand_, options, 0, 16 * kPageBytes);
  prewriter->Start();
  strand_.AdvanceBy(absl::Seconds(1));
  EXPECT_EQ(fs_.Count(FileOp::kWrite), 4u);
  EXPECT_EQ(strand_.timer_count(), 0u) << "at rest";
  ASSERT_EQ(prewriter->Claim(2 * kPageBytes), absl::OkStatus());
  strand_.AdvanceBy(absl::Seconds(1));
  EXPECT_EQ(fs_.Count(FileOp::kWrite), 4u) << "half of the lead is left";
  ASSERT_EQ(prewriter->Claim(2 * kPageBytes + 1), absl::OkStatus());
  strand_.AdvanceBy(absl::Seconds(1));
  EXPECT_EQ(fs_.Count(FileOp::kWrite), 7u) << "filled up again";
}

TEST_F(PrewriterTest, StaysBehindEverythingClaimed) {
  fs_.EnableTrace();
  auto prewriter = Make(0, kPageBytes / 2);
  prewriter->Start();
  strand_.RunReady();
  ASSERT_EQ(prewriter->Claim(3 * kPageBytes + 1), absl::OkStatus());
  const size_t before = WritesIn(fs_.trace()).size();
  strand_.AdvanceBy(absl::Seconds(1));
  const std::vector<Written> writes = WritesIn(fs_.trace());
  ASSERT_GT(writes.size(), before);
  for (size_t i = before; i < writes.size(); ++i) {
    EXPECT_GE(writes[i].begin, 3 * kPageBytes + 1);
  }
  EXPECT_GT(writes[before].begin, 8 * kPageBytes) << "overtaken, it keeps a distance";
}

TEST_F(PrewriterTest, StopEndsItForGood) {
  auto prewriter = Make(0);
  prewriter->Start();
  strand_.RunReady();
  EXPECT_EQ(prewriter->Stop(), absl::OkStatus());
  EXPECT_EQ(prewriter->Stop(), absl::OkStatus());
  const uint64_t writes = fs_.Count(FileOp::kWrite);
  strand_.AdvanceBy(absl::Seconds(1));
  prewriter->Start();
  strand_.AdvanceBy(absl::Seconds(1));
  EXPECT_EQ(fs_.Count(FileOp::kWrite), writes);
}

TEST_F(PrewriterTest, AFailedStepIsReportedAndTheLast) {
  auto prewriter = Make(0);
  prewriter->Start();
  fs_.Inject({.op = FileOp::kSync});
  strand_.RunReady();
  EXPECT_FALSE(prewriter->Claim(1).ok());
  const uint64_t writes = fs_.Count(FileOp::kWrite);
  strand_.AdvanceBy(absl::Seconds(1));
  EXPECT_EQ(fs_.Count(FileOp::kWrite), writes);
  EXPECT_FALSE(prewriter->Stop().ok());
}

// A file whose writes give other threads a chance before they begin.
class YieldingFile final : public base::File {
 public:
  explicit YieldingFile(std::unique_ptr<base::File> file) : file_(std::move(file)) {}
  absl::Status ReadAt(uint64_t offset, size_t size, std::string* out) override {
    return file_->ReadAt(offset, size, out);
  }
  absl::Status WriteAt(uint64_t offset, absl::Span<const std::string_view> pieces) override {
    for (int i = 0; i < 3; ++i) std::this_thread::yield();
    return file_->WriteAt(offset, pieces);
  }
  absl::Status Sync() override { return absl::OkStatus(); }
  absl::Status Truncate(uint64_t size) override { return file_->Truncate(size); }
  absl::Status Preallocate(uint64_t size) override { return file_->Preallocate(size); }
  absl::StatusOr<uint64_t> Size() override { return file_->Size(); }
  absl::StatusOr<bool> TryLock() override { return file_->TryLock(); }

 private:
  const std::unique_ptr<base::File> file_;
};

TEST(PrewriterThreads, ConcurrentAppendsSurvive) {
  constexpr uint64_t kFileBytes = 256 * kPageBytes;
  const std::unique_ptr<base::Strand> strand = base::NewThreadStrand("prewriter");
  const std::unique_ptr<base::Random> random = base::NewSeededRandom(1);
  for (int round = 0; round < 20; ++round) {
    FaultFileSystem fs;
    std::unique_ptr<base::File> appender = *fs.Open(kPath, base::OpenMode::kCreate);
    ASSERT_EQ(appender->Preallocate(kFileBytes), absl::OkStatus());
    auto prewriter = std::make_shared<Prewriter>(
        std::make_unique<YieldingFile>(*fs.Open(kPath, base::OpenMode::kReadWrite)), *strand,
        PrewriteOptions{2 * kPageBytes, absl::ZeroDuration()}, 0, kFileBytes);
    prewriter->Start();
    std::string expected;
    while (expected.size() < kFileBytes - 3 * kPageBytes) {
      const std::string piece(1 + random->Uniform(2 * kPageBytes),
                              static_cast<char>('a' + random->Uniform(26)));
      ASSERT_EQ(prewriter->Claim(expected.size() + piece.size()), absl::OkStatus());
      ASSERT_EQ(appender->WriteAt(expected.size(), piece), absl::OkStatus());
      expected += piece;
    }
    EXPECT_EQ(prewriter->Stop(), absl::OkStatus());
    std::string content;
    ASSERT_EQ(appender->ReadAt(0, kFileBytes, &content), absl::OkStatus());
    ASSERT_EQ(content.size(), kFileBytes);
    EXPECT_EQ(content.substr(0, expected.size()), expected) << "round " << round;
    EXPECT_EQ(content.find_first_not_of('\0', expected.size()), std::string::npos);
  }
}

TEST(PrewriterThreads, AWholeLogOnTheRealDiskIsReadBack) {
  const testing::TempDir temp;
  const std::unique_ptr<base::FileSystem> fs = base::NewPosixFileSystem();
  const std::unique_ptr<base::Clock> clock = base::NewSystemClock();
  const std::unique_ptr<base::Strand> strand = base::NewThreadStrand("wal-background");
  Options options;
  options.clock = clock.get();
  options.background = strand.get();
  options.segment_bytes = 64 * 1024;
  options.prewrite_chunk_bytes = 8 * 1024;
  options.prewrite_pause = absl::ZeroDuration();
  const std::string dir = temp.Path("member/wal");
  std::unique_ptr<Wal> wal = *Wal::Create(*fs, options, dir, kMemberMetadata);
  std::vector<Entry> all;
  for (uint64_t batch = 0; batch < 200; ++batch) {
    const std::vector<Entry> entries =
        MakeEntries(all.size() + 1, all.size() + 1 + batch % 7, 1, 1 + (batch * 97) % 3000);
    ASSERT_EQ(wal->Save({1, 7, all.size()}, Views(entries)).status(), absl::OkStatus());
    ASSERT_EQ(wal->Sync(), absl::OkStatus());
    all.insert(all.end(), entries.begin(), entries.end());
  }
  ASSERT_EQ(wal->Close(), absl::OkStatus());
  const absl::StatusOr<Wal::Opened> opened = Wal::Open(*fs, options, dir, {});
  ASSERT_TRUE(opened.ok()) << opened.status();
  EXPECT_EQ(opened->contents.entries, all);
  EXPECT_GT(fs->List(dir)->size(), 5u);
}

class PrewritingLogTest : public LogTest {
 protected:
  Options options() override {
    Options options = LogTest::options();
    options.background = &strand_;
    options.prewrite_chunk_bytes = kPageBytes;
    return options;
  }
  void TearDown() override { wal_.reset(); }

  testing::FakeStrand strand_{&clock_};
};

TEST_F(PrewritingLogTest, TheNextSegmentIsMadeAndFilledInTheBackground) {
  const std::string next = std::string(kDir) + "/0.tmp";
  fs_.EnableTrace();
  Create();
  EXPECT_FALSE(fs_.Exists(next));
  strand_.RunReady();
  EXPECT_TRUE(fs_.Exists(next));
  const auto writes_to_next = [this] {
    const std::vector<std::string> trace = fs_.trace();
    return std::count_if(trace.begin(), trace.end(), [](const std::string& line) {
      return line.starts_with("write /member/wal/0.tmp");
    });
  };
  strand_.AdvanceBy(absl::Seconds(1));
  EXPECT_EQ(writes_to_next(), 0) << "not before the tail fills";
  SaveAndSync({1, 7, 0}, MakeEntries(1, 20, 1, 1024));
  strand_.AdvanceBy(absl::Seconds(1));
  EXPECT_EQ(writes_to_next(), 16);
}

TEST_F(PrewritingLogTest, ACutBeforeTheNextSegmentIsMadeMakesIt) {
  Create();
  SaveAndSync({1, 7, 0}, MakeEntries(1, 70, 1, 1024));
  SaveAndSync({1, 7, 0}, MakeEntries(71, 140, 1, 1024));
  EXPECT_EQ(Segments().size(), 3u);
  strand_.AdvanceBy(absl::Seconds(1));
  Crash();
  ASSERT_EQ(Reopen(), absl::OkStatus());
  EXPECT_EQ(contents_.entries, MakeEntries(1, 140, 1, 1024));
}

TEST_F(PrewritingLogTest, AFailedBackgroundWritePoisonsTheLog) {
  Create();
  fs_.Inject({.op = FileOp::kWrite, .path_part = "0000000000000000.wal"});
  strand_.RunReady();
  EXPECT_FALSE(Save({1, 7, 0}, MakeEntries(1, 1, 1)).ok());
  EXPECT_FALSE(wal_->Sync().ok());
}

// Found by the simulator (seed 896).
TEST_F(PrewritingLogTest, ADiskThatWasFullForAWhileStopsNoCut) {
  Create();
  fs_.SetCapacity(fs_.used_bytes());
  strand_.RunReady();  // no room for the next segment
  fs_.SetCapacity(std::nullopt);
  SaveAndSync({1, 7, 0}, MakeEntries(1, 70, 1, 1024));
  EXPECT_EQ(Segments().size(), 2u);
  Crash();
  ASSERT_EQ(Reopen(), absl::OkStatus());
  EXPECT_EQ(contents_.entries, MakeEntries(1, 70, 1, 1024));
}

TEST_F(PrewritingLogTest, AFailureToMakeTheNextSegmentShowsAtTheCut) {
  Create();
  fs_.Inject({.op = FileOp::kPreallocate, .path_part = "0.tmp"});
  strand_.RunReady();
  SaveAndSync({1, 7, 0}, MakeEntries(1, 1, 1));
  EXPECT_FALSE(Save({1, 7, 0}, MakeEntries(2, 70, 1, 1024)).ok());
  EXPECT_FALSE(wal_->Sync().ok());
}

}  // namespace
}  // namespace etcdd::wal
