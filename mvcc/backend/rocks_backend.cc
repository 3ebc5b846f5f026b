#include "mvcc/backend/rocks_backend.h"

#include <algorithm>
#include <atomic>
#include <utility>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/synchronization/mutex.h"
#include "rocksdb/cache.h"
#include "rocksdb/db.h"
#include "rocksdb/env.h"
#include "rocksdb/listener.h"
#include "rocksdb/options.h"
#include "rocksdb/table.h"
#include "rocksdb/write_batch.h"
#include "server/base/check.h"
#include "server/base/log.h"
#include "server/base/status_macros.h"
#include "server/base/strand.h"

namespace etcdd::mvcc {
namespace {

// The `key` bucket has a column family of its own, without a prefix. All other buckets share the
// default family, where a record's key begins with the bucket's number.
constexpr char kKeyFamily[] = "key";
// Says that a directory is ours, under a prefix no bucket has.
constexpr std::string_view kFormatKey = "\xff" "format";
constexpr std::string_view kFormatValue = "etcdd-backend-1";

constexpr int kBackgroundThreads = 2;
constexpr int kOpenFilesMax = 512;
// Memory grows in steps of this, so that a nearly empty store is small.
constexpr uint64_t kArenaBlockBytes = 64ull << 10;
// RocksDB's own figures are asked for after this many written bytes.
constexpr uint64_t kSizeRefreshBytes = 64ull << 10;
// Files are handed to the disk in steps while they are written, not all at the end.
constexpr uint64_t kSyncStepBytes = 1ull << 20;
constexpr uint64_t kInfoLogBytes = 1ull << 20;

rocksdb::Slice ToSlice(std::string_view bytes) { return {bytes.data(), bytes.size()}; }
std::string_view ToView(const rocksdb::Slice& slice) { return {slice.data(), slice.size()}; }

absl::Status ToStatus(std::string_view what, const rocksdb::Status& status) {
  if (status.ok()) return absl::OkStatus();
  const std::string text =
      absl::StrCat(std::string(what), ": ", status.ToString());
  if (status.IsNotFound()) return absl::NotFoundError(text);
  if (status.IsCorruption()) return absl::DataLossError(text);
  return absl::InternalError(text);
}

bool IsHeldLock(const rocksdb::Status& status) {
  if (!status.IsIOError()) return false;
  const std::string text = status.ToString();
  return absl::StrContains(text, "While lock file") ||
         absl::StrContains(text, "lock hold by current process");
}

std::string PrefixedKey(Bucket bucket, std::string_view key) {
  std::string result;
  result.reserve(key.size() + 1);
  result.push_back(static_cast<char>(bucket));
  result.append(key);
  return result;
}

rocksdb::DBOptions MakeDbOptions(std::shared_ptr<rocksdb::EventListener> listener) {
  rocksdb::DBOptions options;
  options.create_missing_column_families = true;
  options.atomic_flush = true;
  options.paranoid_checks = true;
  options.allow_concurrent_memtable_write = false;
  options.enable_write_thread_adaptive_yield = false;
  options.max_background_jobs = kBackgroundThreads;
  options.max_bgerror_resume_count = 0;  // a fault stops the member; no healing behind its back
  options.max_open_files = kOpenFilesMax;
  options.bytes_per_sync = kSyncStepBytes;
  options.info_log_level = rocksdb::WARN_LEVEL;
  options.keep_log_file_num = 2;
  options.max_log_file_size = kInfoLogBytes;
  options.stats_dump_period_sec = 0;
  options.stats_persist_period_sec = 0;
  options.skip_stats_update_on_db_open = true;
  options.listeners.push_back(std::move(listener));
  return options;
}

rocksdb::ColumnFamilyOptions MakeFamilyOptions(const RocksOptions& ours,
                                               const std::shared_ptr<rocksdb::Cache>& cache) {
  rocksdb::BlockBasedTableOptions table;
  table.block_size = 16 << 10;
  table.format_version = 5;
  table.block_cache = cache;
  rocksdb::ColumnFamilyOptions options;
  options.table_factory.reset(rocksdb::NewBlockBasedTableFactory(table));
  options.compression = rocksdb::kLZ4Compression;
  options.write_buffer_size = ours.write_buffer_bytes;
  options.max_write_buffer_number = 4;
  options.arena_block_size = kArenaBlockBytes;
  options.level0_file_num_compaction_trigger = 8;
  // Files of the key family do not overlap, so many in level 0 cost reads little; writes are not
  // held up for them.
  options.level0_slowdown_writes_trigger = 48;
  options.level0_stop_writes_trigger = 96;
  return options;
}

class RocksBatch : public Batch {
 public:
  explicit RocksBatch(rocksdb::ColumnFamilyHandle* key_family) : key_family_(key_family) {}

