#include "server/install_image.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "mvcc/backend/image.h"
#include "server/backend_dir.h"
#include "server/base/check.h"
#include "server/base/log.h"
#include "server/base/status_macros.h"
#include "server/bootstrap.h"
#include "snap/db_file.h"

namespace etcdd::server {
namespace {

constexpr absl::Duration kProgressInterval = absl::Seconds(5);

// Passes an image on, and says every few seconds how far it is.
class ProgressReader {
 public:
  ProgressReader(const InstallOptions& options, std::string path, snap::DbFileReader reader)
      : options_(options),
        path_(std::move(path)),
        reader_(std::move(reader)),
        begin_(options.clock->Monotonic()),
        told_(begin_) {}

  absl::StatusOr<std::string> Next() {
    if (options_.cancelled && options_.cancelled()) {
      return absl::CancelledError("installing a snapshot was given up");
    }
    const absl::Duration now = options_.clock->Monotonic();
    if (now - told_ >= kProgressInterval) {
      told_ = now;
      Tell("loading database snapshot");
    }
    ETCDD_ASSIGN_OR_RETURN(std::string piece, reader_.Next());
    bytes_ += piece.size();
    return piece;
  }

  void Tell(std::string_view message) const {
    ETCDD_LOG(kInfo, message,
              {{"path", path_},
               {"bytes", bytes_},
               {"total-bytes", reader_.bytes()},
               {"took", base::LogDuration(options_.clock->Monotonic() - begin_)}});
  }

