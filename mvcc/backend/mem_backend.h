#pragma once

// A Backend in memory, for tests, the simulator and embedding. It keeps the promises of backend.h,
// the crash included: the object plays the disk and outlives the member that uses it.
//
//   MemBackend disk;
//   ... run a member on it, destroy the member ...
//   disk.Crash();            // as if the process had died: what was not flushed is gone
//   ... run the next member on the same object ...
//
// Views are cheap: each value carries the batch number that wrote it, and a view remembers a
// number. An old value is freed by the first write or flush after the end of the last view that
// could see it.
//
// Thread-safe as backend.h says; the fault and crash methods like Write.

#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "mvcc/backend/backend.h"

namespace etcdd::mvcc {

class MemBackend : public Backend {
 public:
  MemBackend() = default;
  // Requires: no view is alive.
  ~MemBackend() override;
  MemBackend(const MemBackend&) = delete;
  MemBackend& operator=(const MemBackend&) = delete;

  std::unique_ptr<Batch> NewBatch() override;
  absl::Status Write(Batch& batch) override;
  absl::StatusOr<std::string> Get(Bucket bucket, std::string_view key) const override;
  std::unique_ptr<View> NewView() const override;
  absl::Status Flush() override;
  // Deletions free memory at once; this only takes SizeBytes back to what is in use.
  void CompactHint(std::string_view key_bucket_end) override;
  void WhenCompacted(base::Task done) override { done(); }
  // Content plus a fixed overhead per record; the first is the high-water mark since the last
  // CompactHint or crash (a file does not shrink by itself either).
  uint64_t SizeBytes() const override;
  uint64_t SizeInUseBytes() const override;

  // Batches written since the last flush.
  size_t unflushed_batches() const;
  // Forgets all but the first `keep_batches` of the batches that were not flushed (a store may
  // have written some of them by itself), and all injected faults. Requires: no view is alive.
  void Crash(size_t keep_batches = 0);

  // The `nth` call from now on fails (1 = the next one), and with it everything after, until Crash.
  // 0 takes the order back. A failed write or flush has had no effect.
  void FailWrite(uint64_t nth);
  void FailFlush(uint64_t nth);

 private:
  class MemBatch;
  class MemView;

  // One state of a record: written by batch `sequence`; nullopt = deleted.
  struct Version {
    uint64_t sequence;
    std::optional<std::string> value;
  };
  // Oldest first, never empty.
  using Versions = std::vector<Version>;
  using Records = std::map<std::string, Versions, std::less<>>;
  struct RecordId {
    Bucket bucket;
    std::string key;
  };
  // What a batch replaced, in the order it did.
  struct Undo {
    RecordId record;
    std::optional<std::string> old_value;
  };
  // The record has versions which only views older than `sequence` can see.
  struct Garbage {
    uint64_t sequence;
    RecordId record;
  };

  absl::Status CheckHealthyLocked() const ABSL_SHARED_LOCKS_REQUIRED(mu_);
  // Sets the newest state and returns the one before.
  std::optional<std::string> SetLocked(uint64_t sequence, const RecordId& record,
                                       std::optional<std::string> value)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  // Drops versions no view can see.
  void PruneLocked(const RecordId& record) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  void CollectGarbageLocked() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  // The newest state as of `sequence`; nullptr when absent then.
  const std::string* FindLocked(uint64_t sequence, Bucket bucket, std::string_view key) const
      ABSL_SHARED_LOCKS_REQUIRED(mu_);
  void ReleaseView(uint64_t sequence) const;

  Records& records(Bucket bucket) ABSL_SHARED_LOCKS_REQUIRED(mu_) {
    return records_[static_cast<size_t>(bucket)];
  }
  const Records& records(Bucket bucket) const ABSL_SHARED_LOCKS_REQUIRED(mu_) {
    return records_[static_cast<size_t>(bucket)];
  }

  mutable absl::Mutex mu_;
  Records records_[kBucketCount] ABSL_GUARDED_BY(mu_);
  // Number of the last batch; only grows.
  uint64_t sequence_ ABSL_GUARDED_BY(mu_) = 0;
  // Sequences of the views alive.
  mutable std::multiset<uint64_t> views_ ABSL_GUARDED_BY(mu_);
  // In sequence order.
  std::deque<Garbage> garbage_ ABSL_GUARDED_BY(mu_);
  // One entry per batch written since the last flush.
  std::deque<std::vector<Undo>> undo_ ABSL_GUARDED_BY(mu_);
  uint64_t live_bytes_ ABSL_GUARDED_BY(mu_) = 0;
  uint64_t live_bytes_max_ ABSL_GUARDED_BY(mu_) = 0;
  uint64_t fail_write_in_ ABSL_GUARDED_BY(mu_) = 0;
  uint64_t fail_flush_in_ ABSL_GUARDED_BY(mu_) = 0;
  absl::Status failure_ ABSL_GUARDED_BY(mu_);
};

}  // namespace etcdd::mvcc