  void Put(Bucket bucket, std::string_view key, std::string_view value) override {
    bytes_ += key.size() + value.size();
    if (bucket == Bucket::kKey) {
      Check(batch_.Put(key_family_, ToSlice(key), ToSlice(value)));
      return;
    }
    const char prefix = static_cast<char>(bucket);
    const rocksdb::Slice parts[] = {{&prefix, 1}, ToSlice(key)};
    const rocksdb::Slice value_slice = ToSlice(value);
    Check(batch_.Put(nullptr, rocksdb::SliceParts(parts, 2), rocksdb::SliceParts(&value_slice, 1)));
  }
  void Delete(Bucket bucket, std::string_view key) override {
    bytes_ += key.size();
    if (bucket == Bucket::kKey) {
      Check(batch_.Delete(key_family_, ToSlice(key)));
      return;
    }
    const char prefix = static_cast<char>(bucket);
    const rocksdb::Slice parts[] = {{&prefix, 1}, ToSlice(key)};
    Check(batch_.Delete(nullptr, rocksdb::SliceParts(parts, 2)));
  }
  size_t count() const override { return static_cast<size_t>(batch_.Count()); }
  size_t bytes() const override { return bytes_; }
  void Clear() override {
    batch_.Clear();
    bytes_ = 0;
  }

  rocksdb::WriteBatch* native() { return &batch_; }

 private:
  // Only a batch above 4 GiB can fail, and no request comes near.
  static void Check(const rocksdb::Status& status) {
    ETCDD_CHECK_MSG(status.ok(), status.ToString());
  }

  rocksdb::ColumnFamilyHandle* const key_family_;
  rocksdb::WriteBatch batch_;
  size_t bytes_ = 0;
};

// Where reads of a bucket go.
struct Families {
  rocksdb::ColumnFamilyHandle* other = nullptr;  // the default family
  rocksdb::ColumnFamilyHandle* key = nullptr;
};

absl::StatusOr<std::string> ReadRecord(rocksdb::DB* db, const Families& families,
                                       const rocksdb::ReadOptions& options, Bucket bucket,
                                       std::string_view key) {
  std::string value;
  const rocksdb::Status status =
      bucket == Bucket::kKey ? db->Get(options, families.key, ToSlice(key), &value)
                             : db->Get(options, families.other, PrefixedKey(bucket, key), &value);
  ETCDD_RETURN_IF_ERROR(ToStatus("backend read failed", status));
  return value;
}

class RocksView : public View {
 public:
  RocksView(rocksdb::DB* db, Families families)
      : db_(db), families_(families), snapshot_(db->GetSnapshot()) {}
  ~RocksView() override { db_->ReleaseSnapshot(snapshot_); }
  RocksView(const RocksView&) = delete;
  RocksView& operator=(const RocksView&) = delete;

  absl::StatusOr<std::string> Get(Bucket bucket, std::string_view key) const override {
    rocksdb::ReadOptions options;
    options.snapshot = snapshot_;
    return ReadRecord(db_, families_, options, bucket, key);
  }

