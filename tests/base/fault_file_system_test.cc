#include "tests/support/fault_file_system.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <functional>
#include <memory>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace etcdd::testing {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using base::File;
using base::OpenMode;

class FaultFileSystemTest : public ::testing::Test {
 protected:
  FaultFileSystemTest() {
    EXPECT_TRUE(fs_.CreateDirs("/d").ok());
    fs_.SyncAll();
  }

  std::unique_ptr<File> Open(const std::string& path, OpenMode mode = OpenMode::kCreate) {
    auto file = fs_.Open(path, mode);
    EXPECT_TRUE(file.ok()) << file.status();
    return std::move(*file);
  }
  // Content and name on the disk for good.
  void Put(const std::string& path, std::string_view content) {
    const auto file = Open(path, OpenMode::kTruncate);
    EXPECT_TRUE(file->WriteAt(0, content).ok());
    fs_.SyncAll();
  }
  std::string Content(const std::string& path) {
    const auto content = base::ReadFile(fs_, path);
    return content.ok() ? *content : std::string(content.status().message());
  }
  std::vector<std::string> Names(const std::string& path) { return *fs_.List(path); }

  FaultFileSystem fs_;
};

TEST_F(FaultFileSystemTest, CrashLosesUnsyncedBytes) {
  Put("/d/a", "synced");
  const auto file = Open("/d/a");
  ASSERT_TRUE(file->WriteAt(6, " lost").ok());
  EXPECT_TRUE(fs_.HasUnsynced());
  EXPECT_EQ(Content("/d/a"), "synced lost");
  fs_.Crash();
  EXPECT_EQ(Content("/d/a"), "synced");
  EXPECT_FALSE(fs_.HasUnsynced());
}

TEST_F(FaultFileSystemTest, ASyncedFileNeedsASyncedName) {
  const auto a = Open("/d/a");
  ASSERT_TRUE(a->WriteAt(0, "x").ok());
  ASSERT_TRUE(a->Sync().ok());
  fs_.Crash();
  EXPECT_THAT(Names("/d"), IsEmpty());
  const auto b = Open("/d/b");
  ASSERT_TRUE(b->WriteAt(0, "x").ok());
  ASSERT_TRUE(b->Sync().ok());
  ASSERT_TRUE(fs_.SyncDir("/d").ok());
  fs_.Crash();
  EXPECT_EQ(Content("/d/b"), "x");
}

TEST_F(FaultFileSystemTest, RenameAndRemoveAreUndoneUnlessTheDirectoryWasSynced) {
  Put("/d/old", "old");
  Put("/d/new.tmp", "new");
  ASSERT_TRUE(fs_.Rename("/d/new.tmp", "/d/old").ok());
  EXPECT_THAT(Names("/d"), ElementsAre("old"));
  fs_.Crash();
  EXPECT_THAT(Names("/d"), ElementsAre("new.tmp", "old"));
  EXPECT_EQ(Content("/d/old"), "old");
  ASSERT_TRUE(fs_.Rename("/d/new.tmp", "/d/old").ok());
  ASSERT_TRUE(fs_.SyncDir("/d").ok());
  fs_.Crash();
  EXPECT_EQ(Content("/d/old"), "new");
  ASSERT_TRUE(fs_.RemoveFile("/d/old").ok());
  fs_.Crash();
  EXPECT_EQ(Content("/d/old"), "new");
  ASSERT_TRUE(fs_.RemoveTree("/d").ok());
  ASSERT_TRUE(fs_.SyncDir("/").ok());
  fs_.Crash();
  EXPECT_FALSE(fs_.Exists("/d"));
}

TEST_F(FaultFileSystemTest, ANewDirectoryNeedsItsParentSynced) {
  ASSERT_TRUE(fs_.CreateDirs("/d/wal").ok());
  Open("/d/wal/0");
  ASSERT_TRUE(fs_.SyncDir("/d/wal").ok());
  fs_.Crash();
  EXPECT_FALSE(fs_.Exists("/d/wal"));
  ASSERT_TRUE(fs_.CreateDirs("/d/wal").ok());
  Open("/d/wal/0");
  ASSERT_TRUE(fs_.SyncDir("/d/wal").ok());
  ASSERT_TRUE(fs_.SyncDir("/d").ok());
  fs_.Crash();
  EXPECT_TRUE(fs_.Exists("/d/wal/0"));
}

TEST_F(FaultFileSystemTest, RandomCrashKeepsAPrefixOfADirectorysChanges) {
  std::set<size_t> counts;
  for (uint64_t seed = 0; seed < 60; ++seed) {
    FaultFileSystem fs;
    for (const char* name : {"/a", "/b", "/c"}) {
      ASSERT_TRUE(fs.Open(name, OpenMode::kCreate).ok());
    }
    const auto random = base::NewSeededRandom(seed);
    fs.CrashAtRandom(*random);
    const auto names = *fs.List("/");
    const std::vector<std::string> all = {"a", "b", "c"};
    ASSERT_EQ(names, std::vector<std::string>(all.begin(),
                                              all.begin() + static_cast<ptrdiff_t>(names.size())));
    counts.insert(names.size());
  }
  EXPECT_EQ(counts, (std::set<size_t>{0, 1, 2, 3}));
}

