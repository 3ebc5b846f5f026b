#include "mvcc/compaction.h"

#include <algorithm>
#include <limits>
#include <utility>

#include "mvcc/store_state.h"
#include "server/base/check.h"
#include "server/base/crc32c.h"
#include "server/base/status_macros.h"

namespace etcdd::mvcc {
namespace {

// One Step prunes this many slices, each under a lock of its own.
constexpr int kPruneSlicesPerStep = 32;
// Passing a key without history costs this small part of pruning one with history.
constexpr uint32_t kPlainKeysPerPruned = 16;

}  // namespace

Compaction::Compaction(StoreState* state, int64_t revision, int64_t previous_revision,
                       bool keep_hash)
    : state_(state), revision_(revision), previous_revision_(previous_revision),
      keep_hash_(keep_hash), hasher_(revision, previous_revision) {}

Compaction::~Compaction() {
  if (phase_ == Phase::kFinished) return;
  // The index has forgotten these already; whoever compacts next has to know them.
  absl::MutexLock lock(&state_->mu_);
  state_->orphans_.insert(state_->orphans_.end(),
                          garbage_.begin() + static_cast<ptrdiff_t>(garbage_next_),
                          garbage_.end());
}

absl::StatusOr<bool> Compaction::Step(Batch* batch) {
  ETCDD_CHECK(phase_ == Phase::kPrune || phase_ == Phase::kRemove);
  if (phase_ == Phase::kRemove) return RemoveStep(batch);
  for (int i = 0; i < kPruneSlicesPerStep; ++i) {
    if (PruneSlice()) continue;
    std::sort(garbage_.begin(), garbage_.end());
    hasher_.set_skip(keep_any_);
    phase_ = Phase::kRemove;
    break;
  }
  return true;
}

bool Compaction::PruneSlice() {
  std::vector<std::string> emptied;
  absl::MutexLock lock(&state_->mu_);
  if (prune_from_.empty()) {
    auto& orphans = state_->orphans_;
    const auto due = std::partition(orphans.begin(), orphans.end(), [this](const KeyRevision& r) {
      return r.revision.main > revision_;
    });
    garbage_.insert(garbage_.end(), due, orphans.end());
    orphans.erase(due, orphans.end());
  }
  TreeIndex& index = *state_->index_;
  uint32_t left = state_->options_.compaction_step_keys_max * kPlainKeysPerPruned;
  TreeIndex::Path path;
  bool valid = index.Seek(prune_from_, &path);
  for (; valid && left > 0; valid = index.Next(&path)) {
    const uint32_t cost = path.slot().has_history() ? kPlainKeysPerPruned : 1;
    left -= std::min(left, cost);
    if (!path.slot().has_history()) {
      keep_any_ = keep_any_ || path.slot().CountUpTo(revision_) > 0;
      continue;
    }
    index.Update(&path, [&](KeySlot& slot) {
      if (slot.Compact(revision_, &garbage_, &keep_any_)) emptied.emplace_back(slot.key());
    });
  }
  prune_from_ = valid ? std::string(path.slot().key()) : std::string();
  for (const std::string& key : emptied) {
    ETCDD_CHECK(index.Locate(key, &path));
    index.Erase(&path);
  }
  return valid;
}

absl::StatusOr<bool> Compaction::RemoveStep(Batch* batch) {
  const StoreOptions& options = state_->options_;
  const std::shared_ptr<Backend> backend = [this] {
    absl::ReaderMutexLock lock(&state_->mu_);
    return state_->backend_;
  }();
  bool more;
  if (keep_hash_) {
    ETCDD_ASSIGN_OR_RETURN(more, ScanStep(*backend, options, batch));
  } else {
    // Without a hash nobody needs to look at the records that stay.
    for (uint32_t n = 0; n < options.compaction_step_revisions_max &&
                         garbage_next_ < garbage_.size(); ++n) {
      Remove(batch);
    }
    more = garbage_next_ < garbage_.size();
  }
  if (more) return true;
  ETCDD_CHECK(garbage_next_ == garbage_.size());
  batch->Put(Bucket::kMeta, kFinishedCompactKey, EncodeRevision({revision_, 0}));
  phase_ = Phase::kWritten;
  return false;
}

void Compaction::Remove(Batch* batch) {
  const KeyRevision& r = garbage_[garbage_next_++];
  batch->Delete(Bucket::kKey, EncodeRevision(r.revision, r.tombstone));
  ++removed_;
}

absl::StatusOr<bool> Compaction::ScanStep(const Backend& backend, const StoreOptions& options,
                                          Batch* batch) {
  uint32_t seen = 0;
  const uint64_t removed_max = removed_ + options.compaction_step_revisions_max;
  bool stopped = false;
  absl::Status status;
  const std::unique_ptr<View> view = backend.NewView();
  ETCDD_RETURN_IF_ERROR(view->Scan(
      Bucket::kKey, remove_from_, EncodeRevision({revision_ + 1, 0}),
      [&](std::string_view key, std::string_view value) {
        if (seen++ == options.compaction_step_scan_max || removed_ == removed_max) {
          remove_from_ = key;
          stopped = true;
          return false;
        }
        const auto decoded = DecodeRevision(key);
        if (!decoded) {
          status = absl::DataLossError("mvcc: a record's key is no revision");
          return false;
        }
        const bool garbage = garbage_next_ < garbage_.size() &&
                             garbage_[garbage_next_].revision == decoded->revision;
        hasher_.Add(*decoded, !garbage, key, value);
        if (garbage) Remove(batch);
        return true;
      }));
  if (!status.ok()) return status;
  return stopped;
}

void Compaction::Finish() {
  ETCDD_CHECK(phase_ == Phase::kWritten);
  phase_ = Phase::kFinished;
  std::shared_ptr<Backend> backend;
  {
    absl::MutexLock lock(&state_->mu_);
    state_->finished_compact_ = std::max(state_->finished_compact_, revision_);
    if (keep_hash_) {
      auto& hashes = state_->compaction_hashes_;
      hashes.push_back({.hash = hasher_.hash(), .compact_revision = previous_revision_,
                        .hash_revision = revision_});
      if (hashes.size() > kCompactionHashesMax) hashes.pop_front();
    }
    backend = state_->backend_;
  }
  backend->CompactHint(
      EncodeRevision({revision_, std::numeric_limits<int64_t>::max()}));
}

}  // namespace etcdd::mvcc
