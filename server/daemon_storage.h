#pragma once

// The daemon's files below member/snap: the backend and which directory holds it, raft's .snap
// files, images of other members, and what of it may be deleted.
//
// Open blocks and runs before the loop does. The others block too: SaveSnapshot may be called on
// several threads, InstallImage, PurgeFiles on the background strand, SaveImage anywhere.

#include <atomic>
#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "mvcc/backend/backend.h"
#include "server/base/clock.h"
#include "server/base/file_system.h"
#include "server/config.h"
#include "server/consensus/transport.h"
#include "server/data_dir.h"
#include "server/install_image.h"
#include "server/server_metrics.h"
#include "server/snapshot_policy.h"
#include "snap/db_file.h"
#include "snap/snapshotter.h"

namespace etcdd::server {

class DaemonStorage {
 public:
  // All outlive this object and the backends it opened.
  DaemonStorage(const Config& config, const DataDir& dir, base::FileSystem& fs,
                const base::Clock& clock, ServerMetrics& metrics);

  // Removes what interrupted work left, opens the backend, and brings it to where the WAL's newest
  // snapshot is. Requires: the data directory is locked by this process.
  absl::Status Open();
  const std::shared_ptr<mvcc::Backend>& backend() const { return backend_; }
  bool backend_existed() const { return backend_existed_; }
  const std::string& backend_path() const { return backend_path_; }
  void Close() { backend_.reset(); }
  // An image that is being installed is given up; the next start goes on with it. From any thread.
  void GiveUpInstalling() { giving_up_ = true; }

  absl::Status SaveSnapshot(const SnapshotPoint& point) const;
  absl::StatusOr<std::unique_ptr<consensus::ImageSink>> SaveImage(uint64_t index);
  absl::StatusOr<std::shared_ptr<mvcc::Backend>> InstallImage(uint64_t index);
  // Deletes segments of the WAL, snapshots and images beyond what is to be kept. Failures are
  // logged.
  void PurgeFiles();

 private:
  InstallOptions Installing() const;
  snap::Snapshotter NewSnapshotter() const;

  const Config& config_;
  const DataDir& dir_;
  base::FileSystem& fs_;
  const base::Clock& clock_;
  ServerMetrics& metrics_;
  snap::DbFiles images_;
  std::shared_ptr<mvcc::Backend> backend_;
  bool backend_existed_ = false;
  std::string backend_path_;
  std::atomic<bool> giving_up_ = false;
};

}  // namespace etcdd::server