 private:
  const InstallOptions& options_;
  const std::string path_;
  snap::DbFileReader reader_;
  const absl::Duration begin_;
  absl::Duration told_;
  uint64_t bytes_ = 0;
};

absl::Status CheckIndex(const mvcc::Backend& backend, const std::string& path, uint64_t index) {
  ETCDD_ASSIGN_OR_RETURN(const uint64_t contained, ReadConsistentIndex(backend));
  if (contained == index) return absl::OkStatus();
  return absl::FailedPreconditionError(
      absl::StrCat("database file (", path, " index ", contained,
                   ") does not match with snapshot (index ", index, ")"));
}

// Makes a complete and durable backend of the image in `draft`, and closes it.
absl::Status LoadDraft(const InstallOptions& options, uint64_t index, const std::string& draft) {
  const snap::DbFiles files(*options.fs, options.snap_dir);
  ETCDD_ASSIGN_OR_RETURN(snap::DbFileReader reader, files.Open(index));
  ProgressReader progress(options, files.PathOf(index), std::move(reader));
  ETCDD_RETURN_IF_ERROR(options.fs->RemoveTree(draft));
  {
    ETCDD_ASSIGN_OR_RETURN(const std::unique_ptr<mvcc::Backend> backend,
                           options.open_backend(draft));
    ETCDD_RETURN_IF_ERROR(mvcc::LoadImage([&progress] { return progress.Next(); }, *backend));
    ETCDD_RETURN_IF_ERROR(CheckIndex(*backend, files.PathOf(index), index));
    ETCDD_RETURN_IF_ERROR(backend->Flush());
  }
  progress.Tell("loaded database snapshot");
  return options.fs->SyncDir(draft);
}

absl::StatusOr<std::shared_ptr<mvcc::Backend>> OpenInstalled(const InstallOptions& options,
                                                             const std::string& path) {
  ETCDD_ASSIGN_OR_RETURN(std::unique_ptr<mvcc::Backend> backend, options.open_backend(path));
  return ShareBackend(*options.fs, options.snap_dir, path, std::move(backend));
}

// Never fails loudly: what stays is removed at the next start.
void RemoveLeftover(base::FileSystem& fs, const std::string& path) {
  if (absl::Status removed = fs.RemoveTree(path); !removed.ok()) {
    ETCDD_LOG(kWarn, "failed to remove a stale database", {{"path", path},
                                                           base::LogField(removed)});
  }
}

// Why a backend that does not reach the log's snapshot cannot be used (BOOT-035).
absl::Status NoImageError(uint64_t snapshot_index, uint64_t consistent_index,
                          const std::string& path, bool existed) {
  const std::string reason =
      existed ? absl::StrCat("database file (", path, " index ", consistent_index,
                             ") does not match with snapshot (index ", snapshot_index, ")")
              : absl::StrCat("database file (", path,
                             ") of the backend is missing, and the WAL begins only behind its "
                             "snapshot at index ", snapshot_index);
  return absl::FailedPreconditionError(absl::StrCat(
      "failed to recover v3 backend from snapshot: failed to find database snapshot file (snap: "
      "snapshot file doesn't exist): ",
      reason, "; restore this member from a backup or re-add it to its cluster"));
}

}  // namespace

std::shared_ptr<mvcc::Backend> ShareBackend(base::FileSystem& fs, const std::string& snap_dir,
                                            const std::string& path,
                                            std::unique_ptr<mvcc::Backend> backend) {
  return {backend.release(), [&fs, snap_dir, path](mvcc::Backend* last) {
            delete last;
            const absl::StatusOr<BackendDir> current = CurrentBackendDir(fs, snap_dir);
            if (current.ok() && current->exists && current->path != path) RemoveLeftover(fs, path);
          }};
}

absl::StatusOr<std::shared_ptr<mvcc::Backend>> InstallImage(const InstallOptions& options,
                                                            uint64_t index) {
  ETCDD_CHECK(index > 0);
  ETCDD_ASSIGN_OR_RETURN(const BackendDir current,
                         CurrentBackendDir(*options.fs, options.snap_dir));
  if (current.index > index) {
    return absl::FailedPreconditionError(absl::StrCat(
        "the backend ", current.path, " is newer than the snapshot at index ", index));
  }
  const std::string path = BackendDirPath(options.snap_dir, index);
  if (current.exists && current.path == path) return OpenInstalled(options, path);

  const std::string draft = BackendDraftPath(options.snap_dir, index);
  if (absl::Status status = LoadDraft(options, index, draft); !status.ok()) {
    RemoveLeftover(*options.fs, draft);
    return status;
  }
  ETCDD_RETURN_IF_ERROR(options.fs->Rename(draft, path));
  ETCDD_RETURN_IF_ERROR(options.fs->SyncDir(options.snap_dir));
  return OpenInstalled(options, path);
}

absl::StatusOr<std::shared_ptr<mvcc::Backend>> RecoverSnapshotBackend(
    const InstallOptions& options, uint64_t snapshot_index, std::shared_ptr<mvcc::Backend> backend,
    const std::string& path, bool existed) {
  ETCDD_ASSIGN_OR_RETURN(const uint64_t consistent_index, ReadConsistentIndex(*backend));
  if (consistent_index >= snapshot_index) {
    if (snapshot_index > 0) {
      ETCDD_LOG(kInfo, "Skipping snapshot backend",
                {{"consistent-index", consistent_index}, {"snapshot-index", snapshot_index}});
    }
    return backend;
  }
  if (!options.fs->Exists(snap::DbFiles(*options.fs, options.snap_dir).PathOf(snapshot_index))) {
    return NoImageError(snapshot_index, consistent_index, path, existed);
  }
  ETCDD_LOG(kInfo, "Recovering from snapshot backend",
            {{"consistent-index", consistent_index}, {"snapshot-index", snapshot_index}});
  absl::StatusOr<std::shared_ptr<mvcc::Backend>> installed = InstallImage(options, snapshot_index);
  backend.reset();  // not before: only now is its directory known to be stale
  if (installed.ok()) return installed;
  return absl::Status(installed.status().code(),
                      absl::StrCat("failed to recover v3 backend from snapshot: ",
                                   installed.status().message()));
}

}  // namespace etcdd::server
