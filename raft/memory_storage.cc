#include "raft/memory_storage.h"

#include <algorithm>
#include <utility>

#include "server/base/check.h"

namespace etcdd::raft {

absl::StatusOr<Storage::InitialState> MemoryStorage::GetInitialState() const {
  return InitialState{hard_state_, snapshot_->conf_state};
}

absl::Status MemoryStorage::Entries(uint64_t low, uint64_t high, uint64_t bytes_max,
                                    std::vector<Entry>* entries) const {
  ETCDD_CHECK(low < high);
  if (low <= dummy_index_) return CompactedError();
  if (high > LastIndex() + 1) return UnavailableError();
  uint64_t bytes = 0;
  for (uint64_t index = low; index < high; ++index) {
    const Entry& entry = entries_[index - dummy_index_ - 1];
    bytes += EncodedSize(entry);
    if (index > low && bytes > bytes_max) break;
    entries->push_back(entry);
  }
  return absl::OkStatus();
}

absl::StatusOr<uint64_t> MemoryStorage::Term(uint64_t index) const {
  if (index < dummy_index_) return CompactedError();
  if (index == dummy_index_) return dummy_term_;
  if (index > LastIndex()) return UnavailableError();
  return entries_[index - dummy_index_ - 1].term;
}

absl::StatusOr<std::shared_ptr<const Snapshot>> MemoryStorage::GetSnapshot() const {
  return snapshot_;
}

void MemoryStorage::Append(absl::Span<const Entry> entries) {
  if (entries.empty()) return;
  if (entries.back().index <= dummy_index_) return;
  if (entries.front().index <= dummy_index_) {
    entries.remove_prefix(dummy_index_ + 1 - entries.front().index);
  }
  const uint64_t first = entries.front().index;
  ETCDD_CHECK(first <= LastIndex() + 1);
  entries_.resize(first - dummy_index_ - 1);
  for (const Entry& entry : entries) {
    ETCDD_CHECK(entry.index == LastIndex() + 1);
    entries_.push_back(entry);
  }
}

absl::Status MemoryStorage::ApplySnapshot(std::shared_ptr<const Snapshot> snapshot) {
  if (snapshot_->index != 0 && snapshot->index <= snapshot_->index) {
    return SnapshotOutOfDateError();
  }
  snapshot_ = std::move(snapshot);
  dummy_index_ = snapshot_->index;
  dummy_term_ = snapshot_->term;
  entries_.clear();
  return absl::OkStatus();
}

absl::StatusOr<std::shared_ptr<const Snapshot>> MemoryStorage::CreateSnapshot(
    uint64_t index, const ConfState& conf_state, base::Bytes data) {
  if (index <= snapshot_->index) return SnapshotOutOfDateError();
  if (index > LastIndex()) return UnavailableError();
  absl::StatusOr<uint64_t> term = Term(index);
  if (!term.ok()) return term.status();
  Snapshot snapshot;
  snapshot.conf_state = conf_state;
  snapshot.index = index;
  snapshot.term = *term;
  snapshot.data = std::move(data);
  snapshot_ = std::make_shared<const Snapshot>(std::move(snapshot));
  return snapshot_;
}

absl::Status MemoryStorage::Compact(uint64_t index) {
  if (index <= dummy_index_) return CompactedError();
  if (index > LastIndex()) return UnavailableError();
  dummy_term_ = entries_[index - dummy_index_ - 1].term;
  entries_.erase(entries_.begin(),
                 entries_.begin() + static_cast<std::ptrdiff_t>(index - dummy_index_));
  dummy_index_ = index;
  return absl::OkStatus();
}

}  // namespace etcdd::raft