TEST_F(FaultFileSystemTest, RandomCrashNeverHalvesARename) {
  for (uint64_t seed = 0; seed < 30; ++seed) {
    FaultFileSystem fs;
    ASSERT_TRUE(fs.Open("/a", OpenMode::kCreate).ok());
    fs.SyncAll();
    ASSERT_TRUE(fs.Rename("/a", "/b").ok());
    const auto random = base::NewSeededRandom(seed);
    fs.CrashAtRandom(*random);
    EXPECT_EQ(fs.List("/")->size(), 1u);
  }
}

TEST_F(FaultFileSystemTest, FilesOpenedBeforeACrashAreDead) {
  const auto file = Open("/d/a");
  ASSERT_TRUE(*file->TryLock());
  fs_.SyncAll();
  fs_.Crash();
  std::string out;
  EXPECT_TRUE(absl::IsAborted(file->ReadAt(0, 1, &out)));
  EXPECT_TRUE(absl::IsAborted(file->WriteAt(0, "x")));
  EXPECT_TRUE(absl::IsAborted(file->Sync()));
  EXPECT_TRUE(absl::IsAborted(file->Size().status()));
  EXPECT_EQ(Content("/d/a"), "");
  EXPECT_TRUE(*Open("/d/a")->TryLock()) << "its lock is gone";
}

TEST_F(FaultFileSystemTest, AKilledProcessLosesLocksButNoBytes) {
  const auto file = Open("/d/a");
  ASSERT_TRUE(*file->TryLock());
  ASSERT_TRUE(file->WriteAt(0, "in the cache").ok());
  fs_.KillProcess();
  EXPECT_EQ(Content("/d/a"), "in the cache");
  EXPECT_TRUE(absl::IsAborted(file->Sync()));
  EXPECT_TRUE(*Open("/d/a")->TryLock());
  fs_.Crash();
  EXPECT_FALSE(fs_.Exists("/d/a"));
}

TEST_F(FaultFileSystemTest, TheNthOperationFailsOnceOrForEver) {
  const auto file = Open("/d/a");
  fs_.Inject({.op = FileOp::kWrite, .nth = 2, .written_bytes = 3});
  EXPECT_TRUE(file->WriteAt(0, "first").ok());
  const absl::Status status = file->WriteAt(0, "SECOND");
  EXPECT_TRUE(absl::IsInternal(status));
  EXPECT_THAT(std::string(status.message()), HasSubstr("write /d/a: injected"));
  EXPECT_EQ(Content("/d/a"), "SECst");
  EXPECT_TRUE(file->WriteAt(0, "third").ok());

  fs_.Inject({.op = FileOp::kSync, .for_ever = true, .error = absl::DataLossError("gone")});
  EXPECT_TRUE(absl::IsDataLoss(file->Sync()));
  EXPECT_TRUE(absl::IsDataLoss(file->Sync()));
  fs_.ClearFaults();
  EXPECT_TRUE(file->Sync().ok());
}

TEST_F(FaultFileSystemTest, EveryKindOfOperationCanFail) {
  Put("/d/a", "x");
  const auto file = Open("/d/a");
  std::string out;
  const std::vector<std::pair<FileOp, std::function<absl::Status()>>> operations = {
      {FileOp::kOpen, [&] { return fs_.Open("/d/b", OpenMode::kCreate).status(); }},
      {FileOp::kRead, [&] { return file->ReadAt(0, 1, &out); }},
      {FileOp::kWrite, [&] { return file->WriteAt(0, "y"); }},
      {FileOp::kSync, [&] { return file->Sync(); }},
      {FileOp::kTruncate, [&] { return file->Truncate(0); }},
      {FileOp::kPreallocate, [&] { return file->Preallocate(10); }},
      {FileOp::kLock, [&] { return file->TryLock().status(); }},
      {FileOp::kRename, [&] { return fs_.Rename("/d/a", "/d/c"); }},
      {FileOp::kRemove, [&] { return fs_.RemoveFile("/d/a"); }},
      {FileOp::kRemove, [&] { return fs_.RemoveTree("/d"); }},
      {FileOp::kCreateDirs, [&] { return fs_.CreateDirs("/d/e"); }},
      {FileOp::kList, [&] { return fs_.List("/d").status(); }},
      {FileOp::kSyncDir, [&] { return fs_.SyncDir("/d"); }},
  };
  for (const auto& [op, run] : operations) {
    const uint64_t before = fs_.Count(op);
    fs_.Inject({.op = op});
    EXPECT_TRUE(absl::IsInternal(run())) << static_cast<int>(op);
    EXPECT_EQ(fs_.Count(op), before + 1);
  }
  EXPECT_EQ(Content("/d/a"), "x");
  EXPECT_THAT(Names("/d"), ElementsAre("a"));
}

