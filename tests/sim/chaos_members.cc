// Changes of membership and of the leader, at the worst of times.

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "tests/sim/chaos.h"

namespace etcdd::sim {
namespace {

// A request for a change that nobody answers is dead after this time (SRV-020).
constexpr absl::Duration kChangeTimeout = absl::Seconds(8);
constexpr size_t kMachinesMax = 9;
constexpr size_t kActiveMax = 7;
constexpr size_t kActiveMin = 2;

}  // namespace

void Chaos::AddMember() {
  SimMember* const through = RandomRunning();
  if (through == nullptr || cluster_->members().size() >= kMachinesMax ||
      cluster_->Active().size() >= kActiveMax) {
    return;
  }
  const bool is_learner = random_->Uniform(2) == 0;
  last_change_ = scheduler_->Now();
  SimMember* const machine = cluster_->AddMachine();
  undecided_.insert(machine);
  Note(machine, is_learner ? "is to be added as a learner" : "is to be added");
  through->strand().Post([this, through, machine, is_learner] {
    through->server().AddMember(
        machine->peer_urls(), is_learner,
        [this, through, machine](absl::StatusOr<uint64_t> id) {
          if (through->ending()) return;
          world_->Post([this, through, machine, id = std::move(id)] {
            trace_->Add(scheduler_->Now(),
                        absl::StrCat(machine->name(), " added: ", id.status().ToString()));
            if (id.ok() && through->running()) Join(machine, through, *id);
          });
        });
  });
}

// What the daemon learns by asking the others (server/join.h).
void Chaos::Join(SimMember* machine, SimMember* through, uint64_t id) {
  server::JoinedCluster joined;
  joined.cluster_id = through->server().identity().cluster_id;
  joined.member_id = id;
  joined.members = through->server().cluster().members();
  machine->SetBirth({}, std::move(joined));
  trace_->Count("member added");
  if (healed_) {  // ResolveMembers starts it
    return;
  }
  undecided_.erase(machine);
  StartLater(machine, absl::Seconds(2));
}

void Chaos::PromoteLearner() {
  SimMember* const through = RandomRunning();
  if (through == nullptr) return;
  const std::vector<uint64_t> learners = through->server().cluster().Learners();
  if (learners.empty()) return;
  const uint64_t id = learners[random_->Uniform(learners.size())];
  through->strand().Post([this, through, id] {
    through->server().PromoteMember(id, [this, through, id](absl::Status status, std::string) {
      if (through->ending()) return;
      trace_->Add(scheduler_->Now(), absl::StrCat("promoting ", id, ": ", status.ToString()));
      if (status.ok()) trace_->Count("learner promoted");
    });
  });
}

void Chaos::RemoveMember() {
  SimMember* const through = RandomRunning();
  if (through == nullptr || cluster_->Active().size() <= kActiveMin) return;
  const auto members = through->server().cluster().members();
  if (members.size() <= kActiveMin) return;
  last_change_ = scheduler_->Now();
  const uint64_t id = members[random_->Uniform(members.size())].id;
  through->strand().Post([this, through, id] {
    through->server().RemoveMember(id, [this, through, id](absl::Status status, std::string) {
      if (through->ending()) return;
      trace_->Add(scheduler_->Now(), absl::StrCat("removing ", id, ": ", status.ToString()));
      if (status.ok()) trace_->Count("member removed");
    });
  });
}

void Chaos::MoveLeader() {
  SimMember* const leader = cluster_->Leader();
  if (leader == nullptr) return;
  const std::vector<uint64_t> voters = leader->server().cluster().Voters();
  if (voters.size() < 2) return;
  const uint64_t target = voters[random_->Uniform(voters.size())];
  leader->strand().Post([this, leader, target] {
    leader->server().MoveLeader(target, [this, leader](absl::Status status, std::string) {
      if (leader->ending()) return;
      trace_->Add(scheduler_->Now(), absl::StrCat("leader moved: ", status.ToString()));
      if (status.ok()) trace_->Count("leader moved");
    });
  });
}

SimMember* Chaos::MostAdvanced() {
  SimMember* best = nullptr;
  for (SimMember* const member : cluster_->Active()) {
    if (!member->running()) continue;
    if (best == nullptr ||
        member->server().applied_index() > best->server().applied_index()) {
      best = member;
    }
  }
  return best;
}

bool Chaos::ResolveMembers() {
  SimMember* const best = MostAdvanced();
  if (best == nullptr) return false;
  const auto members = best->server().cluster().members();
  bool decided = true;
  for (SimMember* const machine : std::set<SimMember*>(undecided_)) {
    const auto found = std::find_if(members.begin(), members.end(), [&](const auto& member) {
      return member.peer_urls == machine->peer_urls();
    });
    if (found == members.end()) continue;  // perhaps on its way in a log
    server::JoinedCluster joined;
    joined.cluster_id = best->server().identity().cluster_id;
    joined.member_id = found->id;
    joined.members = members;
    machine->SetBirth({}, std::move(joined));
    undecided_.erase(machine);
    cluster_->Start(machine);
    decided = false;
  }
  for (SimMember* const member : cluster_->Active()) {
    if (undecided_.contains(member)) continue;
    // A member that was removed while it did not run, or could not be told, stops when it hears.
    const bool known = std::any_of(members.begin(), members.end(), [&](const auto& record) {
      return member->running() && record.id == member->server().identity().member_id;
    });
    decided &= known;
  }
  if (!decided || best->server().leader() == 0 ||
      scheduler_->Now() < last_change_ + kChangeTimeout ||
      best->server().applied_index() < best->server().Status().raft_index) {
    return false;
  }
  for (SimMember* const machine : undecided_) machine->Retire();
  undecided_.clear();
  return true;
}

}  // namespace etcdd::sim
