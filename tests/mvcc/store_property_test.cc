// The store against StoreModel under random operations: transactions, reads at all revisions with
// all options (also in the middle of a batch), compactions in pieces, leases, restarts. A failure
// names its seed; ETCDD_MVCC_SEED=<n> runs that one.

#include <cstdlib>
#include <memory>
#include <string>
#include <vector>

#include "mvcc/backend/rocks_backend.h"
#include "server/base/api_error.h"
#include "server/base/random.h"
#include "tests/mvcc/store_fixture.h"
#include "tests/mvcc/store_model.h"
#include "tests/support/temp_dir.h"

namespace etcdd::mvcc {
namespace {

using base::ErrorId;
using base::IsApiError;

class ModelRun {
 public:
  ModelRun(uint64_t seed, std::shared_ptr<Backend> backend)
      : random_(base::NewSeededRandom(seed)), backend_(std::move(backend)) {
    // Half of the runs have next to no room for values, all have tiny slices and steps.
    options_.resident_bytes_max = Chance(50) ? 600 : 1 << 20;
    options_.read_slice_keys_max = static_cast<uint32_t>(1 + Pick(7));
    options_.read_slice_bytes_max = 200;
    options_.compaction_step_revisions_max = static_cast<uint32_t>(1 + Pick(20));
    options_.compaction_step_scan_max = static_cast<uint32_t>(1 + Pick(60));
    options_.compaction_step_keys_max = 1;
    key_count_ = 5 + Pick(120);
    for (int64_t lease = 1; lease <= 3; ++lease) leases_.Grant(lease);
    Open();
  }

  void Run(int operations) {
    for (int i = 0; i < operations && !::testing::Test::HasFailure(); ++i) {
      const uint64_t what = Pick(100);
      if (what < 45) {
        WriteBatch();
      } else if (what < 80) {
        CheckRange();
      } else if (what < 83) {
        ScheduleCompaction();
      } else if (what < 93) {
        StepCompaction();
      } else if (what < 96) {
        CheckHash();
      } else if (what < 98) {
        CheckGetAt();
      } else if (Pick(4) == 0) {
        Open();
      }
      if (Pick(50) == 0) store_->CheckInvariants();
    }
    store_->CheckInvariants();
  }

 private:
  uint64_t Pick(uint64_t bound) { return random_->Uniform(bound); }
  bool Chance(uint64_t percent) { return Pick(100) < percent; }

  std::string Key() {
    const uint64_t n = Pick(key_count_);
    // Keys that are prefixes of each other, zero bytes and high bytes included.
    if (n % 7 == 0) return std::string(1 + n / 7 % 4, 'a');
    if (n % 7 == 1) return std::string("a") + std::string(n / 7 % 3, '\0');
    if (n % 7 == 2) return std::string("\xff", 1) + static_cast<char>(n);
    return "key" + std::to_string(n);
  }
  std::string RangeEnd(const std::string& key) {
    switch (Pick(5)) {
      case 0: return kZeroByte;
      case 1: return Key();
      case 2: return key + "\xff";
      default: return {};
    }
  }
  std::string Value() { return std::string(Pick(4) == 0 ? Pick(200) : Pick(6), 'v') +
                               std::to_string(Pick(10)); }

  void Open() {
    compaction_.reset();
    store_.reset();
    leases_.ForgetKeys();
    auto opened = Store::Open(backend_, &leases_, options_);
    ASSERT_TRUE(opened.ok()) << opened.status();
    store_ = *std::move(opened);
    store_->SetObserver(&events_);
    ASSERT_EQ(store_->revision(), model_.revision());
    ASSERT_EQ(store_->compact_revision(), compact_);
    CheckLeases();
  }

  void CheckLeases() {
    std::map<int64_t, std::set<std::string>> expected = model_.LeasedKeys();
    for (int64_t lease = 1; lease <= 3; ++lease) expected[lease];
    ASSERT_EQ(leases_.keys(), expected);
  }

