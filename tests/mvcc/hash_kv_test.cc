// HashKV against values that etcd itself gave (backend-schema.md, test vectors), and the rules of
// MAINT-025..030.

#include "mvcc/hash_kv.h"

#include <string>

#include "absl/strings/str_format.h"
#include "server/base/api_error.h"
#include "server/base/crc32c.h"
#include "tests/mvcc/store_fixture.h"

namespace etcdd::mvcc {
namespace {

class HashKvTest : public StoreFixture {
 protected:
  HashKvResult Hash(int64_t rev = 0) const {
    const auto result = store_->HashKv(rev);
    EXPECT_TRUE(result.ok()) << result.status();
    return result.ok() ? *result : HashKvResult{};
  }
  // `count` puts, each with a revision of its own, in few batches.
  void Fill(int count, const char* key_format, const char* value_format) {
    for (int at = 0; at < count;) {
      InBatch([&] {
        for (const int end = std::min(count, at + 1000); at < end; ++at) {
          WriteTxn txn = store_->NewWriteTxn();
          const std::string key =
              absl::StrFormat(*absl::ParsedFormat<'d'>::New(key_format), at);
          const std::string value =
              absl::StrFormat(*absl::ParsedFormat<'d'>::New(value_format), at);
          PutOptions options;
          if (with_lease_ == key) options.lease = 0x1234;
          EXPECT_TRUE(txn.Put(key, value, options).ok());
          txn.End();
        }
      });
    }
  }
  std::string with_lease_;
};

TEST_F(HashKvTest, VectorA) {
  leases_.Grant(0x6517a204ae74170c);
  for (int i = 1; i <= 5; ++i) Put("k" + std::to_string(i), "v" + std::to_string(i));
  Put("k1", "v1b");
  Delete("k2");
  Put("lk", "lv", {.lease = 0x6517a204ae74170c});
  InTxn([](WriteTxn& txn) {
    EXPECT_TRUE(txn.Put("a", "1").ok());
    EXPECT_TRUE(txn.Put("b", "2").ok());
    EXPECT_TRUE(txn.DeleteRange("k3", {}).ok());
  });
  Put("k2", "again");
  const HashKvResult hash = Hash();
  EXPECT_EQ(hash.hash, 2345647509u);
  EXPECT_EQ(hash.compact_revision, -1);
  EXPECT_EQ(hash.hash_revision, 11);
  EXPECT_EQ(hash.revision, 11);
}

TEST_F(HashKvTest, VectorBWithCompaction) {
  leases_.Grant(0x1234);
  with_lease_ = "key000005";
  Fill(60000, "key%06d", "value-%d");
  EXPECT_EQ(Put("big", std::string(1000000, 'x')), 60002);
  InTxn([](WriteTxn& txn) {
    EXPECT_TRUE(txn.DeleteRange("key000001", {}).ok());
    EXPECT_TRUE(txn.Put("key000002", "zz").ok());
  });
  EXPECT_EQ(Hash().hash, 571075322u);
  EXPECT_EQ(Hash().compact_revision, -1);

  EXPECT_EQ(Delete("key03", kZeroByte), 60004);
  ASSERT_TRUE(Schedule(60004).ok());
  Put("x", "y");
  // The same before, between and after the physical removal.
  EXPECT_EQ(Hash().hash, 3466122151u);
  EXPECT_FALSE(Remove(3));
  EXPECT_EQ(Hash().hash, 3466122151u);
  ASSERT_TRUE(Remove());
  EXPECT_EQ(Hash().hash, 3466122151u);
  EXPECT_EQ(Hash().compact_revision, 60004);

  for (int i = 1; i <= 5; ++i) Put("p" + std::to_string(i), "q" + std::to_string(i));
  Delete("key000010");
  Put("key000020", "nv");
  Delete("key00010", "key00011");
  InTxn([](WriteTxn& txn) {
    EXPECT_TRUE(txn.Put("t1", "1").ok());
    EXPECT_TRUE(txn.DeleteRange("key000030", {}).ok());
    EXPECT_TRUE(txn.Put("key000031", "x").ok());
  });
  EXPECT_EQ(Hash().hash, 1854054681u);
  Open();
  EXPECT_EQ(Hash().hash, 1854054681u);
}

TEST_F(HashKvTest, VectorC) {
  Fill(3000, "key%05d", "val%d");
  Put("hello", "world");
  Put("key00007", "nv");
  Delete("key00100", "key00110");
  EXPECT_EQ(Put("z", "1"), 3005);
  EXPECT_EQ(Hash().hash, 3103420407u);
  EXPECT_EQ(Hash().compact_revision, -1);
}

TEST_F(HashKvTest, Maint028ChecksTheRevision) {
  for (int i = 0; i < 8; ++i) Put("k", std::to_string(i));
  ASSERT_TRUE(Schedule(5).ok());
  EXPECT_TRUE(base::IsApiError(store_->HashKv(4).status(), base::ErrorId::kCompacted));
  EXPECT_TRUE(store_->HashKv(5).ok());
  EXPECT_TRUE(base::IsApiError(store_->HashKv(10).status(), base::ErrorId::kFutureRev));
  const HashKvResult negative = Hash(-3);
  EXPECT_EQ(negative.hash, base::Crc32c(0, "key"));
  EXPECT_EQ(negative.compact_revision, 5);
}

TEST_F(HashKvTest, Maint029CompactionsLeaveTheirHash) {
  for (int i = 0; i < 40; ++i) Put("k" + std::to_string(i % 7), std::to_string(i));
  Delete("k3");
  const HashKvResult before = Hash(20);
  Compact(20);
  ASSERT_EQ(store_->compaction_hashes().size(), 1u);
  const HashKvResult stored = store_->compaction_hashes()[0];
  EXPECT_EQ(stored.hash, before.hash);
  EXPECT_EQ(stored.hash_revision, 20);
  EXPECT_EQ(stored.compact_revision, -1);
  // Asked for exactly this revision, the stored one with its own compact revision is the answer.
  EXPECT_EQ(Hash(20).hash, before.hash);
  EXPECT_EQ(Hash(20).compact_revision, -1);
  EXPECT_EQ(Hash(21).compact_revision, 20);

  const HashKvResult before_second = Hash(35);
  Compact(35);
  EXPECT_EQ(Hash(35).hash, before_second.hash);
  EXPECT_EQ(Hash(35).compact_revision, 20);
}

TEST_F(HashKvTest, Maint029KeepsTheTenNewest) {
  for (int i = 0; i < 30; ++i) Put("k", std::to_string(i));
  for (int rev = 5; rev < 17; ++rev) Compact(rev);
  const auto hashes = store_->compaction_hashes();
  ASSERT_EQ(hashes.size(), 10u);
  EXPECT_EQ(hashes.front().hash_revision, 7);
  EXPECT_EQ(hashes.back().hash_revision, 16);
}

TEST_F(HashKvTest, Maint029NoHashAfterAnInterruptedCompaction) {
  for (int i = 0; i < 30; ++i) Put("k", std::to_string(i));
  ASSERT_TRUE(Schedule(5).ok());
  ASSERT_TRUE(Schedule(10).ok());
  ASSERT_TRUE(Remove());
  EXPECT_TRUE(store_->compaction_hashes().empty());
  ASSERT_TRUE(Schedule(15).ok());
  Open();
  ASSERT_TRUE(Remove());
  EXPECT_TRUE(store_->compaction_hashes().empty());
  Compact(20);
  EXPECT_EQ(store_->compaction_hashes().size(), 1u);
}

TEST_F(HashKvTest, Maint027CountsEverythingWhenNoKeyIsKept) {
  Put("a", "1");
  Put("b", "1");
  Delete("a", "c");
  Put("c", "1");
  ASSERT_TRUE(Schedule(4).ok());
  const HashKvResult before = Hash(4);
  const std::string whole = [&] {
    std::string bytes = "key";
    EXPECT_TRUE(disk_->NewView()
                    ->Scan(Bucket::kKey, {}, EncodeRevision({4, 0}),
                           [&](std::string_view key, std::string_view value) {
                             bytes.append(key).append(value);
                             return true;
                           }).ok());
    return bytes;
  }();
  EXPECT_EQ(before.hash, base::Crc32c(0, whole));
}

TEST_F(HashKvTest, Maint025WholeBackendIgnoresTheLogPosition) {
  const auto hash = [&] { return *HashBackend(*disk_->NewView()); };
  Put("a", "1");
  const uint32_t before = hash();
  const auto write = [&](Bucket bucket, std::string_view key, std::string_view value) {
    const std::unique_ptr<Batch> batch = disk_->NewBatch();
    batch->Put(bucket, key, value);
    ASSERT_TRUE(disk_->Write(*batch).ok());
  };
  write(Bucket::kMeta, "consistent_index", "12345678");
  write(Bucket::kMeta, "term", "12345678");
  write(Bucket::kMeta, "storageVersion", "3.7.0");
  EXPECT_EQ(hash(), before);
  write(Bucket::kMeta, "confState", "{}");
  EXPECT_NE(hash(), before);
}

}  // namespace
}  // namespace etcdd::mvcc
