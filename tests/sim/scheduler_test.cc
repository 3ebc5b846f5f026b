#include "tests/sim/scheduler.h"

#include <memory>
#include <string>
#include <vector>

#include "gtest/gtest.h"

namespace etcdd::sim {
namespace {

// Five strands with ten tasks each, all ready at once: who ran when.
std::string Order(uint64_t seed) {
  Scheduler scheduler(seed);
  std::string order;
  std::vector<std::unique_ptr<SimStrand>> strands;
  for (int i = 0; i < 5; ++i) {
    strands.push_back(std::make_unique<SimStrand>(&scheduler, nullptr));
    for (int task = 0; task < 10; ++task) {
      strands.back()->Post([&order, i] { order.push_back(static_cast<char>('a' + i)); });
    }
  }
  scheduler.RunUntil(absl::Seconds(1));
  return order;
}

TEST(Scheduler, OrderComesFromTheSeed) {
  EXPECT_EQ(Order(1), Order(1));
  EXPECT_NE(Order(1), Order(2));
  EXPECT_EQ(Order(1).size(), 50u);
}

TEST(Scheduler, TasksOfAStrandKeepTheirOrder) {
  Scheduler scheduler(1);
  SimStrand strand(&scheduler, nullptr);
  std::vector<int> ran;
  for (int i = 0; i < 20; ++i) strand.Post([&ran, i] { ran.push_back(i); });
  scheduler.RunUntil(absl::Seconds(1));
  for (int i = 0; i < 20; ++i) EXPECT_EQ(ran[static_cast<size_t>(i)], i);
}

TEST(Scheduler, TimersFireAtTheirTimeAndCanBeCancelled) {
  Scheduler scheduler(1);
  SimStrand strand(&scheduler, nullptr);
  std::vector<absl::Duration> fired;
  strand.PostAfter(absl::Seconds(2), [&] { fired.push_back(scheduler.Now()); });
  const base::TimerId id = strand.PostAfter(absl::Seconds(1), [&] { FAIL(); });
  strand.Cancel(id);
  scheduler.RunUntil(absl::Seconds(3));
  ASSERT_EQ(fired.size(), 1u);
  EXPECT_EQ(fired[0], absl::Seconds(2));
  EXPECT_EQ(scheduler.Now(), absl::Seconds(3));
}

TEST(Scheduler, ChargedTimeDelaysWhatComesAfter) {
  Scheduler scheduler(1);
  SimClock clock(&scheduler, {});
  SimStrand strand(&scheduler, &clock);
  SimStrand other(&scheduler, nullptr);
  absl::Duration next;
  absl::Duration told;
  strand.Post([&] {
    scheduler.Charge(absl::Seconds(1));
    EXPECT_EQ(scheduler.Now(), absl::Seconds(1));
    other.Post([&] { told = scheduler.Now(); });
  });
  strand.Post([&] { next = scheduler.Now(); });
  scheduler.RunUntil(absl::Seconds(5));
  EXPECT_EQ(next, absl::Seconds(1));
  EXPECT_EQ(told, absl::Seconds(1));
}

TEST(Scheduler, PausedStrandCatchesUpLater) {
  Scheduler scheduler(1);
  SimStrand strand(&scheduler, nullptr);
  absl::Duration ran;
  strand.PostAfter(absl::Seconds(1), [&] { ran = scheduler.Now(); });
  strand.SetPaused(true);
  scheduler.RunUntil(absl::Seconds(3));
  EXPECT_EQ(ran, absl::ZeroDuration());
  strand.SetPaused(false);
  scheduler.RunUntil(absl::Seconds(4));
  EXPECT_EQ(ran, absl::Seconds(3));
}

TEST(SimClock, RunsAheadAndBehindAndTimersFollowIt) {
  Scheduler scheduler(1);
  SimClock fast(&scheduler, {.drift_ppm = kClockDriftPpmMax});
  SimClock slow(&scheduler, {.drift_ppm = -kClockDriftPpmMax});
  SimStrand strand(&scheduler, &fast);
  const absl::Duration fast_start = fast.Monotonic();
  const absl::Duration slow_start = slow.Monotonic();
  absl::Duration shown;
  strand.PostAfter(absl::Seconds(100), [&] { shown = fast.Monotonic() - fast_start; });
  scheduler.RunUntil(absl::Seconds(100));
  EXPECT_GE(shown, absl::Seconds(100));  // never early by the member's own clock
  EXPECT_LT(shown, absl::Seconds(100) + absl::Microseconds(1));
  EXPECT_EQ(fast.Monotonic() - fast_start, absl::Seconds(100) + absl::Milliseconds(200));
  EXPECT_EQ(slow.Monotonic() - slow_start, absl::Seconds(100) - absl::Milliseconds(200));
}

TEST(SimClock, CalendarJumpsLeaveTheSteadyClockAlone) {
  Scheduler scheduler(1);
  SimClock clock(&scheduler, {});
  const absl::Duration steady = clock.Monotonic();
  const absl::Time wall = clock.Wall();
  clock.JumpWall(-absl::Hours(1));
  EXPECT_EQ(clock.Monotonic(), steady);
  EXPECT_EQ(clock.Wall(), wall - absl::Hours(1));
}

}  // namespace
}  // namespace etcdd::sim