  void Write(Batch& batch) { ASSERT_TRUE(backend_->Write(batch).ok()); }

  void WriteBatch() {
    const std::unique_ptr<Batch> batch = backend_->NewBatch();
    store_->BeginBatch(batch.get());
    events_.all.clear();
    expected_events_ = 0;
    const int64_t visible = model_.revision();
    for (uint64_t n = 1 + Pick(4); n > 0; --n) {
      Transaction();
      if (Chance(30)) CheckRangeAt(visible);
    }
    ASSERT_EQ(store_->revision(), visible);
    Write(*batch);
    store_->FinishBatch();
    ASSERT_EQ(store_->revision(), model_.revision());
    CheckEvents(visible);
    CheckLeases();
  }

  void Transaction() {
    WriteTxn txn = store_->NewWriteTxn();
    const int64_t before = model_.revision();
    for (uint64_t n = 1 + Pick(4); n > 0; --n) {
      if (Chance(30)) CheckTxnRange(txn);
      ASSERT_EQ(txn.revision(), before + (model_.changed() ? 1 : 0));  // KV-009
      if (Chance(75)) {
        TxnPut(txn);
      } else {
        TxnDelete(txn);
      }
    }
    model_.EndTxn();
    ASSERT_EQ(txn.End(), model_.revision());
  }

  void TxnPut(WriteTxn& txn) {
    const std::string key = Key();
    std::string value = Value();
    PutOptions options;
    options.want_prev = Chance(50);
    options.ignore_value = Chance(10);
    options.ignore_lease = Chance(10);
    if (!options.ignore_lease && Chance(30)) options.lease = static_cast<int64_t>(1 + Pick(4));
    const auto old = model_.Now(key);
    const auto put = txn.Put(key, options.ignore_value ? "" : value, options);
    if (options.lease == 4) {
      ASSERT_TRUE(IsApiError(put.status(), ErrorId::kLeaseNotFound));  // KV-032
      return;
    }
    if ((options.ignore_value || options.ignore_lease) && !old) {
      ASSERT_TRUE(IsApiError(put.status(), ErrorId::kKeyNotFound));  // KV-031
      return;
    }
    ASSERT_TRUE(put.ok()) << put.status();
    if (options.want_prev && old) {
      ASSERT_EQ(DecodePair(put->prev_kv.view()), *old);
    } else {
      ASSERT_TRUE(put->prev_kv.empty());
    }
    model_.Put(key, options.ignore_value ? old->value : value,
               options.ignore_lease ? old->lease : options.lease);
    ++expected_events_;
  }

  void TxnDelete(WriteTxn& txn) {
    const std::string key = Key();
    const std::string end = Chance(85) ? std::string() : RangeEnd(key);
    std::string prev_kvs;
    const auto deleted = txn.DeleteRange(key, end, Chance(50) ? &prev_kvs : nullptr);
    ASSERT_TRUE(deleted.ok()) << deleted.status();
    const std::vector<TestPair> old = model_.DeleteRange(key, end);
    ASSERT_EQ(deleted->deleted, static_cast<int64_t>(old.size()));
    if (!prev_kvs.empty()) {
      ASSERT_EQ(DecodePairs(prev_kvs, 3), old);
    }
    expected_events_ += old.size();
  }

