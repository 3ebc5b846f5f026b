#pragma once

// The Backend on disk, over RocksDB. What is chosen there and why: README.md in this folder.
//
// The directory belongs to one process at a time (RocksDB's LOCK file).

#include <cstdint>
#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "mvcc/backend/backend.h"

namespace etcdd::mvcc {

struct RocksOptions {
  // Uncompressed blocks kept in memory for reads. The store keeps current values resident itself,
  // so this serves history and start-up only.
  uint64_t block_cache_bytes = 32ull << 20;
  // One memtable; at most four exist (one filling, the others being flushed).
  uint64_t write_buffer_bytes = 32ull << 20;
};

// Opens the store in `directory`, or creates it there when the directory is absent or empty; the
// parent directory must exist. Errors, with texts for operators:
//   FailedPrecondition  another process (or another object of this one) has it open: wait, retry
//   InvalidArgument     the directory holds something else, or a format this build does not know
//   DataLoss            the store is damaged
//   Internal            anything else the system said (permissions, no space, ...)
//
// The backend's Flush and Write fail for good after the first failure, be it theirs or that of a
// background flush or compaction. The destructor stops background work and, when healthy, flushes.
//
// SizeBytes is an estimate: files plus memory not yet flushed, and it grows with every write, small
// ones too; it does not go down by itself, only when a compaction ordered by CompactHint has
// finished (etcd's database file shrinks only when defragmented; quota rules rely on that).
// SizeInUseBytes never exceeds it.
absl::StatusOr<std::unique_ptr<Backend>> OpenRocksBackend(const std::string& directory,
                                                          const RocksOptions& options);

}  // namespace etcdd::mvcc
