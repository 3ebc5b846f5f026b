#pragma once

// The watch hub's view of the store's history.

#include "mvcc/backend_history.h"
#include "mvcc/store.h"

namespace etcdd::mvcc {

// For BackendHistory. `store` must outlive it.
BackendHistorySources HistoryOf(const Store& store);

}  // namespace etcdd::mvcc
