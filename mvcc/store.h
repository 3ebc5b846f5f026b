#pragma once

// The multi-version store: every change of a key gets a revision, the newest state and its history
// down to the compact revision can be read.
//
// Writing is a cycle on the apply strand, one per batch of committed entries:
//
//   std::unique_ptr<Batch> batch = backend->NewBatch();
//   store.BeginBatch(batch.get());
//   { WriteTxn txn = store.NewWriteTxn(); txn.Put(...); txn.End(); }   // one per entry
//   store.ScheduleCompaction(rev);                                     // a Compact entry
//   ... the caller adds its own records (consistent index, leases) to the same batch ...
//   backend->Write(*batch);
//   store.FinishBatch();   // the new revisions become visible, the observer hears of them
//
// Transactions of a batch see each other at once. Readers see a revision only after FinishBatch, so
// nothing they may need is still on its way to the backend.
//
// Threads: methods under "apply strand" are confined to it. Methods under "any thread" are
// thread-safe; they hold a shared lock for one bounded slice at a time and never during I/O. The
// observer and the lease attacher are called on the apply strand with no lock held.

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "mvcc/backend/backend.h"
#include "mvcc/compaction.h"
#include "mvcc/event.h"
#include "mvcc/hash_kv.h"
#include "mvcc/lease_attacher.h"
#include "mvcc/read_options.h"
#include "mvcc/revision.h"
#include "mvcc/store_txn.h"
#include "server/base/bytes.h"

namespace etcdd::mvcc {

class StoreContent;
class StoreState;  // index and what belongs to it; internal

struct StoreOptions {
  // Encoded bytes of current pairs kept in memory; above it the least used ones are dropped and
  // read from the backend when asked for. Keys and revisions always stay in memory.
  uint64_t resident_bytes_max = uint64_t{4} << 30;
  // A reader holds the lock for at most this many keys and about this many bytes at a time.
  uint32_t read_slice_keys_max = 1000;
  uint32_t read_slice_bytes_max = 512 * 1024;
  // One compaction step removes at most this many records (KV-072) and looks at no more than
  // `compaction_step_scan_max`. The index is pruned under locks of at most about
  // `compaction_step_keys_max` keys with history each.
  uint32_t compaction_step_revisions_max = 1000;
  uint32_t compaction_step_scan_max = 10000;
  uint32_t compaction_step_keys_max = 500;
};

// Sizes for metrics; moments in time, not consistent with each other.
struct StoreStats {
  uint64_t keys = 0;            // live keys at the newest revision
  uint64_t index_keys = 0;      // with the dead ones that still have history
  uint64_t index_bytes = 0;     // tree and histories, without the records
  uint64_t resident_bytes = 0;  // encoded bytes of records in memory
  uint64_t evicted_values = 0;  // current pairs whose value is only in the backend
};

class Store {
 public:
  // Reads the key bucket and the compact revisions and re-attaches leases (backend-schema.md
  // section 2). An interrupted compaction is pending afterwards (NewCompaction gives it). `leases`
  // may be null; it must outlive the store. DataLoss when a record cannot be read.
  //
  // The backend is shared because reads in flight may still use the old one after Restore.
  static absl::StatusOr<std::unique_ptr<Store>> Open(std::shared_ptr<Backend> backend,
                                                     LeaseAttacher* leases,
                                                     const StoreOptions& options = {});
  ~Store();

  // ---- Apply strand ----

  // Hears of all later transactions; null = nobody. Must outlive the store or be replaced.
  void SetObserver(EventObserver* observer);

  // Puts other content in place of this one's (a snapshot from the leader was installed). Requires:
  // no batch is open and no Compaction object is alive. Reads in flight go on at their revision, or
  // end with the compacted error. Afterwards `content` holds what was there, for whoever wants to
  // spend the time to destroy it.
  void Restore(const std::shared_ptr<StoreContent>& content);

  // `batch` is borrowed until FinishBatch.
  void BeginBatch(Batch* batch);
  // Requires: the batch was written to the backend.
  void FinishBatch();
  bool batch_open() const;

  // A transaction on the newest state. One at a time. Requires: a batch is open.
  WriteTxn NewWriteTxn();

  // Revision after the last transaction, visible or not, and the compact revision likewise.
  int64_t latest_revision() const;
  int64_t latest_compact_revision() const;

  // Accepts a compaction (KV-070): kCompacted when rev <= the compact revision, kFutureRev when
  // rev > the latest revision. Puts scheduledCompactRev into the batch; readers notice at
  // FinishBatch. Records are removed by NewCompaction. Requires: a batch is open.
  absl::Status ScheduleCompaction(int64_t rev);

  // ---- Any thread ----

  // Reads what `backend` holds, for Restore. Takes about a second per million keys. DataLoss when a
  // record cannot be read.
  absl::StatusOr<std::shared_ptr<StoreContent>> ReadContent(std::shared_ptr<Backend> backend) const;

  // Newest visible revision; 1 for a fresh store.
  int64_t revision() const;
  // -1 when never compacted. Reads at this revision work, below they fail.
  int64_t compact_revision() const;
  // Highest compaction whose records are gone from the backend; -1 when none (KV-073).
  int64_t finished_compact_revision() const;

  // Appends each pair to `kvs` as the field RangeResponse.kvs (tag 2, length, KeyValue) and says
  // the rest in the result (KV-011..029). kFutureRev, kCompacted. A long range is read in slices;
  // when a compaction overtakes one that was pinned to a revision, it fails with kCompacted (and
  // `kvs` holds a part of the answer); one at the newest revision starts again by itself.
  absl::StatusOr<RangeResult> Range(const RangeOptions& options, std::string* kvs) const;

  // A series of reads pinned to the newest visible revision, for a read-only transaction. Any of
  // them may fail with kCompacted when a compaction overtakes it: then begin again.
  ReadTxn NewReadTxn() const;

  // The encoded KeyValue of `key` as of `rev` (<= 0: the newest one); empty when the key did not
  // exist then. kCompacted, kFutureRev as Range.
  absl::StatusOr<base::Bytes> GetAt(std::string_view key, int64_t rev) const;

  // HashKV of MAINT-026..030; rev 0 = the store's revision. Scans the key bucket: call it on a
  // worker. kCompacted, kFutureRev.
  absl::StatusOr<HashKvResult> HashKv(int64_t rev) const;
  // Hashes made by compactions, oldest first, at most 10 (MAINT-029).
  std::vector<HashKvResult> compaction_hashes() const;

  // The pending removal, if records wait for it (also after a restart in the middle of one), else
  // null. One at a time; the object must not outlive the store.
  std::unique_ptr<Compaction> NewCompaction();

  // The backend in use now.
  std::shared_ptr<Backend> backend() const;
  StoreStats stats() const;

  // Aborts when the index contradicts itself. Walks everything.
  void CheckInvariants() const;

 private:
  friend class ReadTxn;
  friend class WriteTxn;
  friend class Compaction;

  explicit Store(std::unique_ptr<StoreState> state);

  const std::unique_ptr<StoreState> state_;
};

}  // namespace etcdd::mvcc
