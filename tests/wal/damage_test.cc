// Torn or damaged: what is cut, what is refused.

#include "tests/wal/log_fixture.h"
#include "wal/record.h"

namespace etcdd::wal {
namespace {

using ::testing::Contains;
using ::testing::HasSubstr;
using ::testing::Not;

constexpr char kBrokenName[] = "0000000000000000-0000000000000000.wal.broken";
constexpr uint64_t kSectorBytes = 512;

class DamageTest : public LogTest {
 protected:
  DamageTest() {
    segment_bytes_ = 4096;
    Create();
    entries_ = MakeEntries(1, 8, 1, 100);
    for (const Entry& entry : entries_) SaveAndSync({1, 7, entry.index - 1}, {entry});
    wal_.reset();
    content_ = ReadTail();
  }

  // Replaces the only segment; `bytes` long at least, the rest zeros.
  void SetContent(std::string content, size_t bytes) {
    content.resize(std::max(bytes, content.size()), '\0');
    WriteFile(kFirstSegment, content);
  }

  // The log is a prefix of what was written or the error is DataLoss; nothing else may happen.
  // Returns the number of entries, -1 for DataLoss.
  int OpenedPrefix() {
    const absl::Status status = Reopen();
    wal_.reset();
    if (absl::IsDataLoss(status)) {
      EXPECT_THAT(std::string(status.message()), HasSubstr(".wal")) << "names the file";
      return -1;
    }
    if (!status.ok()) {
      // The mark is the third record; a cut before it leaves a log without one.
      EXPECT_TRUE(absl::IsNotFound(status)) << status;
      return 0;
    }
    EXPECT_EQ(contents_.metadata, kMemberMetadata);
    EXPECT_EQ(contents_.entries, Prefix(entries_, contents_.entries.size()));
    const uint64_t count = contents_.entries.size();
    EXPECT_LE(contents_.hard_state.commit, count);
    return static_cast<int>(count);
  }

