#include "tests/support/fake_clock.h"

#include <gtest/gtest.h>

#include <functional>
#include <memory>
#include <string>
#include <vector>

namespace etcdd::testing {
namespace {

TEST(FakeClock, MovesOnlyWhenTold) {
  FakeClock clock;
  const absl::Duration start = clock.Monotonic();
  const absl::Time wall = clock.Wall();
  EXPECT_EQ(clock.Monotonic(), start);
  clock.AdvanceBy(absl::Milliseconds(1500));
  EXPECT_EQ(clock.Monotonic() - start, absl::Milliseconds(1500));
  EXPECT_EQ(clock.Wall() - wall, absl::Milliseconds(1500));
  clock.JumpWall(-absl::Hours(1));
  EXPECT_EQ(clock.Monotonic() - start, absl::Milliseconds(1500));
  EXPECT_EQ(clock.Wall() - wall, absl::Milliseconds(1500) - absl::Hours(1));
}

TEST(FakeStrand, RunsPostedTasksInOrderAndOnlyWhenDriven) {
  FakeClock clock;
  FakeStrand strand(&clock);
  std::string order;
  strand.Post([&] {
    order += "a";
    strand.Post([&order] { order += "c"; });
  });
  strand.Post([&order] { order += "b"; });
  EXPECT_EQ(order, "");
  EXPECT_EQ(strand.posted_count(), 2u);
  EXPECT_EQ(strand.RunReady(), 3u);
  EXPECT_EQ(order, "abc");
  EXPECT_FALSE(strand.RunOne());
}

TEST(FakeStrand, AdvanceStopsAtEveryTimerOnTheWay) {
  FakeClock clock;
  FakeStrand strand(&clock);
  const absl::Duration start = clock.Monotonic();
  std::vector<int64_t> fired_ms;
  std::function<void()> tick = [&] {
    fired_ms.push_back(absl::ToInt64Milliseconds(clock.Monotonic() - start));
    strand.PostAfter(absl::Milliseconds(100), tick);
  };
  strand.PostAfter(absl::Milliseconds(100), tick);
  strand.AdvanceBy(absl::Milliseconds(350));
  EXPECT_EQ(fired_ms, (std::vector<int64_t>{100, 200, 300}));
  EXPECT_EQ(clock.Monotonic() - start, absl::Milliseconds(350));
  EXPECT_EQ(strand.timer_count(), 1u);
  EXPECT_EQ(strand.next_due(), start + absl::Milliseconds(400));
}

TEST(FakeStrand, ATimerAtTheEndRunsToo) {
  FakeClock clock;
  FakeStrand strand(&clock);
  int ran = 0;
  strand.PostAfter(absl::Seconds(1), [&] {
    ++ran;
    strand.PostAfter(absl::ZeroDuration(), [&ran] { ++ran; });
  });
  clock.AdvanceBy(absl::Milliseconds(999));
  EXPECT_EQ(ran, 0);
  clock.AdvanceBy(absl::Milliseconds(1));
  EXPECT_EQ(ran, 2);
}

TEST(FakeStrand, CancelledTimersDoNotRunEvenWhenDue) {
  FakeClock clock;
  FakeStrand strand(&clock);
  auto owned = std::make_shared<int>(0);
  base::TimerId second = 0;
  strand.PostAfter(absl::Seconds(1), [&] { strand.Cancel(second); });
  second = strand.PostAfter(absl::Seconds(1), [owned] { ++*owned; });
  strand.Cancel(0);
  clock.AdvanceBy(absl::Seconds(2));
  EXPECT_EQ(*owned, 0);
  EXPECT_EQ(owned.use_count(), 1);
}

TEST(FakeStrand, StrandsOfAClockShareTimeInAFixedOrder) {
  FakeClock clock;
  FakeStrand a(&clock);
  FakeStrand b(&clock);
  std::string order;
  b.PostAfter(absl::Seconds(1), [&] {
    order += "b1 ";
    a.Post([&order] { order += "a-from-b "; });
  });
  a.PostAfter(absl::Seconds(2), [&order] { order += "a2 "; });
  b.PostAfter(absl::Seconds(2), [&order] { order += "b2 "; });
  clock.AdvanceBy(absl::Seconds(5));
  EXPECT_EQ(order, "b1 a-from-b a2 b2 ");
}

}  // namespace
}  // namespace etcdd::testing
