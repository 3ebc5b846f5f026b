#pragma once

// Writes zeros over the unused rest of a segment, in small steps on a background strand.
//
// Space that is only reserved (fallocate) reads as zeros too, but each first write to it makes the
// file system convert an extent and commit its journal inside the sync that somebody waits for.
// Space already written does not: such syncs take about half the time.
//
// The danger is to write zeros over an appended record. It is ruled out by ranges: the appender
// claims bytes before it writes them, the prewriter picks its next step behind everything claimed
// and announces it, both under one mutex; a claim that meets a step in flight waits for its end
// (a step is small). The write itself happens outside the mutex.
//
// Thread-safe; shared by the appender and the prewriter's task on the strand.

#include <cstdint>
#include <memory>
#include <optional>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "server/base/file_system.h"
#include "server/base/strand.h"

namespace etcdd::wal {

struct PrewriteOptions {
  uint64_t chunk_bytes = 0;  // of one step; 0: do nothing
  absl::Duration pause;      // between steps, so that syncs of others get through
  // How far to go ahead of what is claimed; it rests there until half of that is used up. So a log
  // that is hardly written to has the disk to itself for its few syncs.
  uint64_t ahead_bytes = UINT64_MAX;
};

class Prewriter : public std::enable_shared_from_this<Prewriter> {
 public:
  // Will fill [begin, end) of `file`, which must be an open file of its own: it is used on the
  // strand while the appender writes through another. `strand` must outlive Stop.
  Prewriter(std::unique_ptr<base::File> file, base::Strand& strand, PrewriteOptions options,
            uint64_t begin, uint64_t end);

  // Begins with the first step on the strand; no effect when begun before.
  void Start();

  // Takes everything before `end` for the appender: no zeros will be written there any more. Waits
  // for a step in flight that overlaps. Returns the failure of an earlier step: then the content of
  // the file is unknown.
  absl::Status Claim(uint64_t end);

  // No step is running or will run after it returns; closes the file. Returns as Claim. Idempotent.
  absl::Status Stop();

 private:
  struct Range {
    uint64_t begin;
    uint64_t end;
  };

  // One step; posts the next one.
  void Step();
  // Picks the next range and announces it in step_; nullopt when there is nothing to do (now).
  std::optional<Range> BeginStep();
  absl::Status WriteZeros(const Range& range);

  base::Strand& strand_;
  const PrewriteOptions options_;
  const uint64_t end_;

  absl::Mutex mutex_;
  // Written by Stop only when no step runs, used by Step outside the mutex.
  std::unique_ptr<base::File> file_;
  bool started_ ABSL_GUARDED_BY(mutex_) = false;
  bool stopped_ ABSL_GUARDED_BY(mutex_) = false;
  bool resting_ ABSL_GUARDED_BY(mutex_) = false;  // far enough ahead; Claim wakes it
  uint64_t claimed_ ABSL_GUARDED_BY(mutex_);  // only grows
  uint64_t next_ ABSL_GUARDED_BY(mutex_);     // where the next step begins; only grows
  std::optional<Range> step_ ABSL_GUARDED_BY(mutex_);  // the one in flight
  absl::Status failed_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace etcdd::wal