  std::vector<Entry> entries_;
  std::string content_;
};

TEST_F(DamageTest, CutAtEveryByteOpensAsAPrefix) {
  int last = 0;
  for (size_t size = 0; size <= content_.size(); ++size) {
    SetContent(content_.substr(0, size), 0);
    SCOPED_TRACE(size);
    const int count = OpenedPrefix();
    if (count < 0) {
      ASSERT_LT(size, 100u) << "only a segment without its header is refused";
      continue;
    }
    EXPECT_GE(count, last) << "more bytes cannot give fewer entries";
    last = count;
  }
  EXPECT_EQ(last, 8);
}

TEST_F(DamageTest, EveryCutCanBeAppendedTo) {
  for (size_t size = content_.size() / 2; size <= content_.size(); size += 3) {
    SCOPED_TRACE(size);
    SetContent(content_.substr(0, size), 0);
    ASSERT_EQ(Reopen(), absl::OkStatus());
    std::vector<Entry> expected = contents_.entries;
    expected.push_back(MakeEntry(expected.size() + 1, 2));
    SaveAndSync({2, 7, contents_.hard_state.commit}, {expected.back()});
    Crash();
    ASSERT_EQ(Reopen(), absl::OkStatus());
    EXPECT_EQ(contents_.entries, expected);
    wal_.reset();
  }
}

TEST_F(DamageTest, NoFlippedByteIsTakenForData) {
  constexpr uint8_t kMasks[] = {0x01, 0x02, 0x03, 0x04, 0x06, 0x07, 0x08, 0x10, 0x40, 0x80, 0xff};
  for (const uint8_t mask : kMasks) {
    for (size_t i = 0; i < content_.size(); ++i) {
      std::string content = content_;
      content[i] = static_cast<char>(content[i] ^ mask);
      SetContent(std::move(content), segment_bytes_);
      SCOPED_TRACE(absl::StrCat("byte ", i, " mask ", static_cast<int>(mask)));
      const int count = OpenedPrefix();
      // Every entry was synced: a log that opens must hold them all.
      EXPECT_TRUE(count == -1 || count == 8 || (count == 0 && i < 80)) << count;
    }
  }
}

TEST_F(DamageTest, NoErasedByteIsTakenForData) {
  for (size_t i = 0; i < content_.size(); ++i) {
    std::string content = content_;
    content[i] = 0;
    SetContent(std::move(content), segment_bytes_);
    SCOPED_TRACE(i);
    const int count = OpenedPrefix();
    EXPECT_TRUE(count == -1 || count == 8) << count;
  }
}

TEST_F(DamageTest, AMissingSectorAtTheEndIsCutAndKeptAside) {
  const size_t sector = content_.size() / kSectorBytes * kSectorBytes;
  std::string content = content_;
  std::fill(content.begin() + static_cast<ptrdiff_t>(sector), content.end(), '\0');
  SetContent(content, segment_bytes_);
  ASSERT_EQ(Reopen(), absl::OkStatus());
  EXPECT_LT(contents_.entries.size(), 8u);
  EXPECT_GT(contents_.entries.size(), 4u);
  EXPECT_EQ(contents_.entries, Prefix(entries_, contents_.entries.size()));
  ASSERT_THAT(Segments(), Contains(kBrokenName));
  content.resize(segment_bytes_, '\0');
  EXPECT_EQ(*base::ReadFile(fs_, std::string(kDir) + "/" + kBrokenName), content);
  EXPECT_EQ(base::ReadFile(fs_, kFirstSegment)->size(), segment_bytes_) << "reserved again";
}

TEST_F(DamageTest, LeftoversBehindAMissingSectorDoNotComeBack) {
  // The middle sector of three unsynced ones never reached the disk, the third one did.
  ASSERT_GT(content_.size(), 2 * kSectorBytes + 100);
  std::string content = content_;
  std::fill_n(content.begin() + static_cast<ptrdiff_t>(kSectorBytes), kSectorBytes, '\0');
  SetContent(content, segment_bytes_);
  ASSERT_EQ(Reopen(), absl::OkStatus());
  const size_t kept = contents_.entries.size();
  ASSERT_LT(kept, 8u);
  const std::string cut = *base::ReadFile(fs_, kFirstSegment);
  EXPECT_EQ(cut.find_first_not_of('\0', ReadTail().size()), std::string::npos);
  EXPECT_LE(ReadTail().size(), kSectorBytes);
}

TEST_F(DamageTest, AFlippedByteInTheLastRecordIsRefusedNotCut) {
  std::string content = content_;
  content[content.size() - 12] ^= 1;
  SetContent(content, segment_bytes_);
  const absl::Status status = Reopen();
  EXPECT_TRUE(absl::IsDataLoss(status));
  EXPECT_THAT(std::string(status.message()), HasSubstr("checksum mismatch at offset"));
  EXPECT_THAT(Segments(), Not(Contains(kBrokenName)));
}

TEST_F(DamageTest, ALengthBeyondTheFileIsRefusedWhenTheContentIsIntact) {
  // etcd would cut here and lose every entry from this one on.
  std::string content = content_;
  const size_t record = content.find("entry 3") / 8 * 8;
  size_t length_at = 0;  // of the frame of entry 3
  for (size_t at = 0; at < record;) {
    length_at = at;
    const std::optional<Frame> frame = ParseFrame(content.data() + at);
    ASSERT_TRUE(frame);
    at += kFrameHeaderBytes + frame->record_bytes + frame->padding_bytes;
  }
  content[length_at + 4] = 1;
  SetContent(content, segment_bytes_);
  const absl::Status status = Reopen();
  EXPECT_TRUE(absl::IsDataLoss(status));
  EXPECT_THAT(std::string(status.message()),
              HasSubstr(absl::StrCat("record length damaged at offset ", length_at)));
}

TEST_F(DamageTest, ReadersAcceptATornTailAndChangeNothing) {
  SetContent(content_.substr(0, content_.size() - 20), 0);
  const absl::StatusOr<Contents> contents = ReadContents(fs_, kDir, {});
  ASSERT_TRUE(contents.ok()) << contents.status();
  EXPECT_EQ(contents->entries, Prefix(entries_, contents->entries.size()));
  EXPECT_TRUE(ValidSnapshotRecords(fs_, kDir).ok());
  EXPECT_EQ(base::ReadFile(fs_, kFirstSegment)->size(), content_.size() - 20);
  EXPECT_THAT(Segments(), Not(Contains(kBrokenName)));
}

// Logs made record by record, to hold what no writer of ours writes.
class ForgedLogTest : public LogTest {
 protected:
  ForgedLogTest() {
    encoder_.AddCrc();
    encoder_.AddMetadata(kMemberMetadata);
    encoder_.AddSnapshot({});
  }

