#include "mvcc/store_history.h"

namespace etcdd::mvcc {

BackendHistorySources HistoryOf(const Store& store) {
  BackendHistorySources sources;
  sources.backend = [&store] { return store.backend(); };
  sources.compact_revision = [&store] { return store.compact_revision(); };
  sources.pair_at = [&store](std::string_view key,
                             int64_t revision) -> absl::StatusOr<base::Bytes> {
    // To the store, 0 means the newest state.
    if (revision <= 0) return base::Bytes();
    return store.GetAt(key, revision);
  };
  return sources;
}

}  // namespace etcdd::mvcc
