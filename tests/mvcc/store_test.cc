// The store's rules one by one (behaviour.md section 2); all together: store_property_test.cc.

#include "mvcc/store.h"

#include <string>

#include "server/base/api_error.h"
#include "tests/mvcc/store_fixture.h"

namespace etcdd::mvcc {
namespace {

using base::ErrorId;
using base::IsApiError;

class StoreTest : public StoreFixture {};

TEST_F(StoreTest, Kv001AFreshStoreHasRevisionOne) {
  EXPECT_EQ(store_->revision(), 1);
  EXPECT_EQ(store_->compact_revision(), -1);
  EXPECT_EQ(Put("a", "1"), 2);
  EXPECT_EQ(store_->revision(), 2);
}

TEST_F(StoreTest, Kv002AllChangesOfATransactionShareARevision) {
  const int64_t revision = InTxn([](WriteTxn& txn) {
    EXPECT_TRUE(txn.Put("b", "1").ok());
    EXPECT_TRUE(txn.Put("a", "2").ok());
    EXPECT_TRUE(txn.DeleteRange("b", {}).ok());
  });
  EXPECT_EQ(revision, 2);
  ASSERT_EQ(events_.all.size(), 1u);
  EXPECT_EQ(events_.all[0].events.size(), 3u);
  std::vector<DecodedRevision> stored;
  ASSERT_TRUE(disk_->NewView()
                  ->Scan(Bucket::kKey, {}, {}, [&](std::string_view key, std::string_view) {
                    stored.push_back(*DecodeRevision(key));
                    return true;
                  }).ok());
  ASSERT_EQ(stored.size(), 3u);
  EXPECT_EQ(stored[1].revision, (Revision{2, 1}));
  EXPECT_EQ(stored[2].revision, (Revision{2, 2}));
  EXPECT_TRUE(stored[2].tombstone);
}

TEST_F(StoreTest, Kv003NoChangeNoRevision) {
  Put("a", "1");
  EXPECT_EQ(Delete("b"), 2);
  EXPECT_EQ(Delete("b", "c"), 2);
  EXPECT_EQ(store_->revision(), 2);
  EXPECT_EQ(events_.all.size(), 1u);
}

TEST_F(StoreTest, Kv004CreateModAndVersion) {
  Put("k", "1");
  Put("k", "1");  // KV-005
  EXPECT_EQ(All().pairs[0], (TestPair{"k", "1", 2, 3, 2, 0}));
  Delete("k");
  EXPECT_TRUE(All().pairs.empty());
  Put("k", "2");
  EXPECT_EQ(All().pairs[0], (TestPair{"k", "2", 5, 5, 1, 0}));
}

TEST_F(StoreTest, Kv009SubRevisionSeenInsideATransaction) {
  Put("a", "1");
  InTxn([](WriteTxn& txn) {
    EXPECT_EQ(txn.revision(), 2);
    EXPECT_EQ(txn.DeleteRange("none", {})->deleted, 0);
    EXPECT_EQ(txn.revision(), 2);
    EXPECT_TRUE(txn.Put("a", "2").ok());
    EXPECT_EQ(txn.revision(), 3);
    std::string kvs;
    EXPECT_EQ(txn.Range({.key = "a"}, &kvs)->revision, 3);
  });
}

TEST_F(StoreTest, Kv011Kv012Kv013Ranges) {
  for (const char* key : {"b", "a", "ab", "c", "\xff"}) Put(key, "v");
  EXPECT_EQ(All().keys(), "a ab b c \xff");
  EXPECT_EQ(Range({.key = "a"}).keys(), "a");
  EXPECT_EQ(Range({.key = "ab", .range_end = kZeroByte}).keys(), "ab b c \xff");
  EXPECT_EQ(Range({.key = "a", .range_end = "b"}).keys(), "a ab");
  EXPECT_EQ(Range({.key = "b", .range_end = "b"}).result.count, 0);
  EXPECT_EQ(Range({.key = "c", .range_end = "a"}).result.count, 0);
  EXPECT_EQ(Delete("c", "a"), store_->revision());
}

TEST_F(StoreTest, Kv016Kv017Revisions) {
  for (int i = 0; i < 6; ++i) Put("k", std::to_string(i));  // 2..7
  EXPECT_EQ(Range({.key = "k", .revision = -5}).pairs[0].value, "5");
  EXPECT_EQ(Range({.key = "k", .revision = 3}).pairs[0].value, "1");
  EXPECT_EQ(Range({.key = "k", .revision = 3}).result.revision, 7);
  EXPECT_EQ(Range({.key = "k", .revision = 1}).result.count, 0);
  EXPECT_TRUE(IsApiError(Range({.key = "k", .revision = 8}).status, ErrorId::kFutureRev));
  Compact(4);
  EXPECT_TRUE(IsApiError(Range({.key = "k", .revision = 3}).status, ErrorId::kCompacted));
  EXPECT_EQ(Range({.key = "k", .revision = 4}).pairs[0].value, "2");
}

TEST_F(StoreTest, Kv018Kv019CountLimitAndMore) {
  for (int i = 0; i < 5; ++i) Put("k" + std::to_string(i), "v");
  const auto with_limit = [&](int64_t limit) {
    return Range({.key = "k", .range_end = "l", .limit = limit});
  };
  EXPECT_EQ(with_limit(2).keys(), "k0 k1");
  EXPECT_TRUE(with_limit(2).result.more);
  EXPECT_EQ(with_limit(2).result.count, 5);
  EXPECT_EQ(with_limit(2).result.resume_key, "k2");
  EXPECT_FALSE(with_limit(5).result.more);
  EXPECT_EQ(with_limit(-1).pairs.size(), 5u);
  const Answer filtered = Range({.key = "k", .range_end = "l", .limit = 2, .min_mod_revision = 4});
  EXPECT_EQ(filtered.keys(), "k2 k3");
  EXPECT_TRUE(filtered.result.more);
  EXPECT_EQ(filtered.result.count, 5);
}

TEST_F(StoreTest, Kv020CountOnlyIgnoresTheRest) {
  for (int i = 0; i < 5; ++i) Put("k" + std::to_string(i), "v");
  const Answer answer = Range({.key = "k", .range_end = "l", .limit = 2, .count_only = true,
                               .keys_only = true, .min_mod_revision = 100});
  EXPECT_EQ(answer.result.count, 5);
  EXPECT_TRUE(answer.pairs.empty());
  EXPECT_FALSE(answer.result.more);
}

TEST_F(StoreTest, Kv021Kv022KeysOnly) {
  leases_.Grant(7);
  Put("a", "z", {.lease = 7});
  Put("b", "y");
  EXPECT_EQ(Range({.key = "a", .keys_only = true}).pairs[0], (TestPair{"a", "", 2, 2, 1, 0}));
  const Answer sorted =
      Range({.key = "a", .range_end = "c", .keys_only = true, .sort_order = SortOrder::kAscend,
             .sort_target = SortTarget::kValue});
  EXPECT_EQ(sorted.keys(), "b a");
  EXPECT_EQ(sorted.pairs[1], (TestPair{"a", "", 2, 2, 1, 7}));
}

TEST_F(StoreTest, Kv023NegativeMaximumLetsNothingPass) {
  Put("a", "1");
  const Answer answer = Range({.key = "a", .max_mod_revision = -1});
  EXPECT_TRUE(answer.pairs.empty());
  EXPECT_EQ(answer.result.count, 1);
}

TEST_F(StoreTest, Kv024Kv025Sorting) {
  Put("a", "3");
  Put("b", "1");
  Put("c", "2");
  Put("a", "3");
  const auto sorted = [&](SortOrder order, SortTarget target, int64_t limit) {
    return Range({.key = "a", .range_end = "z", .limit = limit, .sort_order = order,
                  .sort_target = target}).keys();
  };
  EXPECT_EQ(sorted(SortOrder::kDescend, SortTarget::kKey, 0), "c b a");
  EXPECT_EQ(sorted(SortOrder::kDescend, SortTarget::kKey, 1), "c");
  EXPECT_EQ(sorted(SortOrder::kAscend, SortTarget::kMod, 2), "b c");
  EXPECT_EQ(sorted(SortOrder::kDescend, SortTarget::kVersion, 0), "a b c");  // ties in key order
  EXPECT_EQ(sorted(SortOrder::kAscend, SortTarget::kValue, 1), "b");
  // Without an order only the first limit + 1 keys are looked at.
  EXPECT_EQ(sorted(SortOrder::kNone, SortTarget::kValue, 0), "b c a");
  EXPECT_EQ(sorted(SortOrder::kNone, SortTarget::kMod, 1), "b");
  EXPECT_EQ(sorted(SortOrder::kNone, SortTarget::kCreate, 1), "a");
}

TEST_F(StoreTest, Kv031Kv032PutErrorsUseNoRevision) {
  InTxn([](WriteTxn& txn) {
    EXPECT_TRUE(IsApiError(txn.Put("a", "", {.ignore_value = true}).status(),
                           ErrorId::kKeyNotFound));
    EXPECT_TRUE(IsApiError(txn.Put("a", "", {.ignore_lease = true}).status(),
                           ErrorId::kKeyNotFound));
    // The lease comes first.
    EXPECT_TRUE(IsApiError(txn.Put("a", "", {.lease = 9, .ignore_value = true}).status(),
                           ErrorId::kLeaseNotFound));
    EXPECT_FALSE(txn.changed());
  });
  EXPECT_EQ(store_->revision(), 1);
}

TEST_F(StoreTest, Kv031IgnoreFlagsKeepWhatIsThere) {
  leases_.Grant(7);
  leases_.Grant(8);
  Put("a", "1", {.lease = 7});
  Put("a", "2", {.ignore_lease = true});
  EXPECT_EQ(All().pairs[0], (TestPair{"a", "2", 2, 3, 2, 7}));
  Put("a", "", {.lease = 8, .ignore_value = true});
  EXPECT_EQ(All().pairs[0], (TestPair{"a", "2", 2, 4, 3, 8}));
}

TEST_F(StoreTest, Kv049IgnoreFlagOfAKeyJustDeletedIsAnError) {
  Put("a", "1");
  InTxn([](WriteTxn& txn) {
    EXPECT_TRUE(txn.DeleteRange("a", kZeroByte).ok());
    EXPECT_TRUE(IsApiError(txn.Put("a", "", {.ignore_value = true}).status(),
                           ErrorId::kKeyNotFound));
  });
}

TEST_F(StoreTest, Kv033Kv036Leases) {
  leases_.Grant(7);
  leases_.Grant(8);
  Put("a", "1", {.lease = 7});
  Put("b", "1", {.lease = 7});
  EXPECT_EQ(leases_.keys().at(7), (std::set<std::string>{"a", "b"}));
  Put("a", "2", {.lease = 8});
  EXPECT_EQ(leases_.keys().at(7), (std::set<std::string>{"b"}));
  EXPECT_EQ(leases_.keys().at(8), (std::set<std::string>{"a"}));
  Put("a", "3");
  EXPECT_TRUE(leases_.keys().at(8).empty());
  Delete("b");
  EXPECT_TRUE(leases_.keys().at(7).empty());
}

TEST_F(StoreTest, Kv034Kv035PreviousPairs) {
  InTxn([](WriteTxn& txn) {
    EXPECT_TRUE(txn.Put("a", "1", {.want_prev = true})->prev_kv.empty());
  });
  InTxn([](WriteTxn& txn) {
    EXPECT_EQ(DecodePair(txn.Put("a", "2", {.want_prev = true})->prev_kv.view()).value, "1");
    EXPECT_TRUE(txn.Put("b", "3").ok());
    std::string prev;
    EXPECT_EQ(txn.DeleteRange("a", "z", &prev)->deleted, 2);
    const auto pairs = DecodePairs(prev, 3);
    ASSERT_EQ(pairs.size(), 2u);
    EXPECT_EQ(pairs[0], (TestPair{"a", "2", 2, 3, 2, 0}));
    EXPECT_EQ(pairs[1], (TestPair{"b", "3", 3, 3, 1, 0}));
    EXPECT_EQ(txn.DeleteRange("a", "z")->deleted, 0);
  });
}

TEST_F(StoreTest, Kv045Kv052ReadsInsideATransaction) {
  Put("a", "1");
  InTxn([](WriteTxn& txn) {
    EXPECT_TRUE(txn.Put("a", "2").ok());
    std::string kvs;
    EXPECT_TRUE(txn.Range({.key = "a"}, &kvs).ok());
    EXPECT_EQ(DecodePairs(kvs)[0].value, "2");
    kvs.clear();
    const auto old = txn.Range({.key = "a", .revision = 2}, &kvs);
    EXPECT_EQ(DecodePairs(kvs)[0].value, "1");
    EXPECT_EQ(old->revision, 3);
    // The transaction's own revision is in the future.
    EXPECT_TRUE(IsApiError(txn.Range({.key = "a", .revision = 3}, &kvs).status(),
                           ErrorId::kFutureRev));
  });
}

TEST_F(StoreTest, Kv052OldRevisionsOfTheSameBatchCanBeRead) {
  InBatch([&] {
    for (int i = 2; i < 6; ++i) {
      WriteTxn txn = store_->NewWriteTxn();
      EXPECT_TRUE(txn.Put("a", std::to_string(i)).ok());
      for (int old = 2; old < i; ++old) {
        std::string kvs;
        EXPECT_TRUE(txn.Range({.key = "a", .revision = old}, &kvs).ok());
        EXPECT_EQ(DecodePairs(kvs)[0].value, std::to_string(old));
      }
      txn.End();
    }
  });
}

TEST_F(StoreTest, Kv053NegativeRevisionsOfATransaction) {
  Put("a", "1");
  EXPECT_TRUE(store_->NewReadTxn().CheckRangeRevision(0).ok());
  EXPECT_TRUE(store_->NewReadTxn().CheckRangeRevision(-1).ok());
  EXPECT_TRUE(IsApiError(store_->NewReadTxn().CheckRangeRevision(-2), ErrorId::kCompacted));
  EXPECT_TRUE(IsApiError(store_->NewReadTxn().CheckRangeRevision(3), ErrorId::kFutureRev));
  Compact(2);
  EXPECT_TRUE(IsApiError(store_->NewReadTxn().CheckRangeRevision(-1), ErrorId::kCompacted));
  EXPECT_TRUE(store_->NewReadTxn().CheckRangeRevision(2).ok());
}

TEST_F(StoreTest, Kv042LookupOfAnAbsentKeyIsZero) {
  Put("a", "1");
  Delete("a");
  const auto lookup = store_->NewReadTxn().Lookup("a", true);
  ASSERT_TRUE(lookup.ok());
  EXPECT_FALSE(lookup->state.exists);
  EXPECT_EQ(lookup->state.version, 0);
  EXPECT_EQ(lookup->state.mod_revision, 0);
}

TEST_F(StoreTest, Kv043CompareOverARange) {
  Put("a", "1");
  Put("b", "2");
  std::string seen;
  const auto visit = [&](const KeyState& state) {
    seen += std::string(state.key) + std::string(state.value);
    return state.key != "a";
  };
  ASSERT_TRUE(store_->NewReadTxn().ForEach("a", kZeroByte, true, visit).ok());
  EXPECT_EQ(seen, "a1");  // it said stop
}

TEST_F(StoreTest, ReadTransactionsStayAtTheirRevision) {
  Put("a", "1");
  const ReadTxn txn = store_->NewReadTxn();
  Put("a", "2");
  Delete("a");
  EXPECT_EQ(txn.revision(), 2);
  std::string kvs;
  ASSERT_TRUE(txn.Range({.key = "a"}, &kvs).ok());
  EXPECT_EQ(DecodePairs(kvs)[0].value, "1");
  EXPECT_EQ(txn.Lookup("a", true)->state.value, "1");
  Compact(4);
  EXPECT_TRUE(IsApiError(txn.Lookup("a", true).status(), ErrorId::kCompacted));
}

TEST_F(StoreTest, ReadersSeeABatchOnlyWhenItIsFinished) {
  Put("a", "1");
  InBatch([&] {
    WriteTxn txn = store_->NewWriteTxn();
    EXPECT_TRUE(txn.Put("a", "2").ok());
    EXPECT_TRUE(txn.Put("b", "2").ok());
    txn.End();
    EXPECT_EQ(store_->latest_revision(), 3);
    EXPECT_EQ(store_->revision(), 2);
    EXPECT_EQ(All().keys(), "a");
    EXPECT_EQ(All().pairs[0].value, "1");
    EXPECT_EQ(All().result.count, 1);
    EXPECT_TRUE(store_->ScheduleCompaction(3).ok());
    EXPECT_EQ(store_->compact_revision(), -1);
    EXPECT_EQ(store_->NewCompaction(), nullptr);
    EXPECT_EQ(events_.all.size(), 1u);
  });
  EXPECT_EQ(All().keys(), "a b");
  EXPECT_EQ(store_->compact_revision(), 3);
  EXPECT_EQ(events_.all.size(), 2u);
}

TEST_F(StoreTest, Watch025EventsShareTheRecords) {
  Put("a", "1");
  Put("a", "2");
  Delete("a");
  ASSERT_EQ(events_.all.size(), 3u);
  const Event& create = events_.all[0].events[0];
  EXPECT_TRUE(create.prev_kv.empty());
  EXPECT_EQ(create.prev_revision.main, 0);
  const Event& update = events_.all[1].events[0];
  EXPECT_EQ(update.prev_kv.view().data(), create.kv.view().data());
  EXPECT_EQ(update.prev_revision, (Revision{2, 0}));
  const Event& gone = events_.all[2].events[0];
  EXPECT_TRUE(gone.is_delete);
  EXPECT_EQ(gone.key, "a");
  EXPECT_EQ(gone.kv.view(), EncodeRecord({.key = "a", .mod_revision = 4}).view());
  EXPECT_EQ(gone.prev_kv.view().data(), update.kv.view().data());
}

TEST_F(StoreTest, Watch029PutAndDeletedInOneRevision) {
  Put("a", "1");
  InTxn([](WriteTxn& txn) {
    EXPECT_TRUE(txn.Put("a", "2").ok());
    EXPECT_TRUE(txn.DeleteRange("a", kZeroByte).ok());
  });
  const std::vector<Event>& events = events_.all[1].events;
  ASSERT_EQ(events.size(), 2u);
  EXPECT_FALSE(events[0].is_delete);
  EXPECT_EQ(DecodePair(events[0].prev_kv.view()).value, "1");
  EXPECT_EQ(DecodePair(events[1].prev_kv.view()).value, "1");
  EXPECT_EQ(events[1].prev_revision, (Revision{2, 0}));
}

TEST_F(StoreTest, GetAtGivesThePairOfARevision) {
  Put("a", "1");
  Put("a", "2");
  Delete("a");
  EXPECT_TRUE(store_->GetAt("a", 4)->empty());
  EXPECT_EQ(DecodePair(store_->GetAt("a", 2)->view()).value, "1");
  EXPECT_TRUE(store_->GetAt("a", 1)->empty());
  EXPECT_TRUE(IsApiError(store_->GetAt("a", 5).status(), ErrorId::kFutureRev));
}

// ---- Values out of memory ----

class EvictionTest : public StoreFixture {
 protected:
  EvictionTest() {
    options_.resident_bytes_max = 20000;
    Open();
  }
  void Fill() {
    for (int i = 0; i < 300; ++i) Put("k" + std::to_string(i), std::string(200, 'v'));
  }
};

TEST_F(EvictionTest, StaysWithinTheLimitAndAnswersTheSame) {
  Fill();
  EXPECT_LE(store_->stats().resident_bytes, 20000u + 300u);
  EXPECT_GT(store_->stats().evicted_values, 150u);
  const Answer all = All();
  ASSERT_EQ(all.pairs.size(), 300u);
  for (const TestPair& pair : all.pairs) EXPECT_EQ(pair.value, std::string(200, 'v'));
  store_->CheckInvariants();
  Open();
  EXPECT_LE(store_->stats().resident_bytes, 20000u + 300u);
  EXPECT_EQ(All().pairs.size(), 300u);
}

TEST_F(EvictionTest, WhatIsReadOftenComesBackAndStays) {
  Fill();
  const auto read = [&] { EXPECT_EQ(Range({.key = "k0"}).pairs[0].value.size(), 200u); };
  read();
  const uint64_t evicted = store_->stats().evicted_values;
  for (int i = 0; i < 400; ++i) {
    read();
    Put("n" + std::to_string(i), std::string(200, 'v'));
  }
  EXPECT_GT(store_->stats().evicted_values, evicted);
  // Without its record in the backend it can only come from memory.
  const std::unique_ptr<Batch> batch = disk_->NewBatch();
  batch->Delete(Bucket::kKey, EncodeRevision({2, 0}));
  ASSERT_TRUE(disk_->Write(*batch).ok());
  read();
}

TEST_F(EvictionTest, ChangesOfEvictedPairsStillKnowThem) {
  leases_.Grant(7);
  Put("a", std::string(200, 'x'), {.lease = 7});
  Fill();
  ASSERT_GT(store_->stats().evicted_values, 200u);
  InTxn([](WriteTxn& txn) {
    EXPECT_EQ(DecodePair(txn.Put("k1", "n", {.want_prev = true})->prev_kv.view()).value.size(),
              200u);
    EXPECT_TRUE(txn.Put("a", "", {.ignore_value = true, .ignore_lease = true}).ok());
    std::string prev;
    EXPECT_TRUE(txn.DeleteRange("k2", {}, &prev).ok());
    EXPECT_EQ(DecodePairs(prev, 3)[0].value.size(), 200u);
  });
  EXPECT_EQ(Range({.key = "a"}).pairs[0], (TestPair{"a", std::string(200, 'x'), 2, 303, 2, 7}));
  Delete("a");
  EXPECT_TRUE(leases_.keys().at(7).empty());
}

// ---- Restart (backend-schema.md section 2) ----

TEST_F(StoreTest, RestartKeepsEverything) {
  leases_.Grant(7);
  Put("a", "1", {.lease = 7});
  Put("b", "1");
  Delete("a");
  Put("c", "1", {.lease = 7});
  const Answer before = All();
  const Answer old = All(3);
  Open();
  EXPECT_EQ(store_->revision(), 5);
  EXPECT_EQ(All().pairs, before.pairs);
  EXPECT_EQ(All(3).pairs, old.pairs);
  EXPECT_EQ(leases_.keys().at(7), (std::set<std::string>{"c"}));
  Put("a", "2");
  EXPECT_EQ(Range({.key = "a"}).pairs[0].create, 6);
}

TEST_F(StoreTest, RestartWithALostLeaseOnlySaysSo) {
  leases_.Grant(7);
  Put("a", "1", {.lease = 7});
  leases_.Revoke(7);
  Open();
  EXPECT_EQ(Range({.key = "a"}).pairs[0].lease, 7);
}

TEST_F(StoreTest, OldestSurvivingRecordMayBeADeletion) {
  const std::unique_ptr<Batch> batch = disk_->NewBatch();
  batch->Put(Bucket::kKey, EncodeRevision({9, 2}, true), EncodeRecord({.key = "k"}).view());
  ASSERT_TRUE(disk_->Write(*batch).ok());
  Open();
  EXPECT_EQ(store_->revision(), 9);
  EXPECT_EQ(All().result.count, 0);
  Put("k", "v");
  EXPECT_EQ(All().pairs[0], (TestPair{"k", "v", 10, 10, 1, 0}));
}

TEST_F(StoreTest, OldestSurvivingPutKeepsItsNumbers) {
  const std::unique_ptr<Batch> batch = disk_->NewBatch();
  batch->Put(Bucket::kKey, EncodeRevision({9, 0}),
             EncodeRecord({.key = "k", .create_revision = 3, .mod_revision = 9, .version = 4,
                           .value = "v"}).view());
  ASSERT_TRUE(disk_->Write(*batch).ok());
  Open();
  Put("k", "w");
  EXPECT_EQ(All().pairs[0], (TestPair{"k", "w", 3, 10, 5, 0}));
}

TEST_F(StoreTest, RevisionIsRaisedToTheCompactRevisions) {
  const std::unique_ptr<Batch> batch = disk_->NewBatch();
  batch->Put(Bucket::kMeta, "finishedCompactRev", EncodeRevision({50, 0}));
  batch->Put(Bucket::kMeta, "scheduledCompactRev", EncodeRevision({60, 0}));
  ASSERT_TRUE(disk_->Write(*batch).ok());
  Open();
  EXPECT_EQ(store_->revision(), 60);
  EXPECT_EQ(store_->compact_revision(), 60);
  EXPECT_EQ(store_->finished_compact_revision(), 50);
  ASSERT_TRUE(Remove());
  EXPECT_EQ(store_->finished_compact_revision(), 60);
}

TEST_F(StoreTest, AcceptsTheRecordOfARaisedRevision) {
  Put("a", "1");
  const std::unique_ptr<Batch> batch = disk_->NewBatch();
  batch->Put(Bucket::kKey, EncodeRevision({1000000002, 0}), {});
  batch->Put(Bucket::kMeta, "scheduledCompactRev", EncodeRevision({1000000002, 0}));
  ASSERT_TRUE(disk_->Write(*batch).ok());
  Open();
  EXPECT_EQ(store_->revision(), 1000000002);
  EXPECT_EQ(store_->compact_revision(), 1000000002);
  EXPECT_EQ(All().keys(), "a");
  ASSERT_TRUE(Remove());
  EXPECT_EQ(StoredRecords(), 1u);
  Open();
  EXPECT_EQ(store_->revision(), 1000000002);
  EXPECT_EQ(Put("b", "1"), 1000000003);
}

TEST_F(StoreTest, RefusesWhatIsNoRecord) {
  const auto refused = [&](std::string_view key, std::string_view value) {
    auto disk = std::make_shared<MemBackend>();
    const std::unique_ptr<Batch> batch = disk->NewBatch();
    batch->Put(Bucket::kKey, key, value);
    EXPECT_TRUE(disk->Write(*batch).ok());
    return absl::IsDataLoss(Store::Open(disk, nullptr).status());
  };
  const std::string good(EncodeRecord({.key = "k", .create_revision = 5, .mod_revision = 5,
                                       .version = 1}).view());
  EXPECT_FALSE(refused(EncodeRevision({5, 0}), good));
  EXPECT_TRUE(refused(EncodeRevision({6, 0}), good));  // of another revision
  EXPECT_TRUE(refused("short", good));
  EXPECT_TRUE(refused(EncodeRevision({5, 0}), "\x0a\x05k"));
  EXPECT_TRUE(refused(EncodeRevision({5, 0}, true), std::string("\x18\x05", 2)));
}

TEST_F(StoreTest, RestoreReplacesTheContent) {
  Put("a", "1");
  auto other = std::make_shared<MemBackend>();
  {
    auto store = *Store::Open(other, nullptr);
    for (int i = 0; i < 5; ++i) {
      const std::unique_ptr<Batch> batch = other->NewBatch();
      store->BeginBatch(batch.get());
      WriteTxn txn = store->NewWriteTxn();
      EXPECT_TRUE(txn.Put("b", std::to_string(i)).ok());
      txn.End();
      ASSERT_TRUE(other->Write(*batch).ok());
      store->FinishBatch();
    }
  }
  auto content = store_->ReadContent(other);
  ASSERT_TRUE(content.ok()) << content.status();
  store_->Restore(*content);
  disk_ = other;
  EXPECT_EQ(store_->revision(), 6);
  EXPECT_EQ(All().keys(), "b");
  EXPECT_EQ(Put("c", "1"), 7);
}

}  // namespace
}  // namespace etcdd::mvcc
