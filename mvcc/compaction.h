#pragma once

// The removal of superseded revisions after ScheduleCompaction, in small steps (KV-071..075).
//
//   while (true) {                                    // worker
//     std::unique_ptr<Batch> batch = backend->NewBatch();
//     absl::StatusOr<bool> more = compaction->Step(batch.get());
//     post to the apply strand: backend->Write(*batch);   // one thread at a time calls Write
//     if (!*more) break;
//     pause
//   }
//   compaction->Finish();
//
// Step never writes: the caller writes the batch where all other batches are written, before the
// next Step, and skips it when batch->count() is 0. Crash-safe at any point: only records go which
// no read at or above the compact revision can see; finishedCompactRev is in the last batch, and
// Open resumes when it is missing.
//
// Confined to one thread at a time (a worker); the store's own methods may run meanwhile.

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "mvcc/backend/backend.h"
#include "mvcc/hash_kv.h"
#include "mvcc/key_slot.h"

namespace etcdd::mvcc {

class StoreState;
struct StoreOptions;

class Compaction {
 public:
  ~Compaction();
  Compaction(const Compaction&) = delete;
  Compaction& operator=(const Compaction&) = delete;

  // Everything not needed at or above this revision goes.
  int64_t revision() const { return revision_; }

  // Does one bounded piece of work and puts its deletions into `batch`. True: call again.
  // An error comes from the backend.
  absl::StatusOr<bool> Step(Batch* batch);

  // Requires: Step said false and its batch was written. Publishes finished_compact_revision and
  // the hash (MAINT-029), and tells the backend that space can be given back.
  void Finish();

  uint64_t removed() const { return removed_; }

 private:
  friend class Store;
  Compaction(StoreState* state, int64_t revision, int64_t previous_revision, bool keep_hash);

  // Prunes the index a little way on; true: there is more.
  bool PruneSlice();
  absl::StatusOr<bool> RemoveStep(Batch* batch);
  absl::StatusOr<bool> ScanStep(const Backend& backend, const StoreOptions& options,
                                Batch* batch);
  void Remove(Batch* batch);

  StoreState* const state_;
  const int64_t revision_;
  const int64_t previous_revision_;  // compact revision before this one
  const bool keep_hash_;

  enum class Phase : uint8_t { kPrune, kRemove, kWritten, kFinished };
  Phase phase_ = Phase::kPrune;
  std::string prune_from_;            // next key to prune
  std::vector<KeyRevision> garbage_;  // what pruning found; sorted when it is done
  size_t garbage_next_ = 0;           // before it: already in a batch
  bool keep_any_ = false;             // some key has a revision that stays
  std::string remove_from_;           // next record to look at
  RevisionHasher hasher_;
  uint64_t removed_ = 0;
};

}  // namespace etcdd::mvcc
