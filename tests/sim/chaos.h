#pragma once

// Misfortunes, one after the other, drawn from the seed: what can happen to machines, disks, clocks
// and networks. It knows what it has broken and repairs all of it in Heal.
//
// Confined to the simulator's thread; runs on the world strand.

#include <cstdint>
#include <memory>
#include <set>

#include "server/base/random.h"
#include "tests/sim/scheduler.h"
#include "tests/sim/sim_cluster.h"
#include "tests/sim/trace.h"

namespace etcdd::sim {

class Chaos {
 public:
  // Everything outlives the chaos.
  Chaos(uint64_t seed, Scheduler* scheduler, SimStrand* world, SimCluster* cluster,
        SimNetwork* network, Trace* trace);

  void Start();
  // Ends misfortune: all machines run, at normal speed, with room on their disks.
  void Heal();
  // After Heal: machines of whom it was not known whether they belong to the cluster are started or
  // retired, by what the most advanced member says. True once nothing is left to decide.
  bool ResolveMembers();

 private:
  void Later();
  void Strike();
  SimMember* RandomRunning();
  void StartLater(SimMember* member, absl::Duration at_most);
  // Those that are gone and for whom nobody has planned a return.
  void RestartFallen();
  void Crash();
  void CrashInWrite();
  void Pause();
  void SlowDisk();
  void FullDisk();
  void SyncFails();
  void JumpClock();
  void Partition();
  void CutOneWay();
  void BadWeather();
  // Membership; chaos_members.cc.
  void AddMember();
  void PromoteLearner();
  void RemoveMember();
  void MoveLeader();
  void Join(SimMember* machine, SimMember* through, uint64_t id);
  SimMember* MostAdvanced();
  absl::Duration Up(absl::Duration at_most);
  void Note(SimMember* member, const char* what);

  const std::unique_ptr<base::Random> random_;
  Scheduler* const scheduler_;
  SimStrand* const world_;
  SimCluster* const cluster_;
  SimNetwork* const network_;
  Trace* const trace_;
  std::set<SimMember*> undecided_;  // asked to be added, answer unknown or not yet started
  absl::Duration last_change_ = -absl::InfiniteDuration();  // of membership asked for
  uint64_t partition_ = 0;  // counts, so that the end of an old one does not end a new one
  bool healed_ = false;
};

}  // namespace etcdd::sim
