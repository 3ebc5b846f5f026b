#include "tests/sim/chaos.h"

#include <utility>

#include "absl/strings/str_cat.h"

namespace etcdd::sim {
namespace {

constexpr absl::Duration kPeaceMax = absl::Seconds(4);
constexpr absl::Duration kDownMax = absl::Seconds(6);
constexpr absl::Duration kPauseMax = absl::Seconds(8);
constexpr absl::Duration kSlowMax = absl::Seconds(5);
constexpr absl::Duration kFullMax = absl::Seconds(3);
constexpr absl::Duration kPartitionMax = absl::Seconds(10);
constexpr absl::Duration kWeatherMax = absl::Seconds(8);

}  // namespace

Chaos::Chaos(uint64_t seed, Scheduler* scheduler, SimStrand* world, SimCluster* cluster,
             SimNetwork* network, Trace* trace)
    : random_(base::NewSeededRandom(seed)),
      scheduler_(scheduler),
      world_(world),
      cluster_(cluster),
      network_(network),
      trace_(trace) {}

void Chaos::Start() { Later(); }

absl::Duration Chaos::Up(absl::Duration at_most) {
  return absl::Microseconds(
      random_->Uniform(static_cast<uint64_t>(absl::ToInt64Microseconds(at_most))) + 1);
}

void Chaos::Later() {
  world_->PostAfter(Up(kPeaceMax), [this] {
    if (healed_) return;
    Strike();
    Later();
  });
}

void Chaos::Note(SimMember* member, const char* what) {
  trace_->Add(scheduler_->Now(), absl::StrCat(member->name(), " ", what));
  trace_->Count(what);
}

SimMember* Chaos::RandomRunning() {
  std::vector<SimMember*> running;
  for (const auto& member : cluster_->members()) {
    if (member->running()) running.push_back(member.get());
  }
  return running.empty() ? nullptr : running[random_->Uniform(running.size())];
}

void Chaos::Strike() {
  RestartFallen();
  switch (random_->Uniform(21)) {
    case 0:
    case 1:
    case 2: return Crash();
    case 3:
    case 4: return CrashInWrite();
    case 5: return Pause();
    case 6: return SlowDisk();
    case 7: return FullDisk();
    case 8: return SyncFails();
    case 9: return JumpClock();
    case 10:
    case 11:
    case 12: return Partition();
    case 13: return CutOneWay();
    case 14:
    case 15: return BadWeather();
    case 16: return AddMember();
    case 17: return PromoteLearner();
    case 18: return RemoveMember();
    default: return MoveLeader();
  }
}

void Chaos::StartLater(SimMember* member, absl::Duration at_most) {
  world_->PostAfter(Up(at_most), [this, member] {
    if (!member->running() && !member->retired()) cluster_->Start(member);
  });
}

void Chaos::RestartFallen() {
  for (const auto& member : cluster_->members()) {
    if (member->running() || undecided_.contains(member.get())) continue;
    StartLater(member.get(), kDownMax);
  }
}

void Chaos::Crash() {
  SimMember* const member = RandomRunning();
  if (member == nullptr) return;
  cluster_->Crash(member, random_->Uniform(2) == 0 ? CrashKind::kKill : CrashKind::kPowerOff);
  StartLater(member, kDownMax);
}

// The power goes between any two writes.
void Chaos::CrashInWrite() {
  SimMember* const member = RandomRunning();
  if (member == nullptr) return;
  Note(member, "power will go in a write");
  member->disk().LosePowerAfter(random_->Uniform(60));
}

void Chaos::Pause() {
  SimMember* const member = RandomRunning();
  if (member == nullptr || member->paused()) return;
  Note(member, "paused");
  member->SetPaused(true);
  world_->PostAfter(Up(kPauseMax), [this, member, life = member->life()] {
    if (!member->running() || member->life() != life || !member->paused()) return;
    Note(member, "resumed");
    member->SetPaused(false);
  });
}

void Chaos::SlowDisk() {
  SimMember* const member = RandomRunning();
  if (member == nullptr) return;
  Note(member, "slow disk");
  DiskSpeed speed;
  speed.sync_max = absl::Milliseconds(50 + random_->Uniform(300));
  speed.stall_one_in = 20;
  speed.stall_max = absl::Seconds(3);
  member->disk().set_speed(speed);
  world_->PostAfter(Up(kSlowMax), [member] { member->disk().set_speed({}); });
}

// A write that does not fit ends the member; then somebody makes room.
void Chaos::FullDisk() {
  SimMember* const member = RandomRunning();
  if (member == nullptr) return;
  Note(member, "full disk");
  member->disk().SetRoom(random_->Uniform(4096));
  world_->PostAfter(Up(kFullMax), [member] { member->disk().Repair(); });
}

void Chaos::SyncFails() {
  SimMember* const member = RandomRunning();
  if (member == nullptr) return;
  Note(member, "a sync will fail");
  testing::FileFault fault;
  fault.op = random_->Uniform(2) == 0 ? testing::FileOp::kSync : testing::FileOp::kWrite;
  fault.nth = random_->Uniform(30) + 1;
  member->disk().FailSoon(fault);
}

void Chaos::JumpClock() {
  SimMember* const member = RandomRunning();
  if (member == nullptr) return;
  Note(member, "calendar jumps");
  const auto seconds = static_cast<int64_t>(random_->Uniform(7200)) - 3600;
  member->clock().JumpWall(absl::Seconds(seconds));
}

// Every member is on one of two sides.
void Chaos::Partition() {
  const int count = static_cast<int>(cluster_->members().size());
  if (count < 2) return;
  network_->RestoreAll();
  const uint64_t sides = random_->Uniform(uint64_t{1} << count);
  for (int from = 0; from < count; ++from) {
    for (int to = 0; to < count; ++to) {
      if (((sides >> from) & 1) != ((sides >> to) & 1)) network_->Cut(from, to, true);
    }
  }
  trace_->Add(scheduler_->Now(), absl::StrCat("partition ", sides));
  trace_->Count("partition");
  world_->PostAfter(Up(kPartitionMax), [this, partition = ++partition_] {
    if (partition != partition_) return;
    trace_->Add(scheduler_->Now(), "partition ends");
    network_->RestoreAll();
  });
}

// One member hears the others, or some of them, but is not heard; or the other way round.
void Chaos::CutOneWay() {
  const uint64_t count = cluster_->members().size();
  if (count < 2) return;
  network_->RestoreAll();
  const int one = static_cast<int>(random_->Uniform(count));
  const bool deaf = random_->Uniform(2) == 0;
  for (int other = 0; other < static_cast<int>(count); ++other) {
    if (other == one || random_->Uniform(4) == 0) continue;
    network_->Cut(deaf ? other : one, deaf ? one : other, true);
  }
  Note(&cluster_->member(one), deaf ? "is deaf" : "is mute");
  world_->PostAfter(Up(kPartitionMax), [this, partition = ++partition_] {
    if (partition == partition_) network_->RestoreAll();
  });
}

void Chaos::BadWeather() {
  Weather weather;
  weather.in_order = random_->Uniform(2) == 0;
  weather.delay_max = absl::Milliseconds(random_->Uniform(5) == 0 ? 400 : 40);
  weather.lost_per_mille = static_cast<uint32_t>(random_->Uniform(150));
  weather.doubled_per_mille = static_cast<uint32_t>(random_->Uniform(100));
  weather.image_breaks_one_in = random_->Uniform(2) == 0 ? 8 : 0;
  weather.image_damaged_one_in = random_->Uniform(3) == 0 ? 8 : 0;
  network_->set_weather(weather);
  trace_->Add(scheduler_->Now(), "bad weather");
  trace_->Count("bad weather");
  world_->PostAfter(Up(kWeatherMax), [this] {
    if (!healed_) network_->set_weather({});
  });
}

void Chaos::Heal() {
  healed_ = true;
  ++partition_;
  network_->RestoreAll();
  network_->set_weather({});
  for (const auto& member : cluster_->members()) {
    member->disk().Repair();
    if (member->running() && member->paused()) member->SetPaused(false);
    if (member->running() || member->retired() || undecided_.contains(member.get())) continue;
    cluster_->Start(member.get());
  }
}

}  // namespace etcdd::sim
