#include "server/daemon_storage.h"

#include <functional>
#include <utility>
#include <vector>

#include "mvcc/backend/rocks_backend.h"
#include "server/backend_dir.h"
#include "server/base/log.h"
#include "server/base/status_macros.h"
#include "server/bootstrap.h"
#include "server/image_transfer.h"
#include "wal/wal.h"

namespace etcdd::server {
namespace {

std::function<void(absl::Duration)> ObserveIn(base::Histogram& histogram) {
  return [&histogram](absl::Duration took) { histogram.Observe(absl::ToDoubleSeconds(took)); };
}

}  // namespace

DaemonStorage::DaemonStorage(const Config& config, const DataDir& dir, base::FileSystem& fs,
                             const base::Clock& clock, ServerMetrics& metrics)
    : config_(config),
      dir_(dir),
      fs_(fs),
      clock_(clock),
      metrics_(metrics),
      images_(fs, dir.SnapDir(),
              {.clock = &clock,
               .on_sync = ObserveIn(metrics.snap_db_sync_seconds),
               .on_save = ObserveIn(metrics.snap_db_save_seconds)}) {}

absl::Status DaemonStorage::Open() {
  ETCDD_RETURN_IF_ERROR(NewSnapshotter().RemoveLeftovers());
  ETCDD_RETURN_IF_ERROR(RemoveStaleBackendDirs(fs_, dir_.SnapDir()));
  ETCDD_ASSIGN_OR_RETURN(const BackendDir current, CurrentBackendDir(fs_, dir_.SnapDir()));
  backend_existed_ = current.exists;
  backend_path_ = current.path;
  const absl::Duration begin = clock_.Monotonic();
  ETCDD_ASSIGN_OR_RETURN(auto opened, mvcc::OpenRocksBackend(backend_path_, {}));
  backend_ = ShareBackend(fs_, dir_.SnapDir(), backend_path_, std::move(opened));
  ETCDD_LOG(kInfo, "opened backend db",
            {{"path", backend_path_}, {"took", base::LogDuration(clock_.Monotonic() - begin)}});
  if (!wal::Wal::Exists(fs_, dir_.WalDir())) return absl::OkStatus();
  ETCDD_ASSIGN_OR_RETURN(const auto marks, wal::ValidSnapshotRecords(fs_, dir_.WalDir()));
  const uint64_t snapshot_index = marks.empty() ? 0 : marks.back().index;
  ETCDD_ASSIGN_OR_RETURN(backend_, RecoverSnapshotBackend(Installing(), snapshot_index, backend_,
                                                          backend_path_, backend_existed_));
  // What is on disk now contains them.
  ETCDD_ASSIGN_OR_RETURN(const uint64_t consistent_index, ReadConsistentIndex(*backend_));
  return images_.RemoveUpTo(consistent_index).status();
}

InstallOptions DaemonStorage::Installing() const {
  InstallOptions options;
  options.fs = &fs_;
  options.clock = &clock_;
  options.snap_dir = dir_.SnapDir();
  options.open_backend =
      [](const std::string& path) -> absl::StatusOr<std::unique_ptr<mvcc::Backend>> {
    return mvcc::OpenRocksBackend(path, {});
  };
  options.cancelled = [this] { return giving_up_.load(); };
  return options;
}

snap::Snapshotter DaemonStorage::NewSnapshotter() const {
  return snap::Snapshotter(fs_, clock_, dir_.SnapDir(),
                           {ObserveIn(metrics_.snap_encode_seconds),
                            ObserveIn(metrics_.snap_sync_seconds),
                            ObserveIn(metrics_.snap_save_seconds)});
}

absl::Status DaemonStorage::SaveSnapshot(const SnapshotPoint& point) const {
  return NewSnapshotter().Save({{point.term, point.index},
                                consensus::EncodeConfState(point.conf_state),
                                point.membership_document});
}

absl::StatusOr<std::unique_ptr<consensus::ImageSink>> DaemonStorage::SaveImage(uint64_t index) {
  return ReceiveImage(images_, index);
}

absl::StatusOr<std::shared_ptr<mvcc::Backend>> DaemonStorage::InstallImage(uint64_t index) {
  ETCDD_ASSIGN_OR_RETURN(auto backend, server::InstallImage(Installing(), index));
  const auto removed = images_.RemoveUpTo(index);
  if (!removed.ok()) {
    ETCDD_LOG(kWarn, "failed to purge files", {base::LogField(removed.status())});
  }
  return backend;
}

void DaemonStorage::PurgeFiles() {
  std::vector<std::string> all;
  const auto take = [&all](absl::StatusOr<std::vector<std::string>> names) {
    if (!names.ok()) {
      ETCDD_LOG(kWarn, "failed to purge files", {base::LogField(names.status())});
      return;
    }
    all.insert(all.end(), names->begin(), names->end());
  };
  take(wal::PurgeSegments(fs_, dir_.WalDir(), config_.wal_files_max));
  take(NewSnapshotter().Purge(config_.snapshot_files_max));
  for (const std::string& name : all) ETCDD_LOG(kInfo, "purged", {{"path", name}});
}

}  // namespace etcdd::server