  absl::Status Scan(
      Bucket bucket, std::string_view begin, std::string_view end,
      absl::FunctionRef<bool(std::string_view key, std::string_view value)> visit) const override {
    const bool is_key = bucket == Bucket::kKey;
    const std::string from = is_key ? std::string(begin) : PrefixedKey(bucket, begin);
    std::string to(end);
    if (!is_key) {
      to = end.empty() ? std::string(1, static_cast<char>(static_cast<int>(bucket) + 1))
                       : PrefixedKey(bucket, end);
    }
    const rocksdb::Slice upper_bound(to);
    rocksdb::ReadOptions options;
    options.snapshot = snapshot_;
    options.fill_cache = false;  // a scan must not push out what point reads need
    if (!to.empty()) options.iterate_upper_bound = &upper_bound;
    std::unique_ptr<rocksdb::Iterator> it(
        db_->NewIterator(options, is_key ? families_.key : families_.other));
    for (it->Seek(from); it->Valid(); it->Next()) {
      std::string_view key = ToView(it->key());
      if (!is_key) key.remove_prefix(1);
      if (!visit(key, ToView(it->value()))) break;
    }
    return ToStatus("backend scan failed", it->status());
  }

 private:
  rocksdb::DB* const db_;
  const Families families_;
  const rocksdb::Snapshot* const snapshot_;
};

// Remembers the first failure, which every later call returns. Thread-safe.
class Health {
 public:
  absl::Status Get() const {
    if (!failed_.load(std::memory_order_acquire)) return absl::OkStatus();
    absl::MutexLock lock(&mu_);
    return status_;
  }
  // Returns what Get returns from now on.
  absl::Status Fail(absl::Status status) {
    absl::MutexLock lock(&mu_);
    if (status_.ok()) status_ = std::move(status);
    failed_.store(true, std::memory_order_release);
    return status_;
  }

 private:
  std::atomic<bool> failed_ = false;
  mutable absl::Mutex mu_;
  absl::Status status_ ABSL_GUARDED_BY(mu_);
};

// Hears of background failures; outlives the database that calls it.
class FailureListener : public rocksdb::EventListener {
 public:
  void OnBackgroundError(rocksdb::BackgroundErrorReason /*reason*/,
                         rocksdb::Status* status) override {
    const absl::Status failure =
        health_.Fail(ToStatus("backend background work failed", *status));
    ETCDD_LOG(kError, "storage background work failed",
              {{"error", std::string(failure.message())}});
  }
  Health& health() { return health_; }

 private:
  Health health_;
};

class RocksBackend : public Backend {
 public:
  RocksBackend(std::unique_ptr<rocksdb::DB> db, Families families,
               std::shared_ptr<FailureListener> listener)
      : db_(std::move(db)),
        families_(families),
        listener_(std::move(listener)),
        compaction_strand_(base::NewThreadStrand("etcdd-compact")) {
    RefreshSize();
  }

  ~RocksBackend() override {
    stop_compaction_.store(true);
    compaction_strand_.reset();
    // When broken, closing must not try to write once more.
    if (!listener_->health().Get().ok()) {
      (void)db_->SetDBOptions({{"avoid_flush_during_shutdown", "true"}});
    }
    (void)db_->DestroyColumnFamilyHandle(families_.key);
    (void)db_->DestroyColumnFamilyHandle(families_.other);
    const rocksdb::Status status = db_->Close();
    if (!status.ok()) {
      ETCDD_LOG(kWarn, "failed to close storage", {{"error", status.ToString()}});
    }
  }

  std::unique_ptr<Batch> NewBatch() override { return std::make_unique<RocksBatch>(families_.key); }

