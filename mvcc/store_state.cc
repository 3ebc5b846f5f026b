#include "mvcc/store_state.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "server/base/api_error.h"
#include "server/base/check.h"

namespace etcdd::mvcc {
namespace {

using base::Bytes;

// Dropping a smaller value frees next to nothing.
constexpr size_t kEvictedBytesMin = 48;
constexpr uint64_t kEvictSliceKeys = 256;

}  // namespace

IndexChange StoreState::ApplyPut(std::string_view key, std::string_view value, int64_t lease,
                                 Revision rev) {
  IndexChange change;
  change.revision = {rev, false};
  RecordFields fields{.key = key, .create_revision = rev.main, .mod_revision = rev.main,
                      .version = 1, .value = value, .lease = lease};
  absl::MutexLock lock(&mu_);
  TreeIndex::Path path;
  const bool known = index_->Locate(key, &path);
  if (known && !path.slot().dead()) {
    const auto old = DecodeRecord(path.slot().record());
    ETCDD_CHECK(old.has_value());
    fields.create_revision = old->create_revision;
    fields.version = old->version + 1;
    change.had_pair = true;
    change.old_revision = path.slot().current();
    change.old_resident = path.slot().resident();
  }
  change.record = EncodeRecord(fields);
  if (known) {
    index_->Update(&path, [&](KeySlot& slot) {
      Bytes old = slot.Append(change.record, change.revision);
      if (change.had_pair) change.old_record = std::move(old);
    });
  } else {
    index_->Insert(&path, KeySlot::Make(change.record, change.revision));
  }
  index_revision_ = rev.main;
  resident_bytes_ += change.record.size();
  if (!change.had_pair) {
    live_changes_.emplace_back(change.record, 1);
  } else if (change.old_resident) {
    resident_bytes_ -= change.old_record.size();
    superseded_.emplace(std::pair(change.old_revision.revision.main,
                                  change.old_revision.revision.sub), change.old_record);
  } else {
    --evicted_;
  }
  return change;
}

bool StoreState::ApplyDelete(std::string_view key, Revision rev, IndexChange* change) {
  TreeIndex::Path path;
  if (!index_->Locate(key, &path) || path.slot().dead()) return false;
  change->revision = {rev, true};
  change->had_pair = true;
  change->old_revision = path.slot().current();
  change->old_resident = path.slot().resident();
  change->record = EncodeRecord({.key = key, .mod_revision = rev.main});
  index_->Update(&path, [&](KeySlot& slot) {
    change->old_record = slot.Append(change->record, change->revision);
  });
  index_revision_ = rev.main;
  live_changes_.emplace_back(change->record, -1);
  if (change->old_resident) {
    resident_bytes_ -= change->old_record.size();
    superseded_.emplace(std::pair(change->old_revision.revision.main,
                                  change->old_revision.revision.sub), change->old_record);
  } else {
    --evicted_;
  }
  return true;
}

absl::StatusOr<Bytes> NormalRecord(std::string_view stored, Revision revision) {
  const auto fields = DecodeRecord(stored);
  if (!fields || fields->key.empty() || fields->mod_revision != revision.main) {
    return absl::DataLossError(absl::StrCat("mvcc: record of revision ", revision.main, ".",
                                            revision.sub, " is not a key-value pair of it"));
  }
  return IsCanonicalRecord(stored, *fields) ? Bytes::Copy(stored) : EncodeRecord(*fields);
}

absl::StatusOr<Bytes> StoreState::ReadRecord(const Backend& backend, Revision revision,
                                             int64_t read_at) const {
  absl::StatusOr<std::string> record = backend.Get(Bucket::kKey, EncodeRevision(revision));
  if (record.ok()) return NormalRecord(*record, revision);
  if (!absl::IsNotFound(record.status())) return record.status();
  if (read_at < visible_compact_copy_.load(std::memory_order_acquire)) {
    return base::ApiError(base::ErrorId::kCompacted);
  }
  return absl::DataLossError(absl::StrCat("mvcc: record of revision ", revision.main, ".",
                                          revision.sub, " is missing in the backend"));
}

void StoreState::SetResident(TreeIndex::Path* path, Bytes record) {
  resident_bytes_ += record.size();
  --evicted_;
  index_->Update(path, [&](KeySlot& slot) { slot.ReplaceRecord(std::move(record), true); });
}

void StoreState::TryAdmit(const std::vector<std::pair<Revision, Bytes>>& records) {
  std::vector<Bytes> freed;
  if (!mu_.TryLock()) return;
  mu_.AssertHeld();
  for (const auto& [revision, record] : records) {
    TreeIndex::Path path;
    if (!index_->Locate(RecordKey(record.view()), &path)) continue;
    const KeySlot& slot = path.slot();
    if (slot.dead() || slot.resident() || slot.current().revision != revision) continue;
    SetResident(&path, record);
    path.slot().Touch();
  }
  if (resident_bytes_ > options_.resident_bytes_max) EvictSlice(kEvictSliceKeys, &freed);
  mu_.Unlock();
}

void StoreState::EvictSlice(uint64_t visits, std::vector<Bytes>* freed) {
  TreeIndex::Path path;
  bool valid = index_->Seek(clock_hand_, &path);
  if (!valid) valid = index_->Seek({}, &path);
  for (; valid && visits > 0 && resident_bytes_ > options_.resident_bytes_max; --visits) {
    const KeySlot& slot = path.slot();
    // What is above `visible` is not in the backend yet.
    if (!slot.dead() && slot.resident() && slot.current().revision.main <= visible_) {
      index_->Update(&path, [&](KeySlot& changed) {
        if (changed.TestAndClearTouched()) return;
        const std::string stub = RecordWithoutValue(changed.record());
        if (stub.size() + kEvictedBytesMin > changed.record().size()) return;
        Bytes old = changed.ReplaceRecord(Bytes::Copy(stub), false);
        resident_bytes_ -= old.size();
        ++evicted_;
        freed->push_back(std::move(old));
      });
    }
    valid = index_->Next(&path);
  }
  if (valid) {
    clock_hand_ = path.slot().key();
  } else {
    clock_hand_.clear();
  }
}

void StoreState::Evict(uint64_t visits_max) {
  while (visits_max > 0) {
    const uint64_t visits = std::min(visits_max, kEvictSliceKeys);
    visits_max -= visits;
    std::vector<Bytes> freed;  // released after the lock
    absl::MutexLock lock(&mu_);
    if (resident_bytes_ <= options_.resident_bytes_max) return;
    EvictSlice(visits, &freed);
  }
}

void StoreState::CheckInvariants() const {
  absl::ReaderMutexLock lock(&mu_);
  index_->CheckInvariants();
  ETCDD_CHECK(visible_ <= latest_ && latest_ <= index_revision_);
  ETCDD_CHECK(visible_compact_ <= latest_compact_ && latest_compact_ <= latest_);
  ETCDD_CHECK(finished_compact_ <= visible_compact_);
  uint64_t resident = 0;
  uint64_t evicted = 0;
  TreeIndex::Path path;
  for (bool valid = index_->Seek({}, &path); valid; valid = index_->Next(&path)) {
    const KeySlot& slot = path.slot();
    ETCDD_CHECK(slot.current().revision.main <= index_revision_);
    if (slot.dead()) continue;
    (slot.resident() ? resident : evicted) += slot.resident() ? slot.record().size() : 1;
  }
  ETCDD_CHECK(resident == resident_bytes_ && evicted == evicted_);
}

}  // namespace etcdd::mvcc
