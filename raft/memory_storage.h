#pragma once

// A stable log in memory: for tests, the simulator, and as the in-memory tail of a WAL.
//
// It keeps a dummy entry (index, term of the last compaction or snapshot) and the entries behind
// it. Confined to one strand: the raft strand calls it through Storage.

#include <cstdint>
#include <deque>
#include <memory>
#include <vector>

#include "absl/types/span.h"
#include "raft/storage.h"

namespace etcdd::raft {

class MemoryStorage : public Storage {
 public:
  MemoryStorage() = default;

  absl::StatusOr<InitialState> GetInitialState() const override;
  absl::Status Entries(uint64_t low, uint64_t high, uint64_t bytes_max,
                       std::vector<Entry>* entries) const override;
  absl::StatusOr<uint64_t> Term(uint64_t index) const override;
  uint64_t FirstIndex() const override { return dummy_index_ + 1; }
  uint64_t LastIndex() const override { return dummy_index_ + entries_.size(); }
  absl::StatusOr<std::shared_ptr<const Snapshot>> GetSnapshot() const override;

  void SetHardState(const HardState& hard_state) { hard_state_ = hard_state; }
  const HardState& hard_state() const { return hard_state_; }

  // Adds entries, dropping stored ones from entries[0].index on. Entries already compacted away are
  // skipped. Requires: contiguous, and no gap behind LastIndex() (checked).
  void Append(absl::Span<const Entry> entries);

  // Replaces the whole log by the snapshot. Error: SnapshotOutOfDateError() if it is not newer than
  // the stored one, except that while the stored index is 0 any snapshot is taken (etcd-io/raft
  // issue 370: a bootstrap snapshot that carries only a configuration).
  absl::Status ApplySnapshot(std::shared_ptr<const Snapshot> snapshot);

  // Makes a snapshot at `index` the newest one. Returns it.
  // Errors: SnapshotOutOfDateError() if not newer; UnavailableError() beyond the last index.
  absl::StatusOr<std::shared_ptr<const Snapshot>> CreateSnapshot(uint64_t index,
                                                                const ConfState& conf_state,
                                                                base::Bytes data);

  // Drops all entries up to and including `index`. The caller must not drop entries not applied.
  // Errors: CompactedError() if already dropped; UnavailableError() beyond the last index.
  absl::Status Compact(uint64_t index);

 private:
  HardState hard_state_;
  std::shared_ptr<const Snapshot> snapshot_ = std::make_shared<Snapshot>();
  uint64_t dummy_index_ = 0;  // index before entries_[0]; only grows
  uint64_t dummy_term_ = 0;
  std::deque<Entry> entries_;  // contiguous from dummy_index_ + 1
};

}  // namespace etcdd::raft
