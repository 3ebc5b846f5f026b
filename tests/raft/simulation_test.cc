// The randomized cluster over many seeds; also what is known of R11. Environment:
//   ETCDD_RAFT_SEED           one seed only
//   ETCDD_RAFT_FIRST_SEED     the first of many (1)
//   ETCDD_RAFT_SEEDS          how many
//   ETCDD_RAFT_ELECTIONS_MIN  what the run must reach, with ETCDD_RAFT_STEPS_MIN

#include <cstdlib>
#include <iostream>
#include <map>
#include <string>

#include "absl/strings/numbers.h"
#include "gtest/gtest.h"
#include "tests/raft/simulation.h"
#include "tests/raft/simulation_probes.h"

namespace etcdd::raft {
namespace {

uint64_t FromEnvironment(const char* name, uint64_t fallback) {
  const char* text = std::getenv(name);
  uint64_t value = 0;
  return text != nullptr && absl::SimpleAtoi(text, &value) ? value : fallback;
}

// Clusters of 3 to 7 nodes, all options mixed; what a seed means never depends on the others.
SimulationOptions OptionsOf(uint64_t seed) {
  SimulationOptions options;
  options.seed = seed;
  options.nodes = 3 + seed % 5;
  options.initial_voters = options.nodes < 5 || seed % 2 == 0 ? 3 : 5;
  options.membership = seed % 3 != 0;
  options.restless = seed % 4 != 0;
  return options;
}

class RandomCluster : public testing::Test {
 protected:
  void Run(SimulationOptions options) {
    // Formatting log lines is most of the work, so not all clusters are listened to.
    if (options.seed % 4 == 0 || options.seed % 16 == 1) options.logger = &probes_;
    Simulation simulation(options);
    simulation.RunChaos();
    if (simulation.failure().empty()) simulation.Heal();
    ASSERT_EQ(simulation.failure(), "");
    for (const auto& [what, count] : simulation.counts()) counts_[what] += count;
    steps_ += simulation.steps();
  }

  std::map<std::string, int> counts_;
  uint64_t steps_ = 0;
  Probes probes_;
};

TEST_F(RandomCluster, KeepsItsPromises) {
  const uint64_t one = FromEnvironment("ETCDD_RAFT_SEED", 0);
  const uint64_t first = one != 0 ? one : FromEnvironment("ETCDD_RAFT_FIRST_SEED", 1);
  const uint64_t seeds = one != 0 ? 1 : FromEnvironment("ETCDD_RAFT_SEEDS", 120);
  for (uint64_t seed = first; seed < first + seeds; ++seed) {
    Run(OptionsOf(seed));
    if (HasFatalFailure()) return;
  }
  const int elections = counts_["leader elected"];
  std::cout << seeds << " clusters, " << elections << " elections won, " << steps_ << " steps\n";
  EXPECT_GE(elections, static_cast<int>(FromEnvironment("ETCDD_RAFT_ELECTIONS_MIN", 0)));
  EXPECT_GE(steps_, FromEnvironment("ETCDD_RAFT_STEPS_MIN", 0));
  // The rare branches were reached.
  if (seeds < 100) return;
  for (const char* what :
       {"leader elected", "proposal accepted", "read", "crash", "crash between writes",
        "snapshot installed", "snapshot delivered", "conf change applied", "compaction",
        "leave joint proposed", "partition", "transfer"}) {
    EXPECT_GT(counts_[what], 10) << what;
    RecordProperty(what, counts_[what]);
  }
  for (const auto& [text, count] : probes_.counts()) {
    EXPECT_TRUE(count > 0 || seeds < 1000) << text;
    RecordProperty(text, count);
  }
}

}  // namespace
}  // namespace etcdd::raft