TEST_F(FaultFileSystemTest, FaultsCanBeAimedAtAPath) {
  fs_.Inject({.op = FileOp::kOpen, .path_part = ".snap"});
  EXPECT_TRUE(fs_.Open("/d/0.wal", OpenMode::kCreate).ok());
  EXPECT_FALSE(fs_.Open("/d/0.snap", OpenMode::kCreate).ok());
  EXPECT_TRUE(fs_.Open("/d/0.snap", OpenMode::kCreate).ok());
  fs_.Inject({.op = FileOp::kRename, .path_part = "target"});
  EXPECT_TRUE(fs_.Rename("/d/0.wal", "/d/1.wal").ok());
  EXPECT_FALSE(fs_.Rename("/d/1.wal", "/d/target").ok());
}

TEST_F(FaultFileSystemTest, AFailedSyncLosesItsBytesForGood) {
  Put("/d/a", "old");
  const auto file = Open("/d/a");
  ASSERT_TRUE(file->WriteAt(0, "new").ok());
  fs_.Inject({.op = FileOp::kSync});
  EXPECT_FALSE(file->Sync().ok());
  EXPECT_TRUE(file->Sync().ok());
  fs_.Crash();
  EXPECT_EQ(Content("/d/a"), "old");
}

TEST_F(FaultFileSystemTest, AFullDiskTakesAPartOfAWrite) {
  Put("/d/a", "0123456789");
  fs_.SetCapacity(15);
  const auto file = Open("/d/b");
  const absl::Status status = file->WriteAt(0, "abcdefgh");
  EXPECT_TRUE(absl::IsResourceExhausted(status)) << status;
  EXPECT_THAT(std::string(status.message()), HasSubstr("/d/b: No space left on device"));
  EXPECT_EQ(Content("/d/b"), "abcde");
  EXPECT_EQ(fs_.used_bytes(), 15u);
  EXPECT_TRUE(file->WriteAt(0, "ABCDE").ok()) << "no more space needed";
  EXPECT_TRUE(absl::IsResourceExhausted(file->Preallocate(6)));
  EXPECT_TRUE(absl::IsResourceExhausted(file->Truncate(6)));
  EXPECT_TRUE(absl::IsResourceExhausted(file->WriteAt(100, "x"))) << "holes count as well";
  EXPECT_EQ(*file->Size(), 15u - 10u);
  ASSERT_TRUE(fs_.RemoveFile("/d/a").ok());
  EXPECT_TRUE(file->WriteAt(5, "fgh").ok());
  fs_.SetCapacity(std::nullopt);
  EXPECT_TRUE(file->Preallocate(1 << 20).ok());
}

TEST_F(FaultFileSystemTest, PowerGoesAfterNChangesAndComesBackWithTheCrash) {
  const auto run = [](FaultFileSystem& fs) -> absl::Status {
    auto file = fs.Open("/a", OpenMode::kCreate);
    if (!file.ok()) return file.status();
    for (const absl::Status& status :
         {(*file)->WriteAt(0, "x"), (*file)->Sync(), fs.SyncDir("/")}) {
      if (!status.ok()) return status;
    }
    return absl::OkStatus();
  };
  FaultFileSystem whole;
  ASSERT_TRUE(run(whole).ok());
  ASSERT_EQ(whole.changes(), 4u);
  for (uint64_t n = 0; n <= 4; ++n) {
    FaultFileSystem fs;
    fs.PowerOffAfter(n);
    const absl::Status status = run(fs);
    EXPECT_EQ(status.ok(), n == 4) << status;
    EXPECT_EQ(absl::IsUnavailable(status), n < 4) << status;
    fs.Crash();
    EXPECT_EQ(fs.Exists("/a"), n == 4);
    EXPECT_TRUE(run(fs).ok());
  }
}

TEST_F(FaultFileSystemTest, TraceTellsTheStory) {
  fs_.EnableTrace();
  {
    const auto file = Open("/d/0.tmp");
    ASSERT_TRUE(file->Preallocate(1024).ok());
    ASSERT_TRUE(file->WriteAt(512, "abcd").ok());
    ASSERT_TRUE(file->Sync().ok());
  }
  ASSERT_TRUE(fs_.Rename("/d/0.tmp", "/d/0.wal").ok());
  ASSERT_TRUE(fs_.SyncDir("/d").ok());
  EXPECT_THAT(fs_.trace(),
              ElementsAre("open /d/0.tmp create", "fallocate /d/0.tmp 1024",
                          "write /d/0.tmp 512+4", "fdatasync /d/0.tmp",
                          "rename /d/0.tmp /d/0.wal", "fsync /d"));
}

TEST_F(FaultFileSystemTest, CorruptChangesTheDisk) {
  Put("/d/a", "abc");
  fs_.Corrupt("/d/a", 0, 0x20);
  EXPECT_EQ(Content("/d/a"), "Abc");
  fs_.Crash();
  EXPECT_EQ(Content("/d/a"), "Abc");
}

}  // namespace
}  // namespace etcdd::testing
