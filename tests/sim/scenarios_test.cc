// Historic bugs of etcd and its raft library that could happen in this code, each under its number
// or the name of the upstream test; README.md has the table.

#include <string>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/sim/scenario.h"

namespace etcdd::sim {
namespace {

void SmallLogs(MemberSettings* settings) {
  settings->options.snapshot_count = 20;
  settings->options.snapshot_catchup_entries = 5;
}

uint64_t IdOf(SimMember* member) { return member->server().identity().member_id; }

// --- Durability ---

// A lone member acknowledged what its disk had not.
TEST_F(Scenario, Issue14370SingleMemberAcknowledgesOnlyWhatIsSynced) {
  Start(1);
  for (int round = 0; round < 20; ++round) {
    SimMember* const only = &member(0);
    const Operation put = Put(only, "k", absl::StrCat("v", round));
    Crash(only, CrashKind::kPowerOff);
    Restart(only);
    ASSERT_TRUE(RunUntil(absl::Seconds(10), [&] { return only->ready(); }));
    EXPECT_GE(Get(only, "k").revision, put.revision);
  }
  Finish();
}

// Revisions differed between members after kills under load.
TEST_F(Scenario, Issue13766KillsUnderLoad) {
  Start(3, SmallLogs);
  StartClients();
  for (int round = 0; round < 12; ++round) {
    RunFor(absl::Seconds(2));
    SimMember* const victim = round % 3 == 0 ? Follower() : Leader();
    Crash(victim, round % 2 == 0 ? CrashKind::kKill : CrashKind::kPowerOff);
    RunFor(absl::Milliseconds(700));
    Restart(victim);
  }
  Finish();
  EXPECT_GT(probe("request answered"), 50);
}

// All members lose power at once, again and again (R31).
TEST_F(Scenario, PowerFailureOfAllMembers) {
  Start(3, SmallLogs);
  StartClients();
  for (int round = 0; round < 8; ++round) {
    RunFor(absl::Seconds(2));
    for (const auto& machine : sim_->cluster().members()) {
      Crash(machine.get(), CrashKind::kPowerOff);
    }
    for (const auto& machine : sim_->cluster().members()) Restart(machine.get());
  }
  Finish();
}

// A leader whose disk stalls does not stop a healthy majority for longer than an election.
TEST_F(Scenario, LeaderWithAStallingDiskDoesNotStopTheOthers) {
  Start(3, [](MemberSettings* settings) { settings->with_wal_strand = true; });
  SimMember* const leader = Leader();
  DiskSpeed stalled;
  stalled.sync_min = absl::Seconds(20);
  stalled.sync_max = absl::Seconds(20);
  leader->disk().set_speed(stalled);
  const absl::Duration begin = sim_->scheduler().Now();
  Put(Follower(), "k", "while the leader's disk stalls");
  EXPECT_LT(sim_->scheduler().Now() - begin, absl::Seconds(1));
  Finish();
}

// R28: a member that lost its disk must not come back under its old id as if nothing were.
TEST_F(Scenario, ReplacedMemberComesBackUnderANewId) {
  Start(3, SmallLogs);
  PutMany(Leader(), 10);
  SimMember* const lost = Follower();
  const uint64_t old_id = IdOf(lost);
  Crash(lost);
  ASSERT_TRUE(Remove(Leader(), old_id).ok());
  lost->Retire();
  RunFor(absl::Seconds(6));
  SimMember* const fresh = Grow();
  ASSERT_NE(fresh, nullptr);
  EXPECT_NE(IdOf(fresh), old_id);
  Finish();
}

// --- Reads ---

// CONS-006, R1: a leader that was suspended served stale reads when it woke.
TEST_F(Scenario, Issue20418PausedLeaderServesNoStaleRead) {
  Start(3);
  for (int round = 0; round < 6; ++round) {
    SimMember* const old = Leader();
    Put(old, "k", absl::StrCat("before ", round));
    old->SetPaused(true);
    SimMember* const next = Leader(old);
    const Operation newer = Put(next, "k", absl::StrCat("after ", round));
    old->SetPaused(false);
    // Its first thought on waking: it has not heard of the other one yet.
    const Operation read = sim_->Ask(old, Client::Read("k", "", false));
    if (read.result == Result::kOk) {
      EXPECT_GE(read.revision, newer.revision);
    }
    RunFor(absl::Seconds(2));
  }
  Finish();
}

// R2: a new leader's commit index may lie behind what its predecessor acknowledged.
TEST_F(Scenario, Issue7331ReadAtANewLeaderWaitsForItsFirstCommit) {
  Start(3);
  for (int round = 0; round < 6; ++round) {
    SimMember* const old = Leader();
    const Operation put = Put(old, "k", absl::StrCat("v", round));
    Crash(old);
    SimMember* const next = Leader(old);
    const Operation read = sim_->Ask(next, Client::Read("k", "", false));
    if (read.result == Result::kOk) {
      EXPECT_GE(read.revision, put.revision);
    }
    Restart(old);
    RunFor(absl::Seconds(3));
  }
  Finish();
}

// CONS-015: a minority answers nothing, and does not disturb when it comes back.
TEST_F(Scenario, IsolatedMemberAnswersNothingAndReturnsInPeace) {
  Start(3, [](MemberSettings* settings) { settings->options.pre_vote = true; });
  SimMember* const leader = Leader();
  SimMember* const alone = Follower();
  const uint64_t term = leader->server().Status().raft_term;
  Cut(alone, true);
  Put(leader, "k", "behind its back");
  const Operation put = sim_->Ask(alone, Client::Put("k", "alone"), absl::Seconds(12));
  EXPECT_NE(put.result, Result::kOk);
  const Operation read = sim_->Ask(alone, Client::Read("k", "", false), absl::Seconds(12));
  EXPECT_NE(read.result, Result::kOk);
  Cut(alone, false);
  RunFor(absl::Seconds(5));
  EXPECT_EQ(Leader(), leader);
  EXPECT_EQ(leader->server().Status().raft_term, term);
  Finish();
}

// TestNetworkPartition5MembersLeaderInMinority, TestRevisionMonotonicWithLeaderPartitions.
TEST_F(Scenario, FiveMembersWithTheLeaderInTheMinority) {
  Start(5);
  SimMember* const old = Leader();
  SimMember* const companion = Follower();
  const Operation before = Put(old, "k", "before");
  for (const auto& machine : sim_->cluster().members()) {
    if (machine.get() == old || machine.get() == companion) continue;
    for (SimMember* const minority : {old, companion}) {
      sim_->network().Cut(machine->index(), minority->index(), true);
      sim_->network().Cut(minority->index(), machine->index(), true);
    }
  }
  ASSERT_TRUE(RunUntil(absl::Seconds(20), [&] {
    SimMember* const leader = sim_->cluster().Leader();
    return leader != nullptr && leader != old && leader != companion &&
           !old->server().is_leader();
  }));
  EXPECT_GT(Put(Leader(old), "k", "after").revision, before.revision);
  sim_->network().RestoreAll();
  Finish();
}

// TestNetworkPartition4Members: two and two stall, and heal.
TEST_F(Scenario, FourMembersInTwoHalves) {
  Start(4);
  for (const int a : {0, 1}) {
    for (const int b : {2, 3}) {
      sim_->network().Cut(a, b, true);
      sim_->network().Cut(b, a, true);
    }
  }
  RunFor(absl::Seconds(5));
  EXPECT_EQ(sim_->cluster().Leader(), nullptr);
  sim_->network().RestoreAll();
  Finish();
}

// --- Leases ---

// LEASE-009, TestLeaseRevoke_IgnoreOldLeader: a leader that slept must not renew from its memory.
TEST_F(Scenario, PausedLeaderRenewsNothing) {
  Start(3);
  for (int64_t lease = 1; lease <= 8; ++lease) {
    SimMember* const old = Leader();
    Grant(old, lease, 3);
    Put(old, absl::StrCat("k0", lease), "leased", lease);
    old->SetPaused(true);
    // Shorter than the TTL: by its own clock the lease is still good when it wakes.
    RunFor(absl::Milliseconds(2100 + 100 * lease));
    old->SetPaused(false);
    Renew(old, lease);  // if it promises anything, the checker holds the others to it
    SimMember* const next = Leader();
    ASSERT_TRUE(RunUntil(absl::Seconds(20), [&] { return next->server().Leases().empty(); }));
  }
  Finish();
}

// LEASE-016: failover prolongs leases.
TEST_F(Scenario, LeaseOutlivesItsLeader) {
  Start(3);
  SimMember* const old = Leader();
  Grant(old, 7, 4);
  Put(old, "k", "leased", 7);
  RunFor(absl::Milliseconds(3500));
  Crash(old, CrashKind::kPowerOff);
  SimMember* const next = Leader(old);
  RunFor(absl::Seconds(3));
  EXPECT_EQ(Get(next, "k").response.responses(0).response_range().count(), 1);
  ASSERT_TRUE(RunUntil(absl::Seconds(10), [&] { return next->server().Leases().empty(); }));
  Restart(old);
  Finish();
  EXPECT_GT(probe("lease prolonged by a new leader"), 0);
}

// LEASE-008, LEASE-010: a renewal through another member, right after the grant.
TEST_F(Scenario, RenewalThroughAFollowerRightAfterTheGrant) {
  Start(3);
  for (int64_t lease = 1; lease <= 10; ++lease) {
    Grant(Follower(), lease, 5);
    const Operation renewed = Renew(Follower(1), lease);
    EXPECT_EQ(renewed.result, Result::kOk) << renewed.Describe();
    EXPECT_EQ(renewed.ttl_seconds, 5) << renewed.Describe();
  }
  Finish();
}

// --- Snapshots between members ---

// BOOT-053, BOOT-054: a follower behind the log gets an image and goes on.
TEST_F(Scenario, LaggingFollowerCatchesUpByImage) {
  Start(3, SmallLogs);
  SimMember* const lagging = Follower();
  Cut(lagging, true);
  PutMany(Leader(), 120);
  Cut(lagging, false);
  Finish();
  EXPECT_GT(probe("image received"), 0);
}

// BOOT-037: a crash anywhere between receiving an image and using it.
TEST_F(Scenario, CrashWhileAnImageIsTakenIn) {
  Start(3, SmallLogs);
  for (uint64_t writes = 1; writes < 60; writes += 3) {
    SimMember* const lagging = &member(2);
    if (Leader() == lagging) {
      ASSERT_TRUE(MoveLeader(lagging, IdOf(&member(0))).ok());
    }
    Cut(lagging, true);
    PutMany(Leader(lagging), 60);
    lagging->disk().LosePowerAfter(writes);
    Cut(lagging, false);
    RunFor(absl::Seconds(3));
    lagging->disk().Repair();
    if (!lagging->running()) Restart(lagging);
    RunFor(absl::Seconds(2));
  }
  Finish();
  EXPECT_GT(probe("image received"), 2);
  EXPECT_GT(probe("member stopped itself"), 1);
}

// BOOT-055, TestEtcdHealthyWithTinySnapshotCatchupEntries.
TEST_F(Scenario, OneCatchUpEntryIsEnough) {
  Start(3, [](MemberSettings* settings) {
    settings->options.snapshot_count = 1;
    settings->options.snapshot_catchup_entries = 1;
  });
  StartClients();
  RunFor(absl::Seconds(20));
  Finish();
}

// --- Watches ---

// Issues 15271 and 20221, WATCH-044: a watch goes on behind an installed image without a gap, and
// one of the future hears nothing of the past.
TEST_F(Scenario, Issue20221FutureWatchAcrossAnImage) {
  Start(3, SmallLogs);
  SimMember* const lagging = Follower();
  std::vector<etcdserverpb::WatchResponse> heard;
  auto session = lagging->Connect(
      {absl::Milliseconds(1), 64},
      [&heard](const etcdserverpb::WatchResponse& response) { heard.push_back(response); }, [] {});
  const int64_t future = sim_->log().revision() + 200;
  lagging->strand().Post([&] {
    session->Open(&lagging->server().watch_hub());
    etcdserverpb::WatchCreateRequest request;
    request.set_key("k");
    request.set_range_end("l");
    request.set_start_revision(future);
    session->Create(request);
  });
  RunFor(absl::Seconds(1));
  Cut(lagging, true);
  PutMany(Leader(), 120);
  Cut(lagging, false);
  PutMany(Leader(), 100);
  RunFor(absl::Seconds(5));
  int64_t next = future;
  for (const auto& response : heard) {
    for (const auto& event : response.events()) {
      EXPECT_EQ(event.kv().mod_revision(), next++);
    }
  }
  EXPECT_EQ(next, sim_->log().revision() + 1);
  EXPECT_GT(probe("image received"), 0);
  session->Close();
  Finish();
}

// Issue 19179, WATCH-018: the deletion made exactly at the compact revision is delivered.
TEST_F(Scenario, Issue19179DeletionAtTheCompactRevision) {
  Start(3);
  SimMember* const leader = Leader();
  Put(leader, "k", "v");
  const int64_t deleted_at = Delete(leader, "k").revision;
  Put(leader, "other", "v");
  Compact(leader, deleted_at);
  RunFor(absl::Seconds(2));
  for (SimMember* const at : {leader, Follower()}) {
    std::vector<etcdserverpb::WatchResponse> heard;
    auto session = at->Connect(
        {absl::Milliseconds(1), 64},
        [&heard](const etcdserverpb::WatchResponse& response) { heard.push_back(response); },
        [] {});
    at->strand().Post([&] {
      session->Open(&at->server().watch_hub());
      etcdserverpb::WatchCreateRequest request;
      request.set_key("k");
      request.set_start_revision(deleted_at);
      session->Create(request);
    });
    RunFor(absl::Seconds(1));
    session->Close();
    ASSERT_EQ(heard.size(), 2u);
    ASSERT_EQ(heard[1].events_size(), 1);
    EXPECT_EQ(heard[1].events(0).type(), mvccpb::Event::DELETE);
  }
  Finish();
}

// Issues 15220 and 17529: progress ahead of events; starved watches. Slow and quick watchers under
// load, with progress asked for all the time; the checkers judge.
TEST_F(Scenario, Issue15220ProgressUnderLoad) {
  Start(3);
  StartClients();
  RunFor(absl::Seconds(30));
  Finish();
  EXPECT_GT(probe("watch response"), 100);
}

// Issue 17780: a crash around the end of a compaction; hashes must agree (Finish compares them).
TEST_F(Scenario, Issue17780CrashesDuringCompaction) {
  Start(3, [](MemberSettings* settings) {
    settings->options.store.compaction_step_revisions_max = 5;
    settings->options.store.compaction_step_scan_max = 5;
    settings->options.compaction_pause_max = absl::Milliseconds(20);
    settings->options.snapshot_count = 20;
  });
  for (int round = 0; round < 8; ++round) {
    PutMany(Leader(), 30);
    Compact(Leader(), sim_->log().revision() - 2);
    RunFor(absl::Milliseconds(15 * round));
    SimMember* const victim = round % 2 == 0 ? Leader() : Follower();
    Crash(victim, CrashKind::kPowerOff);
    Restart(victim);
    RunFor(absl::Seconds(3));
  }
  Finish();
}

}  // namespace
}  // namespace etcdd::sim
