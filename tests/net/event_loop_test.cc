// The event loop and its timers.

#include "server/net/event_loop.h"

#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <algorithm>
#include <atomic>
#include <chrono>
#include <functional>
#include <memory>
#include <random>
#include <thread>
#include <vector>

#include "boost/asio/post.hpp"
#include "boost/asio/steady_timer.hpp"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "server/net/timer_queue.h"
#include "tests/net/http2_fixture.h"

namespace etcdd::net {
namespace {

using ::testing::ElementsAre;

struct CountingHook final : TurnHook {
  void OnTurn() override {
    ++count;
    if (action) action();
  }
  int count = 0;
  std::function<void()> action;
};

class EventLoopTest : public ::testing::Test {
 protected:
  void Turn() { loop_.RunTurn(absl::ZeroDuration()); }

  ManualClock clock_;
  EventLoop loop_{&clock_};
};

TEST_F(EventLoopTest, RunsTasksInOrderAndNeverInsidePost) {
  std::vector<int> order;
  loop_.Post([&] {
    order.push_back(1);
    loop_.Post([&] { order.push_back(3); });
    order.push_back(2);
  });
  EXPECT_TRUE(order.empty());
  Turn();
  EXPECT_THAT(order, ElementsAre(1, 2, 3));
}

TEST_F(EventLoopTest, DelayedTasksRunAtTheirTimeUnlessCancelled) {
  std::vector<int> order;
  loop_.PostAfter(absl::Milliseconds(20), [&] { order.push_back(20); });
  loop_.PostAfter(absl::Milliseconds(10), [&] { order.push_back(10); });
  const base::TimerId cancelled =
      loop_.PostAfter(absl::Milliseconds(15), [&] { order.push_back(15); });
  loop_.Cancel(cancelled);
  loop_.Cancel(cancelled);
  loop_.Cancel(12345);
  Turn();
  EXPECT_TRUE(order.empty());
  clock_.Advance(absl::Milliseconds(10));
  Turn();
  EXPECT_THAT(order, ElementsAre(10));
  clock_.Advance(absl::Milliseconds(10));
  Turn();
  EXPECT_THAT(order, ElementsAre(10, 20));
}

TEST_F(EventLoopTest, EndOfTurnHooksRunOnceAfterAllTasks) {
  CountingHook hook;
  std::vector<int> counts;
  for (int i = 0; i < 3; ++i) {
    loop_.Post([&] {
      loop_.AtEndOfTurn(&hook);
      counts.push_back(hook.count);
      if (counts.size() == 3) loop_.Post([&] { counts.push_back(hook.count); });
    });
  }
  Turn();
  EXPECT_EQ(hook.count, 1);
  EXPECT_THAT(counts, ElementsAre(0, 0, 0, 0));
  Turn();
  EXPECT_EQ(hook.count, 1);
}

TEST_F(EventLoopTest, HooksMayQueueThemselvesForTheNextTurnAndBeForgotten) {
  CountingHook hook;
  hook.action = [&] { loop_.NextTurn(&hook); };
  loop_.AtEndOfTurn(&hook);
  Turn();
  EXPECT_EQ(hook.count, 1);
  Turn();
  EXPECT_EQ(hook.count, 2);
  loop_.Forget(&hook);
  Turn();
  EXPECT_EQ(hook.count, 2);
}

TEST_F(EventLoopTest, AHookForgottenByAnotherOfTheSameBatchDoesNotRun) {
  CountingHook first, second;
  first.action = [&] { loop_.Forget(&second); };
  loop_.AtEndOfTurn(&first);
  loop_.AtEndOfTurn(&second);
  Turn();
  EXPECT_EQ(first.count, 1);
  EXPECT_EQ(second.count, 0);
}

struct Reader final : IoHandler {
  void OnReady(uint32_t) override {
    ++calls;
    if (action) action();
  }
  int calls = 0;
  std::function<void()> action;
};

TEST_F(EventLoopTest, UnwatchHoldsWithinTheBatch) {
  std::array<int, 2> a{}, b{};
  ASSERT_EQ(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, a.data()), 0);
  ASSERT_EQ(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, b.data()), 0);
  Reader first, second;
  loop_.Watch(a[0], &first);
  loop_.Watch(b[0], &second);
  Turn();  // both are writable from the start
  first.calls = second.calls = 0;
  first.action = [&] { loop_.Unwatch(b[0], &second); };
  second.action = [&] { loop_.Unwatch(a[0], &first); };
  ASSERT_EQ(::write(a[1], "x", 1), 1);
  ASSERT_EQ(::write(b[1], "x", 1), 1);
  Turn();
  EXPECT_EQ(first.calls + second.calls, 1);
  loop_.Unwatch(first.calls == 1 ? a[0] : b[0], first.calls == 1 ? &first : &second);
  for (const int fd : {a[0], a[1], b[0], b[1]}) ::close(fd);
}

