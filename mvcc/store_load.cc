// StoreContent::Read and StoreState::Load: the index from the key bucket (backend-schema.md section
// 2, restore rules).
// One scan in revision order collects the records, a sort by key brings the revisions of each key
// together, and the tree is built bottom-up; inserting key by key would take several times as long.

#include <algorithm>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "mvcc/record.h"
#include "mvcc/store_state.h"
#include "server/base/log.h"
#include "server/base/status_macros.h"

namespace etcdd::mvcc {
namespace {

using base::Bytes;

// A record of the scan; they stay in revision order.
struct Loaded {
  Bytes record;
  int64_t main;
  int64_t sub;
  bool tombstone;
  bool resident;
};

constexpr size_t kFarAhead = 16;
constexpr size_t kNearAhead = 8;

// What is sorted: small, and mostly decided by the head alone.
struct SortEntry {
  uint64_t head;   // of the key after the prefix all keys share
  uint64_t index;  // into the loaded records
};

class Loader {
 public:
  explicit Loader(uint64_t resident_bytes_max) : resident_bytes_max_(resident_bytes_max) {}

  absl::Status Scan(const View& view) {
    absl::Status status;
    const absl::Status scanned = view.Scan(
        Bucket::kKey, {}, {}, [&](std::string_view key, std::string_view value) {
          status = Add(key, value);
          return status.ok();
        });
    return scanned.ok() ? status : scanned;
  }

  // Builds the slots in key order. `attach` hears of live keys with a lease.
  template <typename Attach>
  std::vector<KeySlot> Build(Attach&& attach) {
    std::vector<SortEntry> order = Sorted();
    std::vector<KeySlot> slots;
    slots.reserve(order.size());
    std::vector<KeyRevision> revisions;
    for (size_t at = 0; at < order.size();) {
      // In key order the records are scattered: ask for those to come.
      if (at + kFarAhead < order.size()) {
        __builtin_prefetch(&loaded_[order[at + kFarAhead].index]);
        __builtin_prefetch(loaded_[order[at + kNearAhead].index].record.view().data());
      }
      const std::string_view key = KeyOf(order[at]);
      revisions.clear();
      size_t end = at;
      for (; end < order.size() && order[end].head == order[at].head && KeyOf(order[end]) == key;
           ++end) {
        const Loaded& loaded = loaded_[order[end].index];
        revisions.push_back({{loaded.main, loaded.sub}, loaded.tombstone});
      }
      Loaded& last = loaded_[order[end - 1].index];
      if (!last.tombstone) {
        resident_ += last.resident ? last.record.size() : 0;
        evicted_ += last.resident ? 0 : 1;
        const auto fields = DecodeRecord(last.record.view());
        if (fields->lease != 0) attach(fields->lease, last.record);
      }
      slots.push_back(KeySlot::Make(std::move(last.record), revisions, last.resident));
      // Older records of the key are not needed any more.
      for (; at < end; ++at) loaded_[order[at].index].record = Bytes();
    }
    return slots;
  }

  int64_t main_max() const { return main_max_; }
  uint64_t resident_bytes() const { return resident_; }
  uint64_t evicted() const { return evicted_; }
  std::vector<KeyRevision>& orphans() { return orphans_; }

 private:
  absl::Status Add(std::string_view key, std::string_view value) {
    const auto decoded = DecodeRevision(key);
    if (!decoded) return absl::DataLossError("mvcc: a record's key is no revision");
    const Revision revision = decoded->revision;
    main_max_ = std::max(main_max_, revision.main);
    if (value.empty()) {
      // Written by a restore that raises the revision; it stands for no key.
      orphans_.push_back({revision, decoded->tombstone});
      return absl::OkStatus();
    }
    Loaded loaded{{}, revision.main, revision.sub, decoded->tombstone, true};
    if (decoded->tombstone) {
      const auto fields = DecodeRecord(value);
      if (!fields || fields->key.empty()) {
        return absl::DataLossError(absl::StrCat("mvcc: the deletion at revision ", revision.main,
                                                ".", revision.sub, " names no key"));
      }
      loaded.record = EncodeRecord({.key = fields->key, .mod_revision = revision.main});
    } else {
      ETCDD_ASSIGN_OR_RETURN(loaded.record, NormalRecord(value, revision));
      if (loaded_bytes_ + loaded.record.size() > resident_bytes_max_) {
        loaded.record = Bytes::Copy(RecordWithoutValue(loaded.record.view()));
        loaded.resident = false;
      }
      loaded_bytes_ += loaded.record.size();
    }
    const std::string_view added = RecordKey(loaded.record.view());
    if (loaded_.empty()) {
      shared_prefix_ = added.size();
    } else {
      const std::string_view previous = RecordKey(loaded_.back().record.view());
      shared_prefix_ = std::min(shared_prefix_, CommonPrefix(previous, added));
      ascending_ = ascending_ && previous <= added;
    }
    loaded_.push_back(std::move(loaded));
    return absl::OkStatus();
  }