  absl::Status OpenForged() {
    std::string content;
    for (const std::string_view piece : encoder_.Pieces()) content += piece;
    EXPECT_EQ(fs_.CreateDirs(kDir), absl::OkStatus());
    WriteFile(kFirstSegment, content);
    return Reopen();
  }

  void Add(const std::vector<Entry>& entries) {
    forged_.push_back(std::make_unique<std::vector<Entry>>(entries));
    encoder_.AddEntries(Views(*forged_.back()));
  }

  RecordEncoder encoder_{0};
  std::vector<std::unique_ptr<std::vector<Entry>>> forged_;
};

TEST_F(ForgedLogTest, AGapBetweenEntriesIsRefused) {
  Add({MakeEntry(1, 1)});
  Add({MakeEntry(3, 1)});
  const absl::Status status = OpenForged();
  EXPECT_TRUE(absl::IsDataLoss(status));
  EXPECT_THAT(std::string(status.message()), HasSubstr("entry 3 follows entry 1 at offset"));
}

TEST_F(ForgedLogTest, EntriesBeforeTheMarkAreSkippedGapsAndAll) {
  Add({MakeEntry(3, 1)});
  encoder_.AddSnapshot({5, 1, "conf"});
  Add({MakeEntry(6, 1)});
  ASSERT_TRUE(absl::IsDataLoss(OpenForged()));
  ASSERT_EQ(Reopen({5, 1, ""}), absl::OkStatus());
  EXPECT_EQ(contents_.entries, MakeEntries(6, 6, 1));
}

TEST_F(ForgedLogTest, OtherMetadataIsRefused) {
  encoder_.AddMetadata("other");
  const absl::Status status = OpenForged();
  EXPECT_TRUE(absl::IsDataLoss(status));
  EXPECT_THAT(std::string(status.message()), HasSubstr("metadata differs"));
}

TEST_F(ForgedLogTest, AStateThatGoesBackIsRefused) {
  encoder_.AddState({3, 7, 0});
  encoder_.AddState({2, 7, 0});
  EXPECT_TRUE(absl::IsDataLoss(OpenForged()));
}

TEST_F(ForgedLogTest, AStateOrEntryOfTheWrongShapeIsRefused) {
  encoder_.AddState({0, 7, 3});
  EXPECT_TRUE(absl::IsDataLoss(OpenForged()));
}

TEST_F(ForgedLogTest, MarksOfOldLogsHaveNoConfState) {
  Add(MakeEntries(1, 6, 1));
  encoder_.AddSnapshot({5, 1, ""});
  encoder_.AddState({1, 7, 6});
  ASSERT_EQ(OpenForged(), absl::OkStatus());
  ASSERT_EQ(Reopen({5, 1, ""}), absl::OkStatus());
  EXPECT_EQ(contents_.snapshot.conf_state, "");
  EXPECT_EQ(contents_.entries.size(), 1u);
}

TEST_F(ForgedLogTest, DamageInAnEarlierSegmentIsNeverCut) {
  segment_bytes_ = 1024;
  Create();
  for (uint64_t index = 1; index <= 6; ++index) {
    SaveAndSync({1, 7, 0}, {MakeEntry(index, 1, 200)});
  }
  wal_.reset();
  ASSERT_EQ(Segments().size(), 2u);
  const std::string whole = *base::ReadFile(fs_, kFirstSegment);
  for (size_t size = 0; size < whole.size(); ++size) {
    SCOPED_TRACE(size);
    WriteFile(kFirstSegment, whole.substr(0, size));
    EXPECT_TRUE(absl::IsDataLoss(Reopen()));
    std::string erased = whole;
    std::fill(erased.begin() + static_cast<ptrdiff_t>(size), erased.end(), '\0');
    WriteFile(kFirstSegment, erased);
    if (erased == whole) continue;  // padding
    EXPECT_TRUE(absl::IsDataLoss(Reopen()));
  }
  WriteFile(kFirstSegment, whole);
  EXPECT_EQ(Reopen(), absl::OkStatus());
}

}  // namespace
}  // namespace etcdd::wal
