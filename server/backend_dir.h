#pragma once

// Which directory holds the backend. An open backend's directory cannot be replaced, so each image
// that becomes the backend gets a directory of its own, named after its raft index:
//
//   <snap-dir>/etcdd.db               the first backend; index 0
//   <snap-dir>/etcdd.db.<16 hex>      a backend that began as the image of this index
//   <snap-dir>/etcdd.db.tmp-<16 hex>  one that is being loaded
//
// The one with the highest index counts. A directory gets its name only when it is complete and
// durable, so the rename is the moment at which the backend changes.
//
// Thread-safe: no state.

#include <cstdint>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "server/base/file_system.h"

namespace etcdd::server {

struct BackendDir {
  uint64_t index = 0;
  std::string path;
  bool exists = false;
};

std::string BackendDirPath(const std::string& snap_dir, uint64_t index);
std::string BackendDraftPath(const std::string& snap_dir, uint64_t index);

// The directory that counts. When there is none: the one to make, with exists = false.
absl::StatusOr<BackendDir> CurrentBackendDir(base::FileSystem& fs, const std::string& snap_dir);

// Makes the current directory's name durable, then removes older ones and unfinished ones. For the
// start. Requires: none of them is open or being loaded.
absl::Status RemoveStaleBackendDirs(base::FileSystem& fs, const std::string& snap_dir);

}  // namespace etcdd::server
