#include "server/base/gate.h"

#include <gtest/gtest.h>

#include <atomic>
#include <latch>
#include <memory>
#include <optional>
#include <thread>
#include <vector>

namespace etcdd::base {
namespace {

TEST(Gate, AnEmptyGateDrainsAtOnce) {
  Gate gate;
  int drained = 0;
  gate.Close([&drained] { ++drained; });
  EXPECT_EQ(drained, 1);
  EXPECT_FALSE(gate.Enter());
}

TEST(Gate, TheLastOneOutDrains) {
  Gate gate;
  int drained = 0;
  ASSERT_TRUE(gate.Enter());
  ASSERT_TRUE(gate.Enter());
  EXPECT_EQ(gate.inside(), 2u);
  gate.Close([&drained] { ++drained; });
  EXPECT_TRUE(gate.closed());
  EXPECT_FALSE(gate.Enter());
  gate.Leave();
  EXPECT_EQ(drained, 0);
  gate.Leave();
  EXPECT_EQ(drained, 1);
}

TEST(Gate, PassesLeaveOnDestruction) {
  Gate gate;
  int drained = 0;
  {
    std::optional<Gate::Pass> outer;
    {
      Gate::Pass pass(&gate);
      ASSERT_TRUE(pass);
      outer.emplace(std::move(pass));
    }
    EXPECT_EQ(gate.inside(), 1u);
    gate.Close([&drained] { ++drained; });
    EXPECT_FALSE(Gate::Pass(&gate));
    EXPECT_EQ(drained, 0);
  }
  EXPECT_EQ(drained, 1);
}

TEST(Gate, TheCallbackMayDestroyTheGate) {
  auto gate = std::make_unique<Gate>();
  Gate* const raw = gate.get();
  ASSERT_TRUE(raw->Enter());
  raw->Close([&gate] { gate.reset(); });
  raw->Leave();
  EXPECT_EQ(gate, nullptr);
}

TEST(Gate, DrainsExactlyOnceWhenManyThreadsLeave) {
  for (int round = 0; round < 50; ++round) {
    Gate gate;
    std::atomic<int> working{0};
    std::atomic<int> drained{0};
    std::latch closed(1);
    std::vector<std::thread> threads;
    for (int t = 0; t < 4; ++t) {
      threads.emplace_back([&] {
        while (gate.Enter()) {
          working.fetch_add(1);
          EXPECT_EQ(drained.load(), 0);
          working.fetch_sub(1);
          gate.Leave();
        }
      });
    }
    gate.Close([&] {
      EXPECT_EQ(working.load(), 0);
      drained.fetch_add(1);
      closed.count_down();
    });
    closed.wait();
    for (std::thread& thread : threads) thread.join();
    EXPECT_EQ(drained.load(), 1);
  }
}

TEST(GateDeathTest, LeavingWithoutEnteringIsAMistake) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  Gate gate;
  EXPECT_DEATH(gate.Leave(), "check failed");
}

}  // namespace
}  // namespace etcdd::base