  // Every event carries what the model knows of its revision and of the one before (WATCH-029).
  void CheckEvents(int64_t after) {
    size_t seen = 0;
    for (const RevisionEvents& revision : events_.all) {
      ASSERT_EQ(revision.revision, ++after);
      for (const Event& event : revision.events) {
        ++seen;
        const std::string key(event.key);
        const TestPair pair = DecodePair(event.kv.view());
        ASSERT_EQ(pair.key, key);
        ASSERT_EQ(pair.mod, after);
        auto prev = model_.At(key, after - 1);
        if (pair.create == after) prev.reset();
        if (event.is_delete && !event.prev_kv.empty()) {
          ASSERT_EQ(pair, (TestPair{key, "", 0, after, 0, 0}));
        }
        if (!event.prev_kv.empty()) {
          ASSERT_TRUE(prev.has_value());
          ASSERT_EQ(DecodePair(event.prev_kv.view()), *prev);
          ASSERT_EQ(event.prev_revision.main, prev->mod);
        } else {
          ASSERT_EQ(event.prev_revision.main, prev ? prev->mod : 0);
        }
      }
    }
    ASSERT_EQ(seen, expected_events_);
  }

  RangeOptions RandomOptions(const std::string& key, const std::string& end, int64_t newest) {
    RangeOptions o{.key = key, .range_end = end};
    const auto around = [&] {
      return static_cast<int64_t>(Pick(static_cast<uint64_t>(newest + 3)));
    };
    if (Chance(40)) o.limit = static_cast<int64_t>(Pick(12)) - 1;
    o.count_only = Chance(10);
    o.keys_only = Chance(20);
    if (Chance(40)) {
      o.sort_order = static_cast<SortOrder>(Pick(3));
      o.sort_target = static_cast<SortTarget>(Pick(5));
    }
    if (Chance(10)) o.min_mod_revision = around();
    if (Chance(10)) o.max_mod_revision = around() - 1;
    if (Chance(10)) o.min_create_revision = around();
    if (Chance(10)) o.max_create_revision = around() - 1;
    return o;
  }

  void Compare(const RangeOptions& o, const absl::StatusOr<RangeResult>& result,
               const std::string& kvs, int64_t main) {
    ASSERT_TRUE(result.ok()) << result.status();
    const StoreModel::Answer expected = model_.Range(o, main);
    ASSERT_EQ(DecodePairs(kvs), expected.pairs) << "limit " << o.limit << " order "
        << static_cast<int>(o.sort_order) << " target " << static_cast<int>(o.sort_target)
        << " at " << main << " of " << model_.revision();
    ASSERT_EQ(result->count, o.skip_count ? 0 : expected.count);
    ASSERT_EQ(result->more, expected.more);
    ASSERT_EQ(result->kvs_count, static_cast<int64_t>(expected.pairs.size()));
  }

  void CheckRange() { CheckRangeAt(model_.revision()); }

  // As a reader who sees `visible`.
  void CheckRangeAt(int64_t visible) {
    const std::string key = Key();
    const std::string end = Chance(20) ? std::string() : RangeEnd(key);
    RangeOptions o = RandomOptions(key, end, visible);
    o.skip_count = Chance(10) && !o.count_only;
    if (Chance(50)) o.revision = static_cast<int64_t>(Pick(static_cast<uint64_t>(visible + 2)));
    std::string kvs;
    const auto result = store_->Range(o, &kvs);
    if (o.revision > visible) {
      ASSERT_TRUE(IsApiError(result.status(), ErrorId::kFutureRev));
      return;
    }
    if (o.revision > 0 && o.revision < compact_) {
      ASSERT_TRUE(IsApiError(result.status(), ErrorId::kCompacted));
      return;
    }
    const int64_t main = o.revision > 0 ? o.revision : visible;
    Compare(o, result, kvs, main);
    ASSERT_EQ(result->revision, visible);
    ASSERT_EQ(result->read_revision, main);
    if (!result->resume_key.empty()) CheckPages(o, kvs, *result);
  }

  // Pages pinned to the first one's revision add up to the whole (KV-062).
  void CheckPages(const RangeOptions& o, std::string kvs, RangeResult page) {
    RangeOptions next = o;
    next.revision = page.read_revision;
    next.skip_count = true;
    while (page.more) {
      next.key = page.resume_key;
      const auto result = store_->Range(next, &kvs);
      ASSERT_TRUE(result.ok());
      const std::string from = std::move(page.resume_key);
      page = *result;
    }
    RangeOptions whole = o;
    whole.limit = 0;
    ASSERT_EQ(DecodePairs(kvs), model_.Range(whole, next.revision).pairs);
  }

