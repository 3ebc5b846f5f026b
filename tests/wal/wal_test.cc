// The log in good days: append, read back, overwrite, cut, release, purge.

#include "wal/wal.h"

#include "tests/wal/log_fixture.h"
#include "wal/segment.h"

namespace etcdd::wal {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

class WalTest : public LogTest {};

TEST_F(WalTest, NewLogHoldsMetadataAndTheFirstMark) {
  EXPECT_FALSE(Wal::Exists(fs_, kDir));
  Create();
  EXPECT_TRUE(Wal::Exists(fs_, kDir));
  Crash();
  ASSERT_EQ(Reopen(), absl::OkStatus());
  EXPECT_EQ(contents_.metadata, kMemberMetadata);
  EXPECT_TRUE(contents_.hard_state.empty());
  EXPECT_THAT(contents_.entries, IsEmpty());
  EXPECT_THAT(*ValidSnapshotRecords(fs_, kDir), ElementsAre(SnapshotRecord()));
}

TEST_F(WalTest, CreateRefusesAnExistingLogAndForeignFiles) {
  Create();
  wal_.reset();
  EXPECT_TRUE(
      absl::IsAlreadyExists(Wal::Create(fs_, options(), kDir, kMemberMetadata).status()));

  ASSERT_EQ(fs_.CreateDirs("/other"), absl::OkStatus());
  WriteFile("/other/notes.txt", "mine");
  const absl::Status refused = Wal::Create(fs_, options(), "/other", kMemberMetadata).status();
  EXPECT_TRUE(absl::IsFailedPrecondition(refused));
  EXPECT_THAT(std::string(refused.message()), HasSubstr("notes.txt"));
  EXPECT_TRUE(fs_.Exists("/other/notes.txt"));
}

TEST_F(WalTest, CreateReplacesAHalfMadeLog) {
  ASSERT_EQ(fs_.CreateDirs("/member/wal.tmp"), absl::OkStatus());
  WriteFile("/member/wal.tmp/0000000000000000-0000000000000000.wal", "half");
  ASSERT_EQ(fs_.CreateDirs(kDir), absl::OkStatus());
  Create();
  EXPECT_FALSE(fs_.Exists("/member/wal.tmp"));
  EXPECT_EQ(Reopen(), absl::OkStatus());
}

TEST_F(WalTest, SyncedEntriesAndStateSurviveACrash) {
  Create();
  SaveAndSync({1, 7, 0}, MakeEntries(1, 3, 1));
  SaveAndSync({1, 7, 3}, MakeEntries(4, 5, 1));
  ASSERT_EQ(Save({1, 7, 5}, MakeEntries(6, 6, 1)).status(), absl::OkStatus());
  Crash();
  ASSERT_EQ(Reopen(), absl::OkStatus());
  EXPECT_EQ(contents_.entries, MakeEntries(1, 5, 1));
  EXPECT_EQ(contents_.hard_state, (HardState{1, 7, 3}));
  EXPECT_EQ(wal_->last_index(), 5u);
  EXPECT_EQ(wal_->hard_state(), (HardState{1, 7, 3}));

  SaveAndSync({2, 7, 5}, MakeEntries(6, 7, 2));
  Crash();
  ASSERT_EQ(Reopen(), absl::OkStatus());
  std::vector<Entry> expected = MakeEntries(1, 5, 1);
  for (const Entry& entry : MakeEntries(6, 7, 2)) expected.push_back(entry);
  EXPECT_EQ(contents_.entries, expected);
}

TEST_F(WalTest, OnlyEntriesTermAndVoteNeedASync) {
  Create();
  EXPECT_EQ(*Save({}, {}), false);
  EXPECT_EQ(*Save({1, 0, 0}, {}), true) << "term";
  EXPECT_EQ(*Save({1, 7, 0}, {}), true) << "vote";
  EXPECT_EQ(*Save({1, 7, 0}, MakeEntries(1, 1, 1)), true) << "entry";
  EXPECT_EQ(*Save({1, 7, 1}, {}), false) << "commit";
  EXPECT_EQ(*Save({}, MakeEntries(2, 2, 1)), true) << "entry without state";
}

TEST_F(WalTest, AnUnchangedStateAndNoEntriesWriteNothing) {
  Create();
  SaveAndSync({1, 7, 1}, MakeEntries(1, 1, 1));
  const uint64_t writes = fs_.Count(testing::FileOp::kWrite);
  EXPECT_EQ(*Save({1, 7, 1}, {}), false);
  EXPECT_EQ(*Save({}, {}), false);
  EXPECT_EQ(fs_.Count(testing::FileOp::kWrite), writes);
}

TEST_F(WalTest, OneSaveIsOneWrite) {
  Create();
  const uint64_t writes = fs_.Count(testing::FileOp::kWrite);
  SaveAndSync({1, 7, 0}, MakeEntries(1, 100, 1));
  EXPECT_EQ(fs_.Count(testing::FileOp::kWrite), writes + 1);
}

TEST_F(WalTest, OverwrittenEntriesVanishWithAllBehindThem) {
  Create();
  SaveAndSync({1, 7, 2}, MakeEntries(1, 9, 1));
  SaveAndSync({2, 8, 2}, MakeEntries(4, 5, 2));
  EXPECT_EQ(wal_->last_index(), 5u);
  ASSERT_EQ(Reopen(), absl::OkStatus());
  std::vector<Entry> expected = MakeEntries(1, 3, 1);
  for (const Entry& entry : MakeEntries(4, 5, 2)) expected.push_back(entry);
  EXPECT_EQ(contents_.entries, expected);
  EXPECT_EQ(wal_->last_index(), 5u);
}

TEST_F(WalTest, RefusedArgumentsWriteNothingAndDoNotPoison) {
  Create();
  SaveAndSync({2, 7, 2}, MakeEntries(1, 3, 1));
  const uint64_t writes = fs_.Count(testing::FileOp::kWrite);
  const auto refused = [this](const HardState& state, const std::vector<Entry>& entries) {
    return absl::IsInvalidArgument(Save(state, entries).status());
  };
  EXPECT_TRUE(refused({}, MakeEntries(5, 5, 2))) << "gap behind the log";
  EXPECT_TRUE(refused({}, {MakeEntry(4, 2), MakeEntry(6, 2)})) << "gap between entries";
  EXPECT_TRUE(refused({}, {MakeEntry(4, 2), MakeEntry(4, 2)})) << "twice the same";
  EXPECT_TRUE(refused({}, {MakeEntry(0, 2)})) << "index 0";
  EXPECT_TRUE(refused({}, {{1, 2, 4, {}}})) << "conf change without data";
  EXPECT_TRUE(refused({1, 7, 2}, {})) << "term goes back";
  EXPECT_TRUE(refused({2, 7, 1}, {})) << "commit goes back";
  EXPECT_TRUE(absl::IsInvalidArgument(wal_->SaveSnapshot({3, 1, ""})));
  EXPECT_TRUE(absl::IsInvalidArgument(wal_->SaveSnapshot({0, 1, "c"})));
  EXPECT_TRUE(absl::IsInvalidArgument(wal_->SaveSnapshot({3, 0, "c"})));
  EXPECT_EQ(fs_.Count(testing::FileOp::kWrite), writes);
  SaveAndSync({2, 7, 3}, MakeEntries(4, 4, 2));
}

TEST_F(WalTest, OpensBehindASnapshotMark) {
  Create();
  SaveAndSync({1, 7, 6}, MakeEntries(1, 8, 1));
  ASSERT_EQ(wal_->SaveSnapshot({5, 1, "conf"}), absl::OkStatus());
  Crash();
  EXPECT_THAT(*ValidSnapshotRecords(fs_, kDir),
              ElementsAre(SnapshotRecord(), SnapshotRecord{5, 1, "conf"}));
  ASSERT_EQ(Reopen({5, 1, ""}), absl::OkStatus());
  EXPECT_EQ(contents_.entries, MakeEntries(6, 8, 1));
  EXPECT_EQ(contents_.snapshot, (SnapshotRecord{5, 1, "conf"}));
  EXPECT_TRUE(absl::IsNotFound(Reopen({6, 1, ""}))) << "no mark there";
  EXPECT_TRUE(absl::IsFailedPrecondition(Reopen({5, 2, ""}))) << "another term";
}

TEST_F(WalTest, MarksBeyondTheCommitAreNotValid) {
  Create();
  SaveAndSync({1, 7, 2}, MakeEntries(1, 8, 1));
  ASSERT_EQ(wal_->SaveSnapshot({5, 1, "conf"}), absl::OkStatus());
  EXPECT_THAT(*ValidSnapshotRecords(fs_, kDir), ElementsAre(SnapshotRecord()));
  ASSERT_EQ(Save({1, 7, 5}, {}).status(), absl::OkStatus());
  EXPECT_EQ(ValidSnapshotRecords(fs_, kDir)->size(), 2u);
}

TEST_F(WalTest, AReceivedSnapshotBridgesTheGap) {
  Create();
  SaveAndSync({1, 7, 2}, MakeEntries(1, 4, 1));
  ASSERT_EQ(wal_->SaveSnapshot({100, 2, "conf"}), absl::OkStatus());
  EXPECT_EQ(wal_->last_index(), 100u);
  SaveAndSync({2, 7, 100}, MakeEntries(101, 103, 2));
  Crash();
  ASSERT_EQ(Reopen({100, 2, ""}), absl::OkStatus());
  EXPECT_EQ(contents_.entries, MakeEntries(101, 103, 2));
  EXPECT_TRUE(absl::IsDataLoss(Reopen())) << "from the start there is a gap";
}

class WalSegmentsTest : public LogTest {
 protected:
  WalSegmentsTest() { segment_bytes_ = 1024; }

