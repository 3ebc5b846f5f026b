#pragma once

// One run: a cluster, its clients and its misfortunes, all from one seed; then everything is
// repaired, the cluster has to come together, and the checkers judge what was recorded.
//
//   Simulation simulation({.seed = 7});
//   simulation.Run();
//   for (const std::string& text : simulation.failures()) ...
//
// Scenarios drive the parts by hand instead of calling Run.

#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "absl/time/time.h"
#include "tests/sim/client.h"
#include "tests/sim/history.h"
#include "tests/sim/planted_bugs.h"
#include "tests/sim/scheduler.h"
#include "tests/sim/sim_cluster.h"
#include "tests/sim/trace.h"
#include "tests/sim/watcher.h"

namespace etcdd::sim {

class Chaos;
struct KvFacts;
struct LeaseFacts;

struct SimulationOptions {
  uint64_t seed = 1;
  // How long misfortunes go on; healing and settling come on top.
  absl::Duration length = absl::Seconds(60);
  // 0: drawn from the seed.
  int members = 0;
  int clients = 4;
  int watchers = 3;
  absl::Duration think_max = absl::Milliseconds(400);
  bool chaos = true;
  // Changes what was drawn for each member; may be empty.
  std::function<void(MemberSettings*)> adjust;
  // Bugs on purpose, to see that they are found.
  PlantedBugs planted;
  // Gets the lines of the trace.
  std::function<void(const std::string&)> printer;
};

class Simulation {
 public:
  explicit Simulation(SimulationOptions options);
  ~Simulation();

  // All of it; stops early at the first contradiction.
  void Run();

  // The phases of Run.
  void StartCluster();
  void StartClients();
  // Runs for so long, or until the first failure.
  void RunFor(absl::Duration duration);
  // As above, or until `done`. False: the time was up.
  bool RunUntil(absl::Duration at_most, const std::function<bool()>& done);
  void Heal();
  // Requires: healed. All members must come to the same state and take a write each in time.
  void Settle();
  void Check();

  // Empty: all is well.
  const std::vector<std::string>& failures() const { return failures_; }
  void Fail(std::string text);

  Scheduler& scheduler() { return *scheduler_; }
  SimStrand& world() { return *world_; }
  SimNetwork& network() { return *network_; }
  SimCluster& cluster() { return *cluster_; }
  History& history() { return history_; }
  EventLog& log() { return log_; }
  Trace& trace() { return trace_; }
  const std::deque<WatchRun>& watch_runs() const { return watch_runs_; }

  // A probe client's request, run to its end: at most `patience`.
  Operation Ask(SimMember* member, Operation operation,
                absl::Duration patience = absl::Seconds(10));

 private:
  void OnRecorded(SimMember* member, const etcdserverpb::WatchResponse& response);
  void WaitForWrites();
  void WaitForEqualState();
  void WaitForLeases();
  void CheckFinalReads();
  void CountFacts(const KvFacts& kv, const LeaseFacts& leases);

  const SimulationOptions options_;
  std::vector<std::string> failures_;
  Trace trace_;
  History history_;
  EventLog log_;
  std::deque<WatchRun> watch_runs_;
  std::unique_ptr<Scheduler> scheduler_;
  std::unique_ptr<SimStrand> world_;
  std::unique_ptr<SimNetwork> network_;
  std::unique_ptr<SimCluster> cluster_;
  std::vector<std::unique_ptr<Client>> clients_;
  std::unique_ptr<Client> probe_;
  std::vector<std::unique_ptr<Watcher>> watchers_;
  std::unique_ptr<Chaos> chaos_;
  uint64_t probe_values_ = 0;
};

}  // namespace etcdd::sim
