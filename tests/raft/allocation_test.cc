// What the library takes from the heap: nothing for a heartbeat, nothing for an appended entry but
// the place it lies in, and never a copy of a payload.

#include <malloc.h>

#include <atomic>
#include <cstdint>
#include <cstdlib>
#include <new>
#include <string>
#include <utility>
#include <vector>

#include "gtest/gtest.h"
#include "raft/unstable.h"
#include "tests/raft/lean_group.h"

namespace {
std::atomic<int64_t> allocations{0};
std::atomic<int64_t> live_bytes{0};
}  // namespace

// Not inlined: the compiler would see free() meet operator new.
[[gnu::noinline]] void* operator new(size_t size) {
  void* memory = std::malloc(size);
  ETCDD_CHECK(memory != nullptr);
  ++allocations;
  live_bytes += static_cast<int64_t>(malloc_usable_size(memory));
  return memory;
}
[[gnu::noinline]] void operator delete(void* memory) noexcept {
  if (memory != nullptr) live_bytes -= static_cast<int64_t>(malloc_usable_size(memory));
  std::free(memory);
}
[[gnu::noinline]] void operator delete(void* memory, size_t) noexcept { operator delete(memory); }

namespace etcdd::raft {
namespace {

int64_t AllocationsOfABatch(LeanGroup* group, size_t size) {
  static const auto* const payload = new base::Bytes(base::Bytes::Copy(std::string(256, 'p')));
  std::vector<base::Bytes> batch(size, *payload);
  const int64_t before = allocations;
  ETCDD_CHECK(group->leader().Propose(std::move(batch)).ok());
  group->Settle();
  ETCDD_CHECK(group->leader().applied() == group->leader().last_index());
  return allocations - before;
}

TEST(Allocation, AHeartbeatTakesNothing) {
  LeanGroup group(3);
  const auto rounds = [&group](int count) {
    for (int i = 0; i < count; ++i) {
      group.leader().Tick();
      group.Settle();
    }
  };
  rounds(100);  // the vectors reach their size
  const int64_t before = allocations;
  rounds(10000);
  EXPECT_LE(allocations - before, 10) << "in 10000 rounds of two heartbeats and two answers";
}

TEST(Allocation, AnEntryTakesNothingButItsPlace) {
  LeanGroup group(3);
  for (int i = 0; i < 10; ++i) AllocationsOfABatch(&group, 2000);
  const int64_t small = AllocationsOfABatch(&group, 100);
  const int64_t large = AllocationsOfABatch(&group, 2000);
  // Per node and entry: 1/16 is the block of the memory storage it is kept in.
  EXPECT_LT(static_cast<double>(large - small) / (3 * 1900), 0.1);
}

TEST(Allocation, APayloadIsSharedByAllLogs) {
  LeanGroup group(3);
  std::vector<base::Bytes> batch;
  batch.push_back(base::Bytes::Copy(std::string(1 << 20, 'p')));
  const int64_t before = live_bytes;
  ASSERT_TRUE(group.leader().Propose(std::move(batch)).ok());
  group.Settle();
  ASSERT_EQ(group.leader().applied(), group.leader().last_index());
  EXPECT_LT(live_bytes - before, 1 << 18);
}

TEST(Allocation, AcknowledgedPayloadsAreReleasedAtOnce) {
  // R40.
  constexpr size_t kPayload = 1 << 16;
  Unstable unstable(1, nullptr);
  std::vector<Entry> entries(8);
  for (size_t i = 0; i < entries.size(); ++i) {
    entries[i].term = 1;
    entries[i].index = i + 1;
    entries[i].data = base::Bytes::Copy(std::string(kPayload, 'p'));
  }
  unstable.TruncateAndAppend(absl::MakeSpan(entries));
  entries.clear();
  for (uint64_t index = 1; index <= 8; ++index) {
    const int64_t before = live_bytes;
    unstable.StableTo(index, 1);
    EXPECT_GE(before - live_bytes, static_cast<int64_t>(kPayload)) << index;
    unstable.CheckInvariants();
  }
}

}  // namespace
}  // namespace etcdd::raft
