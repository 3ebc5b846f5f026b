#pragma once

// How an image that another member sent becomes this member's backend, while it runs and at its
// start.
//
// Order of a snapshot that comes in: its image is committed (image_transfer.h), raft accepts it,
// the WAL has its snapshot record and .snap file, and only then is the image installed. Installed
// before the record is durable, it would leave a backend that is ahead of its WAL after a crash,
// which is refused. A crash between record and install is what RecoverSnapshotBackend is for.

#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "mvcc/backend/backend.h"
#include "server/base/clock.h"
#include "server/base/file_system.h"

namespace etcdd::server {

struct InstallOptions {
  // Both must outlive the call and the backends it returns.
  base::FileSystem* fs = nullptr;
  const base::Clock* clock = nullptr;
  std::string snap_dir;
  // Opens the backend in a directory, or makes an empty one there.
  std::function<absl::StatusOr<std::unique_ptr<mvcc::Backend>>(const std::string& path)>
      open_backend;
  // Asked once a piece (1 MiB), on the calling thread; true gives up with Cancelled. May be empty.
  std::function<bool()> cancelled;
};

// Shares the backend that was opened in `path`. Who lets go of it last closes it, and removes the
// directory when another one is the current one by then: readers may stay on a backend that was
// replaced. Both may take long.
std::shared_ptr<mvcc::Backend> ShareBackend(base::FileSystem& fs, const std::string& snap_dir,
                                            const std::string& path,
                                            std::unique_ptr<mvcc::Backend> backend);

// Loads INDEX.snap.db into a new directory, makes that the current one (backend_dir.h) and returns
// the backend in it, shared as by ShareBackend. Blocks, for as long as it takes to write the image:
// call it on a worker, one call at a time. A crash at any point leaves the backend of before or
// this one; the call may be repeated, and finds its work done where it was.
//
// Requires: index > 0, and the WAL's snapshot record of it is durable.
//
// Errors; the current directory is that of before, unless said otherwise:
//   NotFound            there is no image of this index
//   DataLoss            the image is damaged
//   FailedPrecondition  the image contains entries up to another index, or the backend began as the
//                       image of a higher one
//   Cancelled           see above
//   others              what the disk or the backend said. Failures after the rename leave it open
//                       which directory is the current one: stop the member.
absl::StatusOr<std::shared_ptr<mvcc::Backend>> InstallImage(const InstallOptions& options,
                                                            uint64_t index);

// At the start: makes sure that the backend contains at least what is only in the WAL's newest
// snapshot. Returns `backend` when it reaches `snapshot_index`, else the one installed from the
// image of that index; the old directory goes as ShareBackend says, or at the next start.
// `path` is the backend's directory, `existed` false when it was just made because none was there.
// FailedPrecondition, with a text for operators, when there is no such image (BOOT-035); else as
// InstallImage.
absl::StatusOr<std::shared_ptr<mvcc::Backend>> RecoverSnapshotBackend(
    const InstallOptions& options, uint64_t snapshot_index, std::shared_ptr<mvcc::Backend> backend,
    const std::string& path, bool existed);

}  // namespace etcdd::server
