#pragma once

// Where a member keeps its files: every path in one place, and the question what a directory holds
// before anything in it is touched.
//
//   <data-dir>/member/etcdd.version   which program and format (JSON); written first, never changed
//   <data-dir>/member/etcdd.lock      locked while a member runs
//   <data-dir>/member/wal/            write-ahead log, or --wal-dir
//   <data-dir>/member/snap/           raft snapshots (.snap) and received images (.snap.db)
//   <data-dir>/member/snap/etcdd.db/  the backend (RocksDB), until it is replaced: backend_dir.h
//
// etcd keeps a bbolt file at member/snap/db instead of the last one, which tells the two apart.
//
// Thread-safe: const after construction.

#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "server/base/file_system.h"

namespace etcdd::server {

// The format this build reads and writes. A later format is refused, an earlier one does not exist.
inline constexpr int kDataDirFormat = 1;

class DataDir {
 public:
  // `dedicated_wal_dir` may be empty: the WAL is inside the data directory then.
  explicit DataDir(std::string root, std::string dedicated_wal_dir = "");

  const std::string& root() const { return root_; }
  std::string MemberDir() const;
  std::string WalDir() const;
  std::string SnapDir() const;
  // Of a member that has never taken in another one's image.
  std::string BackendDir() const;
  std::string LockFile() const;
  std::string VersionFile() const;
  // The database file of an etcd that ran here.
  std::string EtcdDbFile() const;

 private:
  std::string root_;
  std::string dedicated_wal_dir_;
};

enum class DataDirKind {
  kEmpty,           // absent, without a member directory, or with one that holds nothing yet
  kEtcdd,           // ours, in a format this build knows
  kEtcddNewer,      // ours, in a later format
  kEtcd,            // etcd's (bbolt)
  kUnknown,         // a member directory with files but no sign whose
  kProxy,           // of an etcd v2 proxy
  kMemberAndProxy,  // both directories: nobody can say which one is meant
};

struct DataDirFindings {
  DataDirKind kind = DataDirKind::kEmpty;
  int format = 0;  // of ours; 0 otherwise
  // Names in the data directory which do not belong there. Worth a warning
  // (`found invalid file under data directory`), not an error.
  std::vector<std::string> unknown_names;
};

// Looks, and changes nothing. Errors: a directory or the version file cannot be read, or the
// version file makes no sense.
absl::StatusOr<DataDirFindings> InspectDataDir(base::FileSystem& fs, const DataDir& dir);

// OK for kEmpty and kEtcdd; otherwise FailedPrecondition with a text that tells the operator what
// the directory holds and what to do.
absl::Status CheckUsable(const DataDirFindings& findings, const DataDir& dir);

// Makes the member and snap directories (0700) and the version file, durably. Does nothing to one
// that is there already. The version file comes first, so that a crash at any point leaves either
// an empty directory or one that is known as ours. The WAL and the backend make their own.
// Requires: the findings were kEmpty or kEtcdd.
absl::Status InitDataDir(base::FileSystem& fs, const DataDir& dir);

// Takes the lock of the member directory, which must exist. Null when another process holds it. The
// lock lasts as long as the returned file.
absl::StatusOr<std::unique_ptr<base::File>> TryLockDataDir(base::FileSystem& fs,
                                                           const DataDir& dir);

}  // namespace etcdd::server