  absl::Status Write(Batch& batch) override {
    ETCDD_RETURN_IF_ERROR(listener_->health().Get());
    rocksdb::WriteOptions options;
    options.disableWAL = true;
    const rocksdb::Status status = db_->Write(options, static_cast<RocksBatch&>(batch).native());
    if (!status.ok()) {
      return listener_->health().Fail(ToStatus("backend write failed", status));
    }
    const uint64_t bytes = batch.bytes() + batch.count() * kRecordOverheadBytes;
    if (unmeasured_bytes_.fetch_add(bytes) + bytes >= kSizeRefreshBytes) RefreshSize();
    return absl::OkStatus();
  }

  absl::StatusOr<std::string> Get(Bucket bucket, std::string_view key) const override {
    return ReadRecord(db_.get(), families_, rocksdb::ReadOptions(), bucket, key);
  }

  std::unique_ptr<View> NewView() const override {
    return std::make_unique<RocksView>(db_.get(), families_);
  }

  absl::Status Flush() override {
    ETCDD_RETURN_IF_ERROR(listener_->health().Get());
    const rocksdb::Status status =
        db_->Flush(rocksdb::FlushOptions(), {families_.other, families_.key});
    if (!status.ok()) {
      return listener_->health().Fail(ToStatus("backend flush failed", status));
    }
    return listener_->health().Get();
  }

  void CompactHint(std::string_view key_bucket_end) override {
    {
      absl::MutexLock lock(&hint_mu_);
      const bool posted = !hint_end_.empty();
      hint_end_ = std::max(hint_end_, std::string(key_bucket_end));
      if (posted || hint_end_.empty()) return;
    }
    compaction_strand_->Post([this] { RunCompaction(); });
  }

  // The strand runs in order, so what was hinted before is done before.
  void WhenCompacted(base::Task done) override { compaction_strand_->Post(std::move(done)); }

  uint64_t SizeBytes() const override {
    const uint64_t measured = measured_bytes_.load() + unmeasured_bytes_.load();
    uint64_t high = high_water_bytes_.load();
    while (high < measured && !high_water_bytes_.compare_exchange_weak(high, measured)) {
    }
    return std::max(high, measured);
  }

  uint64_t SizeInUseBytes() const override {
    const uint64_t live = Property(rocksdb::DB::Properties::kEstimateLiveDataSize) +
                          Property(rocksdb::DB::Properties::kCurSizeAllMemTables);
    return std::min(live, SizeBytes());
  }

 private:
  // What a record costs beside key and value, about.
  static constexpr uint64_t kRecordOverheadBytes = 32;

  uint64_t Property(const std::string& name) const {
    uint64_t total = 0;
    for (rocksdb::ColumnFamilyHandle* family : {families_.other, families_.key}) {
      uint64_t value = 0;
      if (db_->GetIntProperty(family, name, &value)) total += value;
    }
    return total;
  }

  void RefreshSize() {
    (void)SizeBytes();  // raises the high-water mark to what was counted so far
    const uint64_t bytes = Property(rocksdb::DB::Properties::kLiveSstFilesSize) +
                           Property(rocksdb::DB::Properties::kCurSizeAllMemTables);
    unmeasured_bytes_.store(0);
    measured_bytes_.store(bytes);
  }

  // On the compaction strand.
  void RunCompaction() {
    std::string end;
    {
      absl::MutexLock lock(&hint_mu_);
      end.swap(hint_end_);
    }
    if (stop_compaction_.load() || !listener_->health().Get().ok()) return;
    rocksdb::CompactRangeOptions options;
    options.exclusive_manual_compaction = false;
    // Files of the last level are rewritten only where deletions above them overlap.
    options.bottommost_level_compaction =
        rocksdb::BottommostLevelCompaction::kIfHaveCompactionFilter;
    options.canceled = &stop_compaction_;
    const rocksdb::Slice end_slice(end);
    const rocksdb::Status status =
        db_->CompactRange(options, families_.key, nullptr, &end_slice);
    if (!status.ok()) {
      // Nothing is lost; a fault of the disk reaches the listener as well.
      if (!stop_compaction_.load()) {
        ETCDD_LOG(kWarn, "storage compaction failed", {{"error", status.ToString()}});
      }
      return;
    }
    RefreshSize();
    high_water_bytes_.store(measured_bytes_.load());
  }

