// Compaction: what goes and what stays, in pieces, through crashes (KV-070..075).

#include "mvcc/compaction.h"

#include <string>

#include "server/base/api_error.h"
#include "tests/mvcc/store_fixture.h"

namespace etcdd::mvcc {
namespace {

using base::ErrorId;
using base::IsApiError;

class CompactionTest : public StoreFixture {
 protected:
  // Revisions 2..41 over ten keys, every fifth a deletion.
  void Fill() {
    for (int i = 0; i < 40; ++i) {
      const std::string key = "k" + std::to_string(i * 3 % 10);
      if (i % 5 == 4 && Range({.key = key}).result.count == 1) {
        Delete(key);
      } else {
        Put(key, std::to_string(i));
      }
    }
    ASSERT_EQ(store_->revision(), 41);
  }
};

TEST_F(CompactionTest, Kv070Bounds) {
  for (int i = 0; i < 4; ++i) Put("a", "1");
  EXPECT_TRUE(IsApiError(Schedule(-1), ErrorId::kCompacted));
  EXPECT_TRUE(IsApiError(Schedule(6), ErrorId::kFutureRev));
  EXPECT_TRUE(Schedule(3).ok());
  EXPECT_TRUE(IsApiError(Schedule(3), ErrorId::kCompacted));
  EXPECT_TRUE(IsApiError(Schedule(0), ErrorId::kCompacted));
  EXPECT_TRUE(Schedule(5).ok());
}

TEST_F(CompactionTest, Kv070ZeroWorksOnce) {
  Put("a", "1");
  Put("a", "2");
  EXPECT_TRUE(Schedule(0).ok());
  EXPECT_EQ(store_->compact_revision(), 0);
  EXPECT_TRUE(IsApiError(Schedule(0), ErrorId::kCompacted));
  EXPECT_EQ(All(2).pairs[0].value, "1");
  ASSERT_TRUE(Remove());
  EXPECT_EQ(store_->finished_compact_revision(), 0);
  EXPECT_EQ(StoredRecords(), 2u);
}

TEST_F(CompactionTest, Kv071ReadsAtAndAboveStayTheSame) {
  Fill();
  std::vector<Answer> before(42);
  for (int64_t rev = 20; rev <= 41; ++rev) before[static_cast<size_t>(rev)] = All(rev);
  Compact(20);
  for (int64_t rev = 20; rev <= 41; ++rev) {
    EXPECT_EQ(All(rev).pairs, before[static_cast<size_t>(rev)].pairs) << rev;
    EXPECT_EQ(All(rev).result.count, before[static_cast<size_t>(rev)].result.count) << rev;
  }
  EXPECT_TRUE(IsApiError(All(19).status, ErrorId::kCompacted));
}

TEST_F(CompactionTest, Kv071ADeletionAtTheRevisionStaysUntilTheNext) {
  Put("a", "1");
  Delete("a");  // 3
  Put("b", "1");
  Compact(3);
  EXPECT_EQ(StoredRecords(), 2u);
  EXPECT_EQ(store_->stats().index_keys, 2u);
  Compact(4);
  EXPECT_EQ(StoredRecords(), 1u);
  EXPECT_EQ(store_->stats().index_keys, 1u);
}

TEST_F(CompactionTest, Kv072TheRevisionIsInTheSameBatchAndCountsAtOnce) {
  Fill();
  ASSERT_TRUE(Schedule(30).ok());
  EXPECT_EQ(*disk_->Get(Bucket::kMeta, "scheduledCompactRev"), EncodeRevision({30, 0}));
  EXPECT_TRUE(absl::IsNotFound(disk_->Get(Bucket::kMeta, "finishedCompactRev").status()));
  EXPECT_EQ(StoredRecords(), 40u);
  EXPECT_TRUE(IsApiError(All(29).status, ErrorId::kCompacted));
  ASSERT_TRUE(Remove());
  EXPECT_EQ(*disk_->Get(Bucket::kMeta, "finishedCompactRev"), EncodeRevision({30, 0}));
}

TEST_F(CompactionTest, Kv073FinishedTellsWhenRecordsAreGone) {
  Fill();
  ASSERT_TRUE(Schedule(30).ok());
  EXPECT_EQ(store_->finished_compact_revision(), -1);
  ASSERT_TRUE(Remove());
  EXPECT_EQ(store_->finished_compact_revision(), 30);
  EXPECT_EQ(store_->NewCompaction(), nullptr);
}

TEST_F(CompactionTest, Kv074ResumesAfterACrashAnywhere) {
  for (int flushed_steps = 0; flushed_steps < 14; ++flushed_steps) {
    SCOPED_TRACE(flushed_steps);
    store_.reset();
    disk_ = std::make_shared<MemBackend>();
    options_.compaction_step_revisions_max = 3;
    options_.compaction_step_scan_max = 7;
    Open();
    Fill();
    const Answer before = All(30);
    ASSERT_TRUE(Schedule(30).ok());
    ASSERT_TRUE(disk_->Flush().ok());
    const bool finished = Remove(flushed_steps);
    if (flushed_steps % 2 == 0) {
      ASSERT_TRUE(disk_->Flush().ok());
    }
    store_.reset();
    disk_->Crash();
    Open();
    EXPECT_EQ(store_->revision(), 41);
    EXPECT_EQ(store_->compact_revision(), 30);
    EXPECT_EQ(store_->NewCompaction() == nullptr, finished && flushed_steps % 2 == 0);
    EXPECT_EQ(All(30).pairs, before.pairs);
    ASSERT_TRUE(Remove());
    EXPECT_EQ(All(30).pairs, before.pairs);
    // No more than what a store compacted in one go holds.
    size_t needed = 11;  // revisions 31..41
    for (const TestPair& pair : before.pairs) needed += pair.mod <= 30 ? 1 : 0;
    const auto last = *disk_->NewView()->Get(Bucket::kKey, EncodeRevision({31, 0}));
    EXPECT_FALSE(last.empty());
    EXPECT_EQ(StoredRecords(), needed);
  }
}

TEST_F(CompactionTest, Kv074RevisionNeverGoesBack) {
  Put("a", "1");
  Put("a", "2");
  Delete("a");  // 4
  Compact(4);
  ASSERT_TRUE(Schedule(4).code() == absl::StatusCode::kOutOfRange);
  Put("b", "1");
  Delete("b");  // 6
  Compact(6);
  Open();
  EXPECT_EQ(store_->revision(), 6);
  EXPECT_EQ(Put("c", "1"), 7);
}

TEST_F(CompactionTest, DroppedHalfwayTheNextOneTakesOver) {
  options_.compaction_step_revisions_max = 2;
  Open();
  Fill();
  ASSERT_TRUE(Schedule(20).ok());
  EXPECT_FALSE(Remove(3));
  ASSERT_TRUE(Schedule(35).ok());
  ASSERT_TRUE(Remove());
  EXPECT_EQ(store_->finished_compact_revision(), 35);
  const size_t stored = StoredRecords();
  // A fresh index over the same records knows nothing that could go.
  Open();
  Compact(36);
  EXPECT_LE(stored - StoredRecords(), 2u);
}

TEST_F(CompactionTest, StepsAreBounded) {
  options_.compaction_step_revisions_max = 5;
  Open();
  for (int i = 0; i < 203; ++i) Put("k", std::to_string(i));
  ASSERT_TRUE(Schedule(204).ok());
  const std::unique_ptr<Compaction> compaction = store_->NewCompaction();
  ASSERT_NE(compaction, nullptr);
  EXPECT_EQ(compaction->revision(), 204);
  uint64_t steps = 0;
  for (bool more = true; more; ++steps) {
    const std::unique_ptr<Batch> batch = disk_->NewBatch();
    const auto step = compaction->Step(batch.get());
    ASSERT_TRUE(step.ok());
    more = *step;
    EXPECT_LE(batch->count(), more ? 5u : 6u);
    ASSERT_TRUE(disk_->Write(*batch).ok());
  }
  compaction->Finish();
  EXPECT_EQ(compaction->removed(), 202u);
  EXPECT_GE(steps, 41u);
  EXPECT_EQ(StoredRecords(), 1u);
}

TEST_F(CompactionTest, IndexMemoryComesBack) {
  for (int i = 0; i < 500; ++i) Put("k" + std::to_string(i), "v");
  const StoreStats before = store_->stats();
  for (int round = 0; round < 4; ++round) {
    for (int i = 0; i < 500; ++i) Put("k" + std::to_string(i), "v");
  }
  EXPECT_GT(store_->stats().index_bytes, before.index_bytes + 500 * 24);
  Compact(store_->revision());
  EXPECT_EQ(store_->stats().index_bytes, before.index_bytes);
  Delete("k", "l");
  Put("z", "1");
  Compact(store_->revision());
  EXPECT_EQ(store_->stats().index_keys, 1u);
  EXPECT_LT(store_->stats().index_bytes, 2000u);
}

}  // namespace
}  // namespace etcdd::mvcc
