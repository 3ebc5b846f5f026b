// Readers on threads of their own while one thread writes and another compacts: every answer must
// be one that was true at its revision. Run under tsan as well.

#include <atomic>
#include <string>
#include <thread>
#include <vector>

#include "absl/strings/numbers.h"
#include "absl/synchronization/mutex.h"
#include "server/base/api_error.h"
#include "server/base/random.h"
#include "tests/mvcc/store_fixture.h"

namespace etcdd::mvcc {
namespace {

constexpr int kKeys = 300;
constexpr int kBatches = 400;

// Every transaction writes its own revision into all keys of one group and toggles one more key, so
// a reader can tell from any answer whether it is whole.
class StoreThreadsTest : public StoreFixture {
 protected:
  StoreThreadsTest() {
    options_.resident_bytes_max = 30000;
    options_.read_slice_keys_max = 16;
    options_.compaction_step_keys_max = 4;
    options_.compaction_step_revisions_max = 50;
    Open();
    store_->SetObserver(nullptr);
  }

  static std::string Key(int i) { return "key" + std::to_string(1000 + i); }

  void WriteAll() {
    const auto random = base::NewSeededRandom(1);
    for (int i = 0; i < kBatches; ++i) {
      const auto batch = disk_->NewBatch();
      store_->BeginBatch(batch.get());
      for (int n = 0; n < 3; ++n) {
        WriteTxn txn = store_->NewWriteTxn();
        const std::string value = std::to_string(store_->latest_revision() + 1) + ":" +
                                  std::string(100, 'v');
        for (int k = 0; k < kKeys; k += 10) EXPECT_TRUE(txn.Put(Key(k), value).ok());
        const std::string toggled = Key(static_cast<int>(random->Uniform(30)) * 10 + 1);
        if (txn.DeleteRange(toggled, {})->deleted == 0) {
          EXPECT_TRUE(txn.Put(toggled, value).ok());
        }
        txn.End();
      }
      if (i % 20 == 19) {
        EXPECT_TRUE(store_->ScheduleCompaction(store_->latest_revision() - 5).ok());
      }
      WriteLocked(*batch);
      store_->FinishBatch();
    }
    done_ = true;
  }

  // In the daemon all batches are written on the apply strand.
  void WriteLocked(Batch& batch) {
    absl::MutexLock lock(&write_mu_);
    EXPECT_TRUE(disk_->Write(batch).ok());
  }

  void CompactAll() {
    while (!done_) {
      const auto compaction = store_->NewCompaction();
      if (compaction == nullptr) {
        std::this_thread::yield();
        continue;
      }
      for (bool more = true; more;) {
        const auto batch = disk_->NewBatch();
        more = *compaction->Step(batch.get());
        WriteLocked(*batch);
      }
      compaction->Finish();
    }
  }

  void ReadAll(uint64_t seed) {
    const auto random = base::NewSeededRandom(seed);
    while (!done_) {
      RangeOptions options{.key = "key", .range_end = "kez"};
      if (random->Uniform(3) == 0) {
        options.revision = store_->revision() - static_cast<int64_t>(random->Uniform(8));
        if (options.revision < 2) options.revision = 0;
      }
      std::string kvs;
      const auto result = store_->Range(options, &kvs);
      if (!result.ok()) {
        EXPECT_TRUE(base::IsApiError(result.status(), base::ErrorId::kCompacted))
            << result.status();
        continue;
      }
      const std::vector<TestPair> pairs = DecodePairs(kvs);
      EXPECT_EQ(result->count, static_cast<int64_t>(pairs.size()));
      for (const TestPair& pair : pairs) {
        int64_t written = 0;
        EXPECT_TRUE(absl::SimpleAtoi(pair.value.substr(0, pair.value.find(':')), &written));
        EXPECT_EQ(written, pair.mod);
        // Keys of the group are all of the revision read.
        if (pair.key.back() == '0') {
          EXPECT_EQ(pair.mod, result->read_revision);
        }
      }
      if (random->Uniform(20) == 0) {
        const auto hash = store_->HashKv(0);
        EXPECT_TRUE(hash.ok() ||
                    base::IsApiError(hash.status(), base::ErrorId::kCompacted));
      }
      ++reads_;
    }
  }

  absl::Mutex write_mu_;
  std::atomic<bool> done_{false};
  std::atomic<int> reads_{0};
};

TEST_F(StoreThreadsTest, AnswersAreWholeWhileTheStoreChanges) {
  std::vector<std::thread> threads;
  threads.emplace_back([this] { CompactAll(); });
  for (uint64_t seed = 1; seed <= 3; ++seed) threads.emplace_back([this, seed] { ReadAll(seed); });
  WriteAll();
  for (std::thread& thread : threads) thread.join();
  EXPECT_GT(reads_, 0);
  ASSERT_TRUE(Remove());
  const Answer before = All();
  Open();
  EXPECT_EQ(All().pairs, before.pairs);
}

}  // namespace
}  // namespace etcdd::mvcc