  // Fixed after construction.
  const std::unique_ptr<rocksdb::DB> db_;
  const Families families_;
  const std::shared_ptr<FailureListener> listener_;

  // What RocksDB said when last asked, what was written since, and the largest sum seen since the
  // last ordered compaction.
  std::atomic<uint64_t> measured_bytes_ = 0;
  std::atomic<uint64_t> unmeasured_bytes_ = 0;
  mutable std::atomic<uint64_t> high_water_bytes_ = 0;

  std::atomic<bool> stop_compaction_ = false;
  absl::Mutex hint_mu_;
  // Highest end asked for and not yet begun; empty = none.
  std::string hint_end_ ABSL_GUARDED_BY(hint_mu_);
  std::unique_ptr<base::Strand> compaction_strand_;
};

// True when the directory holds a RocksDB store, false when it is absent or empty.
absl::StatusOr<bool> LookAtDirectory(rocksdb::Env* env, const std::string& directory) {
  std::vector<std::string> names;
  const rocksdb::Status status = env->GetChildren(directory, &names);
  if (status.IsNotFound()) return false;
  ETCDD_RETURN_IF_ERROR(ToStatus(absl::StrCat("cannot list ", directory), status));
  if (std::find(names.begin(), names.end(), "CURRENT") != names.end()) return true;
  for (const std::string& name : names) {
    // What a creation that crashed early leaves behind is an empty store.
    const bool harmless = name == "." || name == ".." || name == "LOCK" || name == "IDENTITY" ||
                          absl::StartsWith(name, "LOG") || absl::StartsWith(name, "MANIFEST-") ||
                          absl::EndsWith(name, ".dbtmp");
    if (!harmless) {
      return absl::InvalidArgumentError(
          absl::StrCat("storage directory ", directory, " is not an etcdd storage: it holds \"",
                       name, "\" and no CURRENT file; refusing to touch it"));
    }
  }
  return false;
}

// Refuses stores with other column families than ours; a store whose creation was cut short may
// still lack the key family.
absl::Status CheckFamilies(const rocksdb::DBOptions& options, const std::string& directory) {
  std::vector<std::string> names;
  const rocksdb::Status status = rocksdb::DB::ListColumnFamilies(options, directory, &names);
  if (!status.ok()) {
    return absl::DataLossError(absl::StrCat("storage directory ", directory,
                                            " is damaged: ", status.ToString()));
  }
  for (const std::string& name : names) {
    if (name != rocksdb::kDefaultColumnFamilyName && name != kKeyFamily) {
      return absl::InvalidArgumentError(
          absl::StrCat("storage directory ", directory,
                       " was written by another program: it has the column family \"", name,
                       "\"; refusing to touch it"));
    }
  }
  return absl::OkStatus();
}

// Writes the format record into a new store; checks it in an old one.
absl::Status CheckFormat(rocksdb::DB* db, const Families& families, const std::string& directory) {
  std::string value;
  const rocksdb::Status status =
      db->Get(rocksdb::ReadOptions(), families.other, ToSlice(kFormatKey), &value);
  if (status.ok()) {
    if (value == kFormatValue) return absl::OkStatus();
    return absl::InvalidArgumentError(
        absl::StrCat("storage directory ", directory, " has the format \"", value,
                     "\", which this version does not know"));
  }
  if (!status.IsNotFound()) return ToStatus(absl::StrCat("cannot read ", directory), status);
  for (rocksdb::ColumnFamilyHandle* family : {families.other, families.key}) {
    std::unique_ptr<rocksdb::Iterator> it(db->NewIterator(rocksdb::ReadOptions(), family));
    it->SeekToFirst();
    ETCDD_RETURN_IF_ERROR(ToStatus(absl::StrCat("cannot read ", directory), it->status()));
    if (it->Valid()) {
      return absl::InvalidArgumentError(
          absl::StrCat("storage directory ", directory,
                       " was written by another program: it has no format record; refusing to "
                       "touch it"));
    }
  }
  rocksdb::WriteOptions write_options;
  write_options.disableWAL = true;
  ETCDD_RETURN_IF_ERROR(
      ToStatus("cannot write the format record",
               db->Put(write_options, families.other, ToSlice(kFormatKey), ToSlice(kFormatValue))));
  return ToStatus("cannot write the format record",
                  db->Flush(rocksdb::FlushOptions(), {families.other, families.key}));
}

// Makes the name of a new directory durable.
absl::Status SyncParent(rocksdb::Env* env, const std::string& directory) {
  std::string path = directory;
  while (path.size() > 1 && path.back() == '/') path.pop_back();
  const size_t slash = path.rfind('/');
  std::string parent = ".";
  if (slash != std::string::npos) parent = slash == 0 ? "/" : path.substr(0, slash);
  std::unique_ptr<rocksdb::Directory> handle;
  const std::string what = absl::StrCat("cannot sync ", parent);
  ETCDD_RETURN_IF_ERROR(ToStatus(what, env->NewDirectory(parent, &handle)));
  return ToStatus(what, handle->Fsync());
}

absl::Status OpenError(const std::string& directory, const rocksdb::Status& status) {
  if (IsHeldLock(status)) {
    return absl::FailedPreconditionError(
        absl::StrCat("storage directory ", directory, " is in use by another process"));
  }
  if (status.IsCorruption()) {
    return absl::DataLossError(absl::StrCat("storage directory ", directory,
                                            " is damaged: ", status.ToString()));
  }
  return ToStatus(absl::StrCat("cannot open storage directory ", directory), status);
}

}  // namespace

absl::StatusOr<std::unique_ptr<Backend>> OpenRocksBackend(const std::string& directory,
                                                          const RocksOptions& options) {
  rocksdb::Env* const env = rocksdb::Env::Default();
  ETCDD_ASSIGN_OR_RETURN(const bool exists, LookAtDirectory(env, directory));
  auto listener = std::make_shared<FailureListener>();
  rocksdb::DBOptions db_options = MakeDbOptions(listener);
  db_options.create_if_missing = !exists;
  if (exists) ETCDD_RETURN_IF_ERROR(CheckFamilies(db_options, directory));
  const auto family_options =
      MakeFamilyOptions(options, rocksdb::NewLRUCache(options.block_cache_bytes));

  rocksdb::DB* db = nullptr;
  std::vector<rocksdb::ColumnFamilyHandle*> handles;
  const rocksdb::Status status = rocksdb::DB::Open(
      db_options, directory,
      {{rocksdb::kDefaultColumnFamilyName, family_options}, {kKeyFamily, family_options}}, &handles,
      &db);
  if (!status.ok()) return OpenError(directory, status);
  const Families families{handles[0], handles[1]};
  auto backend = std::make_unique<RocksBackend>(std::unique_ptr<rocksdb::DB>(db), families,
                                                std::move(listener));
  // Compaction yields to everything; flushes do not, since writes would have to wait for them.
  (void)env->LowerThreadPoolCPUPriority(rocksdb::Env::LOW, rocksdb::CpuPriority::kLow);
  env->LowerThreadPoolIOPriority(rocksdb::Env::LOW);
  ETCDD_RETURN_IF_ERROR(CheckFormat(db, families, directory));
  if (!exists) ETCDD_RETURN_IF_ERROR(SyncParent(env, directory));
  return std::unique_ptr<Backend>(std::move(backend));
}

}  // namespace etcdd::mvcc
