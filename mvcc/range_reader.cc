#include "mvcc/range_reader.h"

#include <algorithm>
#include <utility>

#include "server/base/api_error.h"
#include "server/base/check.h"
#include "server/base/coding.h"
#include "server/base/status_macros.h"

namespace etcdd::mvcc {
namespace {

using base::Bytes;

constexpr char kKvsTag = 0x12;  // RangeResponse.kvs
// Above this a count under an open batch walks instead of correcting the tree's answer.
constexpr size_t kLiveChangesMax = 4096;
// Larger answers say nothing about what will be asked again; they do not refresh the value cache.
constexpr size_t kAdmitPairsMax = 64;
constexpr uint64_t kReserveBytesMax = 4 << 20;

void AppendPair(std::string_view record, std::string* kvs) {
  kvs->push_back(kKvsTag);
  base::AppendVarint(record.size(), kvs);
  kvs->append(record);
}

bool InRange(std::string_view key, std::string_view begin, std::string_view end) {
  return key >= begin && (end.empty() || key < end);
}

bool HasFilters(const RangeOptions& o) {
  return o.min_mod_revision != 0 || o.max_mod_revision != 0 || o.min_create_revision != 0 ||
         o.max_create_revision != 0;
}

bool Passes(const RangeOptions& o, const RecordFields& f) {
  return (o.min_mod_revision == 0 || f.mod_revision >= o.min_mod_revision) &&
         (o.max_mod_revision == 0 || f.mod_revision <= o.max_mod_revision) &&
         (o.min_create_revision == 0 || f.create_revision >= o.min_create_revision) &&
         (o.max_create_revision == 0 || f.create_revision <= o.max_create_revision);
}

}  // namespace

RangeReader::RangeReader(StoreState* state, std::string_view key, std::string_view range_end,
                         int64_t read_at)
    : state_(state), point_(range_end.empty()), key_(key), read_at_(read_at), next_(key) {
  // KV-012: one zero byte is "no end".
  end_ = range_end == std::string_view("\0", 1) ? std::string_view() : range_end;
}

absl::Status RangeReader::Pin() {
  if (!pinned_) {
    if (read_at_ == kReadVisible) read_at_ = state_->visible_;
    visible_ = state_->visible_;
    backend_ = state_->backend_;
    pinned_ = true;
  }
  if (read_at_ == kReadLatest) return absl::OkStatus();
  // Inside a transaction the revisions of the open batch may be asked for by number.
  if (read_at_ > state_->index_revision_) return base::ApiError(base::ErrorId::kFutureRev);
  if (read_at_ < state_->visible_compact_) return base::ApiError(base::ErrorId::kCompacted);
  return absl::OkStatus();
}

int64_t RangeReader::CountLocked() const {
  const TreeIndex& index = *state_->index_;
  if (!end_.empty() && end_ <= key_) return 0;
  if (read_at_ >= state_->index_revision_) {
    return static_cast<int64_t>(index.CountLive(key_, end_));
  }
  if (read_at_ != state_->visible_ || state_->live_changes_.size() > kLiveChangesMax) return -1;
  auto count = static_cast<int64_t>(index.CountLive(key_, end_));
  for (const auto& [record, delta] : state_->live_changes_) {
    if (InRange(RecordKey(record.view()), key_, end_)) count -= delta;
  }
  return count;
}

bool RangeReader::VisitSlot(const KeySlot& slot, Visit visit) const {
  const size_t known = slot.CountUpTo(read_at_);
  if (known == 0) return true;
  const KeyRevision revision = slot.revision_at(known - 1);
  if (revision.tombstone) return true;
  return visit(slot, revision, known == slot.revision_count());
}

absl::Status RangeReader::NextSlice(Visit visit, int64_t* count) {
  ETCDD_CHECK(!done_);
  absl::ReaderMutexLock lock(&state_->mu_);
  const bool first = !pinned_;
  ETCDD_RETURN_IF_ERROR(Pin());
  const TreeIndex& index = *state_->index_;
  if (point_) {
    done_ = true;
    const KeySlot* slot = index.Find(key_);
    bool found = false;
    if (slot != nullptr) {
      VisitSlot(*slot, [&](const KeySlot& s, const KeyRevision& revision, bool current) {
        found = true;
        if (!visit(s, revision, current)) done_ = false;
        return true;
      });
    }
    if (count != nullptr) *count = found ? 1 : 0;
    return absl::OkStatus();
  }
  if (first && count != nullptr) *count = CountLocked();
  TreeIndex::Path path;
  bool valid = index.Seek(next_, &path);
  for (uint32_t keys = 0; valid; ++keys, valid = index.Next(&path)) {
    path.PrefetchAhead();
    const KeySlot& slot = path.slot();
    if (!end_.empty() && slot.key() >= end_) break;
    if (keys == state_->options_.read_slice_keys_max || !VisitSlot(slot, visit)) {
      next_ = slot.key();
      return absl::OkStatus();
    }
  }
  done_ = true;
  return absl::OkStatus();
}

Pair RangeReader::MakePair(const KeySlot& slot, const KeyRevision& revision, bool current) const {
  Pair pair;
  pair.revision = revision.revision;
  if (current) {
    slot.Touch();
    pair.record = slot.ShareRecord();
    pair.stub = !slot.resident();
    return pair;
  }
  const auto known =
      state_->superseded_.find(std::pair(revision.revision.main, revision.revision.sub));
  if (known != state_->superseded_.end()) pair.record = known->second;
  return pair;
}

absl::Status RangeReader::Complete(std::vector<Pair>* pairs, bool stubs_do) {
  std::vector<std::pair<Revision, Bytes>> admitted;
  for (Pair& pair : *pairs) {
    const bool was_stub = pair.stub;
    if (was_stub ? stubs_do : !pair.record.empty()) continue;
    ETCDD_ASSIGN_OR_RETURN(pair.record, state_->ReadRecord(*backend_, pair.revision, read_at_));
    pair.stub = false;
    if (was_stub && pairs->size() <= kAdmitPairsMax) {
      admitted.emplace_back(pair.revision, pair.record);
    }
  }
  if (!admitted.empty()) state_->TryAdmit(admitted);
  return absl::OkStatus();
}

namespace {

// One Range request being answered.
class RangeRun {
 public:
  RangeRun(StoreState* state, const RangeOptions& options, int64_t read_at, std::string* kvs)
      : state_(state), o_(options), kvs_(kvs),
        reader_(state, options.key, options.range_end, read_at) {
    key_order_ = o_.sort_target == SortTarget::kKey && o_.sort_order != SortOrder::kDescend;
    filters_ = HasFilters(o_);
    limit_ = o_.limit > 0 ? static_cast<uint64_t>(o_.limit) : ~uint64_t{0};
  }

