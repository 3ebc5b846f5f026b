// The randomized cluster over many seeds. ETCDD_RAFT_SEED runs one seed; ETCDD_RAFT_SEEDS, that
// many from 1 on.

#include <cstdlib>
#include <map>
#include <string>

#include "absl/strings/numbers.h"
#include "gtest/gtest.h"
#include "tests/raft/simulation.h"

namespace etcdd::raft {
namespace {

uint64_t FromEnvironment(const char* name, uint64_t fallback) {
  const char* text = std::getenv(name);
  uint64_t value = 0;
  return text != nullptr && absl::SimpleAtoi(text, &value) ? value : fallback;
}

class RandomCluster : public testing::Test {
 protected:
  void Run(SimulationOptions options) {
    Simulation simulation(options);
    simulation.RunChaos();
    if (simulation.failure().empty()) simulation.Heal();
    ASSERT_EQ(simulation.failure(), "");
    for (const auto& [what, count] : simulation.counts()) counts_[what] += count;
  }

  std::map<std::string, int> counts_;
};

TEST_F(RandomCluster, KeepsItsPromises) {
  const uint64_t one = FromEnvironment("ETCDD_RAFT_SEED", 0);
  const uint64_t seeds = FromEnvironment("ETCDD_RAFT_SEEDS", 120);
  for (uint64_t seed = one != 0 ? one : 1; seed <= (one != 0 ? one : seeds); ++seed) {
    SimulationOptions options;
    options.seed = seed;
    options.membership = seed % 3 != 0;
    Run(options);
    if (HasFatalFailure()) return;
  }
  // Probes: the rare branches were reached.
  if (one != 0 || seeds < 100) return;
  for (const char* what :
       {"leader elected", "proposal accepted", "read", "crash", "crash between writes",
        "snapshot installed", "snapshot delivered", "conf change applied", "compaction",
        "leave joint proposed", "partition", "transfer"}) {
    EXPECT_GT(counts_[what], 10) << what;
    RecordProperty(what, counts_[what]);
  }
}

TEST_F(RandomCluster, FiveVotersWithoutMembershipChanges) {
  for (uint64_t seed = 1001; seed <= 1030; ++seed) {
    SimulationOptions options;
    options.seed = seed;
    options.initial_voters = 5;
    options.membership = false;
    Run(options);
    if (HasFatalFailure()) return;
  }
  EXPECT_GT(counts_["read"], 10);
}

}  // namespace
}  // namespace etcdd::raft
