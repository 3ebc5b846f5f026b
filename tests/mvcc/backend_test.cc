// The promises of mvcc/backend/backend.h, kept by both implementations.

#include "mvcc/backend/backend.h"

#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <map>
#include <memory>
#include <random>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "mvcc/backend/mem_backend.h"
#include "mvcc/backend/rocks_backend.h"

namespace etcdd::mvcc {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Pair;

using Record = std::pair<std::string, std::string>;

// Eight digits, so that byte order is numeric order.
std::string Key(int number) { return absl::StrCat(absl::Dec(number, absl::kZeroPad8)); }

class TempDirectory {
 public:
  TempDirectory() {
    std::string name = (std::filesystem::temp_directory_path() / "backend-XXXXXX").string();
    path_ = mkdtemp(name.data());
  }
  ~TempDirectory() { std::filesystem::remove_all(path_); }
  std::string Path(const std::string& name) const { return (path_ / name).string(); }

 private:
  std::filesystem::path path_;
};

class MemDisk {
 public:
  Backend& backend() { return disk_; }
  void CleanRestart() {
    ASSERT_TRUE(disk_.Flush().ok());
    disk_.Crash();
  }
  void Crash() { disk_.Crash(); }

 private:
  MemBackend disk_;
};

class RocksDisk {
 public:
  RocksDisk() {
    // Small, so that flushes nobody asked for happen in the tests as well.
    options_.write_buffer_bytes = 256 << 10;
    Open();
  }
  Backend& backend() { return *backend_; }
  void CleanRestart() {
    backend_.reset();
    Open();
  }
  // The files as a killed process leaves them: copied while the store is open, at a moment when
  // background work changed none of them.
  void Crash() {
    const std::string old = path_;
    ++generation_;
    path_ = directory_.Path(absl::StrCat("db", generation_));
    std::map<std::string, uint64_t> before;
    do {
      before = Files(old);
      std::filesystem::remove_all(path_);
      std::filesystem::create_directory(path_);
      std::error_code vanished;
      for (const auto& [name, size] : before) {
        std::filesystem::copy(absl::StrCat(old, "/", name), path_, vanished);
      }
    } while (Files(old) != before);
    backend_.reset();
    std::filesystem::remove_all(old);
    Open();
  }

 private:
  void Open() {
    auto opened = OpenRocksBackend(path_, options_);
    ASSERT_TRUE(opened.ok()) << opened.status();
    backend_ = std::move(*opened);
  }

  static std::map<std::string, uint64_t> Files(const std::string& path) {
    std::map<std::string, uint64_t> sizes;
    for (const auto& entry : std::filesystem::directory_iterator(path)) {
      std::error_code vanished;
      const uint64_t size = entry.file_size(vanished);
      sizes[entry.path().filename().string()] = vanished ? 0 : size;
    }
    return sizes;
  }

  TempDirectory directory_;
  RocksOptions options_;
  int generation_ = 0;
  std::string path_ = directory_.Path("db0");
  std::unique_ptr<Backend> backend_;
};

template <typename Disk>
class BackendTest : public ::testing::Test {
 protected:
  Backend& backend() { return disk_.backend(); }

  void Put(Bucket bucket, const std::string& key, const std::string& value) {
    auto batch = backend().NewBatch();
    batch->Put(bucket, key, value);
    ASSERT_TRUE(backend().Write(*batch).ok());
  }
  void Delete(Bucket bucket, const std::string& key) {
    auto batch = backend().NewBatch();
    batch->Delete(bucket, key);
    ASSERT_TRUE(backend().Write(*batch).ok());
  }
  static std::vector<Record> Scan(const View& view, Bucket bucket, const std::string& begin = "",
                                  const std::string& end = "") {
    std::vector<Record> records;
    const absl::Status status =
        view.Scan(bucket, begin, end, [&](std::string_view key, std::string_view value) {
          records.emplace_back(key, value);
          return true;
        });
    EXPECT_TRUE(status.ok()) << status;
    return records;
  }
  std::vector<Record> Scan(Bucket bucket, const std::string& begin = "",
                           const std::string& end = "") {
    return Scan(*backend().NewView(), bucket, begin, end);
  }

