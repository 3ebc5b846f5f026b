// The contract of FileSystem, over the machine's disk and the in-memory one.

#include "server/base/file_system.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "server/base/random.h"
#include "tests/support/fault_file_system.h"
#include "tests/support/temp_dir.h"

namespace etcdd::base {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

struct Posix {
  std::unique_ptr<FileSystem> fs = NewPosixFileSystem();
  etcdd::testing::TempDir directory;
  std::string root() const { return directory.path(); }
};

struct InMemory {
  std::unique_ptr<FileSystem> fs = std::make_unique<etcdd::testing::FaultFileSystem>();
  InMemory() { EXPECT_TRUE(fs->CreateDirs(root()).ok()); }
  std::string root() const { return "/root"; }
};

template <typename World>
class FileSystemTest : public ::testing::Test {
 protected:
  FileSystem& fs() { return *world_.fs; }
  std::string Path(std::string_view name) { return JoinPath(world_.root(), name); }
  std::unique_ptr<File> MustOpen(std::string_view name, OpenMode mode) {
    auto file = fs().Open(Path(name), mode);
    EXPECT_TRUE(file.ok()) << file.status();
    return std::move(*file);
  }
  void MustWrite(std::string_view name, std::string_view content) {
    EXPECT_TRUE(MustOpen(name, OpenMode::kTruncate)->WriteAt(0, content).ok());
  }
  std::string MustRead(std::string_view name) {
    const auto content = ReadFile(fs(), Path(name));
    EXPECT_TRUE(content.ok()) << content.status();
    return *content;
  }

