#pragma once

// History as the key bucket of a backend holds it.

#include <cstdint>
#include <functional>
#include <memory>
#include <string_view>

#include "mvcc/backend/backend.h"
#include "mvcc/history_reader.h"

namespace etcdd::mvcc {

// What the key bucket alone does not tell. All functions are called from any thread.
struct BackendHistorySources {
  // The backend in use now (it changes when a snapshot is installed).
  std::function<std::shared_ptr<Backend>()> backend;
  // Must be raised before the first record at or below it is removed.
  std::function<int64_t()> compact_revision;
  // The stored KeyValue of a key as of a revision; empty: did not exist; kCompacted.
  std::function<absl::StatusOr<base::Bytes>(std::string_view key, int64_t revision)> pair_at;
};

class BackendHistory : public HistoryReader {
 public:
  explicit BackendHistory(BackendHistorySources sources);

  int64_t CompactRevision() const override;
  absl::Status Scan(int64_t from, int64_t to,
                    absl::FunctionRef<bool(Revision revision, bool is_delete,
                                           std::string_view record)>
                        visit) const override;
  absl::StatusOr<base::Bytes> PairAt(std::string_view key, int64_t revision) const override;

 private:
  const BackendHistorySources sources_;
};

}  // namespace etcdd::mvcc
