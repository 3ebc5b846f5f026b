#pragma once

// The vocabulary of named scenarios: a cluster without chance misfortunes, driven by hand. Every
// scenario ends with Finish, which repairs what is broken and lets all checkers judge.

#include <functional>
#include <memory>
#include <string>

#include "gtest/gtest.h"
#include "tests/sim/simulation.h"

namespace etcdd::sim {

class Scenario : public ::testing::Test {
 protected:
  static void SetUpTestSuite();

  // Starts a cluster and waits until all are ready to serve. `adjust` changes members' settings.
  void Start(int members, std::function<void(MemberSettings*)> adjust = nullptr);
  void StartClients() { sim_->StartClients(); }
  // Repairs, settles, checks; nothing may be wrong.
  void Finish();

  void RunFor(absl::Duration duration) { sim_->RunFor(duration); }
  // True when it came true in time.
  bool RunUntil(absl::Duration at_most, const std::function<bool()>& done) {
    return sim_->RunUntil(at_most, done);
  }
  // Waits for a leader, besides `other_than` if given.
  SimMember* Leader(SimMember* other_than = nullptr);
  SimMember* Follower(int nth = 0);
  SimMember& member(int index) { return sim_->cluster().member(index); }

  // Each expects to be answered with OK.
  Operation Put(SimMember* member, const std::string& key, const std::string& value,
                int64_t lease = 0);
  Operation Get(SimMember* member, const std::string& key);
  Operation Delete(SimMember* member, const std::string& key);
  void Compact(SimMember* member, int64_t revision);
  void Grant(SimMember* member, int64_t lease, int64_t ttl_seconds);
  // Whatever the answer.
  Operation Renew(SimMember* member, int64_t lease);
  void PutMany(SimMember* member, int count);

  void Cut(SimMember* member, bool cut);  // off from all others, both ways
  void Crash(SimMember* member, CrashKind kind = CrashKind::kKill) {
    sim_->cluster().Crash(member, kind);
  }
  void Restart(SimMember* member) { sim_->cluster().Start(member); }

  // Membership: `id` 0 = refused, with the error in `*error`.
  uint64_t AddMember(SimMember* through, SimMember* machine, bool is_learner);
  absl::Status Remove(SimMember* through, uint64_t id);
  absl::Status Promote(SimMember* through, uint64_t id);
  absl::Status MoveLeader(SimMember* leader, uint64_t target);
  // Adds a new machine, starts it and waits until it is ready.
  SimMember* Grow(bool is_learner = false);

  int64_t probe(const std::string& name) const;

  std::unique_ptr<Simulation> sim_;

 private:
  absl::Status RunRequest(SimMember* member,
                          const std::function<void(server::EtcdServer&, server::Done)>& request);
};

}  // namespace etcdd::sim
