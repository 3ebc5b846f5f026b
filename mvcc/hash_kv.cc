#include "mvcc/hash_kv.h"

#include <algorithm>
#include <memory>
#include <vector>

#include "mvcc/range_reader.h"
#include "mvcc/store.h"
#include "mvcc/store_state.h"
#include "server/base/api_error.h"
#include "server/base/crc32c.h"
#include "server/base/status_macros.h"

namespace etcdd::mvcc {

RevisionHasher::RevisionHasher(int64_t revision, int64_t compact_revision)
    : revision_(revision), compact_revision_(compact_revision),
      hash_(base::Crc32c(0, BucketName(Bucket::kKey))) {}

void RevisionHasher::Add(const DecodedRevision& decoded, bool kept, std::string_view key,
                         std::string_view value) {
  const int64_t main = decoded.revision.main;
  if (main > revision_) return;
  if (main <= compact_revision_ && skip_ && !kept) return;
  // Such a deletion may or may not have been removed (backend-schema.md section 4).
  if (main == compact_revision_ && decoded.tombstone) return;
  hash_ = base::Crc32c(base::Crc32c(hash_, key), value);
}

absl::StatusOr<uint32_t> HashBackend(const View& view) {
  uint32_t hash = 0;
  for (int i = 0; i < kBucketCount; ++i) {
    const auto bucket = static_cast<Bucket>(i);
    hash = base::Crc32c(hash, BucketName(bucket));
    ETCDD_RETURN_IF_ERROR(
        view.Scan(bucket, {}, {}, [&](std::string_view key, std::string_view value) {
          const bool ignored =
              bucket == Bucket::kMeta &&
              (key == "consistent_index" || key == "term" || key == "storageVersion");
          if (!ignored) hash = base::Crc32c(base::Crc32c(hash, key), value);
          return true;
        }));
  }
  return hash;
}

namespace {

// The newest revisions at `revision` of all keys alive there, as far as they are <= `compact`,
// sorted. `*any`: some key is alive there.
absl::StatusOr<std::vector<Revision>> KeptRevisions(const StoreState& state, int64_t revision,
                                                    int64_t compact, bool* any) {
  std::vector<Revision> kept;
  std::string next;
  for (bool valid = true; valid;) {
    absl::ReaderMutexLock lock(&state.mu_);
    // Up to here the index cannot have lost what is kept at `revision`.
    if (state.visible_compact_ > revision) return base::ApiError(base::ErrorId::kCompacted);
    TreeIndex::Path path;
    valid = state.index_->Seek(next, &path);
    for (uint32_t keys = 0; valid; ++keys, valid = state.index_->Next(&path)) {
      const KeySlot& slot = path.slot();
      if (keys == state.options_.read_slice_keys_max) {
        next = slot.key();
        break;
      }
      const size_t known = slot.CountUpTo(revision);
      if (known == 0) continue;
      const KeyRevision newest = slot.revision_at(known - 1);
      if (newest.tombstone) continue;
      *any = true;
      if (newest.revision.main <= compact) kept.push_back(newest.revision);
    }
  }
  std::sort(kept.begin(), kept.end());
  return kept;
}

}  // namespace

absl::StatusOr<HashKvResult> Store::HashKv(int64_t rev) const {
  HashKvResult result;
  std::unique_ptr<View> view;
  {
    absl::ReaderMutexLock lock(&state_->mu_);
    result.revision = state_->visible_;
    result.compact_revision = state_->visible_compact_;
    if (rev == 0) rev = state_->visible_;
    result.hash_revision = rev;
    if (rev > 0 && rev < state_->visible_compact_) {
      return base::ApiError(base::ErrorId::kCompacted);
    }
    if (rev > state_->visible_) return base::ApiError(base::ErrorId::kFutureRev);
    for (const HashKvResult& stored : state_->compaction_hashes_) {
      if (stored.hash_revision != rev) continue;
      result.hash = stored.hash;
      result.compact_revision = stored.compact_revision;
      return result;
    }
    view = state_->backend_->NewView();
  }
  RevisionHasher hasher(rev, result.compact_revision);
  std::vector<Revision> kept;
  if (rev >= 0 && result.compact_revision > 0) {
    bool any = false;
    ETCDD_ASSIGN_OR_RETURN(kept, KeptRevisions(*state_, rev, result.compact_revision, &any));
    hasher.set_skip(any);
  }
  size_t kept_next = 0;
  absl::Status status;
  const std::string end = rev < 0 ? std::string(1, '\0') : EncodeRevision({rev + 1, 0});
  ETCDD_RETURN_IF_ERROR(view->Scan(
      Bucket::kKey, {}, end, [&](std::string_view key, std::string_view value) {
        const auto decoded = DecodeRevision(key);
        if (!decoded) {
          status = absl::DataLossError("mvcc: a record's key is no revision");
          return false;
        }
        const bool is_kept = kept_next < kept.size() && kept[kept_next] == decoded->revision;
        if (is_kept) ++kept_next;
        hasher.Add(*decoded, is_kept, key, value);
        return true;
      }));
  if (!status.ok()) return status;
  result.hash = hasher.hash();
  return result;
}

}  // namespace etcdd::mvcc
