// Handing over leadership, and forgetting a leader.

#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/raft/cluster.h"
#include "tests/raft/test_node.h"

namespace etcdd::raft {
namespace {

using testing::IsEmpty;
using testing::SizeIs;

void Both(Config* config) {
  config->pre_vote = true;
  config->check_quorum = true;
}

TEST(Transfer, ToAnUpToDateNodeAndBack) {
  for (auto configure : {+[](Config*) {}, Both}) {
    Cluster cluster(3, configure);
    cluster.Elect(1);
    cluster[1].raft().TransferLeader(2);
    cluster.Settle();
    EXPECT_EQ(cluster.Leader(), 2u);
    EXPECT_EQ(cluster[1].raft().transfer_target(), kNoNode);
    cluster[2].raft().TransferLeader(1);
    cluster.Settle();
    EXPECT_EQ(cluster.Leader(), 1u);
  }
}

TEST(Transfer, AFollowerPassesTheRequestOn) {
  Cluster cluster(3);
  cluster.Elect(1);
  cluster[2].raft().TransferLeader(3);
  cluster.Settle();
  EXPECT_EQ(cluster.Leader(), 3u);
}

TEST(Transfer, WaitsForASlowTarget) {
  Cluster cluster(3);
  cluster.Elect(1);
  cluster.Isolate(3);
  ASSERT_TRUE(cluster.Propose(1, "a").ok());
  cluster[1].raft().TransferLeader(3);
  cluster.Settle();
  EXPECT_EQ(cluster.Leader(), 1u);
  cluster.Heal();
  cluster.TickOne(1, 1);
  EXPECT_EQ(cluster.Leader(), 3u);
  EXPECT_EQ(cluster.Divergence(), "");
}

TEST(Transfer, TimeoutNowOnlyWhenTheTargetHasEverything) {
  TestNode node({});
  node.BecomeCommittedLeader();
  ASSERT_TRUE(node.Propose("a").ok());
  ASSERT_TRUE(node.Propose("b").ok());
  node.raft().TransferLeader(2);
  EXPECT_THAT(Select(node.Run(), MessageType::kTimeoutNow), IsEmpty());
  ASSERT_TRUE(node.Step(MakeAppResp(2, 1, 1, 12)).ok());
  EXPECT_THAT(Select(node.Run(), MessageType::kTimeoutNow), IsEmpty());
  ASSERT_TRUE(node.Step(MakeAppResp(2, 1, 1, 13)).ok());
  EXPECT_THAT(Select(node.Run(), MessageType::kTimeoutNow, 2), SizeIs(1));
}

TEST(Transfer, WaitsForASnapshotToArrive) {
  Cluster cluster(3);
  cluster.Elect(1);
  cluster.Isolate(3);
  ASSERT_TRUE(cluster.Propose(1, "a").ok());
  ASSERT_TRUE(
      cluster[1].storage().CreateSnapshot(12, cluster[1].raft().conf_state(), {}).ok());
  ASSERT_TRUE(cluster[1].storage().Compact(12).ok());
  cluster.Heal();
  cluster[1].raft().TransferLeader(3);
  cluster.TickOne(1, 1);
  EXPECT_EQ(cluster.Leader(), 3u);
  EXPECT_EQ(cluster[3].raft().committed(), 13u);
}

TEST(Transfer, RefusesProposalsMeanwhile) {
  TestNode node({});
  node.BecomeCommittedLeader();
  ASSERT_TRUE(node.Propose("a").ok());
  node.raft().TransferLeader(2);
  const absl::Status status = node.Propose("b");
  EXPECT_TRUE(IsDropped(status));
  EXPECT_EQ(DropReason(status), "leadership transfer in progress");
}

TEST(Transfer, TimesOutAfterOneElectionTimeout) {
  TestNode node({});
  node.BecomeCommittedLeader();
  node.Tick(5);
  node.raft().TransferLeader(2);
  node.Tick(9);
  EXPECT_EQ(node.raft().transfer_target(), 2u);
  // The same request again does not extend it.
  node.raft().TransferLeader(2);
  node.Tick(1);
  EXPECT_EQ(node.raft().transfer_target(), kNoNode);
  EXPECT_TRUE(node.Propose("b").ok());
}

TEST(Transfer, AnotherTargetReplacesTheFirstAndSelfAborts) {
  TestNode node({});
  node.BecomeCommittedLeader();
  ASSERT_TRUE(node.Propose("a").ok());
  node.Drain();
  node.raft().TransferLeader(2);
  node.raft().TransferLeader(3);
  EXPECT_EQ(node.raft().transfer_target(), 3u);
  node.raft().TransferLeader(1);
  EXPECT_EQ(node.raft().transfer_target(), kNoNode);
  node.raft().TransferLeader(1);
  EXPECT_EQ(node.raft().transfer_target(), kNoNode);
}

TEST(Transfer, NotToLearnersOrStrangers) {
  TestNodeOptions options;
  options.learners = {4};
  TestNode node(options);
  node.BecomeCommittedLeader();
  node.raft().TransferLeader(4);
  node.raft().TransferLeader(9);
  EXPECT_EQ(node.raft().transfer_target(), kNoNode);
  EXPECT_THAT(Select(node.Run(), MessageType::kTimeoutNow), IsEmpty());
}

TEST(Transfer, AbortedWhenTheTargetLosesItsVote) {
  // R13; also in a joint configuration, where an outgoing voter still counts.
  for (const ConfChangeType type :
       {ConfChangeType::kRemoveNode, ConfChangeType::kAddLearnerNode}) {
    TestNode node({});
    node.BecomeCommittedLeader();
    ASSERT_TRUE(node.Propose("a").ok());
    node.raft().TransferLeader(2);
    node.raft().ApplyConfChange(ConfChange{0, type, 2, {}});
    EXPECT_EQ(node.raft().transfer_target(), kNoNode);
  }
  TestNode joint({});
  joint.BecomeCommittedLeader();
  ASSERT_TRUE(joint.Propose("a").ok());
  joint.raft().TransferLeader(2);
  ConfChangeV2 change;
  change.transition = ConfChangeTransition::kJointExplicit;
  change.changes = {{ConfChangeType::kRemoveNode, 2}};
  joint.raft().ApplyConfChange(change);
  EXPECT_EQ(joint.raft().transfer_target(), 2u);
  joint.raft().ApplyConfChange(ConfChangeV2());
  EXPECT_EQ(joint.raft().transfer_target(), kNoNode);
}

TEST(Transfer, EndsWithLeadership) {
  TestNode node({});
  node.BecomeCommittedLeader();
  ASSERT_TRUE(node.Propose("a").ok());
  node.raft().TransferLeader(2);
  ASSERT_TRUE(node.Step(MakeHeartbeat(3, 1, 5, 0)).ok());
  EXPECT_EQ(node.raft().transfer_target(), kNoNode);
}

TEST(Transfer, TheTargetSkipsPreVoteAndForcesLeases) {
  TestNodeOptions options;
  options.configure = Both;
  TestNode node(options);
  ASSERT_TRUE(node.Step(MakeHeartbeat(2, 1, 1, 10)).ok());
  node.Drain();
  ASSERT_TRUE(node.Step(MakeMessage(MessageType::kTimeoutNow, 2, 1, 1)).ok());
  const std::vector<Message> sent = node.Run();
  ASSERT_THAT(Select(sent, MessageType::kVote), SizeIs(2));
  EXPECT_EQ(sent[0].context.view(), kCampaignTransfer);
  EXPECT_EQ(node.raft().term(), 2u);
  // Candidates ignore it.
  ASSERT_TRUE(node.Step(MakeMessage(MessageType::kTimeoutNow, 2, 1, 2)).ok());
  EXPECT_EQ(node.raft().term(), 2u);
}

TEST(Transfer, ANonMemberIgnoresTimeoutNow) {
  // R12.
  TestNodeOptions options;
  options.id = 1;
  options.voters = {2, 3, 4};
  TestNode node(options);
  ASSERT_TRUE(node.Step(MakeMessage(MessageType::kTimeoutNow, 2, 1, 1)).ok());
  EXPECT_EQ(node.raft().state(), StateType::kFollower);
  ASSERT_FALSE(node.Step(MakeVoteResp(MessageType::kVoteResp, 9, 1, 1, false)).ok());
  ASSERT_TRUE(node.Step(MakeVoteResp(MessageType::kVoteResp, 2, 1, 1, false)).ok());
  ASSERT_TRUE(node.Step(MakeVoteResp(MessageType::kVoteResp, 3, 1, 1, false)).ok());
  EXPECT_EQ(node.raft().state(), StateType::kFollower);
}

TEST(Forget, OnlyAFollowerForgetsAndAHeartbeatReminds) {
  TestNode node({});
  ASSERT_TRUE(node.Step(MakeHeartbeat(2, 1, 1, 10)).ok());
  node.Drain();
  node.raft().ForgetLeader();
  EXPECT_EQ(node.raft().leader(), kNoNode);
  EXPECT_EQ(node.raft().term(), 1u);
  EXPECT_TRUE(IsDropped(node.Propose("x")));
  ASSERT_TRUE(node.Step(MakeHeartbeat(2, 1, 1, 10)).ok());
  EXPECT_EQ(node.raft().leader(), 2u);

  TestNode leader({});
  leader.BecomeLeader();
  leader.raft().ForgetLeader();
  EXPECT_EQ(leader.raft().leader(), 1u);
}

TEST(Forget, RefusedWithLeaseReads) {
  TestNodeOptions options;
  options.configure = [](Config* config) {
    config->check_quorum = true;
    config->read_only = ReadOnlyOption::kLeaseBased;
  };
  TestNode node(options);
  ASSERT_TRUE(node.Step(MakeHeartbeat(2, 1, 1, 10)).ok());
  node.raft().ForgetLeader();
  EXPECT_EQ(node.raft().leader(), 2u);
}

}  // namespace
}  // namespace etcdd::raft