TEST(EventLoopThreadTest, OtherThreadsWakeItAndStopIt) {
  const auto clock = base::NewSystemClock();
  EventLoop loop(clock.get());
  std::atomic<int> ran{0};
  std::thread runner([&] { loop.Run(); });
  std::vector<std::thread> posters;
  for (int t = 0; t < 4; ++t) {
    posters.emplace_back([&] {
      for (int i = 0; i < 5000; ++i) loop.Post([&] { ran.fetch_add(1); });
    });
  }
  for (std::thread& poster : posters) poster.join();
  loop.PostAfter(absl::Milliseconds(1), [&] { loop.Stop(); });
  runner.join();
  EXPECT_EQ(ran.load(), 20'000);
}

TEST(EventLoopThreadTest, AsioObjectsLiveOnTheSameLoop) {
  const auto clock = base::NewSystemClock();
  EventLoop loop(clock.get());
  std::vector<int> order;
  boost::asio::steady_timer timer(loop.io_context(), std::chrono::milliseconds(2));
  timer.async_wait([&](const boost::system::error_code&) {
    order.push_back(1);
    loop.Post([&] { order.push_back(2); });
    boost::asio::post(loop.io_context(), [&] {
      order.push_back(3);
      loop.PostAfter(absl::Milliseconds(1), [&] { loop.Stop(); });
    });
  });
  std::thread other([&] { loop.Post([&] { order.push_back(0); }); });
  other.join();
  loop.Run();
  ASSERT_EQ(order.size(), 4u);
  EXPECT_EQ(order[0], 0);
  EXPECT_EQ(order[1], 1);
}

TEST(TimerQueueTest, FiresInOrderOfTime) {
  TimerQueue queue;
  std::vector<int> fired;
  std::vector<std::unique_ptr<Timer>> timers;
  std::mt19937 random(1);  // NOLINT: one seed, one trace
  std::vector<int> expected;
  for (int i = 0; i < 500; ++i) {
    const int when = static_cast<int>(random() % 1000);
    timers.push_back(std::make_unique<Timer>([&fired, when] { fired.push_back(when); }));
    timers.back()->Schedule(&queue, absl::Seconds(when));
    if (random() % 3 == 0) {
      timers.back()->Cancel();
    } else {
      expected.push_back(when);
    }
  }
  std::sort(expected.begin(), expected.end());
  for (int now = 0; now < 1000; now += 50) {
    queue.Fire(absl::Seconds(now));
    const auto due = std::upper_bound(expected.begin(), expected.end(), now);
    ASSERT_EQ(fired, std::vector<int>(expected.begin(), due)) << now;
    ASSERT_EQ(queue.next(), due == expected.end() ? absl::InfiniteDuration() : absl::Seconds(*due));
  }
  queue.Fire(absl::Seconds(1000));
  EXPECT_EQ(fired, expected);
  EXPECT_EQ(queue.size(), 0u);
}

TEST(TimerQueueTest, ATimerMayBeRescheduledByItsOwnCallback) {
  TimerQueue queue;
  int count = 0;
  Timer timer([&] {
    if (++count < 3) timer.Schedule(&queue, absl::ZeroDuration());
  });
  timer.Schedule(&queue, absl::ZeroDuration());
  queue.Fire(absl::Seconds(1));
  EXPECT_EQ(count, 1);  // once per turn
  queue.Fire(absl::Seconds(1));
  queue.Fire(absl::Seconds(1));
  queue.Fire(absl::Seconds(1));
  EXPECT_EQ(count, 3);
}

}  // namespace
}  // namespace etcdd::net
