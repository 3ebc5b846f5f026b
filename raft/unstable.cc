#include "raft/unstable.h"

#include <algorithm>
#include <iterator>
#include <utility>

#include "raft/logging.h"
#include "server/base/check.h"

namespace etcdd::raft {

std::optional<uint64_t> Unstable::FirstIndex() const {
  if (snapshot_ == nullptr) return std::nullopt;
  return snapshot_->index + 1;
}

std::optional<uint64_t> Unstable::LastIndex() const {
  if (size() > 0) return offset_ + size() - 1;
  if (snapshot_ != nullptr) return snapshot_->index;
  return std::nullopt;
}

std::optional<uint64_t> Unstable::Term(uint64_t index) const {
  if (index < offset_) {
    if (snapshot_ != nullptr && snapshot_->index == index) return snapshot_->term;
    return std::nullopt;
  }
  if (index - offset_ >= size()) return std::nullopt;
  return entries_[head_ + (index - offset_)].term;
}

void Unstable::AcceptInProgress() {
  offset_in_progress_ = offset_ + size();
  if (snapshot_ != nullptr) snapshot_in_progress_ = true;
}

void Unstable::StableTo(uint64_t index, uint64_t term) {
  const std::optional<uint64_t> own_term = Term(index);
  if (!own_term.has_value()) {
    ETCDD_RAFT_LOG(logger_, kInfo, "entry at index %d missing from unstable log; ignoring", index);
    return;
  }
  if (index < offset_) {
    ETCDD_RAFT_LOG(logger_, kInfo, "entry at index %d matched unstable snapshot; ignoring", index);
    return;
  }
  if (*own_term != term) {
    ETCDD_RAFT_LOG(logger_, kInfo,
                   "entry at (index,term)=(%d,%d) mismatched with entry at (%d,%d) in unstable "
                   "log; ignoring",
                   index, term, index, *own_term);
    return;
  }
  DropFront(index + 1 - offset_);
  offset_ = index + 1;
  offset_in_progress_ = std::max(offset_in_progress_, offset_);
}

void Unstable::DropFront(size_t count) {
  // Releases the payloads now; the slots are cut off when they are half of the vector.
  constexpr size_t kKeptEntriesMax = 4096;
  if (count == size()) {
    entries_.clear();
    head_ = 0;
    if (entries_.capacity() > kKeptEntriesMax) std::vector<Entry>().swap(entries_);
    return;
  }
  std::fill_n(entries_.begin() + static_cast<std::ptrdiff_t>(head_), count, Entry());
  head_ += count;
  if (head_ * 2 >= entries_.size()) {
    entries_.erase(entries_.begin(), entries_.begin() + static_cast<std::ptrdiff_t>(head_));
    head_ = 0;
  }
}

void Unstable::StableSnapshotTo(uint64_t index) {
  if (snapshot_ == nullptr || snapshot_->index != index) return;
  snapshot_ = nullptr;
  snapshot_in_progress_ = false;
}

void Unstable::Restore(std::shared_ptr<const Snapshot> snapshot) {
  offset_ = snapshot->index + 1;
  offset_in_progress_ = offset_;
  entries_.clear();
  head_ = 0;
  snapshot_ = std::move(snapshot);
  snapshot_in_progress_ = false;
}

void Unstable::TruncateAndAppend(absl::Span<Entry> entries) {
  ETCDD_CHECK(!entries.empty());
  const uint64_t first = entries.front().index;
  ETCDD_CHECK(first <= offset_ + size());
  if (first == offset_ + size()) {
    // Plain extension.
  } else if (first <= offset_) {
    ETCDD_RAFT_LOG(logger_, kInfo, "replace the unstable entries from index %d", first);
    entries_.clear();
    head_ = 0;
    offset_ = first;
    offset_in_progress_ = first;
  } else {
    ETCDD_RAFT_LOG(logger_, kInfo, "truncate the unstable entries before index %d", first);
    entries_.resize(head_ + (first - offset_));
    offset_in_progress_ = std::min(offset_in_progress_, first);
  }
  entries_.insert(entries_.end(), std::make_move_iterator(entries.begin()),
                  std::make_move_iterator(entries.end()));
}

absl::Span<const Entry> Unstable::Slice(uint64_t low, uint64_t high) const {
  ETCDD_CHECK(offset_ <= low);
  ETCDD_CHECK(low <= high);
  ETCDD_CHECK(high <= offset_ + size());
  return entries().subspan(low - offset_, high - low);
}

void Unstable::CheckInvariants() const {
  ETCDD_CHECK(head_ <= entries_.size());
  ETCDD_CHECK(offset_ <= offset_in_progress_);
  ETCDD_CHECK(offset_in_progress_ <= offset_ + size());
  ETCDD_CHECK(snapshot_ != nullptr || !snapshot_in_progress_);
  if (snapshot_ != nullptr) ETCDD_CHECK(offset_ > snapshot_->index);
  uint64_t term = 0;
  for (size_t i = 0; i < size(); ++i) {
    const Entry& entry = entries_[head_ + i];
    ETCDD_CHECK(entry.index == offset_ + i);
    ETCDD_CHECK(entry.term >= term);
    term = entry.term;
  }
}

}  // namespace etcdd::raft
