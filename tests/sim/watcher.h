#pragma once

// A client that watches: opens a watch with random wishes at some member, takes what comes, loses
// its connection now and then and goes on elsewhere from where it was, as etcd's own client does.
// Every connection's watch is kept as a WatchRun for the checker.
//
// Confined to the simulator's thread; runs on the world strand.

#include <cstdint>
#include <deque>
#include <memory>
#include <string>
#include <vector>

#include "server/base/random.h"
#include "tests/sim/planted_bugs.h"
#include "tests/sim/scheduler.h"
#include "tests/sim/sim_member.h"
#include "tests/sim/watch_checker.h"

namespace etcdd::sim {

class Watcher {
 public:
  // Everything outlives the watcher. Runs are appended to `runs`.
  Watcher(int client, uint64_t seed, Scheduler* scheduler, SimStrand* world,
          const std::vector<std::unique_ptr<SimMember>>* members, std::deque<WatchRun>* runs,
          const PlantedBugs& planted = {});

  void Start();
  // Keeps the last watch, or opens one more if there is none, and disconnects no more.
  void Settle() { settled_ = true; }
  // The current run, if connected, is what it was when everything had arrived.
  void MarkOpen();
  bool connected() const { return session_ != nullptr; }

 private:
  // Draws what the watch asks for over all its connections.
  void DrawWishes();
  void ConnectSoon();
  void Connect();
  void OnResponse(const etcdserverpb::WatchResponse& response);
  void Disconnect();

  const int client_;
  const std::unique_ptr<base::Random> random_;
  Scheduler* const scheduler_;
  SimStrand* const world_;
  const std::vector<std::unique_ptr<SimMember>>* const members_;
  std::deque<WatchRun>* const runs_;
  const PlantedBugs planted_;
  etcdserverpb::WatchCreateRequest request_;
  int64_t next_ = 0;  // where to go on; 0: a new watch
  int64_t seen_revision_ = 0;
  bool settled_ = false;
  SimMember* member_ = nullptr;
  std::shared_ptr<WatchSession> session_;
  WatchRun* run_ = nullptr;
  uint64_t connection_ = 0;  // counts, so that late news of an old one is known as such
};

}  // namespace etcdd::sim
