#include "snap/snapshotter.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "server/base/log.h"
#include "server/base/status_macros.h"

namespace etcdd::snap {
namespace {

bool HasPrefix(const std::string& name, std::string_view prefix) {
  return name.compare(0, prefix.size(), prefix) == 0;
}

void Report(const std::function<void(absl::Duration)>& hook, absl::Duration took) {
  if (hook) hook(took);
}

}  // namespace

Snapshotter::Snapshotter(base::FileSystem& fs, const base::Clock& clock, std::string dir,
                         SnapshotterHooks hooks)
    : fs_(fs), clock_(clock), dir_(std::move(dir)), hooks_(std::move(hooks)) {}

absl::Status Snapshotter::Save(const Snapshot& snapshot) {
  if (snapshot.id.index == 0 || snapshot.id.term == 0 || snapshot.conf_state.empty()) {
    return absl::InvalidArgumentError(absl::StrCat(
        dir_, ": snapshot ", snapshot.id.index, " without index, term or conf state"));
  }
  const absl::Duration begin = clock_.Monotonic();
  ETCDD_RETURN_IF_ERROR(WriteFile(snapshot));
  Report(hooks_.on_save, clock_.Monotonic() - begin);
  return absl::OkStatus();
}

absl::Status Snapshotter::WriteFile(const Snapshot& snapshot) {
  const absl::Duration begin = clock_.Monotonic();
  const std::string content = EncodeSnapshotFile(snapshot);
  Report(hooks_.on_encode, clock_.Monotonic() - begin);
  // What is written must be what a reader accepts.
  ETCDD_RETURN_IF_ERROR(DecodeSnapshotFile(content).status());

  const std::string name = FormatSnapshotName(snapshot.id);
  const std::string draft = base::JoinPath(dir_, absl::StrCat("tmp-", name, ".part"));
  ETCDD_ASSIGN_OR_RETURN(auto file, fs_.Open(draft, base::OpenMode::kTruncate));
  absl::Status status = file->WriteAt(0, content);
  if (status.ok()) {
    const absl::Duration sync_begin = clock_.Monotonic();
    status = file->Sync();
    Report(hooks_.on_sync, clock_.Monotonic() - sync_begin);
  }
  file.reset();
  if (status.ok()) status = fs_.Rename(draft, base::JoinPath(dir_, name));
  if (status.ok()) return fs_.SyncDir(dir_);
  // A leftover does no harm and is removed at the next start at the latest.
  if (absl::Status removed = fs_.RemoveFile(draft); !removed.ok()) {
    ETCDD_LOG(kWarn, "failed to remove a broken snapshot file",
              {{"path", draft}, base::LogField(removed)});
  }
  return status;
}

absl::StatusOr<std::vector<SnapshotId>> Snapshotter::ListSnapshots() {
  ETCDD_ASSIGN_OR_RETURN(const std::vector<std::string> names, fs_.List(dir_));
  std::vector<SnapshotId> ids;
  for (const std::string& name : names) {
    if (const std::optional<SnapshotId> id = ParseSnapshotName(name)) ids.push_back(*id);
  }
  std::sort(ids.begin(), ids.end());
  return ids;
}

absl::StatusOr<Snapshot> Snapshotter::LoadFile(const std::string& name) {
  const std::string path = base::JoinPath(dir_, name);
  ETCDD_ASSIGN_OR_RETURN(const std::string content, base::ReadFile(fs_, path));
  absl::StatusOr<Snapshot> snapshot = DecodeSnapshotFile(content);
  if (snapshot.ok() && FormatSnapshotName(snapshot->id) != name) {
    snapshot = absl::DataLossError("content belongs to another name");
  }
  if (snapshot.ok()) return snapshot;
  ETCDD_LOG(kWarn, "failed to read a snap file",
            {{"path", path}, base::LogField(snapshot.status())});
  ETCDD_RETURN_IF_ERROR(fs_.Rename(path, absl::StrCat(path, ".broken")));
  return absl::NotFoundError(absl::StrCat(path, ": ", snapshot.status().message()));
}

template <typename Wanted>
absl::StatusOr<Snapshot> Snapshotter::LoadNewestIf(Wanted wanted) {
  ETCDD_ASSIGN_OR_RETURN(std::vector<SnapshotId> ids, ListSnapshots());
  std::reverse(ids.begin(), ids.end());
  for (const SnapshotId& id : ids) {
    if (!wanted(id)) continue;
    absl::StatusOr<Snapshot> snapshot = LoadFile(FormatSnapshotName(id));
    if (!absl::IsNotFound(snapshot.status())) return snapshot;
  }
  return absl::NotFoundError(absl::StrCat(dir_, ": no usable snapshot"));
}

absl::StatusOr<Snapshot> Snapshotter::LoadNewest() {
  return LoadNewestIf([](const SnapshotId&) { return true; });
}

absl::StatusOr<Snapshot> Snapshotter::LoadNewestOf(absl::Span<const SnapshotId> marks) {
  return LoadNewestIf([marks](const SnapshotId& id) {
    return std::find(marks.begin(), marks.end(), id) != marks.end();
  });
}

absl::StatusOr<std::vector<std::string>> Snapshotter::Purge(size_t max_snapshots) {
  std::vector<std::string> purged;
  if (max_snapshots == 0) return purged;
  ETCDD_ASSIGN_OR_RETURN(const std::vector<SnapshotId> ids, ListSnapshots());
  for (size_t i = 0; i + max_snapshots < ids.size(); ++i) {
    const std::string name = FormatSnapshotName(ids[i]);
    const std::string path = base::JoinPath(dir_, name);
    ETCDD_RETURN_IF_ERROR(fs_.RemoveFile(path));
    ETCDD_LOG(kInfo, "purged", {{"path", path}});
    purged.push_back(name);
  }
  return purged;
}

absl::Status Snapshotter::RemoveLeftovers() {
  ETCDD_ASSIGN_OR_RETURN(const std::vector<std::string> names, fs_.List(dir_));
  for (const std::string& name : names) {
    if (!HasPrefix(name, "tmp") && !HasPrefix(name, "db.tmp")) continue;
    ETCDD_RETURN_IF_ERROR(fs_.RemoveFile(base::JoinPath(dir_, name)));
  }
  return absl::OkStatus();
}

}  // namespace etcdd::snap
