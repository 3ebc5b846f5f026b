#pragma once

// The part of the log not yet acknowledged as stable: at most one snapshot, and the entries from
// offset() on. What was handed out for writing but is not acknowledged is "in progress". offset()
// may lie below the last stable index: an overwrite is pending.
//
// Entries handed out are copies sharing immutable payloads, so truncation never changes them.
// Confined to the raft strand.

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <vector>

#include "absl/types/span.h"
#include "raft/config.h"
#include "raft/types.h"

namespace etcdd::raft {

class Unstable {
 public:
  // Nothing unstable; the next entry has index `offset`. `logger` may be null.
  Unstable(uint64_t offset, Logger* logger)
      : offset_(offset), offset_in_progress_(offset), logger_(logger) {}

  uint64_t offset() const { return offset_; }
  uint64_t offset_in_progress() const { return offset_in_progress_; }
  absl::Span<const Entry> entries() const {
    return absl::MakeConstSpan(entries_).subspan(head_);
  }
  const std::shared_ptr<const Snapshot>& snapshot() const { return snapshot_; }

  std::optional<uint64_t> FirstIndex() const;  // only known if there is a snapshot
  std::optional<uint64_t> LastIndex() const;   // none if there is nothing unstable
  std::optional<uint64_t> Term(uint64_t index) const;

  // Entries and snapshot not yet in progress.
  absl::Span<const Entry> NextEntries() const {
    return entries().subspan(offset_in_progress_ - offset_);
  }
  std::shared_ptr<const Snapshot> NextSnapshot() const {
    return snapshot_in_progress_ ? nullptr : snapshot_;
  }

  // Everything unstable is now in progress.
  void AcceptInProgress();

  // Entries up to (index, term) are stable: forgets them. Ignored (logged) when that entry is not
  // in here any more: it was overwritten or already acknowledged.
  void StableTo(uint64_t index, uint64_t term);
  // Forgets the snapshot if it is exactly this one.
  void StableSnapshotTo(uint64_t index);

  // Everything is replaced by the snapshot.
  void Restore(std::shared_ptr<const Snapshot> snapshot);

  // Adds entries, dropping those at or behind the first one. Moves from `entries`.
  // Requires: not empty, contiguous, no gap behind the last unstable entry.
  void TruncateAndAppend(absl::Span<Entry> entries);

  // Entries [low, high). Requires: offset() <= low <= high <= end.
  absl::Span<const Entry> Slice(uint64_t low, uint64_t high) const;

  void CheckInvariants() const;

 private:
  size_t size() const { return entries_.size() - head_; }
  void DropFront(size_t count);

  std::shared_ptr<const Snapshot> snapshot_;  // null = none
  bool snapshot_in_progress_ = false;
  // Unstable entry i is entries_[head_ + i - offset_]; acknowledged ones before head_ are emptied
  // at once and cut off now and then, so that acknowledging is cheap.
  std::vector<Entry> entries_;
  size_t head_ = 0;
  uint64_t offset_;
  uint64_t offset_in_progress_;  // offset_ <= this <= offset_ + size()
  Logger* const logger_;
};

}  // namespace etcdd::raft