  // Entries 1..count, each of a quarter of a segment.
  void Fill(uint64_t count) {
    for (uint64_t index = 1; index <= count; ++index) {
      SaveAndSync({1, 7, index - 1}, {MakeEntry(index, 1, 200)});
    }
  }
};

TEST_F(WalSegmentsTest, CutsAtTheSizeAndChainsTheChecksum) {
  Create();
  Fill(10);
  ASSERT_THAT(Segments(), ElementsAre("0000000000000000-0000000000000000.wal",
                                      "0000000000000001-0000000000000005.wal",
                                      "0000000000000002-0000000000000009.wal"));
  // The first ends where its data ends; the next begins with checksum, metadata and state.
  const std::string first = *base::ReadFile(fs_, kFirstSegment);
  EXPECT_GE(first.size(), segment_bytes_);
  EXPECT_EQ(first, ReadTail());
  const std::string second =
      ReadTail(std::string(kDir) + "/0000000000000001-0000000000000005.wal");
  EXPECT_EQ(second[9], 4) << "checksum record";
  EXPECT_NE(second.find(kMemberMetadata), std::string::npos);
  Crash();
  ASSERT_EQ(Reopen(), absl::OkStatus());
  EXPECT_EQ(contents_.entries, MakeEntries(1, 10, 1, 200));
  EXPECT_EQ(contents_.hard_state, (HardState{1, 7, 9}));
}

TEST_F(WalSegmentsTest, KeepsOneFileReadyAndRemovesItAtTheEnd) {
  Create();
  EXPECT_TRUE(fs_.Exists(std::string(kDir) + "/0.tmp"));
  Fill(4);
  EXPECT_TRUE(fs_.Exists(std::string(kDir) + "/1.tmp"));
  EXPECT_FALSE(fs_.Exists(std::string(kDir) + "/0.tmp"));
  wal_.reset();
  EXPECT_FALSE(fs_.Exists(std::string(kDir) + "/1.tmp"));
}

TEST_F(WalSegmentsTest, AReopenedTailIsCutAtTheSameSize) {
  Create();
  Fill(2);
  Crash();
  ASSERT_EQ(Reopen(), absl::OkStatus());
  EXPECT_EQ(base::ReadFile(fs_, kFirstSegment)->size(), segment_bytes_);
  for (uint64_t index = 3; index <= 5; ++index) {
    SaveAndSync({1, 7, 2}, {MakeEntry(index, 1, 200)});
  }
  EXPECT_EQ(Segments().size(), 2u);
}

TEST_F(WalSegmentsTest, TheLastIndexNamesTheSegmentEvenWhenItWentDown) {
  Create();
  SaveAndSync({1, 7, 0}, MakeEntries(1, 3, 1, 200));
  SaveAndSync({2, 7, 0}, {MakeEntry(2, 2, 400)});
  EXPECT_THAT(Segments().back(), "0000000000000001-0000000000000003.wal");
  ASSERT_EQ(Reopen(), absl::OkStatus());
  EXPECT_EQ(contents_.entries.size(), 2u);
}

TEST_F(WalSegmentsTest, ReleasedSegmentsArePurgedHeldOnesNever) {
  Create();
  Fill(17);  // segments begin at 0, 5, 9, 13, 17
  ASSERT_EQ(Segments().size(), 5u);
  EXPECT_THAT(*PurgeSegments(fs_, kDir, 1), IsEmpty()) << "all are held";
  ASSERT_EQ(wal_->SaveSnapshot({10, 1, "conf"}), absl::OkStatus());
  ASSERT_EQ(wal_->ReleaseTo(10), absl::OkStatus());
  EXPECT_THAT(*PurgeSegments(fs_, kDir, 5), IsEmpty()) << "not too many";
  EXPECT_THAT(*PurgeSegments(fs_, kDir, 0), IsEmpty()) << "unlimited";
  EXPECT_THAT(*PurgeSegments(fs_, kDir, 4),
              ElementsAre("0000000000000000-0000000000000000.wal"));
  EXPECT_THAT(*PurgeSegments(fs_, kDir, 1),
              ElementsAre("0000000000000001-0000000000000005.wal"));
  EXPECT_EQ(Segments().front(), "0000000000000002-0000000000000009.wal") << "may hold entry 10";
  Crash();
  ASSERT_EQ(Reopen({10, 1, ""}), absl::OkStatus());
  EXPECT_EQ(contents_.entries, MakeEntries(11, 17, 1, 200));
  EXPECT_TRUE(absl::IsNotFound(Reopen()));
  EXPECT_THAT(*ValidSnapshotRecords(fs_, kDir), ElementsAre(SnapshotRecord{10, 1, "conf"}));
}

TEST_F(WalSegmentsTest, ReleaseAtASegmentsFirstIndexKeepsTheOneBefore) {
  Create();
  Fill(10);
  ASSERT_EQ(wal_->ReleaseTo(5), absl::OkStatus());
  EXPECT_THAT(*PurgeSegments(fs_, kDir, 1), IsEmpty());
  ASSERT_EQ(wal_->ReleaseTo(6), absl::OkStatus());
  EXPECT_EQ(PurgeSegments(fs_, kDir, 1)->size(), 1u);
  ASSERT_EQ(wal_->ReleaseTo(1000), absl::OkStatus());
  EXPECT_EQ(PurgeSegments(fs_, kDir, 1)->size(), 1u);
  EXPECT_EQ(Segments().size(), 1u);
}

TEST_F(WalSegmentsTest, AMissingSegmentIsRefused) {
  Create();
  Fill(10);
  wal_.reset();
  ASSERT_EQ(fs_.RemoveFile(std::string(kDir) + "/0000000000000001-0000000000000005.wal"),
            absl::OkStatus());
  EXPECT_TRUE(absl::IsDataLoss(Reopen()));
  EXPECT_TRUE(absl::IsDataLoss(ValidSnapshotRecords(fs_, kDir).status()));
}

TEST_F(WalTest, ASecondOpenIsRefusedWhileTheFirstHoldsTheLock) {
  Create();
  const absl::Status refused = Wal::Open(fs_, options(), kDir, {}).status();
  EXPECT_TRUE(absl::IsFailedPrecondition(refused));
  EXPECT_THAT(std::string(refused.message()), HasSubstr("file already locked"));
  EXPECT_TRUE(ReadContents(fs_, kDir, {}).ok()) << "readers need no lock";
  wal_.reset();
  EXPECT_EQ(Reopen(), absl::OkStatus());
}

TEST_F(WalTest, CloseSyncsAndEndsEverything) {
  Create();
  ASSERT_EQ(Save({1, 7, 0}, MakeEntries(1, 2, 1)).status(), absl::OkStatus());
  EXPECT_EQ(wal_->Close(), absl::OkStatus());
  EXPECT_EQ(wal_->Close(), absl::OkStatus());
  EXPECT_TRUE(absl::IsFailedPrecondition(Save({}, MakeEntries(3, 3, 1)).status()));
  EXPECT_TRUE(absl::IsFailedPrecondition(wal_->Sync()));
  Crash();
  ASSERT_EQ(Reopen(), absl::OkStatus());
  EXPECT_EQ(contents_.entries.size(), 2u);
}

TEST_F(WalTest, AnAbsentLogIsNotFound) {
  EXPECT_TRUE(absl::IsNotFound(Reopen()));
  EXPECT_TRUE(absl::IsNotFound(ValidSnapshotRecords(fs_, kDir).status()));
  ASSERT_EQ(fs_.CreateDirs(kDir), absl::OkStatus());
  EXPECT_TRUE(absl::IsNotFound(Reopen()));
  EXPECT_TRUE(absl::IsNotFound(ValidSnapshotRecords(fs_, kDir).status()));
  EXPECT_FALSE(Wal::Exists(fs_, kDir));
}

class WalHooksTest : public LogTest {
 protected:
  Options options() override {
    Options options = LogTest::options();
    options.unsafe_no_fsync = unsafe_no_fsync_;
    options.on_sync = [this](absl::Duration) { ++syncs_; };
    options.on_write_bytes = [this](uint64_t bytes) { written_ += bytes; };
    return options;
  }

