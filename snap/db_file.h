#pragma once

// Images of a backend that other members sent, DATADIR/member/snap/INDEX.snap.db (16-digit hex),
// INDEX being the raft index of the snapshot the image belongs to. What the bytes mean is not known
// here: whoever receives one says how it is checked.
//
// An image is written under a temporary name (it begins with "tmp", so Snapshotter::RemoveLeftovers
// takes what a crash leaves), checked and synced while it arrives, renamed, and the directory is
// synced: under its name it is whole.

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "server/base/clock.h"
#include "server/base/file_system.h"

namespace etcdd::snap {

// Looks at an image as it arrives. Confined to one thread at a time.
class DbVerifier {
 public:
  virtual ~DbVerifier() = default;
  virtual absl::Status Append(std::string_view piece) = 0;
  // All of it was appended.
  virtual absl::Status Finish() = 0;
};

// Metrics; each may be empty. Called on the writer's thread.
struct DbHooks {
  const base::Clock* clock = nullptr;  // required when one of the others is set
  std::function<void(absl::Duration)> on_sync;
  std::function<void(absl::Duration)> on_save;  // from Receive to the end of a successful Commit
};

// An image on its way in. Destroyed before Commit returned OK, it removes what it wrote.
// Confined to one thread at a time; blocks on the disk.
class DbFileWriter {
 public:
  ~DbFileWriter();
  DbFileWriter(const DbFileWriter&) = delete;
  DbFileWriter& operator=(const DbFileWriter&) = delete;

  // Checks and writes. An error is final: the verifier's, or the disk's (ResourceExhausted when it
  // is full).
  absl::Status Append(std::string_view piece);
  // Finishes the check and makes the image durable under its name; one that is there already is
  // replaced at once. After an error nothing under the name has changed, or it is the new image
  // whose durability is unknown. Requires: called once, after no Append failed.
  absl::Status Commit();

  uint64_t bytes() const { return bytes_; }
  // Where the image is once committed.
  const std::string& path() const { return path_; }

 private:
  friend class DbFiles;
  DbFileWriter(base::FileSystem& fs, const DbHooks& hooks, std::string dir, std::string draft,
               std::string path, std::unique_ptr<base::File> file,
               std::unique_ptr<DbVerifier> verifier);
  absl::Status Write(std::string_view piece);
  absl::Status Sync();
  absl::Status Publish();
  absl::Duration Now() const;

  base::FileSystem& fs_;
  const DbHooks hooks_;
  const absl::Duration begin_;
  const std::string dir_;
  const std::string draft_;
  const std::string path_;
  std::unique_ptr<base::File> file_;
  const std::unique_ptr<DbVerifier> verifier_;
  absl::Status status_;
  uint64_t bytes_ = 0;
  uint64_t synced_bytes_ = 0;
  bool draft_exists_ = true;
};

// Reads an image from the start. Confined to one thread at a time; blocks on the disk. The file may
// be purged meanwhile.
class DbFileReader {
 public:
  DbFileReader(std::unique_ptr<base::File> file, uint64_t bytes);
  // The next piece, of at most 1 MiB; empty at the end.
  absl::StatusOr<std::string> Next();
  // Of the whole file.
  uint64_t bytes() const { return bytes_; }

 private:
  std::unique_ptr<base::File> file_;
  uint64_t bytes_;
  uint64_t offset_ = 0;
};

std::string FormatDbName(uint64_t index);
std::optional<uint64_t> ParseDbName(std::string_view file_name);

// The images of one member. Thread-safe.
class DbFiles {
 public:
  // `fs` and the clock must outlive the object and what it returns. `dir` must exist before the
  // first Receive.
  DbFiles(base::FileSystem& fs, std::string dir, DbHooks hooks = {});

  // Begins to write the image of `index`. Several may be under way at once, of one index too.
  absl::StatusOr<std::unique_ptr<DbFileWriter>> Receive(uint64_t index,
                                                        std::unique_ptr<DbVerifier> verifier);
  // NotFound when there is none of this index.
  absl::StatusOr<DbFileReader> Open(uint64_t index) const;
  std::string PathOf(uint64_t index) const;
  // Indexes of the images, ascending.
  absl::StatusOr<std::vector<uint64_t>> List() const;

  // Deletes images of this index and below: the backend contains them. Returns the deleted names.
  absl::StatusOr<std::vector<std::string>> RemoveUpTo(uint64_t index);
  // Deletes the oldest images while there are more than `max_files` (0: unlimited). Returns the
  // deleted names. An image that raft was told of is needed until it is the backend: allow for as
  // many as may be waiting for that.
  absl::StatusOr<std::vector<std::string>> Purge(size_t max_files);

 private:
  absl::StatusOr<std::vector<std::string>> Remove(const std::vector<uint64_t>& indexes);

  base::FileSystem& fs_;
  const std::string dir_;
  const DbHooks hooks_;
  std::atomic<uint64_t> received_ = 0;  // tells the temporary names apart
};

}  // namespace etcdd::snap