  absl::StatusOr<RangeResult> Run() {
    absl::Status status;
    if (o_.count_only) {
      status = CountOnly();
    } else if (key_order_ && !filters_) {
      status = InKeyOrder();
    } else {
      status = Gather();
    }
    if (!status.ok()) return status;
    if (!o_.skip_count && result_.count < 0) {
      result_.count = walked_;
      ETCDD_RETURN_IF_ERROR(CountRest());
    }
    if (o_.skip_count) result_.count = 0;
    result_.revision = reader_.visible();
    result_.read_revision = reader_.read_at();
    return std::move(result_);
  }

 private:
  static bool Skip(const KeySlot&, const KeyRevision&, bool) { return true; }

  absl::Status CountOnly() {
    if (o_.skip_count) return absl::OkStatus();
    // A visitor that stops at once: the count comes with the pin.
    return reader_.NextSlice([&](const KeySlot&, const KeyRevision&, bool) { return false; },
                             &result_.count);
  }

  // The keys that no slice has counted yet.
  absl::Status CountRest() {
    while (!reader_.done()) {
      ETCDD_RETURN_IF_ERROR(reader_.NextSlice([&](const KeySlot&, const KeyRevision&, bool) {
        ++result_.count;
        return true;
      }));
    }
    return absl::OkStatus();
  }

  void Emit(std::string_view record, std::string* out) {
    if (!o_.keys_only) {
      AppendPair(record, out);
    } else if (o_.sort_target == SortTarget::kValue) {
      AppendPair(RecordWithoutValue(record), out);
    } else {
      AppendPair(RecordWithoutValueAndLease(record), out);  // KV-021
    }
  }

  // The common case: records go straight from memory to the output; from the first one on that is
  // not in memory, the rest of the slice waits for the backend.
  absl::Status InKeyOrder() {
    int64_t* count = o_.skip_count ? nullptr : &result_.count;
    while (!reader_.done() && !result_.more) {
      std::vector<Pair> waiting;
      size_t slice_bytes = 0;
      const auto visit = [&](const KeySlot& slot, const KeyRevision& revision, bool current)
                             ABSL_NO_THREAD_SAFETY_ANALYSIS {
        if (static_cast<uint64_t>(result_.kvs_count) == limit_) {
          result_.more = true;
          return false;
        }
        if (slice_bytes >= state_->options_.read_slice_bytes_max) return false;
        ++result_.kvs_count;
        if (waiting.empty() && current && (slot.resident() || o_.keys_only)) {
          slot.Touch();
          const std::string_view record = slot.record();
          slice_bytes += record.size();
          if (result_.kvs_count == 1) Reserve(record.size());
          Emit(record, kvs_);
        } else {
          waiting.push_back(reader_.MakePair(slot, revision, current));
          slice_bytes += waiting.back().record.size();
        }
        return true;
      };
      ETCDD_RETURN_IF_ERROR(reader_.NextSlice(visit, count));
      count = nullptr;
      ETCDD_RETURN_IF_ERROR(reader_.Complete(&waiting, o_.keys_only));
      for (const Pair& pair : waiting) Emit(pair.record.view(), kvs_);
    }
    walked_ = result_.kvs_count;
    if (result_.more) result_.resume_key = reader_.next_key();
    return absl::OkStatus();
  }

