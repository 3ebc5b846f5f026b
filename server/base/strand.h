#pragma once

// A serial queue of work: functions posted to one strand never run at the same time and run in the
// order they were posted. State confined to a strand needs no lock. Which thread runs a strand is
// the daemon's choice (several strands may share one event loop); in the simulator all strands
// share one thread and a virtual clock.
//
// Thread-safe: all methods. A posted function is never run inside Post.

#include <cstdint>
#include <memory>

#include "absl/functional/any_invocable.h"
#include "absl/time/time.h"

namespace etcdd::base {

using Task = absl::AnyInvocable<void()>;

// 0 is no timer.
using TimerId = uint64_t;

class Strand {
 public:
  virtual ~Strand() = default;
  virtual void Post(Task task) = 0;
  // Runs `task` once after `delay` unless cancelled before.
  virtual TimerId PostAfter(absl::Duration delay, Task task) = 0;
  // After Cancel returns on the strand itself the task will not run. Unknown ids are ignored.
  virtual void Cancel(TimerId id) = 0;
};

// A strand on a thread of its own, for work that blocks: disk syncs, long scans, hashing.
// The destructor runs what was posted (not timers) and joins the thread.
std::unique_ptr<Strand> NewThreadStrand(const char* thread_name);

}  // namespace etcdd::base