  void CheckTxnRange(const WriteTxn& txn) {
    const std::string key = Key();
    const std::string end = RangeEnd(key);
    RangeOptions o = RandomOptions(key, end, model_.revision());
    const auto before = static_cast<uint64_t>(model_.revision());
    if (Chance(40)) o.revision = static_cast<int64_t>(Pick(before + 2));
    std::string kvs;
    const auto result = txn.Range(o, &kvs);
    if (o.revision > model_.revision()) {  // KV-052
      ASSERT_TRUE(IsApiError(result.status(), ErrorId::kFutureRev));
      return;
    }
    if (o.revision > 0 && o.revision < compact_) {
      ASSERT_TRUE(IsApiError(result.status(), ErrorId::kCompacted));
      return;
    }
    Compare(o, result, kvs, o.revision > 0 ? o.revision : model_.revision() + 1);
    const auto lookup = txn.Lookup(key, true);
    ASSERT_TRUE(lookup.ok());
    const auto now = model_.Now(key);
    ASSERT_EQ(lookup->state.exists, now.has_value());
    if (now) {
      ASSERT_EQ(DecodePair(lookup->record.view()), *now);
    }
    std::vector<TestPair> visited;
    const absl::Status walked = txn.ForEach(key, end, true, [&](const KeyState& s) {
      visited.push_back({std::string(s.key), std::string(s.value), s.create_revision,
                         s.mod_revision, s.version, s.lease});
      return true;
    });
    ASSERT_TRUE(walked.ok()) << walked;
    ASSERT_EQ(visited, model_.Live(key, end, model_.revision() + 1));
  }

  void ScheduleCompaction() {
    const auto newest = static_cast<uint64_t>(model_.revision());
    const auto rev = static_cast<int64_t>(Pick(4) == 0 ? Pick(newest + 3) : newest - Pick(newest));
    const std::unique_ptr<Batch> batch = backend_->NewBatch();
    store_->BeginBatch(batch.get());
    const absl::Status status = store_->ScheduleCompaction(rev);
    Write(*batch);
    store_->FinishBatch();
    if (rev <= compact_) {  // KV-070
      ASSERT_TRUE(IsApiError(status, ErrorId::kCompacted));
    } else if (rev > model_.revision()) {
      ASSERT_TRUE(IsApiError(status, ErrorId::kFutureRev));
    } else {
      ASSERT_TRUE(status.ok());
      compact_ = rev;
    }
    ASSERT_EQ(store_->compact_revision(), compact_);
  }

  void StepCompaction() {
    if (compaction_ == nullptr) compaction_ = store_->NewCompaction();
    if (compaction_ == nullptr) {
      ASSERT_EQ(store_->finished_compact_revision(), compact_);
      CheckStorage();
      return;
    }
    const std::unique_ptr<Batch> batch = backend_->NewBatch();
    const auto more = compaction_->Step(batch.get());
    ASSERT_TRUE(more.ok()) << more.status();
    Write(*batch);
    if (*more) return;
    compaction_->Finish();
    compaction_.reset();
  }

  // With no compaction pending the backend holds just what is needed (KV-071).
  void CheckStorage() {
    std::map<std::string, std::vector<DecodedRevision>> stored;
    ASSERT_TRUE(backend_->NewView()
                    ->Scan(Bucket::kKey, {}, {}, [&](std::string_view key, std::string_view value) {
                      stored[std::string(DecodeRecord(value)->key)].push_back(
                          *DecodeRevision(key));
                      return true;
                    }).ok());
    for (const auto& [key, revisions] : stored) {
      for (size_t i = 0; i < revisions.size(); ++i) {
        if (revisions[i].revision.main > compact_) break;
        ASSERT_TRUE(i + 1 == revisions.size() || revisions[i + 1].revision.main > compact_);
        ASSERT_TRUE(!revisions[i].tombstone || revisions[i].revision.main == compact_);
      }
    }
  }

