// Historic bugs around changes of membership and of the leader; README.md has the table.

#include <string>

#include "absl/strings/str_cat.h"
#include "gtest/gtest.h"
#include "tests/sim/scenario.h"

namespace etcdd::sim {
namespace {

class MembershipScenario : public Scenario {
 protected:
  static uint64_t IdOf(SimMember* member) { return member->server().identity().member_id; }
  // Removes it and waits until it has stopped.
  void RemoveAndWait(SimMember* member) {
    const absl::Status removed = Remove(Leader(), IdOf(member));
    ASSERT_TRUE(removed.ok()) << removed.ToString();
    ASSERT_TRUE(RunUntil(absl::Seconds(20), [&] { return member->retired(); }));
    RunFor(absl::Seconds(6));
  }
};

// TestDoubleClusterSizeOf1, TestDoubleClusterSizeOf3.
TEST_F(MembershipScenario, ClusterGrowsFromOneToFive) {
  Start(1);
  for (int i = 0; i < 4; ++i) {
    PutMany(Leader(), 5);
    ASSERT_NE(Grow(), nullptr);
  }
  Finish();
  EXPECT_EQ(Leader()->server().cluster().Voters().size(), 5u);
}

// TestDecreaseClusterSizeOf5.
TEST_F(MembershipScenario, ClusterShrinksToOne) {
  Start(5);
  for (int i = 0; i < 4; ++i) {
    RemoveAndWait(Follower());
    if (HasFatalFailure()) return;
    PutMany(Leader(), 3);
  }
  Finish();
}

// TestAddMemberAfterClusterFullRotation, Issue2681, Issue3699: all members replaced, one by one.
TEST_F(MembershipScenario, FullRotation) {
  Start(3, [](MemberSettings* settings) {
    settings->options.snapshot_count = 20;
    settings->options.snapshot_catchup_entries = 5;
  });
  for (int i = 0; i < 3; ++i) {
    RemoveAndWait(&member(i));
    if (HasFatalFailure()) return;
    PutMany(Leader(), 30);
    ASSERT_NE(Grow(), nullptr);
  }
  Finish();
}

// R14, Issue 11038: the leader removes itself; the others go on.
TEST_F(MembershipScenario, LeaderRemovesItself) {
  Start(3);
  SimMember* const old = Leader();
  ASSERT_TRUE(Remove(old, IdOf(old)).ok());
  ASSERT_TRUE(RunUntil(absl::Seconds(20), [&] { return old->retired(); }));
  PutMany(Leader(old), 3);
  Finish();
}

// CLUS-030, TestRestartRemoved: one that was removed while it did not run stops when it hears of
// it, and again after a restart.
TEST_F(MembershipScenario, RemovedMemberStopsAndDoesNotComeBack) {
  Start(3);
  SimMember* const gone = Follower();
  const uint64_t id = IdOf(gone);
  Crash(gone);
  ASSERT_TRUE(Remove(Leader(), id).ok());
  for (int start = 0; start < 2; ++start) {
    Restart(gone);
    ASSERT_TRUE(RunUntil(absl::Seconds(20), [&] { return !gone->running(); }));
    EXPECT_TRUE(gone->retired());
  }
  Finish();
}

// R9, CLUS-014: a learner that is promoted while it catches up; then it votes.
TEST_F(MembershipScenario, LearnerIsPromotedAndCounts) {
  Start(3);
  PutMany(Leader(), 20);
  SimMember* const learner = Grow(/*is_learner=*/true);
  ASSERT_NE(learner, nullptr);
  EXPECT_TRUE(learner->server().is_learner());
  const absl::Status promoted = Promote(Follower(), IdOf(learner));
  ASSERT_TRUE(promoted.ok()) << promoted.ToString();
  EXPECT_TRUE(RunUntil(absl::Seconds(5), [&] { return !learner->server().is_learner(); }));
  Crash(&member(0));
  PutMany(Leader(&member(0)), 3);  // three of four
  Restart(&member(0));
  Finish();
}

// R13, TestMoveLeaderToLearnerError, TestMoveLeaderError.
TEST_F(MembershipScenario, LeadershipGoesOnlyToVoters) {
  Start(3);
  SimMember* const learner = Grow(/*is_learner=*/true);
  ASSERT_NE(learner, nullptr);
  SimMember* const leader = Leader();
  EXPECT_FALSE(MoveLeader(leader, IdOf(learner)).ok());
  EXPECT_FALSE(MoveLeader(leader, 12345).ok());
  SimMember* const follower = Follower();
  EXPECT_FALSE(MoveLeader(follower, IdOf(follower)).ok());
  ASSERT_TRUE(MoveLeader(leader, IdOf(follower)).ok());
  EXPECT_EQ(Leader(leader), follower);
  Finish();
}

// TestConcurrentMoveLeader: the target is removed while leadership moves to it.
TEST_F(MembershipScenario, TargetOfATransferIsRemoved) {
  Start(5);
  for (int round = 0; round < 2; ++round) {
    SimMember* const leader = Leader();
    SimMember* const target = Follower();
    const uint64_t id = IdOf(target);
    Cut(target, true);
    leader->strand().Post(
        [leader, id] { leader->server().MoveLeader(id, [](absl::Status, std::string) {}); });
    RunFor(absl::Milliseconds(200));
    // Proposals are refused while the transfer lasts, and it ends after an election timeout.
    RunFor(absl::Seconds(3));
    const absl::Status removed = Remove(Leader(), id);
    EXPECT_TRUE(removed.ok()) << removed.ToString();
    Cut(target, false);
    ASSERT_TRUE(RunUntil(absl::Seconds(20), [&] { return target->retired(); }));
    PutMany(Leader(), 3);
    RunFor(absl::Seconds(6));
  }
  Finish();
}

// Issue 2904: removing a member that has just restarted.
TEST_F(MembershipScenario, RemovalOfAJustRestartedMember) {
  Start(3);
  SimMember* const victim = Follower();
  Crash(victim, CrashKind::kPowerOff);
  RunFor(absl::Seconds(1));
  Restart(victim);
  const absl::Status removed = Remove(Leader(), IdOf(victim));
  if (removed.ok()) {
    EXPECT_TRUE(RunUntil(absl::Seconds(20), [&] { return victim->retired(); }));
  }
  Finish();
}

// TestRejectUnhealthyAdd, TestRejectUnhealthyRemove (CLUS-021, CLUS-022).
TEST_F(MembershipScenario, UnhealthyClusterRefusesChanges) {
  Start(3);
  SimMember* const down = Follower();
  const uint64_t other = IdOf(Follower(1));
  Crash(down);
  RunFor(absl::Seconds(1));
  SimMember* const leader = Leader();
  absl::Status added;
  leader->strand().Post([&] {
    leader->server().AddMember({"http://nowhere:2380"}, false,
                               [&added](absl::StatusOr<uint64_t> id) { added = id.status(); });
  });
  RunFor(absl::Seconds(1));
  EXPECT_EQ(added.message(), "etcdserver: unhealthy cluster");
  EXPECT_EQ(Remove(leader, other).message(), "etcdserver: unhealthy cluster");
  Restart(down);
  Finish();
}

}  // namespace
}  // namespace etcdd::sim