  bool unsafe_no_fsync_ = false;
  int syncs_ = 0;
  uint64_t written_ = 0;
};

TEST_F(WalHooksTest, SyncsAndBytesAreReported) {
  Create();
  const size_t before = ReadTail().size();
  SaveAndSync({1, 7, 0}, MakeEntries(1, 2, 1));
  EXPECT_EQ(syncs_, 1);
  EXPECT_EQ(written_, ReadTail().size() - before);
}

TEST_F(WalHooksTest, UnsafeNoFsyncSyncsNoFileButDirectories) {
  unsafe_no_fsync_ = true;
  segment_bytes_ = 1024;
  Create();
  for (uint64_t index = 1; index <= 10; ++index) {
    SaveAndSync({1, 7, 0}, {MakeEntry(index, 1, 200)});
  }
  EXPECT_EQ(syncs_, 0);
  EXPECT_EQ(fs_.Count(testing::FileOp::kSync), 0u);
  EXPECT_GT(fs_.Count(testing::FileOp::kSyncDir), 0u);
  wal_.reset();
  fs_.KillProcess();
  ASSERT_EQ(Reopen(), absl::OkStatus());
  EXPECT_EQ(contents_.entries.size(), 10u) << "a killed process loses nothing";
}

TEST(SegmentName, IsTwoHexNumbers) {
  EXPECT_EQ(FormatSegmentName({0x1f, 0xabc}), "000000000000001f-0000000000000abc.wal");
  EXPECT_EQ(ParseSegmentName("000000000000001f-0000000000000abc.wal"),
            (SegmentName{0x1f, 0xabc}));
  for (const char* name :
       {"0.tmp", "000000000000001f-0000000000000abc.wal.broken", "1f-abc.wal",
        "000000000000001F-0000000000000abc.wal", "000000000000001f_0000000000000abc.wal",
        "000000000000001f-0000000000000abc.snap", ""}) {
    EXPECT_FALSE(ParseSegmentName(name)) << name;
  }
}

TEST(SegmentName, SelectsTheLastThatReachesBackEnough) {
  const std::vector<SegmentName> all = {{3, 20}, {4, 35}, {5, 30}, {6, 50}};
  EXPECT_EQ(SelectSegments("/wal", all, 20)->front().seq, 3u);
  EXPECT_EQ(SelectSegments("/wal", all, 29)->front().seq, 3u);
  EXPECT_EQ(SelectSegments("/wal", all, 36)->front().seq, 5u);
  EXPECT_EQ(SelectSegments("/wal", all, 1000)->size(), 1u);
  EXPECT_TRUE(absl::IsNotFound(SelectSegments("/wal", all, 19).status()));
}

}  // namespace
}  // namespace etcdd::wal
