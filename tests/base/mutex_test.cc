// That the locks in use are seen by the sanitizer of the build: under ThreadSanitizer these tests
// fail when absl::Mutex goes unseen (server/base/tsan_mutex.cc).

#include <gtest/gtest.h>

#include <functional>
#include <thread>
#include <vector>

#include "absl/synchronization/mutex.h"

namespace etcdd::base {
namespace {

void InThreads(int count, const std::function<void()>& run) {
  std::vector<std::thread> threads;
  for (int i = 0; i < count; ++i) threads.emplace_back(run);
  for (std::thread& thread : threads) thread.join();
}

TEST(Mutex, GuardsWritersAndReaders) {
  absl::Mutex mutex;
  int64_t value = 0;
  InThreads(4, [&] {
    for (int i = 0; i < 2000; ++i) {
      {
        absl::MutexLock lock(&mutex);
        ++value;
      }
      absl::ReaderMutexLock lock(&mutex);
      ASSERT_GT(value, 0);
    }
  });
  EXPECT_EQ(value, 8000);
}

TEST(Mutex, HandsOverThroughConditions) {
  // Two threads take turns by parity, by Await and by LockWhen.
  absl::Mutex mutex;
  int64_t turns = 0;
  std::thread odd([&] {
    for (int i = 0; i < 500; ++i) {
      absl::MutexLock lock(&mutex);
      const auto mine = [&turns] { return turns % 2 == 1; };
      mutex.Await(absl::Condition(&mine));
      ++turns;
    }
  });
  for (int i = 0; i < 500; ++i) {
    const auto mine = [&turns] { return turns % 2 == 0; };
    absl::MutexLock lock(&mutex, absl::Condition(&mine));
    ++turns;
  }
  odd.join();
  EXPECT_EQ(turns, 1000);
}

TEST(Mutex, HandsOverThroughConditionVariables) {
  absl::Mutex mutex;
  absl::CondVar changed;
  int64_t turns = 0;
  const auto play = [&](int64_t parity) {
    for (int i = 0; i < 500; ++i) {
      absl::MutexLock lock(&mutex);
      while (turns % 2 != parity) changed.Wait(&mutex);
      ++turns;
      changed.SignalAll();
    }
  };
  std::thread odd(play, 1);
  play(0);
  odd.join();
  EXPECT_EQ(turns, 1000);
}

TEST(Mutex, TryLockGuardsWhenItSucceeds) {
  absl::Mutex mutex;
  int64_t value = 0;
  InThreads(2, [&] {
    for (int done = 0; done < 500;) {
      if (!mutex.TryLock()) continue;
      ++value;
      ++done;
      mutex.Unlock();
    }
  });
  EXPECT_EQ(value, 1000);
}

}  // namespace
}  // namespace etcdd::base