  Disk disk_;
};

using Disks = ::testing::Types<MemDisk, RocksDisk>;
class DiskName {
 public:
  template <typename Disk>
  static std::string GetName(int) {
    return std::is_same_v<Disk, MemDisk> ? "Mem" : "Rocks";
  }
};
TYPED_TEST_SUITE(BackendTest, Disks, DiskName);

TEST(BucketNameTest, AreEtcdsInByteOrder) {
  std::string last;
  for (int i = 0; i < kBucketCount; ++i) {
    const std::string name(BucketName(static_cast<Bucket>(i)));
    EXPECT_LT(last, name);
    last = name;
  }
  EXPECT_EQ(BucketName(Bucket::kKey), "key");
  EXPECT_EQ(BucketName(Bucket::kMembersRemoved), "members_removed");
}

TYPED_TEST(BackendTest, BatchIsAppliedInOrder) {
  auto batch = this->backend().NewBatch();
  batch->Put(Bucket::kMeta, "twice", "first");
  batch->Put(Bucket::kMeta, "twice", "second");
  batch->Put(Bucket::kMeta, "gone", "x");
  batch->Delete(Bucket::kMeta, "gone");
  batch->Delete(Bucket::kLease, "back");
  batch->Put(Bucket::kLease, "back", "");
  batch->Delete(Bucket::kLease, "never");
  EXPECT_EQ(batch->count(), 7u);
  EXPECT_GT(batch->bytes(), 0u);
  ASSERT_TRUE(this->backend().Write(*batch).ok());
  EXPECT_THAT(this->Scan(Bucket::kMeta), ElementsAre(Pair("twice", "second")));
  EXPECT_THAT(this->Scan(Bucket::kLease), ElementsAre(Pair("back", "")));
}

TYPED_TEST(BackendTest, ClearedBatchStartsAnew) {
  auto batch = this->backend().NewBatch();
  batch->Put(Bucket::kMeta, "dropped", "x");
  batch->Clear();
  EXPECT_EQ(batch->count(), 0u);
  EXPECT_EQ(batch->bytes(), 0u);
  batch->Put(Bucket::kMeta, "kept", "x");
  ASSERT_TRUE(this->backend().Write(*batch).ok());
  EXPECT_THAT(this->Scan(Bucket::kMeta), ElementsAre(Pair("kept", "x")));
}

TYPED_TEST(BackendTest, BucketsDoNotMix) {
  for (int i = 0; i < kBucketCount; ++i) {
    this->Put(static_cast<Bucket>(i), "same", absl::StrCat(i));
    this->Put(static_cast<Bucket>(i), "\xff\xff", "high");
    this->Put(static_cast<Bucket>(i), std::string(1, '\0'), "low");
  }
  for (int i = 0; i < kBucketCount; ++i) {
    const auto bucket = static_cast<Bucket>(i);
    EXPECT_EQ(*this->backend().Get(bucket, "same"), absl::StrCat(i));
    EXPECT_THAT(this->Scan(bucket),
                ElementsAre(Pair(std::string(1, '\0'), "low"), Pair("same", absl::StrCat(i)),
                            Pair("\xff\xff", "high")));
  }
  this->Delete(Bucket::kAuth, "same");
  EXPECT_TRUE(absl::IsNotFound(this->backend().Get(Bucket::kAuth, "same").status()));
  EXPECT_TRUE(this->backend().Get(Bucket::kAuthRoles, "same").ok());
}

TYPED_TEST(BackendTest, ScanKeepsBoundsAndStops) {
  for (const Bucket bucket : {Bucket::kKey, Bucket::kLease}) {
    for (int i = 0; i < 300; ++i) this->Put(bucket, Key(i), absl::StrCat("v", i));
    EXPECT_EQ(this->Scan(bucket).size(), 300u);
    EXPECT_THAT(this->Scan(bucket, Key(7), Key(9)),
                ElementsAre(Pair(Key(7), "v7"), Pair(Key(8), "v8")));
    EXPECT_EQ(this->Scan(bucket, Key(290)).size(), 10u);
    EXPECT_THAT(this->Scan(bucket, Key(9), Key(9)), IsEmpty());
    EXPECT_THAT(this->Scan(bucket, "zzz"), IsEmpty());
    int visited = 0;
    ASSERT_TRUE(this->backend()
                    .NewView()
                    ->Scan(bucket, "", "", [&](std::string_view, std::string_view) {
                      return ++visited < 5;
                    })
                    .ok());
    EXPECT_EQ(visited, 5);
  }
}

TYPED_TEST(BackendTest, ViewsAreStable) {
  this->Put(Bucket::kKey, "a", "1");
  this->Put(Bucket::kKey, "b", "1");
  auto first = this->backend().NewView();
  this->Put(Bucket::kKey, "a", "2");
  this->Delete(Bucket::kKey, "b");
  this->Put(Bucket::kKey, "c", "2");
  auto second = this->backend().NewView();
  this->Delete(Bucket::kKey, "a");
  this->Put(Bucket::kKey, "b", "3");
  ASSERT_TRUE(this->backend().Flush().ok());
  this->backend().CompactHint("zzz");

  EXPECT_THAT(this->Scan(*first, Bucket::kKey), ElementsAre(Pair("a", "1"), Pair("b", "1")));
  EXPECT_THAT(this->Scan(*second, Bucket::kKey), ElementsAre(Pair("a", "2"), Pair("c", "2")));
  EXPECT_THAT(this->Scan(Bucket::kKey), ElementsAre(Pair("b", "3"), Pair("c", "2")));
  EXPECT_EQ(*first->Get(Bucket::kKey, "a"), "1");
  EXPECT_TRUE(absl::IsNotFound(second->Get(Bucket::kKey, "b").status()));
  first.reset();
  this->Put(Bucket::kKey, "d", "4");
  EXPECT_THAT(this->Scan(*second, Bucket::kKey), ElementsAre(Pair("a", "2"), Pair("c", "2")));
}

TYPED_TEST(BackendTest, BatchesAreAtomicForReadersOnOtherThreads) {
  constexpr int kBatches = 400;
  std::thread reader([&] {
    size_t last = 0;
    while (last < kBatches) {
      auto view = this->backend().NewView();
      const size_t keys = this->Scan(*view, Bucket::kKey).size();
      const size_t leases = this->Scan(*view, Bucket::kLease).size();
      ASSERT_EQ(keys, leases);
      ASSERT_GE(keys, last);
      last = keys;
    }
  });
  for (int i = 0; i < kBatches; ++i) {
    auto batch = this->backend().NewBatch();
    batch->Put(Bucket::kKey, Key(i), "x");
    batch->Put(Bucket::kLease, Key(i), "x");
    EXPECT_TRUE(this->backend().Write(*batch).ok());
    if (i % 100 == 0) {
      EXPECT_TRUE(this->backend().Flush().ok());
    }
  }
  reader.join();
}

TYPED_TEST(BackendTest, FlushedContentSurvivesACrash) {
  this->Put(Bucket::kKey, "a", "1");
  this->Put(Bucket::kMeta, "consistent_index", "7");
  ASSERT_TRUE(this->backend().Flush().ok());
  this->disk_.Crash();
  EXPECT_THAT(this->Scan(Bucket::kKey), ElementsAre(Pair("a", "1")));
  EXPECT_THAT(this->Scan(Bucket::kMeta), ElementsAre(Pair("consistent_index", "7")));
}

TYPED_TEST(BackendTest, CleanRestartKeepsEverything) {
  this->Put(Bucket::kKey, "a", "1");
  this->Put(Bucket::kMeta, "consistent_index", "7");
  this->disk_.CleanRestart();
  EXPECT_EQ(*this->backend().Get(Bucket::kKey, "a"), "1");
  EXPECT_EQ(*this->backend().Get(Bucket::kMeta, "consistent_index"), "7");
}

// Each batch writes record i of the key bucket and says so in meta. After a crash both must agree,
// nothing flushed may be missing, and no batch in the middle either.
TYPED_TEST(BackendTest, CrashLosesOnlyASuffixOfWholeBatches) {
  std::mt19937 random(1);
  int next = 0;
  for (int round = 0; round < 6; ++round) {
    int flushed = next;
    const int batches = 100 + static_cast<int>(random() % 900);
    for (int i = 0; i < batches; ++i, ++next) {
      auto batch = this->backend().NewBatch();
      batch->Put(Bucket::kKey, Key(next), std::string(random() % 2000, 'v'));
      batch->Put(Bucket::kMeta, "last", absl::StrCat(next));
      ASSERT_TRUE(this->backend().Write(*batch).ok());
      if (random() % 300 == 0) {
        ASSERT_TRUE(this->backend().Flush().ok());
        flushed = next + 1;
      }
    }
    this->disk_.Crash();
    const auto records = this->Scan(Bucket::kKey);
    const int found = static_cast<int>(records.size());
    EXPECT_GE(found, flushed);
    for (int i = 0; i < found; ++i) ASSERT_EQ(records[static_cast<size_t>(i)].first, Key(i));
    if (found > 0) {
      EXPECT_EQ(*this->backend().Get(Bucket::kMeta, "last"), absl::StrCat(found - 1));
    }
    next = found;
  }
  EXPECT_GT(next, 0);
}

TYPED_TEST(BackendTest, SizeGrowsWithSmallWritesAndShrinksOnlyByCompaction) {
  for (int i = 0; i < 100; ++i) {
    const uint64_t before = this->backend().SizeBytes();
    this->Put(Bucket::kKey, Key(i), "a little");
    EXPECT_GT(this->backend().SizeBytes(), before);
    EXPECT_LE(this->backend().SizeInUseBytes(), this->backend().SizeBytes());
  }
  std::mt19937 random(3);
  for (int i = 100; i < 2000; ++i) {
    std::string value(1000, '\0');
    for (char& c : value) c = static_cast<char>(random());  // nothing to compress
    this->Put(Bucket::kKey, Key(i), value);
  }
  ASSERT_TRUE(this->backend().Flush().ok());
  const uint64_t full = this->backend().SizeBytes();
  EXPECT_GT(full, 1900u * 1000);
  for (int i = 0; i < 2000; ++i) this->Delete(Bucket::kKey, Key(i));
  ASSERT_TRUE(this->backend().Flush().ok());
  EXPECT_GE(this->backend().SizeBytes(), full);
  this->backend().CompactHint(Key(2000));
  // Compaction runs beside; the figure must come down while nothing else happens.
  while (this->backend().SizeBytes() >= full) std::this_thread::yield();
  EXPECT_THAT(this->Scan(Bucket::kKey), IsEmpty());
}

// Random operations against a map, with views, flushes and clean restarts in between.
TYPED_TEST(BackendTest, BehavesLikeAMap) {
  using Model = std::map<std::pair<Bucket, std::string>, std::string>;
  std::mt19937 random(7);
  Model model;
  const auto compare = [&](const View& view, const Model& expected) {
    for (const Bucket bucket : {Bucket::kKey, Bucket::kLease}) {
      std::vector<Record> records;
      for (const auto& [id, value] : expected) {
        if (id.first == bucket) records.emplace_back(id.second, value);
      }
      ASSERT_EQ(this->Scan(view, bucket), records);
    }
  };
  std::vector<std::pair<std::unique_ptr<View>, Model>> views;
  for (int step = 0; step < 1500; ++step) {
    auto batch = this->backend().NewBatch();
    for (uint64_t i = random() % 8; i > 0; --i) {
      const Bucket bucket = random() % 2 == 0 ? Bucket::kKey : Bucket::kLease;
      const std::string key = Key(static_cast<int>(random() % 60));
      if (random() % 3 == 0) {
        batch->Delete(bucket, key);
        model.erase({bucket, key});
      } else {
        const std::string value = absl::StrCat(step, "-", i);
        batch->Put(bucket, key, value);
        model[{bucket, key}] = value;
      }
    }
    ASSERT_TRUE(this->backend().Write(*batch).ok());
    if (random() % 20 == 0) views.emplace_back(this->backend().NewView(), model);
    if (random() % 50 == 0) {
      ASSERT_TRUE(this->backend().Flush().ok());
    }
    if (random() % 30 == 0 && !views.empty()) {
      const auto chosen = views.begin() + static_cast<int64_t>(random() % views.size());
      compare(*chosen->first, chosen->second);
      views.erase(chosen);
    }
    if (random() % 300 == 0) {
      views.clear();
      this->disk_.CleanRestart();
      compare(*this->backend().NewView(), model);
    }
  }
}

TEST(MemBackendTest, CrashMayKeepAnyPrefix) {
  for (size_t keep = 0; keep <= 4; ++keep) {
    MemBackend disk;
    for (int i = 0; i < 3; ++i) {
      auto batch = disk.NewBatch();
      batch->Put(Bucket::kKey, Key(i), "x");
      batch->Put(Bucket::kMeta, "last", absl::StrCat(i));
      ASSERT_TRUE(disk.Write(*batch).ok());
    }
    EXPECT_EQ(disk.unflushed_batches(), 3u);
    disk.Crash(keep);
    EXPECT_EQ(disk.unflushed_batches(), 0u);
    const size_t kept = std::min<size_t>(keep, 3);
    for (size_t i = 0; i < 3; ++i) {
      EXPECT_EQ(disk.Get(Bucket::kKey, Key(static_cast<int>(i))).ok(), i < kept);
    }
    if (kept > 0) {
      EXPECT_EQ(*disk.Get(Bucket::kMeta, "last"), absl::StrCat(kept - 1));
    }
  }
}

TEST(MemBackendTest, FailedWritePoisonsUntilCrash) {
  MemBackend disk;
  auto batch = disk.NewBatch();
  batch->Put(Bucket::kKey, "a", "1");
  disk.FailWrite(2);
  EXPECT_TRUE(disk.Write(*batch).ok());
  ASSERT_TRUE(disk.Flush().ok());
  batch->Put(Bucket::kKey, "b", "1");
  EXPECT_FALSE(disk.Write(*batch).ok());
  EXPECT_FALSE(disk.Write(*batch).ok());
  EXPECT_FALSE(disk.Flush().ok());
  disk.Crash();
  EXPECT_TRUE(disk.Get(Bucket::kKey, "a").ok());
  EXPECT_FALSE(disk.Get(Bucket::kKey, "b").ok());
  EXPECT_TRUE(disk.Write(*batch).ok());
}

TEST(MemBackendTest, FailedFlushPoisonsAndKeepsNothing) {
  MemBackend disk;
  auto batch = disk.NewBatch();
  batch->Put(Bucket::kKey, "a", "1");
  ASSERT_TRUE(disk.Write(*batch).ok());
  disk.FailFlush(1);
  EXPECT_FALSE(disk.Flush().ok());
  EXPECT_FALSE(disk.Write(*batch).ok());
  disk.Crash();
  EXPECT_FALSE(disk.Get(Bucket::kKey, "a").ok());
}

TEST(RocksBackendTest, SecondOpenIsRefusedWithItsOwnCode) {
  TempDirectory directory;
  auto first = OpenRocksBackend(directory.Path("db"), {});
  ASSERT_TRUE(first.ok()) << first.status();
  auto second = OpenRocksBackend(directory.Path("db"), {});
  EXPECT_TRUE(absl::IsFailedPrecondition(second.status())) << second.status();
  EXPECT_THAT(std::string(second.status().message()), HasSubstr("in use by another process"));
  first->reset();
  EXPECT_TRUE(OpenRocksBackend(directory.Path("db"), {}).ok());
}

TEST(RocksBackendTest, ForeignDirectoryIsRefusedUntouched) {
  TempDirectory directory;
  std::filesystem::create_directory(directory.Path("db"));
  std::ofstream(directory.Path("db/db")) << "bolt";
  auto opened = OpenRocksBackend(directory.Path("db"), {});
  EXPECT_TRUE(absl::IsInvalidArgument(opened.status())) << opened.status();
  EXPECT_THAT(std::string(opened.status().message()), HasSubstr("is not an etcdd storage"));
  EXPECT_EQ(std::distance(std::filesystem::directory_iterator(directory.Path("db")), {}), 1);
}

TEST(RocksBackendTest, DamagedDirectoryIsRefused) {
  TempDirectory directory;
  ASSERT_TRUE(OpenRocksBackend(directory.Path("db"), {}).ok());
  for (const auto& entry : std::filesystem::directory_iterator(directory.Path("db"))) {
    if (entry.path().extension() == ".sst") std::filesystem::resize_file(entry.path(), 100);
  }
  auto opened = OpenRocksBackend(directory.Path("db"), {});
  EXPECT_TRUE(absl::IsDataLoss(opened.status())) << opened.status();
  EXPECT_THAT(std::string(opened.status().message()), HasSubstr("is damaged"));
}

TEST(RocksBackendTest, BrokenCurrentFileIsRefused) {
  TempDirectory directory;
  ASSERT_TRUE(OpenRocksBackend(directory.Path("db"), {}).ok());
  std::ofstream(directory.Path("db/CURRENT")) << "nonsense";
  auto opened = OpenRocksBackend(directory.Path("db"), {});
  EXPECT_TRUE(absl::IsDataLoss(opened.status())) << opened.status();
}

TEST(RocksBackendTest, UnwritableParentIsAClearError) {
  auto opened = OpenRocksBackend("/proc/no-such-place/db", {});
  EXPECT_FALSE(opened.ok());
  EXPECT_THAT(std::string(opened.status().message()), HasSubstr("/proc/no-such-place"));
}

// The files vanish under the store: the flush fails, and so does everything after it.
TEST(RocksBackendTest, FailedFlushPoisons) {
  TempDirectory directory;
  auto opened = OpenRocksBackend(directory.Path("db"), {});
  ASSERT_TRUE(opened.ok()) << opened.status();
  auto batch = (*opened)->NewBatch();
  batch->Put(Bucket::kKey, "a", "1");
  ASSERT_TRUE((*opened)->Write(*batch).ok());
  std::filesystem::remove_all(directory.Path("db"));
  const absl::Status flush = (*opened)->Flush();
  EXPECT_FALSE(flush.ok());
  EXPECT_THAT(std::string(flush.message()), HasSubstr("backend"));
  EXPECT_EQ((*opened)->Write(*batch), flush);
  EXPECT_EQ((*opened)->Flush(), flush);
}

}  // namespace
}  // namespace etcdd::mvcc