  std::string_view KeyOf(const SortEntry& entry) const {
    return RecordKey(loaded_[entry.index].record.view());
  }

  std::vector<SortEntry> Sorted() const {
    std::vector<SortEntry> order(loaded_.size());
    for (size_t i = 0; i < order.size(); ++i) {
      order[i] = {KeyHead<uint64_t>(RecordKey(loaded_[i].record.view()), shared_prefix_), i};
    }
    if (ascending_) return order;
    std::sort(order.begin(), order.end(), [this](const SortEntry& a, const SortEntry& b) {
      if (a.head != b.head) return a.head < b.head;
      const int keys = KeyOf(a).compare(KeyOf(b));
      return keys != 0 ? keys < 0 : a.index < b.index;
    });
    return order;
  }

  const uint64_t resident_bytes_max_;
  std::vector<Loaded> loaded_;
  std::vector<KeyRevision> orphans_;
  uint64_t loaded_bytes_ = 0;
  uint64_t resident_ = 0;
  uint64_t evicted_ = 0;
  int64_t main_max_ = 1;  // KV-001
  size_t shared_prefix_ = 0;
  bool ascending_ = true;
};

// -1 when absent.
absl::StatusOr<int64_t> ReadCompactRevision(const View& view, std::string_view key) {
  const absl::StatusOr<std::string> stored = view.Get(Bucket::kMeta, key);
  if (absl::IsNotFound(stored.status())) return -1;
  if (!stored.ok()) return stored.status();
  const auto decoded = DecodeRevision(*stored);
  if (!decoded) {
    return absl::DataLossError(absl::StrCat("mvcc: ", std::string(key), " is no revision"));
  }
  return decoded->revision.main;
}

}  // namespace

absl::StatusOr<std::unique_ptr<StoreContent>> StoreContent::Read(std::shared_ptr<Backend> backend,
                                                                 uint64_t resident_bytes_max) {
  const std::unique_ptr<View> view = backend->NewView();
  auto content = std::make_unique<StoreContent>();
  ETCDD_ASSIGN_OR_RETURN(content->finished_compact,
                         ReadCompactRevision(*view, kFinishedCompactKey));
  ETCDD_ASSIGN_OR_RETURN(content->scheduled_compact,
                         ReadCompactRevision(*view, kScheduledCompactKey));
  Loader loader(resident_bytes_max);
  ETCDD_RETURN_IF_ERROR(loader.Scan(*view));
  content->backend = std::move(backend);
  content->index = std::make_unique<TreeIndex>();
  content->index->BuildSorted(loader.Build([&](int64_t lease, const Bytes& record) {
    content->leased.emplace_back(lease, record);
  }));
  content->revision = std::max(
      {loader.main_max(), content->finished_compact, content->scheduled_compact});
  content->resident_bytes = loader.resident_bytes();
  content->evicted = loader.evicted();
  content->orphans = std::move(loader.orphans());
  return content;
}

void StoreState::Load(StoreContent* content) {
  const int64_t compact = std::max(content->finished_compact, content->scheduled_compact);
  PendingCompaction pending;
  if (content->scheduled_compact > content->finished_compact) {
    // Interrupted: its hash would depend on how far it came (MAINT-029).
    pending = {.revision = content->scheduled_compact,
               .previous_revision = content->finished_compact,
               .keep_hash = false};
  }
  {
    absl::MutexLock lock(&mu_);
    backend_.swap(content->backend);
    index_.swap(content->index);
    visible_ = content->revision;
    visible_compact_ = compact;
    index_revision_ = content->revision;
    resident_bytes_ = content->resident_bytes;
    evicted_ = content->evicted;
    clock_hand_.clear();
    superseded_.clear();
    live_changes_.clear();
    pending_compaction_ = pending;
    finished_compact_ = content->finished_compact;
    orphans_ = std::move(content->orphans);
    compaction_hashes_.clear();
    visible_copy_.store(content->revision, std::memory_order_release);
    visible_compact_copy_.store(compact, std::memory_order_release);
  }
  latest_ = content->revision;
  latest_compact_ = compact;
  accepted_ = {};
  if (leases_ == nullptr) return;
  for (const auto& [lease, record] : content->leased) {
    const std::string_view key = RecordKey(record.view());
    if (!leases_->Exists(lease)) {
      ETCDD_LOG(kError, "failed to attach a lease",
                {{"lease-id", base::LogId(static_cast<uint64_t>(lease))},
                 {"error", "requested lease not found"}});
    }
    leases_->Attach(lease, key);
  }
}

}  // namespace etcdd::mvcc
