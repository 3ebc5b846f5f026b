#include "server/base/clock.h"

#include <chrono>

#include "absl/time/clock.h"

namespace etcdd::base {
namespace {

class SystemClock final : public Clock {
 public:
  absl::Duration Monotonic() const override {
    return absl::FromChrono(std::chrono::steady_clock::now().time_since_epoch());
  }
  absl::Time Wall() const override { return absl::Now(); }
};

}  // namespace

std::unique_ptr<Clock> NewSystemClock() { return std::make_unique<SystemClock>(); }

}  // namespace etcdd::base
