// From a member's backend to another member's, through every crash.

#include "server/install_image.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "absl/strings/match.h"
#include "mvcc/backend/rocks_backend.h"
#include "server/backend_dir.h"
#include "server/base/coding.h"
#include "server/base/random.h"
#include "server/bootstrap.h"
#include "server/image_transfer.h"
#include "tests/server/backend_disks.h"
#include "tests/support/fake_clock.h"
#include "tests/support/temp_dir.h"

namespace etcdd::server {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using mvcc::Backend;
using mvcc::Bucket;

constexpr char kDir[] = "/snap";
constexpr char kImage[] = "000000000000000a.snap.db";

void Fill(Backend& backend, uint64_t index, const std::string& value) {
  const auto batch = backend.NewBatch();
  std::string bytes;
  base::AppendBigEndian64(index, &bytes);
  batch->Put(Bucket::kMeta, kConsistentIndexKey, bytes);
  batch->Put(Bucket::kKey, "key", value);
  ASSERT_TRUE(backend.Write(*batch).ok());
}

std::string ValueIn(const Backend& backend) {
  return backend.Get(Bucket::kKey, "key").value_or("");
}

// Sends the image of `from` to `files`, as the transport does.
absl::Status Transfer(std::shared_ptr<const Backend> from, uint64_t index, snap::DbFiles& files) {
  ETCDD_ASSIGN_OR_RETURN(const BackendImage image, ImageOf(std::move(from)));
  ETCDD_ASSIGN_OR_RETURN(const auto sink, ReceiveImage(files, index));
  while (true) {
    ETCDD_ASSIGN_OR_RETURN(const std::string piece, image.source->Next());
    if (piece.empty()) return sink->Commit();
    ETCDD_RETURN_IF_ERROR(sink->Append(piece));
  }
}

class InstallImageTest : public ::testing::Test {
 protected:
  InstallImageTest() {
    EXPECT_EQ(fs_.CreateDirs(kDir), absl::OkStatus());
    fs_.SyncAll();
    options_.fs = &fs_;
    options_.clock = &clock_;
    options_.snap_dir = kDir;
    options_.open_backend = [this](const std::string& path) { return disks_.Open(path); };
    Fill(*leader_, 10, "theirs");
    old_ = Open();
    Fill(*old_, 3, "ours");
    EXPECT_TRUE(old_->Flush().ok());
    fs_.SyncAll();
  }

  // The backend as the next start finds it.
  std::shared_ptr<Backend> Open() {
    EXPECT_EQ(RemoveStaleBackendDirs(fs_, kDir), absl::OkStatus());
    const std::string path = CurrentBackendDir(fs_, kDir)->path;
    auto opened = disks_.Open(path);
    EXPECT_TRUE(opened.ok()) << opened.status();
    return ShareBackend(fs_, kDir, path, std::move(*opened));
  }
  void Receive() { ASSERT_EQ(Transfer(leader_, 10, files_), absl::OkStatus()); }
  std::vector<std::string> Names() { return *fs_.List(kDir); }
  // Of all that begins like a backend.
  std::vector<std::string> Dirs() {
    std::vector<std::string> dirs;
    for (const std::string& name : Names()) {
      if (absl::StartsWith(name, "etcdd.db")) dirs.push_back(name);
    }
    return dirs;
  }

