// Received images of backends: whole under their name after any crash, or not there.

#include "snap/db_file.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "absl/strings/match.h"
#include "server/base/random.h"
#include "snap/snapshotter.h"
#include "tests/support/fake_clock.h"
#include "tests/support/fault_file_system.h"

namespace etcdd::snap {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;
using testing::FaultFileSystem;
using testing::FileOp;

constexpr char kDir[] = "/snap";

// An image is good when it ends with a dot and has no other.
class DotVerifier : public DbVerifier {
 public:
  absl::Status Append(std::string_view piece) override {
    if (ended_) return absl::DataLossError("more behind the dot");
    const size_t dot = piece.find('.');
    ended_ = dot != std::string_view::npos;
    if (ended_ && dot + 1 != piece.size()) return absl::DataLossError("more behind the dot");
    return absl::OkStatus();
  }
  absl::Status Finish() override {
    return ended_ ? absl::OkStatus() : absl::DataLossError("no dot");
  }

 private:
  bool ended_ = false;
};

class DbFileTest : public ::testing::Test {
 protected:
  DbFileTest() {
    EXPECT_EQ(fs_.CreateDirs(kDir), absl::OkStatus());
    fs_.SyncAll();
  }

  absl::Status Receive(uint64_t index, const std::vector<std::string>& pieces) {
    auto writer = files_.Receive(index, std::make_unique<DotVerifier>());
    if (!writer.ok()) return writer.status();
    for (const std::string& piece : pieces) {
      if (absl::Status status = (*writer)->Append(piece); !status.ok()) return status;
    }
    return (*writer)->Commit();
  }
  // What a reader gets; empty when there is none.
  std::string Content(uint64_t index) {
    auto reader = files_.Open(index);
    if (!reader.ok()) {
      EXPECT_TRUE(absl::IsNotFound(reader.status())) << reader.status();
      return "";
    }
    std::string content;
    while (true) {
      const absl::StatusOr<std::string> piece = reader->Next();
      EXPECT_TRUE(piece.ok()) << piece.status();
      EXPECT_LE(piece->size(), 1u << 20);
      if (piece->empty()) break;
      content += *piece;
    }
    EXPECT_EQ(content.size(), reader->bytes());
    return content;
  }
  std::vector<std::string> Names() { return *fs_.List(kDir); }

