#pragma once

// A bounded piece of history with the events that somebody waits for. Reading it blocks on the
// disk, so it happens on a worker strand; see catch_up.h.

#include <cstddef>
#include <cstdint>
#include <vector>

#include "absl/status/status.h"
#include "mvcc/event.h"
#include "mvcc/history_reader.h"
#include "mvcc/watcher_group.h"

namespace etcdd::mvcc {

// What one watcher wants of it.
struct HistoryWish {
  KeyRange range;
  bool prev_kv = false;
};

struct HistoryRequest {
  int64_t from = 0;
  int64_t to = 0;  // inclusive
  // At most so many revisions with changes, and so many bytes of records; whole revisions only,
  // and at least one.
  size_t revisions_max = 0;
  size_t bytes_max = 0;
  std::vector<HistoryWish> wishes;
};

struct HistoryChunk {
  // kCompacted when request.from is; then the rest is empty.
  absl::Status status;
  // Revisions with wanted events, in order; previous pairs are filled in where wanted.
  std::vector<RevisionEvents> revisions;
  // Everything in [request.from, next) is covered.
  int64_t next = 0;
};

HistoryChunk ReadHistory(const HistoryReader& history, const HistoryRequest& request);

}  // namespace etcdd::mvcc
