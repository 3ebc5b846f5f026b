#include "server/base/strand.h"

#include <gtest/gtest.h>

#include <chrono>
#include <latch>
#include <memory>
#include <string>
#include <thread>
#include <vector>

namespace etcdd::base {
namespace {

// Returns once everything posted before has run.
void Drain(Strand& strand) {
  std::latch done(1);
  strand.Post([&done] { done.count_down(); });
  done.wait();
}

TEST(ThreadStrand, RunsInTheOrderOfPosting) {
  std::vector<int> seen;
  const auto strand = NewThreadStrand("test");
  for (int i = 0; i < 1000; ++i) strand->Post([&seen, i] { seen.push_back(i); });
  Drain(*strand);
  ASSERT_EQ(seen.size(), 1000u);
  for (int i = 0; i < 1000; ++i) EXPECT_EQ(seen[static_cast<size_t>(i)], i);
}

TEST(ThreadStrand, NeverRunsInsidePost) {
  const auto strand = NewThreadStrand("test");
  std::string order;
  strand->Post([&] {
    strand->Post([&order] { order += "second"; });
    order += "first ";
  });
  Drain(*strand);
  Drain(*strand);
  EXPECT_EQ(order, "first second");
}

TEST(ThreadStrand, TasksOfManyThreadsNeverOverlap) {
  const auto strand = NewThreadStrand("test");
  int64_t unguarded = 0;
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&] {
      for (int i = 0; i < 5000; ++i) strand->Post([&unguarded] { ++unguarded; });
    });
  }
  for (std::thread& thread : threads) thread.join();
  Drain(*strand);
  EXPECT_EQ(unguarded, 20000);
}

TEST(ThreadStrand, TimersRunByDueTimeNotByOrderOfPosting) {
  const auto strand = NewThreadStrand("test");
  std::string order;
  std::latch done(1);
  strand->Post([&] {
    strand->PostAfter(absl::Milliseconds(30), [&] {
      order += "c";
      done.count_down();
    });
    strand->PostAfter(absl::Milliseconds(10), [&order] { order += "a"; });
    strand->PostAfter(absl::Milliseconds(20), [&order] { order += "b"; });
  });
  done.wait();
  EXPECT_EQ(order, "abc");
}

TEST(ThreadStrand, EqualTimersRunInTheOrderOfPosting) {
  const auto strand = NewThreadStrand("test");
  std::string order;
  std::latch done(1);
  for (const char letter : {'a', 'b', 'c'}) {
    strand->PostAfter(absl::ZeroDuration(), [&order, letter] { order.push_back(letter); });
  }
  strand->PostAfter(absl::Milliseconds(1), [&done] { done.count_down(); });
  done.wait();
  EXPECT_EQ(order, "abc");
}

TEST(ThreadStrand, TimersDoNotRunEarly) {
  const auto strand = NewThreadStrand("test");
  const auto start = std::chrono::steady_clock::now();
  std::latch done(1);
  strand->PostAfter(absl::Milliseconds(15), [&done] { done.count_down(); });
  done.wait();
  EXPECT_GE(std::chrono::steady_clock::now() - start, std::chrono::milliseconds(15));
}

TEST(ThreadStrand, CancelledTimersDoNotRunEvenWhenDue) {
  const auto strand = NewThreadStrand("test");
  bool ran = false;
  std::latch done(1);
  strand->Post([&] {
    // Due at once, but this task is still running.
    const TimerId id = strand->PostAfter(absl::ZeroDuration(), [&ran] { ran = true; });
    EXPECT_NE(id, 0u);
    strand->Cancel(id);
    strand->Cancel(id);
    strand->Cancel(0);
    strand->PostAfter(absl::Milliseconds(1), [&done] { done.count_down(); });
  });
  done.wait();
  EXPECT_FALSE(ran);
}

TEST(ThreadStrand, CancelledTasksAreDestroyedAtOnce) {
  const auto strand = NewThreadStrand("test");
  auto owned = std::make_shared<int>(1);
  const TimerId id = strand->PostAfter(absl::Hours(1), [owned] {});
  EXPECT_EQ(owned.use_count(), 2);
  strand->Cancel(id);
  EXPECT_EQ(owned.use_count(), 1);
}

TEST(ThreadStrand, AnInfiniteDelayNeverComes) {
  auto strand = NewThreadStrand("test");
  bool ran = false;
  strand->PostAfter(absl::InfiniteDuration(), [&ran] { ran = true; });
  Drain(*strand);
  strand.reset();
  EXPECT_FALSE(ran);
}

TEST(ThreadStrand, DestructorRunsWhatWasPostedButNotTimers) {
  int ran = 0;
  bool timer_ran = false;
  auto strand = NewThreadStrand("test");
  Strand* const raw = strand.get();
  for (int i = 0; i < 100; ++i) {
    raw->Post([&ran, raw] {
      ++ran;
      raw->Post([&ran] { ++ran; });
    });
  }
  raw->PostAfter(absl::Hours(1), [&timer_ran] { timer_ran = true; });
  strand.reset();
  EXPECT_EQ(ran, 200);
  EXPECT_FALSE(timer_ran);
}

}  // namespace
}  // namespace etcdd::base
