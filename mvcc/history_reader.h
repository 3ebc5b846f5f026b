#pragma once

// What the watch hub asks of the store: records of the past. BackendHistory (backend_history.h)
// reads them from the key bucket.

#include <cstdint>
#include <string_view>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "mvcc/revision.h"
#include "server/base/bytes.h"

namespace etcdd::mvcc {

// Thread-safe: all methods.
class HistoryReader {
 public:
  virtual ~HistoryReader() = default;

  // Below it history is gone; -1 when never compacted. Only grows.
  virtual int64_t CompactRevision() const = 0;

  // Visits the changes with from <= main revision <= to in revision order: `record` is the stored
  // KeyValue (of a deletion only the key). Stops early when `visit` says false. Never leaves a
  // change out: kCompacted when from < CompactRevision(), before anything was visited. Other errors
  // mean the store is broken. Blocks on the disk.
  virtual absl::Status Scan(
      int64_t from, int64_t to,
      absl::FunctionRef<bool(Revision revision, bool is_delete, std::string_view record)> visit)
      const = 0;

  // The stored KeyValue of `key` as of `revision`; empty when it did not exist then or when that
  // revision is compacted. May block on the disk.
  virtual absl::StatusOr<base::Bytes> PairAt(std::string_view key, int64_t revision) const = 0;
};

}  // namespace etcdd::mvcc
