#pragma once

// Time as an interface. Nobody else in the server calls now(): tests and the simulator own time.
// Thread-safe.

#include <memory>

#include "absl/time/time.h"

namespace etcdd::base {

class Clock {
 public:
  virtual ~Clock() = default;
  // Steady time since an arbitrary point; never goes back. For intervals and timeouts.
  virtual absl::Duration Monotonic() const = 0;
  // Calendar time, for logs, ids and file names only.
  virtual absl::Time Wall() const = 0;
};

std::unique_ptr<Clock> NewSystemClock();

}  // namespace etcdd::base
