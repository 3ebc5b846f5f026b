#pragma once

// The joined log: the stable part read through Storage, the unstable part in memory, and the
// cursors
//   applied_ <= applying_ <= committed_ <= LastIndex(); each only grows.
// applying_ is the last entry handed out for applying, applied_ the last one acknowledged.
// Confined to the raft strand.

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "raft/config.h"
#include "raft/storage.h"
#include "raft/types.h"
#include "raft/unstable.h"

namespace etcdd::raft {

// An entry's identity: two logs that agree on it agree on everything before it.
struct EntryId {
  uint64_t term = 0;
  uint64_t index = 0;

  friend bool operator==(const EntryId&, const EntryId&) = default;
};

class Log {
 public:
  // Everything stored is stable; nothing is known to be committed beyond the compaction point.
  // `applying_bytes_max` limits the encoded size of entries handed out and not acknowledged.
  Log(Storage* storage, uint64_t applying_bytes_max, Logger* logger);

  uint64_t FirstIndex() const;
  uint64_t LastIndex() const;
  EntryId LastEntry() const;
  uint64_t committed() const { return committed_; }
  uint64_t applied() const { return applied_; }
  uint64_t applying() const { return applying_; }
  const Unstable& unstable() const { return unstable_; }
  Storage* storage() const { return storage_; }

  // Errors: CompactedError(), UnavailableError(); never a term of 0 for an unknown entry.
  absl::StatusOr<uint64_t> Term(uint64_t index) const;
  // Whether the log holds this very entry; an unknown term is no match.
  bool Matches(const EntryId& id) const;
  // Raft 5.4.1: whether a log ending in `last` may lead us.
  bool IsUpToDate(const EntryId& last) const;

  // Going down from `index`: the first position whose term is <= `term`, or whose term is unknown
  // (reported as 0). The bottom is {0, 0}.
  EntryId FindConflictByTerm(uint64_t index, uint64_t term) const;

  // Appends entries [low, high) under a byte limit to *entries; at least one if low < high.
  // Errors: CompactedError(). Requires: high <= LastIndex() + 1.
  absl::Status Entries(uint64_t low, uint64_t high, uint64_t bytes_max,
                       std::vector<Entry>* entries) const;
  // Calls `visit` with each entry of [low, high), a page at a time, until it returns false.
  absl::Status Scan(uint64_t low, uint64_t high, uint64_t page_bytes,
                    absl::FunctionRef<bool(const Entry&)> visit) const;

  // Follower append. The entry before `entries` is `previous`; if the log does not hold it, nothing
  // happens and `matched` is false.
  // Error: DataLoss if an entry contradicts a committed one.
  struct AppendResult {
    bool matched = false;
    uint64_t last_new_index = 0;  // of the message, not of the log
  };
  absl::StatusOr<AppendResult> MaybeAppend(const EntryId& previous, uint64_t commit,
                                           absl::Span<Entry> entries);
  // Unconditional append behind entries[0].index - 1, truncating. Requires: that is >= committed.
  void Append(absl::Span<Entry> entries);

  // Never goes back. Requires: index <= LastIndex().
  void CommitTo(uint64_t index);
  // Commits `index` if it is ahead and of `term` (Raft 5.4.2). Returns whether it did.
  bool MaybeCommit(uint64_t index, uint64_t term);

  // Applying ----------------------------------------------------------------------------------

  // Whether there are committed entries to hand out. `allow_unstable`: also those not stable yet.
  bool HasNextCommitted(bool allow_unstable) const;
  // Appends them to *entries under the outstanding-bytes limit.
  void NextCommitted(bool allow_unstable, std::vector<Entry>* entries) const;
  // Entries up to `index`, of `bytes`, were handed out.
  void AcceptApplying(uint64_t index, uint64_t bytes, bool allow_unstable);
  // Entries up to `index` are applied; `bytes` of the outstanding ones are done.
  void AppliedTo(uint64_t index, uint64_t bytes);

  // Writing -----------------------------------------------------------------------------------

  bool HasUnstableEntries() const { return !unstable_.entries().empty(); }
  bool HasUnstableSnapshot() const { return unstable_.snapshot() != nullptr; }
  void AcceptUnstable() { unstable_.AcceptInProgress(); }
  void StableTo(uint64_t index, uint64_t term) { unstable_.StableTo(index, term); }
  void StableSnapshotTo(uint64_t index) { unstable_.StableSnapshotTo(index); }
  // Replaces the log by a snapshot, which becomes unstable. Requires: ahead of committed.
  void Restore(std::shared_ptr<const Snapshot> snapshot);

  void CheckInvariants() const;

 private:
  // The last index that may be handed out for applying.
  uint64_t AppliableIndex(bool allow_unstable) const;
  // First of `entries` the log does not hold; entries.size() if it holds all.
  size_t FindConflict(absl::Span<const Entry> entries) const;

  // Fixed after construction.
  Storage* const storage_;
  Logger* const logger_;
  const uint64_t applying_bytes_max_;

  Unstable unstable_;
  uint64_t committed_;
  uint64_t applying_;
  uint64_t applied_;
  uint64_t applying_bytes_ = 0;   // encoded size of applied_+1 .. applying_, as reported
  bool applying_paused_ = false;  // until an acknowledgement makes room
};

// "committed=C, applied=A, ..." for the log line of a restore.
std::string Describe(const Log& log);

}  // namespace etcdd::raft
