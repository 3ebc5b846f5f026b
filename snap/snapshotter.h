#pragma once

// The directory of raft snapshots of one member, DATADIR/member/snap: small files that say which
// part of the raft log is contained in the backend, and who the members were.
//
// A file counts only with its mark in the WAL: write the file first, then the mark. So after a
// crash there may be a file without a mark, never a mark whose file was not durable.
//
// Confined to one thread at a time.

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "absl/types/span.h"
#include "server/base/clock.h"
#include "server/base/file_system.h"
#include "snap/snapshot_file.h"

namespace etcdd::snap {

// Metrics; each may be empty. Called on the caller's thread.
struct SnapshotterHooks {
  std::function<void(absl::Duration)> on_encode;
  std::function<void(absl::Duration)> on_sync;
  std::function<void(absl::Duration)> on_save;  // all of a successful Save
};

class Snapshotter {
 public:
  // `fs` and `clock` must outlive the object. `dir` must exist before the first Save.
  Snapshotter(base::FileSystem& fs, const base::Clock& clock, std::string dir,
              SnapshotterHooks hooks = {});

  // Makes the snapshot durable under its name; one that is there already is replaced at once.
  // InvalidArgument: index or term is 0, or conf_state is empty. Any other error: nothing under the
  // name has changed, or it is the new file whose durability is unknown.
  absl::Status Save(const Snapshot& snapshot);

  // The newest intact snapshot. A damaged file is renamed to NAME.broken and skipped; an I/O error
  // is returned. NotFound when there is none.
  absl::StatusOr<Snapshot> LoadNewest();

  // As LoadNewest among those in `marks`, the snapshot records of the WAL.
  absl::StatusOr<Snapshot> LoadNewestOf(absl::Span<const SnapshotId> marks);

  // Deletes the oldest snapshots while there are more than `max_snapshots` (0: unlimited). Broken
  // ones are kept. Returns the deleted names.
  absl::StatusOr<std::vector<std::string>> Purge(size_t max_snapshots);

  // Deletes what interrupted work left: names that begin with "tmp" or "db.tmp". For the start.
  absl::Status RemoveLeftovers();

 private:
  absl::Status WriteFile(const Snapshot& snapshot);
  // The intact snapshot in file `name`; NotFound when it was damaged and is now set aside.
  absl::StatusOr<Snapshot> LoadFile(const std::string& name);
  template <typename Wanted>
  absl::StatusOr<Snapshot> LoadNewestIf(Wanted wanted);
  // The snapshots' ids, oldest first.
  absl::StatusOr<std::vector<SnapshotId>> ListSnapshots();

  base::FileSystem& fs_;
  const base::Clock& clock_;
  const std::string dir_;
  const SnapshotterHooks hooks_;
};

}  // namespace etcdd::snap