  World world_;
};

using Worlds = ::testing::Types<Posix, InMemory>;
TYPED_TEST_SUITE(FileSystemTest, Worlds);

TYPED_TEST(FileSystemTest, WritesPiecesAndReadsThemBack) {
  const auto file = this->MustOpen("a", OpenMode::kCreate);
  const std::vector<std::string_view> pieces = {"one", "", "two", "three"};
  ASSERT_TRUE(file->WriteAt(2, pieces).ok());
  ASSERT_TRUE(file->Sync().ok());
  EXPECT_EQ(*file->Size(), 13u);
  std::string out;
  ASSERT_TRUE(file->ReadAt(0, 100, &out).ok());
  EXPECT_EQ(out, std::string("\0\0onetwothree", 13));
  ASSERT_TRUE(file->ReadAt(5, 3, &out).ok());
  EXPECT_EQ(out, "two");
  ASSERT_TRUE(file->ReadAt(13, 5, &out).ok());
  EXPECT_EQ(out, "");
  ASSERT_TRUE(file->WriteAt(5, "TWO").ok());
  EXPECT_EQ(this->MustRead("a"), std::string("\0\0oneTWOthree", 13));
}

TYPED_TEST(FileSystemTest, WritesMorePiecesThanOneCallTakes) {
  std::vector<std::string> owned;
  std::vector<std::string_view> pieces;
  std::string expected;
  for (int i = 0; i < 5000; ++i) owned.push_back(std::to_string(i));
  for (const std::string& piece : owned) {
    pieces.push_back(piece);
    expected += piece;
  }
  const auto file = this->MustOpen("a", OpenMode::kCreate);
  ASSERT_TRUE(file->WriteAt(0, pieces).ok());
  EXPECT_EQ(this->MustRead("a"), expected);
}

TYPED_TEST(FileSystemTest, OpenModes) {
  for (const OpenMode mode : {OpenMode::kRead, OpenMode::kReadWrite}) {
    const auto file = this->fs().Open(this->Path("a"), mode);
    EXPECT_TRUE(absl::IsNotFound(file.status())) << file.status();
    EXPECT_THAT(std::string(file.status().message()), HasSubstr(this->Path("a")));
    EXPECT_THAT(std::string(file.status().message()), HasSubstr("No such file or directory"));
  }
  EXPECT_TRUE(absl::IsNotFound(
      this->fs().Open(this->Path("none/a"), OpenMode::kCreate).status()));
  this->MustWrite("a", "content");
  EXPECT_EQ(*this->MustOpen("a", OpenMode::kCreate)->Size(), 7u);
  EXPECT_EQ(*this->MustOpen("a", OpenMode::kReadWrite)->Size(), 7u);
  EXPECT_FALSE(this->MustOpen("a", OpenMode::kRead)->WriteAt(0, "x").ok());
  EXPECT_EQ(this->MustRead("a"), "content");
  EXPECT_EQ(*this->MustOpen("a", OpenMode::kTruncate)->Size(), 0u);
}

TYPED_TEST(FileSystemTest, TruncateAndPreallocate) {
  const auto file = this->MustOpen("a", OpenMode::kCreate);
  ASSERT_TRUE(file->WriteAt(0, "0123456789").ok());
  ASSERT_TRUE(file->Truncate(4).ok());
  EXPECT_EQ(this->MustRead("a"), "0123");
  ASSERT_TRUE(file->Preallocate(8192).ok());
  EXPECT_EQ(*file->Size(), 8192u);
  std::string out;
  ASSERT_TRUE(file->ReadAt(0, 8192, &out).ok());
  EXPECT_EQ(out, "0123" + std::string(8188, '\0'));
  ASSERT_TRUE(file->Preallocate(100).ok()) << "at least that size: nothing to do";
  ASSERT_TRUE(file->Preallocate(0).ok());
  EXPECT_EQ(*file->Size(), 8192u);
  ASSERT_TRUE(file->Truncate(10000).ok());
  EXPECT_EQ(*file->Size(), 10000u);
}

TYPED_TEST(FileSystemTest, LockIsRefusedToASecondOpenFile) {
  auto first = this->MustOpen("lock", OpenMode::kCreate);
  const auto second = this->MustOpen("lock", OpenMode::kCreate);
  EXPECT_TRUE(*first->TryLock());
  EXPECT_TRUE(*first->TryLock()) << "the holder may ask again";
  EXPECT_FALSE(*second->TryLock());
  first.reset();
  EXPECT_TRUE(*second->TryLock());
}

TYPED_TEST(FileSystemTest, ClosingAnotherHandleKeepsTheLock) {
  // Classic POSIX locks fail this: any close of the file by the process drops them.
  const auto first = this->MustOpen("lock", OpenMode::kCreate);
  EXPECT_TRUE(*first->TryLock());
  this->MustOpen("lock", OpenMode::kRead);
  EXPECT_FALSE(*this->MustOpen("lock", OpenMode::kReadWrite)->TryLock());
}

TYPED_TEST(FileSystemTest, RenameReplacesFiles) {
  this->MustWrite("a", "new");
  this->MustWrite("b", "old");
  const auto open_before = this->MustOpen("b", OpenMode::kRead);
  ASSERT_TRUE(this->fs().Rename(this->Path("a"), this->Path("b")).ok());
  EXPECT_FALSE(this->fs().Exists(this->Path("a")));
  EXPECT_EQ(this->MustRead("b"), "new");
  std::string out;
  ASSERT_TRUE(open_before->ReadAt(0, 10, &out).ok());
  EXPECT_EQ(out, "old") << "an open file stays what it was";
  EXPECT_TRUE(absl::IsNotFound(this->fs().Rename(this->Path("a"), this->Path("c"))));
  EXPECT_TRUE(absl::IsNotFound(this->fs().Rename(this->Path("b"), this->Path("no/c"))));
  EXPECT_TRUE(this->fs().Rename(this->Path("b"), this->Path("b")).ok());
}

TYPED_TEST(FileSystemTest, RenameMovesDirectories) {
  ASSERT_TRUE(this->fs().CreateDirs(this->Path("tmp/wal")).ok());
  this->MustWrite("tmp/wal/0.wal", "x");
  ASSERT_TRUE(this->fs().Rename(this->Path("tmp/wal"), this->Path("wal")).ok());
  EXPECT_EQ(this->MustRead("wal/0.wal"), "x");
  EXPECT_FALSE(this->fs().Rename(this->Path("tmp"), this->Path("wal")).ok()) << "not empty";
  EXPECT_FALSE(this->fs().Rename(this->Path("tmp"), this->Path("tmp/in")).ok());
}

TYPED_TEST(FileSystemTest, Remove) {
  this->MustWrite("a", "x");
  EXPECT_TRUE(this->fs().RemoveFile(this->Path("a")).ok());
  EXPECT_TRUE(absl::IsNotFound(this->fs().RemoveFile(this->Path("a"))));
  ASSERT_TRUE(this->fs().CreateDirs(this->Path("d/e/f")).ok());
  this->MustWrite("d/e/g", "x");
  EXPECT_FALSE(this->fs().RemoveFile(this->Path("d")).ok());
  EXPECT_TRUE(this->fs().RemoveTree(this->Path("d")).ok());
  EXPECT_TRUE(this->fs().RemoveTree(this->Path("d")).ok()) << "absent is fine";
  EXPECT_FALSE(this->fs().Exists(this->Path("d")));
}

TYPED_TEST(FileSystemTest, ARemovedFileLivesWhileOpen) {
  this->MustWrite("a", "still here");
  const auto file = this->MustOpen("a", OpenMode::kReadWrite);
  ASSERT_TRUE(this->fs().RemoveFile(this->Path("a")).ok());
  std::string out;
  ASSERT_TRUE(file->ReadAt(0, 100, &out).ok());
  EXPECT_EQ(out, "still here");
}

TYPED_TEST(FileSystemTest, DirectoriesAreMadeAndListed) {
  ASSERT_TRUE(this->fs().CreateDirs(this->Path("member/snap")).ok());
  ASSERT_TRUE(this->fs().CreateDirs(this->Path("member/snap")).ok());
  ASSERT_TRUE(this->fs().CreateDirs(this->Path("member//wal/")).ok());
  this->MustWrite("member/b", "");
  this->MustWrite("member/a", "");
  EXPECT_THAT(*this->fs().List(this->Path("member")), ElementsAre("a", "b", "snap", "wal"));
  EXPECT_THAT(*this->fs().List(this->Path("member/wal")), IsEmpty());
  EXPECT_TRUE(absl::IsNotFound(this->fs().List(this->Path("none")).status()));
  EXPECT_TRUE(absl::IsNotFound(this->fs().List(this->Path("member/a")).status())) << "a file";
  EXPECT_TRUE(absl::IsNotFound(
      this->fs().Open(this->Path("member/a/b"), OpenMode::kCreate).status()));
  EXPECT_FALSE(this->fs().CreateDirs(this->Path("member/a")).ok()) << "a file is in the way";
  EXPECT_FALSE(this->fs().CreateDirs(this->Path("member/a/b")).ok());
  EXPECT_FALSE(this->fs().Open(this->Path("member"), OpenMode::kCreate).ok());
  EXPECT_TRUE(this->fs().SyncDir(this->Path("member")).ok());
  EXPECT_TRUE(absl::IsNotFound(this->fs().SyncDir(this->Path("none"))));
  EXPECT_TRUE(this->fs().Exists(this->Path("member")));
  EXPECT_FALSE(this->fs().Exists(this->Path("none")));
}

TYPED_TEST(FileSystemTest, CheckWritableLeavesNothingBehind) {
  EXPECT_TRUE(this->fs().CheckWritable(this->Path("")).ok());
  EXPECT_THAT(*this->fs().List(this->Path("")), IsEmpty());
  EXPECT_TRUE(absl::IsNotFound(this->fs().CheckWritable(this->Path("none"))));
}

TYPED_TEST(FileSystemTest, RandomWritesAgreeWithAString) {
  const auto random = NewSeededRandom(9);
  const auto file = this->MustOpen("a", OpenMode::kCreate);
  std::string model;
  for (int i = 0; i < 200; ++i) {
    const size_t offset = random->Uniform(10'000);
    if (random->Uniform(8) == 0) {
      ASSERT_TRUE(file->Truncate(offset).ok());
      model.resize(offset, '\0');
    } else {
      const std::string data(1 + random->Uniform(2000), static_cast<char>('a' + i % 26));
      ASSERT_TRUE(file->WriteAt(offset, data).ok());
      if (model.size() < offset + data.size()) model.resize(offset + data.size(), '\0');
      model.replace(offset, data.size(), data);
    }
  }
  EXPECT_EQ(this->MustRead("a"), model);
}

TEST(PosixFileSystem, FilesAndDirectoriesAreForTheOwnerAlone) {
  Posix world;
  const std::string directory = JoinPath(world.root(), "a/b");
  const std::string file = JoinPath(directory, "f");
  const mode_t old = umask(0);
  ASSERT_TRUE(world.fs->CreateDirs(directory).ok());
  ASSERT_TRUE(world.fs->Open(file, OpenMode::kCreate).ok());
  umask(old);
  struct stat info {};
  ASSERT_EQ(stat(directory.c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 07777, 0700u);
  ASSERT_EQ(stat(file.c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 07777, 0600u);
}

TEST(PosixFileSystem, RefusedAccessIsPermissionDenied) {
  // A constant of the kernel: even root may not open it for writing, proc(5).
  const std::string path = "/proc/sys/kernel/ostype";
  const absl::Status status = NewPosixFileSystem()->Open(path, OpenMode::kReadWrite).status();
  EXPECT_TRUE(absl::IsPermissionDenied(status)) << status;
  EXPECT_THAT(std::string(status.message()), HasSubstr(path + ": Permission denied"));
}

TEST(PosixFileSystem, AFullDiskIsResourceExhausted) {
  // /dev/full answers ENOSPC to every write, full(4).
  const auto fs = NewPosixFileSystem();
  const auto file = fs->Open("/dev/full", OpenMode::kReadWrite);
  ASSERT_TRUE(file.ok()) << file.status();
  const absl::Status status = (*file)->WriteAt(0, "x");
  EXPECT_TRUE(absl::IsResourceExhausted(status)) << status;
  EXPECT_THAT(std::string(status.message()), HasSubstr("/dev/full: No space left on device"));
}

TEST(JoinPath, PutsOneSlash) {
  EXPECT_EQ(JoinPath("a", "b"), "a/b");
  EXPECT_EQ(JoinPath("a/", "b"), "a/b");
  EXPECT_EQ(JoinPath("/", "b"), "/b");
  EXPECT_EQ(JoinPath("", "b"), "b");
}

}  // namespace
}  // namespace etcdd::base