  testing::FakeClock clock_;
  testing::FaultFileSystem fs_;
  testing::BackendDisks disks_{fs_};
  snap::DbFiles files_{fs_, kDir};
  InstallOptions options_;
  const std::shared_ptr<mvcc::MemBackend> leader_ = std::make_shared<mvcc::MemBackend>();
  std::shared_ptr<Backend> old_;
};

TEST_F(InstallImageTest, TheImageBecomesTheBackend) {
  Receive();
  auto installed = InstallImage(options_, 10);
  ASSERT_TRUE(installed.ok()) << installed.status();
  EXPECT_EQ(ValueIn(**installed), "theirs");
  EXPECT_EQ(*ReadConsistentIndex(**installed), 10u);
  EXPECT_EQ(CurrentBackendDir(fs_, kDir)->path, "/snap/etcdd.db.000000000000000a");
}

TEST_F(InstallImageTest, TheOldDirectoryGoesWithItsLastReader) {
  Receive();
  auto installed = *InstallImage(options_, 10);
  auto reader = old_;
  old_.reset();
  EXPECT_EQ(ValueIn(*reader), "ours");
  EXPECT_THAT(Dirs(), ElementsAre("etcdd.db", "etcdd.db.000000000000000a"));
  reader.reset();
  EXPECT_THAT(Dirs(), ElementsAre("etcdd.db.000000000000000a"));
  installed.reset();
  EXPECT_THAT(Dirs(), ElementsAre("etcdd.db.000000000000000a")) << "the current one stays";
  EXPECT_EQ(disks_.opened(), 0);
}

TEST_F(InstallImageTest, RepeatedItFindsItsWorkDone) {
  Receive();
  (*InstallImage(options_, 10)).reset();
  ASSERT_TRUE(files_.RemoveUpTo(10).ok());
  auto again = InstallImage(options_, 10);
  ASSERT_TRUE(again.ok()) << again.status();
  EXPECT_EQ(ValueIn(**again), "theirs");
}

TEST_F(InstallImageTest, NoImageIsNotFound) {
  EXPECT_TRUE(absl::IsNotFound(InstallImage(options_, 10).status()));
  EXPECT_THAT(Dirs(), ElementsAre("etcdd.db"));
}

TEST_F(InstallImageTest, OneBehindTheBackendIsRefused) {
  Receive();
  Fill(*leader_, 20, "later");
  ASSERT_EQ(Transfer(leader_, 20, files_), absl::OkStatus());
  ASSERT_TRUE(InstallImage(options_, 20).ok());
  EXPECT_TRUE(absl::IsFailedPrecondition(InstallImage(options_, 10).status()));
}

TEST_F(InstallImageTest, AnImageOfAnotherIndexIsRefusedOnArrivalAndOnInstallation) {
  EXPECT_TRUE(absl::IsDataLoss(Transfer(leader_, 11, files_)));
  EXPECT_THAT(*files_.List(), IsEmpty());
  Receive();
  ASSERT_EQ(fs_.Rename(files_.PathOf(10), files_.PathOf(11)), absl::OkStatus());
  const absl::Status status = InstallImage(options_, 11).status();
  EXPECT_EQ(status, absl::FailedPreconditionError(
                        "database file (/snap/000000000000000b.snap.db index 10) does not match "
                        "with snapshot (index 11)"));
  EXPECT_THAT(Dirs(), ElementsAre("etcdd.db"));
}

TEST_F(InstallImageTest, ADamagedImageIsRefusedAndLeavesNothing) {
  Receive();
  fs_.Corrupt(files_.PathOf(10), 50, 1);
  EXPECT_TRUE(absl::IsDataLoss(InstallImage(options_, 10).status()));
  EXPECT_THAT(Dirs(), ElementsAre("etcdd.db"));
  EXPECT_EQ(disks_.opened(), 1);
}

TEST_F(InstallImageTest, FailuresOfTheBackendLeaveNothing) {
  Receive();
  disks_.FailNextWrite();
  EXPECT_FALSE(InstallImage(options_, 10).ok());
  EXPECT_THAT(Dirs(), ElementsAre("etcdd.db"));
  disks_.FailNextFlush();
  EXPECT_FALSE(InstallImage(options_, 10).ok());
  EXPECT_THAT(Dirs(), ElementsAre("etcdd.db"));
  EXPECT_TRUE(InstallImage(options_, 10).ok());
}

TEST_F(InstallImageTest, ItCanBeGivenUp) {
  Receive();
  options_.cancelled = [] { return true; };
  EXPECT_TRUE(absl::IsCancelled(InstallImage(options_, 10).status()));
  EXPECT_THAT(Dirs(), ElementsAre("etcdd.db"));
}

TEST_F(InstallImageTest, ASourceHoldsItsBackend) {
  const std::weak_ptr<Backend> watch = old_;
  absl::StatusOr<BackendImage> image = ImageOf(old_);
  ASSERT_TRUE(image.ok());
  EXPECT_EQ(image->index, 3u);
  old_.reset();
  EXPECT_FALSE(watch.expired());
  EXPECT_TRUE(image->source->Next().ok());
  image->source.reset();
  EXPECT_TRUE(watch.expired());
}

TEST_F(InstallImageTest, ABackendWithoutAnIndexHasNoImage) {
  EXPECT_FALSE(ImageOf(std::make_shared<mvcc::MemBackend>()).ok());
}

TEST_F(InstallImageTest, ASinkThatIsDroppedLeavesNothing) {
  auto sink = *ReceiveImage(files_, 10);
  ASSERT_EQ(sink->Append("etcdd"), absl::OkStatus());
  sink.reset();
  EXPECT_THAT(Names(), ElementsAre("etcdd.db"));
  sink = *ReceiveImage(files_, 10);
  EXPECT_TRUE(absl::IsDataLoss(sink->Append("this is something else")));
}

// Installs with the power going after `operations`, and starts anew. True when the work was done
// before.
bool InstallAndCrash(const InstallOptions& options, testing::FaultFileSystem& fs,
                     testing::BackendDisks& disks, uint64_t operations, base::Random* random) {
  fs.PowerOffAfter(operations);
  const bool done = InstallImage(options, 10).ok();
  EXPECT_EQ(disks.opened(), 0);
  random == nullptr ? fs.Crash() : fs.CrashAtRandom(*random);
  disks.Crash();
  return done;
}

TEST_F(InstallImageTest, PowerLossAfterAnyOperationIsHarmlessAndRepeatable) {
  Receive();
  old_.reset();
  const uint64_t before = fs_.changes();
  ASSERT_TRUE(InstallImage(options_, 10).ok());
  const uint64_t steps = fs_.changes() - before;
  ASSERT_GE(steps, 5u);
  const auto random = base::NewSeededRandom(5);
  int seen_old = 0;
  for (int round = 0; round < 40; ++round) {
    for (uint64_t n = 0; n <= steps; ++n) {
      SCOPED_TRACE(absl::StrCat("round ", round, " operations ", n));
      ASSERT_EQ(fs_.RemoveTree("/snap/etcdd.db.000000000000000a"), absl::OkStatus());
      Fill(*Open(), 3, "ours");
      fs_.SyncAll();
      const bool done =
          InstallAndCrash(options_, fs_, disks_, n, round == 0 ? nullptr : random.get());
      auto backend = Open();
      const bool is_old = ValueIn(*backend) == "ours" && *ReadConsistentIndex(*backend) == 3;
      const bool is_new = ValueIn(*backend) == "theirs" && *ReadConsistentIndex(*backend) == 10;
      ASSERT_TRUE(is_new || (is_old && !done)) << ValueIn(*backend);
      ASSERT_EQ(Dirs().size(), 1u);
      seen_old += is_old ? 1 : 0;
      backend.reset();
      auto again = InstallImage(options_, 10);
      ASSERT_TRUE(again.ok()) << again.status();
      ASSERT_EQ(ValueIn(**again), "theirs");
    }
  }
  EXPECT_GT(seen_old, 40);
}

TEST_F(InstallImageTest, RecoveryTakesABackendThatReachesTheSnapshot) {
  Receive();
  for (const uint64_t snapshot_index : {0, 2, 3}) {
    auto recovered = RecoverSnapshotBackend(options_, snapshot_index, old_, "/snap/etcdd.db", true);
    ASSERT_TRUE(recovered.ok()) << recovered.status();
    EXPECT_EQ(*recovered, old_);
  }
}

TEST_F(InstallImageTest, RecoveryInstallsTheSnapshotsImage) {
  Receive();
  auto recovered =
      RecoverSnapshotBackend(options_, 10, std::move(old_), "/snap/etcdd.db", true);
  ASSERT_TRUE(recovered.ok()) << recovered.status();
  EXPECT_EQ(ValueIn(**recovered), "theirs");
  EXPECT_THAT(Dirs(), ElementsAre("etcdd.db.000000000000000a"));
}

TEST_F(InstallImageTest, RecoveryWithoutTheImageSaysWhatIsWrong) {
  Receive();
  const absl::Status behind =
      RecoverSnapshotBackend(options_, 11, old_, "/snap/etcdd.db", true).status();
  EXPECT_TRUE(absl::IsFailedPrecondition(behind));
  EXPECT_THAT(std::string(behind.message()),
              HasSubstr("failed to recover v3 backend from snapshot: failed to find database "
                        "snapshot file (snap: snapshot file doesn't exist)"));
  EXPECT_THAT(std::string(behind.message()),
              HasSubstr("(/snap/etcdd.db index 3) does not match with snapshot (index 11)"));
  const absl::Status missing =
      RecoverSnapshotBackend(options_, 11, old_, "/snap/etcdd.db", false).status();
  EXPECT_THAT(std::string(missing.message()),
              HasSubstr("database file (/snap/etcdd.db) of the backend is missing"));
}

TEST_F(InstallImageTest, RecoveryFromABadImageSaysSo) {
  Receive();
  ASSERT_EQ(fs_.Rename(files_.PathOf(10), files_.PathOf(12)), absl::OkStatus());
  const absl::Status status =
      RecoverSnapshotBackend(options_, 12, old_, "/snap/etcdd.db", true).status();
  EXPECT_THAT(std::string(status.message()),
              HasSubstr("snapshot: database file (/snap/000000000000000c.snap.db index 10) does "
                        "not match with snapshot (index 12)"));
  fs_.Corrupt(files_.PathOf(12), 0, 1);
  EXPECT_TRUE(absl::IsDataLoss(
      RecoverSnapshotBackend(options_, 12, old_, "/snap/etcdd.db", true).status()));
}

TEST_F(InstallImageTest, StaleDirectoriesAreRemovedAndForeignNamesAreNot) {
  old_.reset();
  for (const char* name : {"etcdd.db.0000000000000001", "etcdd.db.00000000000000ff",
                           "etcdd.db.tmp-0000000000000100", "etcdd.db.0000000000000FFF",
                           "etcdd.db.1", "etcdd.db.0000000000000000", "etcdd.dbx"}) {
    ASSERT_EQ(fs_.CreateDirs(base::JoinPath(kDir, name)), absl::OkStatus());
  }
  EXPECT_EQ(CurrentBackendDir(fs_, kDir)->index, 0xffu);
  ASSERT_EQ(RemoveStaleBackendDirs(fs_, kDir), absl::OkStatus());
  EXPECT_THAT(Names(), ElementsAre("etcdd.db.0000000000000000", "etcdd.db.00000000000000ff",
                                   "etcdd.db.0000000000000FFF", "etcdd.db.1", "etcdd.dbx"));
}

TEST_F(InstallImageTest, WithoutADirectoryTheFirstOneIsTheOneToMake) {
  ASSERT_EQ(fs_.CreateDirs("/empty"), absl::OkStatus());
  for (const char* dir : {"/nowhere", "/empty"}) {
    const auto current = CurrentBackendDir(fs_, dir);
    ASSERT_TRUE(current.ok());
    EXPECT_FALSE(current->exists);
    EXPECT_EQ(current->path, base::JoinPath(dir, "etcdd.db"));
    EXPECT_EQ(RemoveStaleBackendDirs(fs_, dir), absl::OkStatus());
  }
}

TEST(InstallImageOnDisk, RocksToRocks) {
  const testing::TempDir dir;
  const auto fs = base::NewPosixFileSystem();
  const auto clock = base::NewSystemClock();
  InstallOptions options;
  options.fs = fs.get();
  options.clock = clock.get();
  options.snap_dir = dir.path();
  options.open_backend = [](const std::string& path) { return mvcc::OpenRocksBackend(path, {}); };
  snap::DbFiles files(*fs, dir.path());
  {
    std::shared_ptr<Backend> leader = *mvcc::OpenRocksBackend(dir.Path("leader"), {});
    for (int i = 0; i < 3000; ++i) {
      const auto batch = leader->NewBatch();
      batch->Put(Bucket::kKey, absl::StrCat("k", i), std::string(2000, 'v'));
      ASSERT_TRUE(leader->Write(*batch).ok());
    }
    Fill(*leader, 77, "theirs");
    ASSERT_EQ(Transfer(leader, 77, files), absl::OkStatus());
  }
  const std::string first = BackendDirPath(dir.path(), 0);
  auto old = ShareBackend(*fs, dir.path(), first, *mvcc::OpenRocksBackend(first, {}));
  Fill(*old, 3, "ours");
  auto recovered = RecoverSnapshotBackend(options, 77, std::move(old), first, true);
  ASSERT_TRUE(recovered.ok()) << recovered.status();
  EXPECT_FALSE(fs->Exists(first));
  EXPECT_EQ((*recovered)->Get(Bucket::kKey, "k2999")->size(), 2000u);
  EXPECT_EQ(ValueIn(**recovered), "theirs");
  recovered->reset();

  ASSERT_TRUE(files.RemoveUpTo(77).ok());
  ASSERT_EQ(RemoveStaleBackendDirs(*fs, dir.path()), absl::OkStatus());
  const auto current = CurrentBackendDir(*fs, dir.path());
  ASSERT_EQ(current->index, 77u);
  auto reopened = mvcc::OpenRocksBackend(current->path, {});
  ASSERT_TRUE(reopened.ok()) << reopened.status();
  EXPECT_EQ(*ReadConsistentIndex(**reopened), 77u);
}

}  // namespace
}  // namespace etcdd::server
