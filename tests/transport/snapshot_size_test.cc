// A large image between two members: its size must not show in the memory of either.

#include <fstream>
#include <memory>
#include <string>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/transport/transport_fixture.h"

namespace etcdd::transport {
namespace {

constexpr uint64_t kImageBytes = 200 << 20;
constexpr int64_t kGrowthKibMax = 48 << 10;

// Sanitizers keep freed memory on purpose.
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
constexpr bool kMemoryCounts = false;
#else
constexpr bool kMemoryCounts = true;
#endif

// Highest resident size of this process so far, KiB.
int64_t PeakKib() {
  std::ifstream status("/proc/self/status");
  for (std::string line; std::getline(status, line);) {
    if (!absl::StartsWith(line, "VmHWM:")) continue;
    int64_t kib = 0;
    const size_t digits = line.find_first_of("0123456789");
    EXPECT_TRUE(absl::SimpleAtoi(line.substr(digits, line.find(' ', digits) - digits), &kib));
    return kib;
  }
  ADD_FAILURE() << "no VmHWM";
  return 0;
}

TEST(SnapshotSize, TwoHundredMegabytesInBoundedMemory) {
  Network net;
  Member& a = net.Add(1);
  Member& b = net.Add(2);
  a.transport->AddRemote(2, {b.url()});
  // Once with a small image, so that what both sides keep anyway is there.
  a.transport->SendSnapshot(SnapshotMessage(1, 2, 1), std::make_unique<PatternSource>(8 << 20));
  ASSERT_TRUE(net.Await([&] { return a.events.sent.size() == 1; }));
  const int64_t before = PeakKib();
  a.transport->SendSnapshot(SnapshotMessage(1, 2, 2),
                            std::make_unique<PatternSource>(kImageBytes));
  for (int i = 0; i < 6 && a.events.sent.size() < 2; ++i) {
    if (net.Await([&] { return a.events.sent.size() == 2; })) break;
  }
  ASSERT_EQ(a.events.sent.size(), 2u);
  EXPECT_TRUE(a.events.sent[1].second);
  ASSERT_EQ(b.events.landings.size(), 2u);
  EXPECT_EQ(b.events.landings[1]->bytes, kImageBytes);
  EXPECT_TRUE(b.events.landings[1]->intact);
  EXPECT_TRUE(b.events.landings[1]->committed);
  if (kMemoryCounts) {
    EXPECT_LT(PeakKib() - before, kGrowthKibMax);
  }
}

}  // namespace
}  // namespace etcdd::transport