  void CheckHash() {
    for (const HashKvResult& stored : store_->compaction_hashes()) {
      const auto expected = model_.HashKv(stored.hash_revision, stored.compact_revision);
      if (expected) {
        ASSERT_EQ(stored.hash, *expected);
      }
    }
    const auto newest = static_cast<uint64_t>(model_.revision());
    const int64_t rev = static_cast<int64_t>(newest - Pick(newest));
    const auto result = store_->HashKv(rev);
    if (rev < compact_) {
      ASSERT_TRUE(IsApiError(result.status(), ErrorId::kCompacted));
      return;
    }
    ASSERT_TRUE(result.ok()) << result.status();
    const auto expected = model_.HashKv(rev, result->compact_revision);
    if (expected) {
      ASSERT_EQ(result->hash, *expected) << rev << " compact " << result->compact_revision;
    }
  }

  void CheckGetAt() {
    const std::string key = Key();
    const auto newest = static_cast<uint64_t>(model_.revision());
    const int64_t rev = static_cast<int64_t>(newest - Pick(newest));
    const auto got = store_->GetAt(key, rev);
    if (rev < compact_) {
      ASSERT_TRUE(IsApiError(got.status(), ErrorId::kCompacted));
      return;
    }
    ASSERT_TRUE(got.ok());
    const auto expected = model_.At(key, rev);
    ASSERT_EQ(got->empty(), !expected.has_value());
    if (expected) {
      ASSERT_EQ(DecodePair(got->view()), *expected);
    }
  }

  const std::unique_ptr<base::Random> random_;
  const std::shared_ptr<Backend> backend_;
  StoreOptions options_;
  uint64_t key_count_;
  FakeLeases leases_;
  RecordedEvents events_;
  size_t expected_events_ = 0;
  std::unique_ptr<Store> store_;
  std::unique_ptr<Compaction> compaction_;
  StoreModel model_;
  int64_t compact_ = -1;
};

// Seeds vary from run to run unless one is given.
uint64_t FirstSeed() {
  const char* given = std::getenv("ETCDD_MVCC_SEED");
  return given != nullptr ? std::strtoull(given, nullptr, 10)
                          : base::NewSystemRandom()->Uniform(1000000000);
}
int Rounds(int rounds) { return std::getenv("ETCDD_MVCC_SEED") != nullptr ? 1 : rounds; }

TEST(StoreProperty, EqualsTheModelInMemory) {
  const uint64_t first = FirstSeed();
  for (int i = 0; i < Rounds(200) && !::testing::Test::HasFailure(); ++i) {
    const uint64_t seed = first + static_cast<uint64_t>(i);
    SCOPED_TRACE("ETCDD_MVCC_SEED=" + std::to_string(seed));
    ModelRun(seed, std::make_shared<MemBackend>()).Run(1000);
  }
  RecordProperty("first_seed", std::to_string(first));
}

TEST(StoreProperty, EqualsTheModelOnRocksDb) {
  const uint64_t first = FirstSeed();
  for (int i = 0; i < Rounds(3) && !::testing::Test::HasFailure(); ++i) {
    const uint64_t seed = first + static_cast<uint64_t>(i);
    SCOPED_TRACE("ETCDD_MVCC_SEED=" + std::to_string(seed));
    const etcdd::testing::TempDir directory;
    auto backend = OpenRocksBackend(directory.Path("db"), {});
    ASSERT_TRUE(backend.ok()) << backend.status();
    ModelRun(seed, *std::move(backend)).Run(800);
  }
}

}  // namespace
}  // namespace etcdd::mvcc
