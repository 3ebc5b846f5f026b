#pragma once

// Reads of a range in slices: each slice holds the shared lock for a bounded number of keys and
// bytes, copies what is in memory, and fetches the rest from the backend after letting go.
// Internal to mvcc.

#include <cstdint>
#include <limits>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "mvcc/read_options.h"
#include "mvcc/store_state.h"
#include "server/base/bytes.h"

namespace etcdd::mvcc {

// Where a read looks. Requires for kLatest: the apply strand.
inline constexpr int64_t kReadVisible = 0;  // pinned by the first slice
inline constexpr int64_t kReadLatest = std::numeric_limits<int64_t>::max();

// One live pair as of the revision read.
struct Pair {
  base::Bytes record;  // whole, a stub (then `stub`), or empty: only in the backend
  bool stub = false;
  Revision revision;
};

class RangeReader {
 public:
  // `state` and the views must outlive the reader.
  RangeReader(StoreState* state, std::string_view key, std::string_view range_end,
              int64_t read_at);

  // What a slice calls for each live pair, under the shared lock. False: stop before this pair.
  using Visit = absl::FunctionRef<bool(const KeySlot& slot, const KeyRevision& revision,
                                       bool current)>;
  // Walks on for one slice. kCompacted when a compaction overtook, kFutureRev when the revision is
  // not there yet. The first call pins; `count` (if not null) then gets the number of live keys, or
  // -1 when that would take a walk.
  absl::Status NextSlice(Visit visit, int64_t* count = nullptr);

  // Valid after the first slice.
  bool done() const { return done_; }
  int64_t read_at() const { return read_at_; }
  int64_t visible() const { return visible_; }
  // Where the next slice begins: after a stop the pair that was refused.
  const std::string& next_key() const { return next_; }

  // Inside `visit`: the pair's record, as far as memory has it.
  Pair MakePair(const KeySlot& slot, const KeyRevision& revision, bool current) const
      ABSL_SHARED_LOCKS_REQUIRED(state_->mu_);
  // Between slices: reads what is missing. With `stubs_do` a stub is enough.
  absl::Status Complete(std::vector<Pair>* pairs, bool stubs_do);

 private:
  absl::Status Pin() ABSL_SHARED_LOCKS_REQUIRED(state_->mu_);
  int64_t CountLocked() const ABSL_SHARED_LOCKS_REQUIRED(state_->mu_);
  // Calls `visit` if the slot is alive at read_at_. False: it said stop.
  bool VisitSlot(const KeySlot& slot, Visit visit) const;

  StoreState* const state_;
  const bool point_;
  const std::string_view key_;
  std::string_view end_;  // empty: to the end of all keys
  int64_t read_at_;
  int64_t visible_ = 0;
  bool pinned_ = false;
  bool done_ = false;
  std::string next_;
  std::shared_ptr<Backend> backend_;
};

// Store::Range and ReadTxn::Range at a given place.
absl::StatusOr<RangeResult> ReadRange(StoreState* state, const RangeOptions& options,
                                      int64_t read_at, std::string* kvs);

}  // namespace etcdd::mvcc
