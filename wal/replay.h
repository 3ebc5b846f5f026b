#pragma once

// Reads the records of consecutive segments and rebuilds what they say.

#include <cstdint>
#include <string>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "wal/record.h"
#include "wal/segment.h"
#include "wal/types.h"

namespace etcdd::wal {

// How the last segment ends.
struct LogEnd {
  uint64_t offset = 0;  // behind the last valid record
  bool torn = false;
  uint32_t crc = 0;  // rolling checksum there
};

// Where a record stands.
struct RecordPlace {
  const std::string& path;
  uint64_t offset;
};

// Hands each record to `visit` in order and stops at the first error. A segment without its first
// two records (checksum, metadata) is refused: writers make them durable before the file gets its
// name.
absl::StatusOr<LogEnd> ScanSegments(
    std::vector<Segment>& segments,
    absl::FunctionRef<absl::Status(const Record&, const RecordPlace&)> visit);

struct Replayed {
  Contents contents;
  LogEnd end;
  uint64_t last_index = 0;  // the last entry seen, or the last snapshot mark if larger
};

// Rebuilds the log behind `start`: entries at or before it are skipped, an entry that comes again
// replaces itself and drops everything after it. NotFound when there is no mark at `start`,
// FailedPrecondition when its term differs, DataLoss for damage and gaps.
absl::StatusOr<Replayed> ReplaySegments(std::vector<Segment>& segments, const std::string& dir,
                                        const SnapshotRecord& start);

}  // namespace etcdd::wal
