#include "mvcc/store.h"

#include <utility>

#include "mvcc/range_reader.h"
#include "mvcc/store_state.h"
#include "server/base/api_error.h"
#include "server/base/check.h"
#include "server/base/status_macros.h"

namespace etcdd::mvcc {
namespace {

// Eviction looks at this many keys per batch, and so many more per change of the batch.
constexpr uint64_t kEvictVisitsPerBatch = 1024;
constexpr uint64_t kEvictVisitsPerChange = 8;

}  // namespace

Store::Store(std::unique_ptr<StoreState> state) : state_(std::move(state)) {}
Store::~Store() = default;

absl::StatusOr<std::unique_ptr<Store>> Store::Open(std::shared_ptr<Backend> backend,
                                                   LeaseAttacher* leases,
                                                   const StoreOptions& options) {
  auto state = std::make_unique<StoreState>(backend, leases, options);
  ETCDD_ASSIGN_OR_RETURN(auto content,
                         StoreContent::Read(std::move(backend), options.resident_bytes_max));
  state->Load(content.get());
  return std::unique_ptr<Store>(new Store(std::move(state)));
}

void Store::SetObserver(EventObserver* observer) { state_->observer_ = observer; }

absl::StatusOr<std::shared_ptr<StoreContent>> Store::ReadContent(
    std::shared_ptr<Backend> backend) const {
  return StoreContent::Read(std::move(backend), state_->options_.resident_bytes_max);
}

void Store::Restore(const std::shared_ptr<StoreContent>& content) {
  ETCDD_CHECK(!batch_open());
  state_->Load(content.get());
}

void Store::BeginBatch(Batch* batch) {
  ETCDD_CHECK(!batch_open() && batch != nullptr);
  state_->batch_ = batch;
}

void Store::FinishBatch() {
  StoreState& s = *state_;
  ETCDD_CHECK(batch_open() && !s.txn_open_);
  decltype(s.superseded_) superseded;  // released after the lock
  decltype(s.live_changes_) live_changes;
  bool over_limit;
  {
    absl::MutexLock lock(&s.mu_);
    s.visible_ = s.latest_;
    s.visible_compact_ = s.latest_compact_;
    s.visible_copy_.store(s.latest_, std::memory_order_release);
    s.visible_compact_copy_.store(s.latest_compact_, std::memory_order_release);
    if (s.accepted_.revision >= 0) s.pending_compaction_ = s.accepted_;
    superseded.swap(s.superseded_);
    live_changes.swap(s.live_changes_);
    over_limit = s.resident_bytes_ > s.options_.resident_bytes_max;
  }
  s.accepted_ = {};
  s.batch_ = nullptr;
  std::vector<RevisionEvents> queued = std::move(s.queued_events_);
  s.queued_events_.clear();
  if (s.observer_ != nullptr) {
    for (RevisionEvents& events : queued) s.observer_->OnRevision(std::move(events));
  }
  if (!over_limit) return;
  const uint64_t changes = superseded.size() + live_changes.size();
  s.Evict(kEvictVisitsPerBatch + changes * kEvictVisitsPerChange);
}

bool Store::batch_open() const { return state_->batch_ != nullptr; }

WriteTxn Store::NewWriteTxn() {
  ETCDD_CHECK(batch_open() && !state_->txn_open_);
  return WriteTxn(state_.get(), state_->latest_, state_->latest_compact_);
}

int64_t Store::latest_revision() const { return state_->latest_; }
int64_t Store::latest_compact_revision() const { return state_->latest_compact_; }

absl::Status Store::ScheduleCompaction(int64_t rev) {
  StoreState& s = *state_;
  ETCDD_CHECK(batch_open() && !s.txn_open_);
  if (rev <= s.latest_compact_) return base::ApiError(base::ErrorId::kCompacted);
  if (rev > s.latest_) return base::ApiError(base::ErrorId::kFutureRev);
  // MAINT-029: a hash only if everything accepted before is also finished.
  const bool all_finished = finished_compact_revision() == s.latest_compact_;
  s.accepted_ = {.revision = rev, .previous_revision = s.latest_compact_,
                 .keep_hash = all_finished};
  s.latest_compact_ = rev;
  s.batch_->Put(Bucket::kMeta, kScheduledCompactKey, EncodeRevision({rev, 0}));
  return absl::OkStatus();
}

int64_t Store::revision() const { return state_->visible_copy_.load(std::memory_order_acquire); }

int64_t Store::compact_revision() const {
  return state_->visible_compact_copy_.load(std::memory_order_acquire);
}

int64_t Store::finished_compact_revision() const {
  absl::ReaderMutexLock lock(&state_->mu_);
  return state_->finished_compact_;
}

absl::StatusOr<RangeResult> Store::Range(const RangeOptions& options, std::string* kvs) const {
  if (options.revision > 0) {
    if (options.revision > revision()) return base::ApiError(base::ErrorId::kFutureRev);
    return ReadRange(state_.get(), options, options.revision, kvs);
  }
  const size_t begin = kvs->size();
  while (true) {
    auto result = ReadRange(state_.get(), options, kReadVisible, kvs);
    // Each further round needs one more compaction at the newest revision while it runs.
    if (result.ok() || !base::IsApiError(result.status(), base::ErrorId::kCompacted)) {
      return result;
    }
    kvs->resize(begin);
  }
}

ReadTxn Store::NewReadTxn() const {
  absl::ReaderMutexLock lock(&state_->mu_);
  return ReadTxn(state_.get(), state_->visible_, state_->visible_compact_, state_->visible_);
}

absl::StatusOr<base::Bytes> Store::GetAt(std::string_view key, int64_t rev) const {
  if (rev <= 0) rev = revision();
  if (rev > revision()) return base::ApiError(base::ErrorId::kFutureRev);
  RangeReader reader(state_.get(), key, {}, rev);
  std::vector<Pair> pairs;
  ETCDD_RETURN_IF_ERROR(reader.NextSlice(
      [&](const KeySlot& slot, const KeyRevision& revision, bool current)
          ABSL_NO_THREAD_SAFETY_ANALYSIS {
        pairs.push_back(reader.MakePair(slot, revision, current));
        return true;
      }));
  ETCDD_RETURN_IF_ERROR(reader.Complete(&pairs, /*stubs_do=*/false));
  return pairs.empty() ? base::Bytes() : std::move(pairs[0].record);
}

std::vector<HashKvResult> Store::compaction_hashes() const {
  absl::ReaderMutexLock lock(&state_->mu_);
  return {state_->compaction_hashes_.begin(), state_->compaction_hashes_.end()};
}

std::unique_ptr<Compaction> Store::NewCompaction() {
  absl::ReaderMutexLock lock(&state_->mu_);
  const PendingCompaction& pending = state_->pending_compaction_;
  if (pending.revision <= state_->finished_compact_) return nullptr;
  return std::unique_ptr<Compaction>(new Compaction(
      state_.get(), pending.revision, pending.previous_revision, pending.keep_hash));
}

std::shared_ptr<Backend> Store::backend() const {
  absl::ReaderMutexLock lock(&state_->mu_);
  return state_->backend_;
}

StoreStats Store::stats() const {
  absl::ReaderMutexLock lock(&state_->mu_);
  StoreStats stats;
  stats.keys = state_->index_->live_keys();
  stats.index_keys = state_->index_->size();
  stats.index_bytes = state_->index_->bytes();
  stats.resident_bytes = state_->resident_bytes_;
  stats.evicted_values = state_->evicted_;
  return stats;
}

void Store::CheckInvariants() const { state_->CheckInvariants(); }

}  // namespace etcdd::mvcc
