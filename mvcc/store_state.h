#pragma once

// What Store, its transactions, Compaction and HashKv share. Internal to mvcc; the contract is in
// store.h.
//
// Three revisions: `visible` (what readers see) <= `latest` (after the last transaction of the open
// batch) <= `index_revision` (the running transaction's changes included). The index always holds
// the newest state; a reader looks at the newest revision of a key that is not above the one it is
// pinned to. Between a change and FinishBatch two small tables make that cheap: the records that
// were superseded in this batch, and what the batch did to the number of live keys.

#include <atomic>
#include <cstdint>
#include <deque>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/container/flat_hash_map.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "mvcc/backend/backend.h"
#include "mvcc/event.h"
#include "mvcc/hash_kv.h"
#include "mvcc/lease_attacher.h"
#include "mvcc/revision.h"
#include "mvcc/store.h"
#include "mvcc/tree_index.h"
#include "server/base/bytes.h"

namespace etcdd::mvcc {

inline constexpr std::string_view kScheduledCompactKey = "scheduledCompactRev";
inline constexpr std::string_view kFinishedCompactKey = "finishedCompactRev";
inline constexpr size_t kCompactionHashesMax = 10;

// A change of one key as the index saw it.
struct IndexChange {
  KeyRevision revision;
  base::Bytes record;      // the new one; of a deletion: key and mod revision
  bool had_pair = false;   // there was a live pair before
  KeyRevision old_revision;
  base::Bytes old_record;  // of the live pair before; a stub when !old_resident
  bool old_resident = false;
};

// A compaction that was accepted and whose removal is not finished.
struct PendingCompaction {
  int64_t revision = -1;
  int64_t previous_revision = -1;
  bool keep_hash = false;
};

// A stored pair in the form record.h promises; DataLoss when it is not the pair of that revision.
absl::StatusOr<base::Bytes> NormalRecord(std::string_view stored, Revision revision);

// What a backend holds, read and indexed, before it becomes a store's content.
class StoreContent {
 public:
  // On any thread; takes about a second per million keys.
  static absl::StatusOr<std::unique_ptr<StoreContent>> Read(std::shared_ptr<Backend> backend,
                                                            uint64_t resident_bytes_max);

  std::shared_ptr<Backend> backend;
  std::unique_ptr<TreeIndex> index;
  int64_t revision = 1;
  int64_t finished_compact = -1;
  int64_t scheduled_compact = -1;
  uint64_t resident_bytes = 0;
  uint64_t evicted = 0;
  std::vector<KeyRevision> orphans;
  std::vector<std::pair<int64_t, base::Bytes>> leased;  // lease id, record of a live key
};

class StoreState {
 public:
  StoreState(std::shared_ptr<Backend> backend, LeaseAttacher* leases, const StoreOptions& options)
      : options_(options), leases_(leases), backend_(std::move(backend)) {}

  // Newest state of the key: exclusive lock inside.
  IndexChange ApplyPut(std::string_view key, std::string_view value, int64_t lease, Revision rev);
  // False when the key is not alive.
  bool ApplyDelete(std::string_view key, Revision rev, IndexChange* change)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);

  // The encoded pair of a revision, from the backend. kCompacted when it is gone because a
  // compaction overtook a read at `read_at`; DataLoss when it should be there.
  absl::StatusOr<base::Bytes> ReadRecord(const Backend& backend, Revision revision,
                                         int64_t read_at) const;

  // Takes records just read from the backend back into memory, if nobody holds the lock.
  void TryAdmit(const std::vector<std::pair<Revision, base::Bytes>>& records);
  // Drops values until the limit is met, looking at no more than `visits_max` keys.
  void Evict(uint64_t visits_max);

  // Replaces everything by `content`, which takes over what was there.
  void Load(StoreContent* content);

  void CheckInvariants() const;

  // Fixed after construction.
  const StoreOptions options_;
  LeaseAttacher* const leases_;

  mutable absl::Mutex mu_;
  std::shared_ptr<Backend> backend_ ABSL_GUARDED_BY(mu_);
  std::unique_ptr<TreeIndex> index_ ABSL_GUARDED_BY(mu_) = std::make_unique<TreeIndex>();
  int64_t visible_ ABSL_GUARDED_BY(mu_) = 1;
  int64_t visible_compact_ ABSL_GUARDED_BY(mu_) = -1;
  int64_t index_revision_ ABSL_GUARDED_BY(mu_) = 1;
  // Records replaced or deleted in the open batch, whole.
  absl::flat_hash_map<std::pair<int64_t, int64_t>, base::Bytes> superseded_ ABSL_GUARDED_BY(mu_);
  // Record (for its key) and +1 or -1 per key that came to life or died in the open batch.
  std::vector<std::pair<base::Bytes, int>> live_changes_ ABSL_GUARDED_BY(mu_);
  uint64_t resident_bytes_ ABSL_GUARDED_BY(mu_) = 0;  // records of live resident keys
  uint64_t evicted_ ABSL_GUARDED_BY(mu_) = 0;         // live keys that are not resident
  std::string clock_hand_ ABSL_GUARDED_BY(mu_);       // next key the eviction looks at
  PendingCompaction pending_compaction_ ABSL_GUARDED_BY(mu_);
  // Records the backend holds and the index does not know, to go with the next compaction.
  std::vector<KeyRevision> orphans_ ABSL_GUARDED_BY(mu_);
  std::deque<HashKvResult> compaction_hashes_ ABSL_GUARDED_BY(mu_);
  int64_t finished_compact_ ABSL_GUARDED_BY(mu_) = -1;

  // Copies of the visible revisions for readers without the lock.
  std::atomic<int64_t> visible_copy_{1};
  std::atomic<int64_t> visible_compact_copy_{-1};

  // Confined to the apply strand.
  EventObserver* observer_ = nullptr;
  Batch* batch_ = nullptr;
  bool txn_open_ = false;
  int64_t latest_ = 1;
  int64_t latest_compact_ = -1;
  PendingCompaction accepted_;  // in the open batch; revision -1: none
  std::vector<RevisionEvents> queued_events_;
  std::string revision_key_;  // scratch

 private:
  void SetResident(TreeIndex::Path* path, base::Bytes record) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  void EvictSlice(uint64_t visits, std::vector<base::Bytes>* freed)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
};

}  // namespace etcdd::mvcc
