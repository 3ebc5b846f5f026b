#include "mvcc/store_txn.h"

#include <algorithm>
#include <utility>

#include "mvcc/range_reader.h"
#include "mvcc/record.h"
#include "mvcc/store_state.h"
#include "server/base/api_error.h"
#include "server/base/check.h"
#include "server/base/coding.h"
#include "server/base/status_macros.h"

namespace etcdd::mvcc {
namespace {

using base::Bytes;

constexpr char kPrevKvsTag = 0x1a;  // DeleteRangeResponse.prev_kvs
// The exclusive lock is held for at most this many deletions at a time.
constexpr size_t kDeletesPerLock = 64;

KeyState StateOf(std::string_view record) {
  const auto fields = DecodeRecord(record);
  ETCDD_CHECK(fields.has_value());
  return {.exists = true, .create_revision = fields->create_revision,
          .mod_revision = fields->mod_revision, .version = fields->version,
          .lease = fields->lease, .key = fields->key, .value = fields->value};
}

}  // namespace

absl::Status ReadTxn::CheckRangeRevision(int64_t rev) const {
  if (rev == 0) return absl::OkStatus();
  if (rev > base_revision_) return base::ApiError(base::ErrorId::kFutureRev);
  if (rev < compact_revision_) return base::ApiError(base::ErrorId::kCompacted);
  return absl::OkStatus();
}

absl::StatusOr<RangeResult> ReadTxn::Range(const RangeOptions& options, std::string* kvs) const {
  int64_t read_at = read_at_;
  if (options.revision > 0) {
    ETCDD_RETURN_IF_ERROR(CheckRangeRevision(options.revision));
    read_at = options.revision;
  }
  auto result = ReadRange(state_, options, read_at, kvs);
  if (!result.ok()) return result;
  result->revision = revision_;
  if (read_at == kReadLatest) result->read_revision = revision_;
  return result;
}

absl::StatusOr<KeyLookup> ReadTxn::Lookup(std::string_view key, bool want_value) const {
  RangeReader reader(state_, key, {}, read_at_);
  std::vector<Pair> pairs;
  ETCDD_RETURN_IF_ERROR(reader.NextSlice(
      [&](const KeySlot& slot, const KeyRevision& revision, bool current)
          ABSL_NO_THREAD_SAFETY_ANALYSIS {
        pairs.push_back(reader.MakePair(slot, revision, current));
        return true;
      }));
  ETCDD_RETURN_IF_ERROR(reader.Complete(&pairs, /*stubs_do=*/!want_value));
  KeyLookup lookup;
  if (pairs.empty()) return lookup;
  lookup.record = std::move(pairs[0].record);
  lookup.state = StateOf(lookup.record.view());
  return lookup;
}

absl::Status ReadTxn::ForEach(std::string_view key, std::string_view range_end, bool want_value,
                              absl::FunctionRef<bool(const KeyState&)> visit) const {
  RangeReader reader(state_, key, range_end, read_at_);
  while (!reader.done()) {
    std::vector<Pair> pairs;
    ETCDD_RETURN_IF_ERROR(reader.NextSlice(
        [&](const KeySlot& slot, const KeyRevision& revision, bool current)
            ABSL_NO_THREAD_SAFETY_ANALYSIS {
          pairs.push_back(reader.MakePair(slot, revision, current));
          return true;
        }));
    ETCDD_RETURN_IF_ERROR(reader.Complete(&pairs, /*stubs_do=*/!want_value));
    for (const Pair& pair : pairs) {
      if (!visit(StateOf(pair.record.view()))) return absl::OkStatus();
    }
  }
  return absl::OkStatus();
}

WriteTxn::WriteTxn(StoreState* state, int64_t revision, int64_t compact_revision)
    : ReadTxn(state, revision, compact_revision, kReadLatest) {
  state_->txn_open_ = true;
}

WriteTxn::WriteTxn(WriteTxn&& other) noexcept
    : ReadTxn(other), changes_(other.changes_), events_(std::move(other.events_)),
      ended_(std::exchange(other.ended_, true)) {}

WriteTxn::~WriteTxn() { ETCDD_CHECK(ended_); }

absl::StatusOr<PutResult> WriteTxn::Put(std::string_view key, std::string_view value,
                                        const PutOptions& options) {
  ETCDD_CHECK(!ended_ && !key.empty());
  LeaseAttacher* leases = state_->leases_;
  if (options.lease != 0 && leases != nullptr && !leases->Exists(options.lease)) {
    return base::ApiError(base::ErrorId::kLeaseNotFound);
  }
  int64_t lease = options.lease;
  KeyLookup kept;  // owns the value that ignore_value keeps
  if (options.ignore_value || options.ignore_lease) {
    ETCDD_ASSIGN_OR_RETURN(kept, Lookup(key, options.ignore_value));
    if (!kept.state.exists) return base::ApiError(base::ErrorId::kKeyNotFound);
    if (options.ignore_value) value = kept.state.value;
    if (options.ignore_lease) lease = kept.state.lease;
  }
  const IndexChange change = state_->ApplyPut(key, value, lease, NextRevision());
  const int64_t old_lease = change.had_pair ? StateOf(change.old_record.view()).lease : 0;
  Record(change, lease, old_lease);
  PutResult result;
  if (!options.want_prev || !change.had_pair) return result;
  result.prev_kv = change.old_record;
  if (!change.old_resident) {
    std::shared_ptr<Backend> backend;
    {
      absl::ReaderMutexLock lock(&state_->mu_);
      backend = state_->backend_;
    }
    ETCDD_ASSIGN_OR_RETURN(result.prev_kv, state_->ReadRecord(
        *backend, change.old_revision.revision, kReadLatest));
  }
  return result;
}

void WriteTxn::Record(const IndexChange& change, int64_t lease, int64_t old_lease) {
  const bool is_delete = change.revision.tombstone;
  const std::string_view record = change.record.view();
  const std::string_view key = RecordKey(record);
  LeaseAttacher* leases = state_->leases_;
  if (leases != nullptr && lease != old_lease) {
    if (old_lease != 0) leases->Detach(old_lease, key);  // KV-033, KV-036
    if (lease != 0) leases->Attach(lease, key);
  }
  // A stored deletion is the key alone: the front of its event.
  const std::string_view stored =
      is_delete ? record.substr(0, static_cast<size_t>(key.data() + key.size() - record.data()))
                : record;
  state_->revision_key_.clear();
  AppendRevision(change.revision.revision, is_delete, &state_->revision_key_);
  state_->batch_->Put(Bucket::kKey, state_->revision_key_, stored);
  revision_ = base_revision_ + 1;
  ++changes_;
  if (state_->observer_ == nullptr) return;
  Event event;
  event.is_delete = is_delete;
  event.kv = change.record;
  event.key = key;
  if (change.had_pair && change.old_revision.revision.main == revision_) {
    // WATCH-029: all events of a key changed twice carry the pair of the revision before, but for
    // creations.
    const bool creation = !is_delete && StateOf(record).create_revision == revision_;
    const auto first = std::find_if(events_.begin(), events_.end(),
                                    [key](const Event& e) { return e.key == key; });
    ETCDD_CHECK(first != events_.end());
    if (!creation) {
      event.prev_kv = first->prev_kv;
      event.prev_revision = first->prev_revision;
    }
  } else if (change.had_pair) {
    if (change.old_resident) event.prev_kv = change.old_record;
    event.prev_revision = change.old_revision.revision;
  }
  events_.push_back(std::move(event));
}

absl::StatusOr<DeleteRangeResult> WriteTxn::DeleteRange(std::string_view key,
                                                        std::string_view range_end,
                                                        std::string* prev_kvs) {
  ETCDD_CHECK(!ended_ && !key.empty());
  DeleteRangeResult result;
  RangeReader reader(state_, key, range_end, kReadLatest);
  while (!reader.done()) {
    std::vector<Pair> pairs;
    ETCDD_RETURN_IF_ERROR(reader.NextSlice(
        [&](const KeySlot& slot, const KeyRevision& revision, bool current)
            ABSL_NO_THREAD_SAFETY_ANALYSIS {
          pairs.push_back(reader.MakePair(slot, revision, current));
          return true;
        }));
    ETCDD_RETURN_IF_ERROR(reader.Complete(&pairs, /*stubs_do=*/prev_kvs == nullptr));
    std::vector<Bytes> records;
    records.reserve(pairs.size());
    for (Pair& pair : pairs) {
      if (prev_kvs != nullptr) {
        prev_kvs->push_back(kPrevKvsTag);
        base::AppendVarint(pair.record.size(), prev_kvs);
        prev_kvs->append(pair.record.view());
      }
      records.push_back(std::move(pair.record));
    }
    DeleteKeys(records);
    result.deleted += static_cast<int64_t>(records.size());
  }
  return result;
}

void WriteTxn::DeleteKeys(const std::vector<Bytes>& records) {
  for (size_t at = 0; at < records.size();) {
    const size_t end = std::min(records.size(), at + kDeletesPerLock);
    std::vector<IndexChange> changes(end - at);
    {
      absl::MutexLock lock(&state_->mu_);
      for (size_t i = 0; i < changes.size(); ++i) {
        Revision revision = NextRevision();
        revision.sub += static_cast<int64_t>(i);
        // Only this transaction changes what is alive.
        ETCDD_CHECK(state_->ApplyDelete(RecordKey(records[at + i].view()), revision, &changes[i]));
      }
    }
    for (const IndexChange& change : changes) {
      Record(change, 0, StateOf(change.old_record.view()).lease);
    }
    at = end;
  }
}

int64_t WriteTxn::End() {
  ETCDD_CHECK(!ended_);
  ended_ = true;
  state_->txn_open_ = false;
  if (changes_ > 0) {
    state_->latest_ = revision_;
    if (!events_.empty()) state_->queued_events_.push_back({revision_, std::move(events_)});
  }
  return revision_;
}

}  // namespace etcdd::mvcc