  FaultFileSystem fs_;
  DbFiles files_{fs_, kDir};
};

TEST(DbFileName, IsTheIndex) {
  EXPECT_EQ(FormatDbName(0x1f), "000000000000001f.snap.db");
  EXPECT_EQ(ParseDbName("00000000000000ff.snap.db"), 255u);
  EXPECT_EQ(ParseDbName(FormatDbName(UINT64_MAX)), UINT64_MAX);
  for (const char* name : {"1f.snap.db", "000000000000001F.snap.db", "000000000000001f.snap",
                           "tmp-000000000000001f.snap.db.0", "000000000000001f.snap.db.broken"}) {
    EXPECT_FALSE(ParseDbName(name)) << name;
  }
}

TEST_F(DbFileTest, ACommittedImageSurvivesACrash) {
  ASSERT_EQ(Receive(16, {"some ", "bytes", "."}), absl::OkStatus());
  fs_.Crash();
  EXPECT_THAT(Names(), ElementsAre("0000000000000010.snap.db"));
  EXPECT_EQ(Content(16), "some bytes.");
  EXPECT_TRUE(absl::IsNotFound(files_.Open(17).status()));
}

TEST_F(DbFileTest, ALargeOneIsReadInPiecesAndSyncedOnTheWay) {
  const std::string mib(1 << 20, 'm');
  std::vector<std::string> pieces(33, mib);
  pieces.push_back("end.");
  const uint64_t syncs = fs_.Count(FileOp::kSync);
  ASSERT_EQ(Receive(1, pieces), absl::OkStatus());
  EXPECT_EQ(fs_.Count(FileOp::kSync) - syncs, 3u) << "twice on the way, once at the end";
  EXPECT_EQ(Content(1).size(), 33 * mib.size() + 4);
}

TEST_F(DbFileTest, UncommittedItLeavesNothing) {
  {
    auto writer = *files_.Receive(5, std::make_unique<DotVerifier>());
    ASSERT_EQ(writer->Append("half"), absl::OkStatus());
    EXPECT_EQ(Names().size(), 1u);
    EXPECT_TRUE(absl::StartsWith(Names()[0], "tmp"));
  }
  EXPECT_THAT(Names(), IsEmpty());
}

TEST_F(DbFileTest, ADamagedOneIsRefusedOnTheWayOrAtTheEnd) {
  EXPECT_EQ(Receive(5, {"a.b", "c."}), absl::DataLossError("more behind the dot"));
  EXPECT_EQ(Receive(5, {"abc"}), absl::DataLossError("no dot"));
  EXPECT_THAT(Names(), IsEmpty());
}

TEST_F(DbFileTest, AnErrorIsFinal) {
  auto writer = *files_.Receive(5, std::make_unique<DotVerifier>());
  fs_.Inject({.op = FileOp::kWrite});
  ASSERT_FALSE(writer->Append("a").ok());
  EXPECT_FALSE(writer->Append("b.").ok());
  EXPECT_FALSE(writer->Commit().ok());
  writer.reset();
  EXPECT_THAT(Names(), IsEmpty());
}

TEST_F(DbFileTest, SeveralAtOnceDoNotMeet) {
  auto first = *files_.Receive(5, std::make_unique<DotVerifier>());
  auto second = *files_.Receive(5, std::make_unique<DotVerifier>());
  ASSERT_EQ(first->Append("first."), absl::OkStatus());
  ASSERT_EQ(second->Append("second."), absl::OkStatus());
  ASSERT_EQ(second->Commit(), absl::OkStatus());
  EXPECT_EQ(Content(5), "second.");
  auto reader = *files_.Open(5);
  ASSERT_EQ(first->Commit(), absl::OkStatus());
  EXPECT_EQ(*reader.Next(), "second.") << "who reads is not disturbed";
  EXPECT_EQ(Content(5), "first.");
}

TEST_F(DbFileTest, AFullDiskIsSaidAndGivenBack) {
  fs_.SetCapacity(fs_.used_bytes() + 10);
  EXPECT_TRUE(absl::IsResourceExhausted(Receive(5, {"12345678", "9012345."})));
  EXPECT_THAT(Names(), IsEmpty());
  EXPECT_EQ(Receive(6, {"fits."}), absl::OkStatus());
}

TEST_F(DbFileTest, AFailureOfAnyOperationLeavesNothingOrTheWhole) {
  for (const FileOp op : {FileOp::kOpen, FileOp::kWrite, FileOp::kSync, FileOp::kRename,
                          FileOp::kSyncDir}) {
    SCOPED_TRACE(static_cast<int>(op));
    fs_.Inject({.op = op, .written_bytes = 3});
    EXPECT_FALSE(Receive(9, {"some bytes", "and more."}).ok());
    for (const std::string& name : Names()) {
      EXPECT_FALSE(absl::StartsWith(name, "tmp")) << "cleaned up";
    }
    fs_.Crash();
    const std::string content = Content(9);
    EXPECT_TRUE(content.empty() || content == "some bytesand more.") << content;
    ASSERT_TRUE(files_.RemoveUpTo(9).ok());
  }
}

TEST_F(DbFileTest, PowerLossAfterAnyOperationLeavesNothingOrTheWhole) {
  testing::FakeClock clock;
  Snapshotter snapshotter(fs_, clock, kDir);
  const std::vector<std::string> pieces = {std::string(3000, 'a'), std::string(700, 'b'), "c."};
  const std::string whole = pieces[0] + pieces[1] + pieces[2];
  const uint64_t before = fs_.changes();
  ASSERT_EQ(Receive(9, pieces), absl::OkStatus());
  const uint64_t steps = fs_.changes() - before;
  ASSERT_GE(steps, 7u);
  const std::unique_ptr<base::Random> random = base::NewSeededRandom(1);
  for (int round = 0; round < 50; ++round) {
    for (uint64_t n = 0; n <= steps; ++n) {
      SCOPED_TRACE(n);
      ASSERT_TRUE(files_.RemoveUpTo(9).ok());
      fs_.SyncAll();
      fs_.PowerOffAfter(n);
      const bool received = Receive(9, pieces).ok();
      EXPECT_EQ(received, n == steps);
      if (round == 0) {
        fs_.Crash();
      } else {
        fs_.CrashAtRandom(*random);
      }
      const std::string content = Content(9);
      EXPECT_TRUE(content == whole || (content.empty() && !received)) << content.size();
      ASSERT_EQ(snapshotter.RemoveLeftovers(), absl::OkStatus());
      EXPECT_EQ(Names().size(), content.empty() ? 0u : 1u);
    }
  }
}

TEST_F(DbFileTest, ReplacingOneLeavesTheOldOrTheNew) {
  ASSERT_EQ(Receive(9, {"old."}), absl::OkStatus());
  for (uint64_t n = 0; n <= 5; ++n) {
    fs_.PowerOffAfter(n);
    const bool received = Receive(9, {"new."}).ok();
    fs_.Crash();
    EXPECT_EQ(Content(9), received ? "new." : "old.") << n;
    ASSERT_EQ(Receive(9, {"old."}), absl::OkStatus());
  }
}

TEST_F(DbFileTest, ThoseTheBackendContainsAreRemoved) {
  for (const uint64_t index : {8, 9, 10, 200}) {
    ASSERT_EQ(Receive(index, {"x."}), absl::OkStatus());
  }
  EXPECT_THAT(*files_.RemoveUpTo(7), IsEmpty());
  EXPECT_THAT(*files_.RemoveUpTo(9),
              ElementsAre("0000000000000008.snap.db", "0000000000000009.snap.db"));
  EXPECT_THAT(*files_.List(), ElementsAre(10, 200));
}

TEST_F(DbFileTest, PurgeKeepsTheNewestAndEverythingElse) {
  for (const uint64_t index : {8, 9, 10, 200}) {
    ASSERT_EQ(Receive(index, {"x."}), absl::OkStatus());
  }
  ASSERT_TRUE(fs_.Open("/snap/0000000000000001-0000000000000001.snap", base::OpenMode::kCreate)
                  .ok());
  EXPECT_THAT(*files_.Purge(0), IsEmpty()) << "unlimited";
  EXPECT_THAT(*files_.Purge(4), IsEmpty());
  EXPECT_THAT(*files_.Purge(1),
              ElementsAre("0000000000000008.snap.db", "0000000000000009.snap.db",
                          "000000000000000a.snap.db"));
  EXPECT_THAT(Names(),
              ElementsAre("0000000000000001-0000000000000001.snap", "00000000000000c8.snap.db"));
}

TEST_F(DbFileTest, DurationsAreReported) {
  testing::FakeClock clock;
  int syncs = 0;
  std::vector<absl::Duration> saves;
  DbFiles files(fs_, kDir,
                {.clock = &clock,
                 .on_sync = [&](absl::Duration) { ++syncs; },
                 .on_save = [&](absl::Duration took) { saves.push_back(took); }});
  for (const char* piece : {"not good", "good."}) {
    auto writer = *files.Receive(1, std::make_unique<DotVerifier>());
    clock.AdvanceBy(absl::Seconds(2));
    ASSERT_EQ(writer->Append(piece), absl::OkStatus());
    EXPECT_EQ(writer->Commit().ok(), std::string(piece) == "good.");
  }
  EXPECT_EQ(syncs, 1);
  EXPECT_THAT(saves, ElementsAre(absl::Seconds(2)));
}

TEST_F(DbFileTest, AReadErrorIsReported) {
  ASSERT_EQ(Receive(9, {"old."}), absl::OkStatus());
  auto reader = *files_.Open(9);
  fs_.Inject({.op = FileOp::kRead});
  EXPECT_FALSE(reader.Next().ok());
}

}  // namespace
}  // namespace etcdd::snap
