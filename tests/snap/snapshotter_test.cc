// Raft snapshot files: bytes, choice, damage, crashes.

#include "snap/snapshotter.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "absl/strings/escaping.h"
#include "server/base/crc32c.h"
#include "server/base/random.h"
#include "tests/support/fake_clock.h"
#include "tests/support/fault_file_system.h"

namespace etcdd::snap {
namespace {

using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::IsEmpty;
using ::testing::Not;
using testing::FaultFileSystem;
using testing::FileOp;

constexpr char kDir[] = "/snap";

Snapshot MakeSnapshot(uint64_t term, uint64_t index, size_t bytes = 100) {
  return {{term, index}, std::string("\x08\x01\x28\x00", 4), std::string(bytes, 'd')};
}

TEST(SnapshotFile, NameIsTermThenIndex) {
  EXPECT_EQ(FormatSnapshotName({2, 21}), "0000000000000002-0000000000000015.snap");
  EXPECT_EQ(ParseSnapshotName("0000000000000002-0000000000000015.snap"), (SnapshotId{2, 21}));
  for (const char* name :
       {"0000000000000015.snap.db", "0000000000000002-0000000000000015.snap.broken",
        "0000000000000002-0000000000000015.SNAP", "000000000000000g-0000000000000015.snap", "db"}) {
    EXPECT_FALSE(ParseSnapshotName(name)) << name;
  }
}

TEST(SnapshotFile, BytesAreAChecksumAroundTheMessage) {
  const Snapshot snapshot = {{2, 21}, "C", "J"};
  const std::string message = absl::HexStringToBytes("0a014a" "1207" "0a0143" "1015" "1802");
  std::string expected = "\x08";
  for (uint32_t crc = base::Crc32c(0, message); true; crc >>= 7) {
    expected += static_cast<char>((crc & 0x7f) | (crc > 0x7f ? 0x80 : 0));
    if (crc <= 0x7f) break;
  }
  expected += std::string("\x12\x0c") + message;
  EXPECT_EQ(absl::BytesToHexString(EncodeSnapshotFile(snapshot)),
            absl::BytesToHexString(expected));
}

TEST(SnapshotFile, ComesBackAsWritten) {
  const Snapshot snapshot = MakeSnapshot(UINT64_MAX, 1ull << 40, 100'000);
  EXPECT_EQ(*DecodeSnapshotFile(EncodeSnapshotFile(snapshot)), snapshot);
}

TEST(SnapshotFile, CutOrFlippedItIsNeverTakenForAnother) {
  const Snapshot snapshot = MakeSnapshot(2, 21);
  const std::string whole = EncodeSnapshotFile(snapshot);
  for (size_t size = 0; size < whole.size(); ++size) {
    EXPECT_TRUE(absl::IsDataLoss(DecodeSnapshotFile(whole.substr(0, size)).status())) << size;
  }
  for (size_t i = 0; i < whole.size(); ++i) {
    for (int mask = 1; mask < 256; ++mask) {
      std::string flipped = whole;
      flipped[i] = static_cast<char>(flipped[i] ^ mask);
      const absl::StatusOr<Snapshot> decoded = DecodeSnapshotFile(flipped);
      EXPECT_FALSE(decoded.ok()) << "byte " << i << " mask " << mask;
    }
  }
}

TEST(SnapshotFile, AZeroChecksumIsRefused) {
  EXPECT_FALSE(DecodeSnapshotFile(absl::HexStringToBytes("0800" "120512031001" "1801")).ok());
  EXPECT_FALSE(DecodeSnapshotFile(absl::HexStringToBytes("0805" "1200")).ok());
}

class SnapshotterTest : public ::testing::Test {
 protected:
  SnapshotterTest() {
    EXPECT_EQ(fs_.CreateDirs(kDir), absl::OkStatus());
    fs_.SyncAll();
  }

  void Save(uint64_t term, uint64_t index) {
    ASSERT_EQ(snapshotter_.Save(MakeSnapshot(term, index)), absl::OkStatus());
  }
  std::vector<std::string> Names() { return *fs_.List(kDir); }
  static std::string PathOf(const SnapshotId& id) {
    return base::JoinPath(kDir, FormatSnapshotName(id));
  }

  testing::FakeClock clock_;
  FaultFileSystem fs_;
  Snapshotter snapshotter_{fs_, clock_, kDir};
};

TEST_F(SnapshotterTest, SavedSnapshotsSurviveACrash) {
  Save(1, 10);
  Save(2, 15);
  fs_.Crash();
  EXPECT_EQ(*snapshotter_.LoadNewest(), MakeSnapshot(2, 15));
  EXPECT_EQ(Names().size(), 2u);
}

TEST_F(SnapshotterTest, NewestIsByTermThenIndex) {
  Save(1, 100);
  Save(2, 15);
  Save(2, 9);
  EXPECT_EQ(snapshotter_.LoadNewest()->id, (SnapshotId{2, 15}));
}

TEST_F(SnapshotterTest, OnlyOnesWithAMarkAreTaken) {
  Save(1, 10);
  Save(2, 20);
  Save(2, 30);
  const std::vector<SnapshotId> marks = {{1, 10}, {2, 20}, {2, 40}};
  EXPECT_EQ(snapshotter_.LoadNewestOf(marks)->id, (SnapshotId{2, 20}));
  EXPECT_TRUE(absl::IsNotFound(snapshotter_.LoadNewestOf({}).status()));
  EXPECT_EQ(Names().size(), 3u) << "the others are left alone";
}

TEST_F(SnapshotterTest, NoSnapshotIsNotFound) {
  EXPECT_TRUE(absl::IsNotFound(snapshotter_.LoadNewest().status()));
}

TEST_F(SnapshotterTest, IncompleteSnapshotsAreRefused) {
  EXPECT_TRUE(absl::IsInvalidArgument(snapshotter_.Save(MakeSnapshot(1, 0))));
  EXPECT_TRUE(absl::IsInvalidArgument(snapshotter_.Save(MakeSnapshot(0, 1))));
  EXPECT_TRUE(absl::IsInvalidArgument(snapshotter_.Save({{1, 1}, "", "data"})));
  EXPECT_THAT(Names(), IsEmpty());
}

TEST_F(SnapshotterTest, ADamagedOneIsSetAsideAndTheNextTaken) {
  Save(1, 10);
  Save(1, 20);
  Save(1, 30);
  fs_.Corrupt(PathOf({1, 30}), 20, 1);
  auto file = *fs_.Open(PathOf({1, 20}), base::OpenMode::kTruncate);
  EXPECT_EQ(snapshotter_.LoadNewest()->id, (SnapshotId{1, 10}));
  EXPECT_THAT(Names(), ElementsAre("0000000000000001-000000000000000a.snap",
                                   "0000000000000001-0000000000000014.snap.broken",
                                   "0000000000000001-000000000000001e.snap.broken"));
}

TEST_F(SnapshotterTest, AFileUnderAForeignNameIsSetAside) {
  Save(1, 10);
  ASSERT_EQ(fs_.Rename(PathOf({1, 10}), PathOf({3, 10})), absl::OkStatus());
  EXPECT_TRUE(absl::IsNotFound(snapshotter_.LoadNewest().status()));
  EXPECT_THAT(Names(), ElementsAre("0000000000000003-000000000000000a.snap.broken"));
}

TEST_F(SnapshotterTest, AReadErrorIsReportedAndNothingSetAside) {
  Save(1, 10);
  fs_.Inject({.op = FileOp::kRead});
  EXPECT_FALSE(snapshotter_.LoadNewest().ok());
  EXPECT_EQ(snapshotter_.LoadNewest()->id, (SnapshotId{1, 10}));
}

TEST_F(SnapshotterTest, PurgeKeepsTheNewestAndTheBroken) {
  for (uint64_t index = 1; index <= 5; ++index) Save(1, index);
  ASSERT_EQ(fs_.Rename(PathOf({1, 1}), PathOf({1, 1}) + ".broken"), absl::OkStatus());
  EXPECT_THAT(*snapshotter_.Purge(0), IsEmpty()) << "unlimited";
  EXPECT_THAT(*snapshotter_.Purge(4), IsEmpty());
  EXPECT_THAT(*snapshotter_.Purge(3), ElementsAre("0000000000000001-0000000000000002.snap"));
  EXPECT_THAT(Names(), Contains("0000000000000001-0000000000000001.snap.broken"));
  EXPECT_EQ(Names().size(), 4u);
}

TEST_F(SnapshotterTest, LeftoversAreRemovedAtTheStart) {
  Save(1, 10);
  for (const char* name : {"tmp123", "db.tmp.456", "db", "0000000000000010.snap.db"}) {
    ASSERT_TRUE(fs_.Open(base::JoinPath(kDir, name), base::OpenMode::kCreate).ok());
  }
  EXPECT_EQ(snapshotter_.RemoveLeftovers(), absl::OkStatus());
  EXPECT_THAT(Names(), ElementsAre("0000000000000001-000000000000000a.snap",
                                   "0000000000000010.snap.db", "db"));
}

TEST_F(SnapshotterTest, DurationsAreReported) {
  int encodes = 0;
  int syncs = 0;
  int saves = 0;
  Snapshotter snapshotter(fs_, clock_, kDir,
                          {.on_encode = [&](absl::Duration) { ++encodes; },
                           .on_sync = [&](absl::Duration) { ++syncs; },
                           .on_save = [&](absl::Duration) { ++saves; }});
  ASSERT_EQ(snapshotter.Save(MakeSnapshot(1, 10)), absl::OkStatus());
  fs_.Inject({.op = FileOp::kRename});
  EXPECT_FALSE(snapshotter.Save(MakeSnapshot(1, 11)).ok());
  EXPECT_EQ(encodes, 2);
  EXPECT_EQ(syncs, 2);
  EXPECT_EQ(saves, 1);
}

// Loads after a crash: the old snapshot must be there, and the new one whole or not at all.
void CheckAfterCrash(Snapshotter& snapshotter, bool saved) {
  const absl::StatusOr<Snapshot> newest = snapshotter.LoadNewest();
  ASSERT_TRUE(newest.ok()) << newest.status();
  if (saved || newest->id == SnapshotId{2, 20}) {
    EXPECT_EQ(*newest, MakeSnapshot(2, 20, 3000));
  } else {
    EXPECT_EQ(*newest, MakeSnapshot(1, 10));
  }
  EXPECT_EQ(snapshotter.RemoveLeftovers(), absl::OkStatus());
  EXPECT_EQ(snapshotter.Save(MakeSnapshot(2, 20, 3000)), absl::OkStatus());
}

TEST_F(SnapshotterTest, PowerLossAtEveryStepLeavesTheOldOrTheNew) {
  Save(1, 10);
  const uint64_t before = fs_.changes();
  ASSERT_EQ(snapshotter_.Save(MakeSnapshot(2, 20, 3000)), absl::OkStatus());
  const uint64_t steps = fs_.changes() - before;
  const std::unique_ptr<base::Random> random = base::NewSeededRandom(1);
  for (int round = 0; round < 50; ++round) {
    for (uint64_t n = 0; n <= steps; ++n) {
      SCOPED_TRACE(n);
      ASSERT_EQ(fs_.RemoveFile(PathOf({2, 20})), absl::OkStatus());
      fs_.SyncAll();
      fs_.PowerOffAfter(n);
      const bool saved = snapshotter_.Save(MakeSnapshot(2, 20, 3000)).ok();
      if (round == 0) {
        fs_.Crash();
      } else {
        fs_.CrashAtRandom(*random);
      }
      CheckAfterCrash(snapshotter_, saved);
    }
  }
}

TEST_F(SnapshotterTest, AFailureOfAnyOperationLeavesTheOldOrTheNew) {
  Save(1, 10);
  for (const FileOp op : {FileOp::kOpen, FileOp::kWrite, FileOp::kSync, FileOp::kRename,
                          FileOp::kSyncDir}) {
    SCOPED_TRACE(static_cast<int>(op));
    fs_.Inject({.op = op, .written_bytes = 700});
    EXPECT_FALSE(snapshotter_.Save(MakeSnapshot(2, 20, 3000)).ok());
    EXPECT_THAT(Names(), Not(Contains(::testing::StartsWith("tmp")))) << "cleaned up";
    fs_.Crash();
    CheckAfterCrash(snapshotter_, false);
    ASSERT_EQ(fs_.RemoveFile(PathOf({2, 20})), absl::OkStatus());
    fs_.SyncAll();
  }
}

}  // namespace
}  // namespace etcdd::snap
