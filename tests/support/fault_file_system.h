#pragma once

// A disk in memory that behaves as badly as disks do.
//
//   FaultFileSystem fs;
//   ... run the code under test on it, with operations failing after N of them:
//   fs.PowerOffAfter(n);
//   ...
//   fs.Crash();          // what was not synced is gone, power is back
//   ... recover and look.
//
// It knows which bytes were synced (File::Sync) and which names (SyncDir of their directory), and
// Crash keeps exactly those. Faults can be injected by operation and path, the disk can be full,
// and every operation is counted. A File opened before a crash answers kAborted after it.
//
// Thread-safe. Deterministic: the same calls, and the same seed, give the same disk.

#include <array>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "server/base/file_system.h"
#include "server/base/random.h"
#include "tests/support/memory_file.h"

namespace etcdd::testing {

enum class FileOp {
  kOpen,
  kRead,
  kWrite,
  kSync,
  kTruncate,
  kPreallocate,
  kLock,
  kRename,
  kRemove,      // of a file or a tree
  kCreateDirs,
  kList,
  kSyncDir,
};
inline constexpr size_t kFileOpCount = 12;

// Makes one operation, or all from it on, fail.
struct FileFault {
  FileOp op = FileOp::kWrite;
  // Counts matching operations from the injection on; 1 is the next one.
  uint64_t nth = 1;
  bool for_ever = false;
  // Only operations on paths which contain this; all when empty.
  std::string path_part = {};
  absl::Status error = absl::InternalError("injected: Input/output error");
  // How much of a failing write reaches the file before the error.
  uint64_t written_bytes = 0;
};

class FaultFileSystem final : public base::FileSystem {
 public:
  FaultFileSystem();
  ~FaultFileSystem() override;

  absl::StatusOr<std::unique_ptr<base::File>> Open(const std::string& path,
                                                   base::OpenMode mode) override;
  absl::Status Rename(const std::string& from, const std::string& to) override;
  absl::Status RemoveFile(const std::string& path) override;
  absl::Status RemoveTree(const std::string& path) override;
  absl::Status CreateDirs(const std::string& path) override;
  absl::StatusOr<std::vector<std::string>> List(const std::string& path) override;
  bool Exists(const std::string& path) override;
  absl::Status SyncDir(const std::string& path) override;
  absl::Status CheckWritable(const std::string& path) override;

  // -- Crashes. All open files become useless, all locks and faults end, power comes back.

  // Keeps exactly what was synced.
  void Crash();
  // Keeps what was synced, and of the rest what a disk might have got to: any subset of the
  // 512-byte sectors, and for each directory a prefix of its changes, in order.
  void CrashAtRandom(base::Random& random);
  // The process died but the machine did not: nothing is lost, open files and locks end.
  void KillProcess();
  // After this many more successful changing operations (open counts when it creates or empties)
  // every operation fails with kUnavailable until a crash. 0: from now on.
  void PowerOffAfter(uint64_t operations);
  // Makes all content and names durable.
  void SyncAll();

  // -- Faults.

  void Inject(FileFault fault);
  void ClearFaults();
  // The disk holds this many bytes (sum of file sizes); what goes beyond is kResourceExhausted,
  // a write after the part that fitted. nullopt: no limit.
  void SetCapacity(std::optional<uint64_t> bytes);
  // Flips bits of a byte on the disk itself. The file must exist and be that long.
  void Corrupt(const std::string& path, uint64_t offset, uint8_t xor_mask);

  // -- Observation.

  // Operations asked for so far, failed ones included.
  uint64_t Count(FileOp op) const;
  // Successful changing operations so far: the N for PowerOffAfter.
  uint64_t changes() const;
  uint64_t used_bytes() const;
  // Names or bytes exist that a crash would lose.
  bool HasUnsynced() const;
  // Keeps one line per operation from now on, such as "write /wal/0.wal 512+40".
  void EnableTrace();
  std::vector<std::string> trace() const;

 private:
  friend class FaultFile;
  struct Node;
  using NodePointer = std::shared_ptr<Node>;  // shared by its name, its durable name, open files
  struct Place;

  // Counts, traces, and says whether the operation must fail. `written_bytes` as in FileFault.
  absl::Status Begin(FileOp op, std::string_view path, std::string_view detail,
                     uint64_t* written_bytes = nullptr) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void Changed() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  NodePointer Find(std::string_view path) const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  Place Locate(std::string_view path) const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void EndProcess() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void CrashTree(base::Random* random) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  uint64_t UsedBytes() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // How many bytes `file` may still grow by.
  uint64_t FreeBytes() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  mutable absl::Mutex mutex_;
  NodePointer root_ ABSL_GUARDED_BY(mutex_);
  uint64_t generation_ ABSL_GUARDED_BY(mutex_) = 1;  // grows with each crash
  std::optional<uint64_t> capacity_bytes_ ABSL_GUARDED_BY(mutex_);
  std::optional<uint64_t> changes_left_ ABSL_GUARDED_BY(mutex_);  // until the power goes
  uint64_t changes_ ABSL_GUARDED_BY(mutex_) = 0;
  std::vector<FileFault> faults_ ABSL_GUARDED_BY(mutex_);
  std::array<uint64_t, kFileOpCount> counts_ ABSL_GUARDED_BY(mutex_){};
  bool trace_enabled_ ABSL_GUARDED_BY(mutex_) = false;
  std::vector<std::string> trace_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace etcdd::testing
