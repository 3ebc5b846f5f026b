#pragma once

// The disk as an interface, so that crashes can be played in memory.
//
// Durability is explicit: bytes written are safe only after File::Sync, names created, renamed or
// removed only after FileSystem::SyncDir of their directory. Errors carry the path and the system's
// text. A failed Write or Sync leaves the file's content undefined: the caller must not go on.
//
// Thread-safe: FileSystem. A File is used by one thread at a time.

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"

namespace etcdd::base {

class File {
 public:
  virtual ~File() = default;

  // Reads up to `size` bytes at `offset` into `out` (resized to what was read; short only at the
  // end of the file).
  virtual absl::Status ReadAt(uint64_t offset, size_t size, std::string* out) = 0;
  // Writes all `pieces` one after the other from `offset` on, extending the file where needed.
  virtual absl::Status WriteAt(uint64_t offset, absl::Span<const std::string_view> pieces) = 0;
  absl::Status WriteAt(uint64_t offset, std::string_view data) {
    return WriteAt(offset, absl::MakeConstSpan(&data, 1));
  }
  // Makes content and size durable (fdatasync).
  virtual absl::Status Sync() = 0;
  virtual absl::Status Truncate(uint64_t size) = 0;
  // Makes the file at least `size` bytes long with disk blocks reserved; new bytes read as zero.
  virtual absl::Status Preallocate(uint64_t size) = 0;
  virtual absl::StatusOr<uint64_t> Size() = 0;
  // Takes the exclusive lock without waiting. false: another open file holds it. The lock belongs
  // to this open file (Linux open-file-description lock) and ends with it.
  virtual absl::StatusOr<bool> TryLock() = 0;
};

enum class OpenMode {
  kRead,       // must exist
  kReadWrite,  // must exist
  kCreate,     // read and write; created when absent (0600), content kept when present
  kTruncate,   // read and write; created when absent (0600), emptied when present
};

class FileSystem {
 public:
  virtual ~FileSystem() = default;

  // NotFound when the file (or its directory) is absent and the mode does not create it.
  virtual absl::StatusOr<std::unique_ptr<File>> Open(const std::string& path, OpenMode mode) = 0;
  // Atomically replaces `to`. Works for files and directories.
  virtual absl::Status Rename(const std::string& from, const std::string& to) = 0;
  // NotFound when absent.
  virtual absl::Status RemoveFile(const std::string& path) = 0;
  // Removes a directory and everything in it; OK when absent.
  virtual absl::Status RemoveTree(const std::string& path) = 0;
  // Creates the directory and its missing parents with mode 0700; OK when present.
  virtual absl::Status CreateDirs(const std::string& path) = 0;
  // Names (not paths) in the directory, sorted, without "." and "..". NotFound when absent.
  virtual absl::StatusOr<std::vector<std::string>> List(const std::string& path) = 0;
  virtual bool Exists(const std::string& path) = 0;
  // Makes names in the directory durable (fsync of the directory).
  virtual absl::Status SyncDir(const std::string& path) = 0;
  // OK when a file can be created and removed in the directory.
  virtual absl::Status CheckWritable(const std::string& path) = 0;
};

// The machine's file system.
std::unique_ptr<FileSystem> NewPosixFileSystem();

// Reads a whole file.
absl::StatusOr<std::string> ReadFile(FileSystem& fs, const std::string& path);

// "dir/name".
std::string JoinPath(std::string_view directory, std::string_view name);

}  // namespace etcdd::base