  void Reserve(size_t record_bytes) {
    if (result_.count <= 1) return;
    const uint64_t pairs = std::min(limit_, static_cast<uint64_t>(result_.count));
    kvs_->reserve(kvs_->size() + std::min(kReserveBytesMax, pairs * (record_bytes + 6)));
  }

  // Sorted or filtered answers (KV-022..026).
  absl::Status Gather() {
    const bool values_needed = o_.sort_target == SortTarget::kValue;
    // KV-025: without an order only the first limit + 1 keys are looked at; with filters in key
    // order nothing after the first limit + 1 that pass matters.
    const bool first_keys = o_.sort_order == SortOrder::kNone && !filters_;
    const bool may_stop = o_.limit > 0 && (first_keys || key_order_);
    const uint64_t enough = limit_ == ~uint64_t{0} ? limit_ : limit_ + 1;
    std::vector<Pair> pairs;
    int64_t* count = o_.skip_count ? nullptr : &result_.count;
    while (!reader_.done() && !(may_stop && pairs.size() >= enough)) {
      std::vector<Pair> slice;
      const auto visit = [&](const KeySlot& slot, const KeyRevision& revision, bool current)
                             ABSL_NO_THREAD_SAFETY_ANALYSIS {
        if (may_stop && first_keys && pairs.size() + slice.size() >= enough) return false;
        slice.push_back(reader_.MakePair(slot, revision, current));
        ++walked_;
        return true;
      };
      ETCDD_RETURN_IF_ERROR(reader_.NextSlice(visit, count));
      count = nullptr;
      ETCDD_RETURN_IF_ERROR(reader_.Complete(&slice, !values_needed));
      for (Pair& pair : slice) {
        if (filters_ && !Passes(o_, *DecodeRecord(pair.record.view()))) continue;
        pairs.push_back(std::move(pair));
      }
    }
    Sort(&pairs);
    if (pairs.size() > limit_) {
      result_.more = true;
      pairs.resize(static_cast<size_t>(limit_));
    }
    ETCDD_RETURN_IF_ERROR(reader_.Complete(&pairs, o_.keys_only));
    for (const Pair& pair : pairs) Emit(pair.record.view(), kvs_);
    result_.kvs_count = static_cast<int64_t>(pairs.size());
    return absl::OkStatus();
  }

  void Sort(std::vector<Pair>* pairs) const {
    if (key_order_) return;
    struct SortKey {
      int64_t number;
      std::string_view text;
      size_t position;
    };
    std::vector<SortKey> keys(pairs->size());
    for (size_t i = 0; i < keys.size(); ++i) {
      const auto fields = DecodeRecord((*pairs)[i].record.view());
      ETCDD_CHECK(fields.has_value());
      keys[i].position = i;
      switch (o_.sort_target) {
        case SortTarget::kKey: keys[i].text = fields->key; break;
        case SortTarget::kValue: keys[i].text = fields->value; break;
        case SortTarget::kVersion: keys[i].number = fields->version; break;
        case SortTarget::kCreate: keys[i].number = fields->create_revision; break;
        case SortTarget::kMod: keys[i].number = fields->mod_revision; break;
      }
    }
    // Equal ones stay in key order in both directions (KV-026).
    const bool descend = o_.sort_order == SortOrder::kDescend;
    std::stable_sort(keys.begin(), keys.end(), [descend](const SortKey& a, const SortKey& b) {
      const SortKey& low = descend ? b : a;
      const SortKey& high = descend ? a : b;
      return low.number != high.number ? low.number < high.number : low.text < high.text;
    });
    std::vector<Pair> sorted;
    sorted.reserve(keys.size());
    for (const SortKey& key : keys) sorted.push_back(std::move((*pairs)[key.position]));
    *pairs = std::move(sorted);
  }

  StoreState* const state_;
  const RangeOptions& o_;
  std::string* const kvs_;
  RangeReader reader_;
  RangeResult result_;
  bool key_order_;
  bool filters_;
  uint64_t limit_;
  int64_t walked_ = 0;  // pairs the slices have passed
};

}  // namespace

absl::StatusOr<RangeResult> ReadRange(StoreState* state, const RangeOptions& options,
                                      int64_t read_at, std::string* kvs) {
  ETCDD_CHECK(!options.key.empty());
  return RangeRun(state, options, read_at, kvs).Run();
}

}  // namespace etcdd::mvcc
