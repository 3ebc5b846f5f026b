#pragma once

// The disk of one simulated machine: a FaultFileSystem whose syncs take time, and in-memory
// backends that live in its directories: one whose directory is renamed or lost goes along, and a
// crash loses what was not flushed. It outlives the processes that run on the machine.
//
// Confined to the simulator's thread.

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "absl/time/time.h"
#include "mvcc/backend/mem_backend.h"
#include "server/base/file_system.h"
#include "server/base/random.h"
#include "tests/sim/scheduler.h"
#include "tests/support/fault_file_system.h"

namespace etcdd::sim {

// An error may be reported so long after its cause is repaired.
inline constexpr absl::Duration kTroubleLasts = absl::Seconds(10);

struct DiskSpeed {
  absl::Duration sync_min = absl::Microseconds(200);
  absl::Duration sync_max = absl::Milliseconds(3);
  // One sync in so many stalls for up to `stall_max`; 0: none.
  uint64_t stall_one_in = 0;
  absl::Duration stall_max = absl::ZeroDuration();
};

class SimDisk final : public base::FileSystem {
 public:
  // `scheduler` outlives the disk.
  SimDisk(Scheduler* scheduler, uint64_t seed);

  // base::FileSystem. Syncs are charged to the strand that makes them.
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

  void set_speed(const DiskSpeed& speed) { speed_ = speed; }
  // Sleeps for one sync, as a device does.
  void ChargeSync();

  // Trouble, until it is repaired or (all but a full disk) the machine restarts.
  void FailSoon(testing::FileFault fault);
  void LosePowerAfter(uint64_t writes);
  void SetRoom(uint64_t bytes);  // so much more fits on the disk
  void Repair();
  // Something of the above may be the cause of an error, also of one that is told only now.
  bool troubled() const {
    return full_ || faulty_ || scheduler_->Now() < repaired_at_ + kTroubleLasts;
  }

  // From now on nothing reaches the disk: the process is about to end, and what its objects do when
  // they are destroyed does not happen.
  void Freeze();
  // The process is gone, the machine runs on: the files stay, what backends did not flush may be
  // gone. Requires here and below: no backend is open.
  void KillProcess();
  // Power failure: of what was not synced, anything may be there.
  void PowerOff();
  // A new, empty disk.
  void Wipe();

  testing::FaultFileSystem& files() { return *files_; }
  // Opens the backend in a directory, or makes an empty one there.
  absl::StatusOr<std::unique_ptr<mvcc::Backend>> OpenBackend(const std::string& path);

 private:
  void CrashBackends();
  absl::Status MakeBackend(const std::string& path, const std::string& id_path);

  Scheduler* const scheduler_;
  const std::unique_ptr<base::Random> random_;
  DiskSpeed speed_;
  std::unique_ptr<testing::FaultFileSystem> files_;
  std::map<int, mvcc::MemBackend> backends_;  // by the number in the directory's file ID
  int last_backend_ = 0;
  bool full_ = false;
  bool faulty_ = false;
  absl::Duration repaired_at_ = -absl::InfiniteDuration();
};

}  // namespace etcdd::sim
