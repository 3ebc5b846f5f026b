#include "server/base/clock.h"

#include <gtest/gtest.h>

#include "absl/time/clock.h"

namespace etcdd::base {
namespace {

TEST(SystemClock, MonotonicNeverGoesBack) {
  const auto clock = NewSystemClock();
  absl::Duration before = clock->Monotonic();
  for (int i = 0; i < 1000; ++i) {
    const absl::Duration now = clock->Monotonic();
    ASSERT_LE(before, now);
    before = now;
  }
}

TEST(SystemClock, WallIsCalendarTime) {
  const absl::Time before = absl::Now();
  const absl::Time wall = NewSystemClock()->Wall();
  EXPECT_GE(wall, before - absl::Seconds(1));
  EXPECT_LE(wall, absl::Now() + absl::Seconds(1));
}

}  // namespace
}  // namespace etcdd::base
