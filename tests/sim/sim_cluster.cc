#include "tests/sim/sim_cluster.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "server/base/check.h"

namespace etcdd::sim {

SimCluster::SimCluster(World world, int members, uint64_t seed)
    : world_(std::move(world)), random_(base::NewSeededRandom(seed)) {
  common_.snapshot_count = random_->Uniform(4) == 0 ? 1000 : 20 + random_->Uniform(180);
  common_.snapshot_catchup_entries = random_->Uniform(3) == 0 ? 1 : random_->Uniform(100) + 1;
  common_.pre_vote = random_->Uniform(4) != 0;
  common_.lease_checkpoint = random_->Uniform(3) == 0;
  common_.lease_checkpoint_persist = common_.lease_checkpoint;
  common_.watch_progress_interval = absl::Milliseconds(300);
  common_.compaction_pause_max = absl::Milliseconds(random_->Uniform(20));
  common_.store.compaction_step_revisions_max = random_->Uniform(2) == 0 ? 10 : 1000;
  common_.store.compaction_step_scan_max = common_.store.compaction_step_revisions_max * 10;
  if (random_->Uniform(3) == 0) common_.store.resident_bytes_max = 400;
  for (int i = 0; i < members; ++i) AddMachine();
  for (const auto& member : members_) {
    std::vector<membership::Member> others;
    for (const auto& other : members_) {
      if (other == member) continue;
      membership::Member record;
      record.name = other->name();
      record.peer_urls = other->peer_urls();
      others.push_back(std::move(record));
    }
    member->SetBirth(std::move(others), std::nullopt);
  }
}

SimCluster::~SimCluster() = default;

SimMember* SimCluster::AddMachine() {
  SimMember::World world;
  world.scheduler = world_.scheduler;
  world.strand = world_.strand;
  world.network = world_.network;
  world.on_recorded = world_.on_recorded;
  world.on_fatal = [this](SimMember* member, const absl::Status& status) {
    OnFatal(member, status);
  };
  world.on_removed = [this](SimMember* member) { OnRemoved(member); };
  members_.push_back(std::make_unique<SimMember>(
      std::move(world), DrawSettings(static_cast<int>(members_.size())), random_->Next()));
  return members_.back().get();
}

// Only its disk can be the reason.
void SimCluster::OnFatal(SimMember* member, const absl::Status& status) {
  ++fatal_;
  world_.trace->Add(world_.scheduler->Now(),
                    absl::StrCat(member->name(), " cannot go on: ", status.message()));
  world_.trace->Count("member stopped itself");
  if (!member->disk().troubled()) {
    world_.fail(absl::StrCat(member->name(), " stops on a good disk: ", status.ToString()));
  }
  Crash(member, CrashKind::kPowerOff);
}

void SimCluster::OnRemoved(SimMember* member) {
  world_.trace->Count("member stopped after its removal");
  member->Retire();
  Crash(member, CrashKind::kKill);
}

std::vector<SimMember*> SimCluster::Active() const {
  std::vector<SimMember*> active;
  for (const auto& member : members_) {
    if (!member->retired()) active.push_back(member.get());
  }
  return active;
}

MemberSettings SimCluster::DrawSettings(int index) {
  MemberSettings settings;
  settings.index = index;
  settings.options = common_;
  settings.with_wal_strand = random_->Uniform(3) != 0;
  settings.segment_bytes = random_->Uniform(2) == 0 ? 16 * 1024 : 256 * 1024;
  settings.drift_ppm = static_cast<int64_t>(random_->Uniform(2 * kClockDriftPpmMax + 1)) -
                       kClockDriftPpmMax;
  if (world_.adjust) world_.adjust(&settings);
  return settings;
}

void SimCluster::Start(SimMember* member) {
  const absl::Status status = member->Start();
  world_.trace->Add(world_.scheduler->Now(),
                    absl::StrCat(member->name(), " starts: ", status.ToString()));
  if (!status.ok() && member->disk().troubled()) {
    world_.trace->Count("start fails with its disk");
    member->disk().PowerOff();
    return;
  }
  if (!status.ok()) {
    world_.fail(absl::StrCat(member->name(), " refuses to start: ", status.ToString()));
    return;
  }
  world_.trace->Count("start");
  if (member->started_from_snapshot()) world_.trace->Count("restart from a snapshot");
  if (member->cut_torn_tail()) world_.trace->Count("torn WAL tail");
  led_[member->index()] = false;
}

void SimCluster::Crash(SimMember* member, CrashKind kind) {
  const bool led = member->server().is_leader();
  world_.trace->Add(world_.scheduler->Now(),
                    absl::StrCat(member->name(), kind == CrashKind::kKill ? " is killed"
                                                                          : " loses power"));
  world_.trace->Count(kind == CrashKind::kKill ? "kill" : "power off");
  if (led) world_.trace->Count("leader crashed");
  member->Crash(kind);
}

void SimCluster::Observe(SimStrand* strand) {
  for (const auto& member : members_) {
    if (!member->running() || &member->strand() != strand) continue;
    const bool leads = member->server().is_leader();
    bool& led = led_[member->index()];
    if (leads && !led) {
      const uint64_t term = member->server().Status().raft_term;
      world_.trace->Add(world_.scheduler->Now(),
                        absl::StrCat(member->name(), " leads in term ", term));
      world_.trace->Count("leader elected");
      const auto [found, added] = leaders_.emplace(term, member->index());
      if (!added && found->second != member->index()) {
        world_.fail(absl::StrCat("two leaders in term ", term, ": ", member->name(), " and m",
                                 found->second));
      }
    }
    led = leads;
    return;
  }
}

SimMember* SimCluster::Leader() {
  SimMember* leader = nullptr;
  uint64_t highest = 0;
  for (const auto& member : members_) {
    if (!member->running() || !member->server().is_leader()) continue;
    const uint64_t term = member->server().Status().raft_term;
    if (term > highest) {
      highest = term;
      leader = member.get();
    }
  }
  return leader;
}

}  // namespace etcdd::sim
