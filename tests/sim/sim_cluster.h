#pragma once

// The simulated machines, the members on them and what is observed of all of them at once.
//
// Confined to the simulator's thread.

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "server/base/random.h"
#include "tests/sim/scheduler.h"
#include "tests/sim/sim_member.h"
#include "tests/sim/trace.h"

namespace etcdd::sim {

class SimCluster {
 public:
  struct World {
    Scheduler* scheduler = nullptr;
    SimStrand* strand = nullptr;
    SimNetwork* network = nullptr;
    Trace* trace = nullptr;
    std::function<void(std::string)> fail;
    // Changes what was drawn for a member; may be empty.
    std::function<void(MemberSettings*)> adjust;
    std::function<void(SimMember*, const etcdserverpb::WatchResponse&)> on_recorded;
  };
  // Draws the members' settings from the seed. Everything in `world` outlives the cluster.
  SimCluster(World world, int members, uint64_t seed);
  ~SimCluster();

  // Starts a member that does not run. A refusal is a failure of the run, unless it may be the
  // work of the disk that is full or failing.
  void Start(SimMember* member);
  void Crash(SimMember* member, CrashKind kind);
  // After each task: at most one leader per term.
  void Observe(SimStrand* strand);

  // A new machine, empty and not running; the caller says how it comes to life.
  SimMember* AddMachine();

  const std::vector<std::unique_ptr<SimMember>>& members() const { return members_; }
  // Those that are not retired.
  std::vector<SimMember*> Active() const;
  SimMember& member(int index) { return *members_[static_cast<size_t>(index)]; }
  // The member that leads in the highest term; nullptr: none does.
  SimMember* Leader();
  // Members that stopped because they could not go on, since the last call.
  int TakeFatal() { return std::exchange(fatal_, 0); }

 private:
  MemberSettings DrawSettings(int index);
  void OnFatal(SimMember* member, const absl::Status& status);
  void OnRemoved(SimMember* member);

  const World world_;
  const std::unique_ptr<base::Random> random_;
  std::vector<std::unique_ptr<SimMember>> members_;
  server::EtcdServerOptions common_;
  std::map<uint64_t, int> leaders_;  // by term
  std::map<int, bool> led_;          // by member, as of its last task
  int fatal_ = 0;
};

}  // namespace etcdd::sim
