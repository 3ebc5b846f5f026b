// Snapshots and membership changes.

#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "raft/describe.h"
#include "tests/raft/cluster.h"
#include "tests/raft/test_node.h"

namespace etcdd::raft {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;
using testing::SizeIs;

PeerStatus Peer(const TestNode& node, NodeId id) {
  for (const PeerStatus& peer : node.raft().Status().peers) {
    if (peer.id == id) return peer;
  }
  return {};
}

std::vector<Message> StepAndRun(TestNode* node, Message message) {
  EXPECT_TRUE(node->Step(std::move(message)).ok());
  return node->Run();
}

ConfChange Change(ConfChangeType type, NodeId id) { return ConfChange{0, type, id, {}}; }

std::shared_ptr<const Snapshot> MakeSnapshot(uint64_t index, uint64_t term,
                                             std::vector<NodeId> voters,
                                             std::vector<NodeId> learners = {}) {
  Snapshot snapshot;
  snapshot.index = index;
  snapshot.term = term;
  snapshot.conf_state.voters = std::move(voters);
  snapshot.conf_state.learners = std::move(learners);
  return std::make_shared<const Snapshot>(std::move(snapshot));
}

Message MakeSnap(NodeId from, NodeId to, uint64_t term, std::shared_ptr<const Snapshot> snapshot) {
  Message m = MakeMessage(MessageType::kSnap, from, to, term);
  m.snapshot = std::move(snapshot);
  return m;
}

// Sending snapshots -------------------------------------------------------------------------------

// A leader whose log begins behind what member 2 needs.
class NeedsSnapshot : public testing::Test {
 protected:
  NeedsSnapshot() : node_({}) {
    node_.BecomeCommittedLeader();
    for (int i = 0; i < 3; ++i) EXPECT_TRUE(node_.Propose("x").ok());
    node_.Drain();
    StepAndRun(&node_, MakeAppResp(3, 1, 1, 14));
    EXPECT_TRUE(node_.storage().CreateSnapshot(14, node_.raft().conf_state(), {}).ok());
    EXPECT_TRUE(node_.storage().Compact(13).ok());
    node_.raft().ReportUnreachable(2);
  }
  std::vector<Message> HeartbeatAnswer() {
    return StepAndRun(&node_, MakeMessage(MessageType::kHeartbeatResp, 2, 1, 1));
  }
  void SendIt() {
    ASSERT_THAT(Select(HeartbeatAnswer(), MessageType::kSnap, 2), SizeIs(1));
    ASSERT_EQ(Peer(node_, 2).state, ProgressState::kSnapshot);
    ASSERT_EQ(Peer(node_, 2).pending_snapshot, 14u);
  }
  TestNode node_;
};

TEST_F(NeedsSnapshot, IsSentOnceAndPausesReplication) {
  SendIt();
  ASSERT_TRUE(node_.Propose("y").ok());
  EXPECT_THAT(Select(node_.Run(), MessageType::kApp, 2), IsEmpty());
  EXPECT_THAT(Select(HeartbeatAnswer(), MessageType::kApp, 2), IsEmpty());
  EXPECT_THAT(Select(HeartbeatAnswer(), MessageType::kSnap, 2), IsEmpty());
}

TEST_F(NeedsSnapshot, AFailureReportRetriesAfterAHeartbeatAnswer) {
  // R21: what the member needs next is compacted; that means a snapshot, again if need be.
  SendIt();
  node_.raft().ReportSnapshot(2, false);
  EXPECT_EQ(Peer(node_, 2).state, ProgressState::kProbe);
  EXPECT_EQ(Peer(node_, 2).next, 12u);
  EXPECT_TRUE(Peer(node_, 2).paused);
  EXPECT_THAT(Select(HeartbeatAnswer(), MessageType::kSnap, 2), SizeIs(1));
}

TEST_F(NeedsSnapshot, ASuccessReportProbesBehindTheSnapshot) {
  SendIt();
  node_.raft().ReportSnapshot(2, true);
  EXPECT_EQ(Peer(node_, 2).state, ProgressState::kProbe);
  EXPECT_EQ(Peer(node_, 2).next, 15u);
  EXPECT_TRUE(Peer(node_, 2).paused);
  StepAndRun(&node_, MakeAppResp(2, 1, 1, 14));
  EXPECT_EQ(Peer(node_, 2).state, ProgressState::kReplicate);
}

TEST_F(NeedsSnapshot, AnAcknowledgementThatReconnectsEndsIt) {
  // R24: whatever snapshot the member got, also an older one, also one sent by someone else.
  SendIt();
  EXPECT_THAT(StepAndRun(&node_, MakeAppResp(2, 1, 1, 12)), IsEmpty())
      << "nor is another snapshot sent while this one is under way";
  EXPECT_EQ(Peer(node_, 2).state, ProgressState::kSnapshot) << "13 is compacted: still cut off";
  StepAndRun(&node_, MakeAppResp(2, 1, 1, 13));
  EXPECT_EQ(Peer(node_, 2).state, ProgressState::kReplicate);
}

TEST(SendSnapshot, AReportInAnotherStateChangesNothing) {
  for (const bool ok : {false, true}) {
    TestNode node({});
    node.BecomeCommittedLeader();
    node.raft().ReportSnapshot(2, ok);
    EXPECT_EQ(Peer(node, 2).state, ProgressState::kReplicate);
    EXPECT_FALSE(Peer(node, 2).paused);
  }
}

TEST(SendSnapshot, NotToAnInactivePeer) {
  // R25.
  TestNodeOptions options;
  options.configure = [](Config* config) { config->check_quorum = true; };
  TestNode node(options);
  node.BecomeCommittedLeader();
  ASSERT_TRUE(node.Propose("x").ok());
  node.Drain();
  StepAndRun(&node, MakeAppResp(2, 1, 1, 12));
  ASSERT_TRUE(node.storage().CreateSnapshot(12, node.raft().conf_state(), {}).ok());
  ASSERT_TRUE(node.storage().Compact(12).ok());
  // Peer 3 needs a snapshot, may be sent one, and has not spoken since the last quorum check.
  node.Tick(10);
  node.Drain();
  node.raft().ReportUnreachable(3);
  ASSERT_FALSE(Peer(node, 3).recently_active);
  ASSERT_FALSE(Peer(node, 3).paused);
  ASSERT_TRUE(node.Propose("y").ok());
  EXPECT_THAT(Select(node.Run(), MessageType::kSnap), IsEmpty());
  EXPECT_THAT(Select(StepAndRun(&node, MakeMessage(MessageType::kHeartbeatResp, 3, 1, 1)),
                     MessageType::kSnap, 3),
              SizeIs(1));
}

TEST(SendSnapshot, TemporarilyUnavailableIsAskedForAgain) {
  class BusyStorage : public MemoryStorage {
   public:
    absl::StatusOr<std::shared_ptr<const Snapshot>> GetSnapshot() const override {
      if (busy) return SnapshotTemporarilyUnavailableError();
      return MemoryStorage::GetSnapshot();
    }
    bool busy = true;
  };
  BusyStorage storage;
  ASSERT_TRUE(storage.ApplySnapshot(MakeSnapshot(10, 1, {1, 2})).ok());
  TestRandom random(1);
  Config config;
  config.id = 1;
  config.random = &random;
  auto node = *RawNode::Create(config, &storage);
  const auto run = [&] {
    std::vector<Message> sent;
    while (node->HasReady()) {
      Ready ready = node->TakeReady();
      storage.Append(ready.entries);
      for (Message& m : ready.messages) sent.push_back(std::move(m));
      node->Advance();
      node->CheckInvariants();
    }
    return sent;
  };
  node->Campaign();
  run();
  ASSERT_TRUE(node->Step(MakeVoteResp(MessageType::kVoteResp, 2, 1, 1, false)).ok());
  run();
  // The member is far behind.
  ASSERT_TRUE(node->Step(MakeReject(2, 1, 1, 10, 3, 1)).ok());
  EXPECT_THAT(Select(run(), MessageType::kSnap), IsEmpty());
  storage.busy = false;
  ASSERT_TRUE(node->Step(MakeMessage(MessageType::kHeartbeatResp, 2, 1, 1)).ok());
  EXPECT_THAT(Select(run(), MessageType::kSnap), SizeIs(1));
}

TEST(SendSnapshot, ASlowNodeIsCaughtUp) {
  Cluster cluster(3);
  cluster.Elect(1);
  cluster.Isolate(3);
  for (int i = 0; i < 5; ++i) ASSERT_TRUE(cluster.Propose(1, "x").ok());
  ASSERT_TRUE(cluster[1].storage().CreateSnapshot(15, cluster[1].raft().conf_state(), {}).ok());
  ASSERT_TRUE(cluster[1].storage().Compact(15).ok());
  cluster.Heal();
  cluster.TickOne(1, 2);
  EXPECT_EQ(cluster[3].raft().committed(), 16u);
  ASSERT_TRUE(cluster.Propose(1, "y").ok());
  EXPECT_EQ(cluster[3].raft().committed(), 17u);
}

// Receiving snapshots -----------------------------------------------------------------------------

TEST(Restore, ReplacesLogAndConfiguration) {
  TestNode node({});
  StepAndRun(&node, MakeApp(2, 1, 2, 10, 1, 10, {MakeEntry(2, 11)}));
  const std::vector<Message> sent =
      StepAndRun(&node, MakeSnap(2, 1, 3, MakeSnapshot(20, 3, {1, 2, 4}, {5})));
  EXPECT_EQ(Text(sent), "1->2 MsgAppResp Term:3 Log:0/20\n");
  EXPECT_EQ(node.raft().committed(), 20u);
  EXPECT_EQ(node.raft().applied(), 20u);
  EXPECT_EQ(node.raft().leader(), 2u);
  EXPECT_EQ(node.storage().FirstIndex(), 21u);
  EXPECT_THAT(node.raft().conf_state().voters, ElementsAre(1, 2, 4));
  EXPECT_THAT(node.raft().conf_state().learners, ElementsAre(5));
}

TEST(Restore, OldForeignAndMatchingSnapshotsAreNotInstalled) {
  TestNode node({});
  StepAndRun(&node, MakeApp(2, 1, 2, 10, 1, 11, {MakeEntry(2, 11), MakeEntry(2, 12)}));
  EXPECT_EQ(Text(StepAndRun(&node, MakeSnap(2, 1, 2, MakeSnapshot(11, 2, {1, 2, 3})))),
            "1->2 MsgAppResp Term:2 Log:0/11\n");
  EXPECT_EQ(Text(StepAndRun(&node, MakeSnap(2, 1, 2, MakeSnapshot(50, 2, {2, 3})))),
            "1->2 MsgAppResp Term:2 Log:0/11\n");
  EXPECT_EQ(node.storage().FirstIndex(), 11u);
  // The log has that very entry: commit moves, the log stays.
  EXPECT_EQ(Text(StepAndRun(&node, MakeSnap(2, 1, 2, MakeSnapshot(12, 2, {1, 2, 3})))),
            "1->2 MsgAppResp Term:2 Log:0/12\n");
  EXPECT_EQ(node.storage().FirstIndex(), 11u);
  EXPECT_EQ(node.raft().committed(), 12u);
}

TEST(Restore, AnImpossibleConfigurationIsRefusedWithoutEffect) {
  TestNode node({});
  StepAndRun(&node, MakeHeartbeat(2, 1, 2, 10));
  for (const auto& snapshot :
       {MakeSnapshot(20, 2, {1, 2}, {1}), MakeSnapshot(20, 2, {1, 1, 2}),
        MakeSnapshot(20, 2, {1, 2, kAppendThread}), MakeSnapshot(20, 2, {1, 2}, {kApplyThread}),
        MakeSnapshot(20, 2, {1, kNoNode})}) {
    EXPECT_TRUE(absl::IsInvalidArgument(node.Step(MakeSnap(3, 1, 7, snapshot))));
    EXPECT_EQ(node.raft().committed(), 10u);
    EXPECT_EQ(node.raft().term(), 2u);
    EXPECT_FALSE(node.raft().HasReady());
  }
}

TEST(Restore, ACandidateYieldsToASnapshotOfItsTermsLeader) {
  TestNode node({});
  node.raft().Campaign();
  node.Drain();
  ASSERT_EQ(node.raft().state(), StateType::kCandidate);
  EXPECT_EQ(Text(StepAndRun(&node, MakeSnap(2, 1, 1, MakeSnapshot(20, 1, {1, 2, 3})))),
            "1->2 MsgAppResp Term:1 Log:0/20\n");
  EXPECT_EQ(node.raft().state(), StateType::kFollower);
  EXPECT_EQ(node.raft().leader(), 2u);
}

TEST(Restore, OutgoingVotersAndLearnersAreMembers) {
  Snapshot joint;
  joint.index = 20;
  joint.term = 2;
  joint.conf_state.voters = {2, 3};
  joint.conf_state.voters_outgoing = {1, 2};
  joint.conf_state.learners_next = {1};
  TestNode node({});
  StepAndRun(&node, MakeSnap(2, 1, 2, std::make_shared<const Snapshot>(joint)));
  EXPECT_EQ(node.raft().committed(), 20u);
  EXPECT_EQ(node.raft().conf_state(), joint.conf_state);
  EXPECT_FALSE(node.raft().IsLearner());
  TestNode learner({});
  StepAndRun(&learner, MakeSnap(2, 1, 2, MakeSnapshot(20, 2, {2, 3}, {1})));
  EXPECT_TRUE(learner.raft().IsLearner()) << "a voter can be demoted by a snapshot";
}

TEST(Restore, APendingSnapshotBlocksApplyingAndCampaigning) {
  // R12.
  TestNodeOptions options;
  options.configure = [](Config* config) { config->async_storage_writes = true; };
  TestNode node(options);
  ASSERT_TRUE(node.Step(MakeSnap(2, 1, 2, MakeSnapshot(20, 2, {1, 2, 3}))).ok());
  ASSERT_TRUE(node.Step(MakeApp(2, 1, 2, 20, 2, 21, {MakeEntry(2, 21)})).ok());
  Ready ready = node.raft().TakeReady();
  EXPECT_FALSE(ready.storage_apply.has_value());
  ASSERT_TRUE(ready.storage_append.has_value());
  ASSERT_NE(ready.storage_append->snapshot, nullptr);
  node.raft().Campaign();
  EXPECT_EQ(node.raft().state(), StateType::kFollower);
  ASSERT_TRUE(node.Step(MakeMessage(MessageType::kTimeoutNow, 2, 1, 2)).ok());
  EXPECT_EQ(node.raft().state(), StateType::kFollower);
  ASSERT_TRUE(node.storage().ApplySnapshot(ready.storage_append->snapshot).ok());
  node.storage().Append(ready.storage_append->entries);
  for (Message& m : ready.storage_append->responses) {
    if (m.to == 1) {
      ASSERT_TRUE(node.Step(std::move(m)).ok());
    }
  }
  EXPECT_EQ(node.raft().applied(), 20u);
  EXPECT_TRUE(node.raft().TakeReady().storage_apply.has_value());
}

TEST(Restore, AConfChangeOvertakenByASnapshotHasNoEffect) {
  TestNodeOptions options;
  options.configure = [](Config* config) { config->async_storage_writes = true; };
  TestNode node(options);
  Entry entry = MakeEntry(2, 11, Encode(Change(ConfChangeType::kRemoveNode, 4)).view());
  entry.type = EntryType::kConfChange;
  ASSERT_TRUE(node.Step(MakeSnap(2, 1, 2, MakeSnapshot(20, 2, {1, 2, 4}))).ok());
  EXPECT_THAT(node.raft().ApplyConfChange(entry)->voters, ElementsAre(1, 2, 4));
  entry.index = 20;
  EXPECT_THAT(node.raft().ApplyConfChange(entry)->voters, ElementsAre(1, 2, 4));
  entry.index = 21;
  EXPECT_THAT(node.raft().ApplyConfChange(entry)->voters, ElementsAre(1, 2));
  EXPECT_TRUE(absl::IsInvalidArgument(node.raft().ApplyConfChange(MakeEntry(2, 22)).status()));
}

// Membership --------------------------------------------------------------------------------------

TEST(Membership, AddAndRemoveThroughTheLog) {
  Cluster cluster(3);
  cluster.Elect(1);
  TestNodeOptions fourth;
  fourth.id = 4;
  fourth.index = 0;  // knows nothing
  cluster.Add(fourth);
  // A snapshot for it: the others' logs begin at 11.
  ASSERT_TRUE(
      cluster[1].raft().ProposeConfChange(Change(ConfChangeType::kAddLearnerNode, 4)).ok());
  cluster.Settle();
  EXPECT_THAT(cluster[2].raft().conf_state().learners, ElementsAre(4));
  ASSERT_TRUE(cluster[1].storage().CreateSnapshot(12, cluster[1].raft().conf_state(), {}).ok());
  // R38: the first one it was sent did not name it, so it refused.
  cluster[1].raft().ReportSnapshot(4, false);
  cluster.TickOne(1, 3);
  EXPECT_EQ(cluster[4].raft().committed(), 12u);
  EXPECT_TRUE(cluster[4].raft().IsLearner());
  ASSERT_TRUE(cluster[1].raft().ProposeConfChange(Change(ConfChangeType::kAddNode, 4)).ok());
  cluster.Settle();
  EXPECT_THAT(cluster[4].raft().conf_state().voters, ElementsAre(1, 2, 3, 4));
  EXPECT_FALSE(cluster[4].raft().IsLearner());
  cluster.Elect(4);
  EXPECT_EQ(cluster.Leader(), 4u) << "a promoted learner can win";
  ASSERT_TRUE(cluster[4].raft().ProposeConfChange(Change(ConfChangeType::kRemoveNode, 3)).ok());
  cluster.Settle();
  EXPECT_THAT(cluster[1].raft().conf_state().voters, ElementsAre(1, 2, 4));
}

TEST(Membership, OneUnappliedChangeAtATime) {
  TestNode node({});
  node.BecomeCommittedLeader();
  ASSERT_TRUE(node.raft().ProposeConfChange(Change(ConfChangeType::kRemoveNode, 3)).ok());
  ASSERT_TRUE(node.raft().ProposeConfChange(Change(ConfChangeType::kRemoveNode, 2)).ok());
  EXPECT_TRUE(node.logger().Contains("possible unapplied conf change at index 12 (applied to 11)"));
  node.Drain();
  const std::vector<Entry> log = node.StableEntries();
  EXPECT_EQ(log[1].type, EntryType::kConfChange);
  EXPECT_EQ(log[2].type, EntryType::kNormal) << "an empty entry in its place";
  EXPECT_TRUE(log[2].data.empty());
}

TEST(Membership, ANewLeaderWaitsForItsLogToBeApplied) {
  // R15.
  TestNode node({});
  node.BecomeLeader();
  ASSERT_TRUE(node.raft().ProposeConfChange(Change(ConfChangeType::kRemoveNode, 3)).ok());
  node.Drain();
  EXPECT_EQ(node.StableEntries().back().type, EntryType::kConfChange)
      << "the log before the term's first entry is applied";
  TestNode behind({});
  StepAndRun(&behind, MakeApp(2, 1, 1, 10, 1, 10, {MakeEntry(1, 11)}));
  behind.BecomeLeader();
  ASSERT_TRUE(behind.raft().ProposeConfChange(Change(ConfChangeType::kRemoveNode, 3)).ok());
  behind.Drain();
  EXPECT_EQ(behind.StableEntries().back().type, EntryType::kNormal);
}

TEST(Membership, ValidationLevels) {
  const ConfChangeV2 leave;
  for (const ConfChangeValidation validation :
       {ConfChangeValidation::kFull, ConfChangeValidation::kPendingOnly,
        ConfChangeValidation::kNone}) {
    TestNodeOptions options;
    options.configure = [validation](Config* config) {
      config->conf_change_validation = validation;
    };
    TestNode node(options);
    node.BecomeCommittedLeader();
    node.apply_conf_changes = false;
    const auto accepted = [&node](const ConfChangeV2& change) {
      EXPECT_TRUE(node.raft().ProposeConfChange(change).ok());
      node.Drain();
      return node.StableEntries().back().type != EntryType::kNormal;
    };
    EXPECT_EQ(accepted(leave), validation != ConfChangeValidation::kFull)
        << "leaving a configuration that is not joint";
    EXPECT_EQ(accepted(AsV2(Change(ConfChangeType::kRemoveNode, 3))),
              validation != ConfChangeValidation::kPendingOnly)
        << "while the first is pending, if it was let in";
  }
}

TEST(Membership, ASmallerQuorumCommitsWhatWaited) {
  TestNode node({});
  node.BecomeCommittedLeader();
  ASSERT_TRUE(node.Propose("x").ok());
  node.Drain();
  EXPECT_EQ(node.raft().committed(), 11u);
  ConfChangeV2 change;
  change.transition = ConfChangeTransition::kJointExplicit;
  change.changes = {{ConfChangeType::kRemoveNode, 2}, {ConfChangeType::kRemoveNode, 3}};
  node.raft().ApplyConfChange(change);
  node.Drain();
  EXPECT_EQ(node.raft().committed(), 11u) << "the outgoing half must agree as well";
  node.raft().ApplyConfChange(ConfChangeV2());
  node.Drain();
  EXPECT_EQ(node.raft().committed(), 12u);
  EXPECT_THAT(node.applied(), ElementsAre("x"));
}

TEST(Membership, ARemovedLeaderStepsDownIfToldTo) {
  // R14.
  for (const bool step_down : {false, true}) {
    Cluster cluster(3, [step_down](Config* config) { config->step_down_on_removal = step_down; });
    cluster.Elect(1);
    ASSERT_TRUE(cluster[1].raft().ProposeConfChange(Change(ConfChangeType::kRemoveNode, 1)).ok());
    cluster.Settle();
    EXPECT_EQ(cluster[1].raft().state() == StateType::kFollower, step_down);
    EXPECT_TRUE(IsDropped(cluster[1].Propose("x")));
    cluster.Isolate(1);
    cluster.Elect(2);
    EXPECT_EQ(cluster.Leader(), 2u);
    cluster[1].Tick(60);
    EXPECT_NE(cluster[1].raft().state(), StateType::kCandidate);
  }
}

TEST(Membership, RefusedByTheApplicationWithNodeZero) {
  TestNode node({});
  node.BecomeCommittedLeader();
  const ConfState before = node.raft().conf_state();
  EXPECT_EQ(node.raft().ApplyConfChange(Change(ConfChangeType::kAddNode, 0)), before);
  EXPECT_EQ(node.raft().ApplyConfChange(Change(ConfChangeType::kAddNode, 2)), before)
      << "adding a member twice is harmless";
}

TEST(AutoLeave, ProposedOnceAndBroadcast) {
  // R16.
  Cluster cluster(3);
  cluster.Elect(1);
  ConfChangeV2 change;
  change.changes = {{ConfChangeType::kAddLearnerNode, 3}, {ConfChangeType::kUpdateNode, 2}};
  ASSERT_TRUE(cluster[1].raft().ProposeConfChange(change).ok());
  cluster.Settle();
  for (NodeId id : {1, 2, 3}) {
    EXPECT_THAT(cluster[id].raft().conf_state().voters, ElementsAre(1, 2));
    EXPECT_THAT(cluster[id].raft().conf_state().voters_outgoing, IsEmpty());
    EXPECT_THAT(cluster[id].raft().conf_state().learners, ElementsAre(3));
  }
  int changes = 0;
  for (const Entry& entry : cluster[1].StableEntries()) {
    changes += entry.type == EntryType::kNormal ? 0 : 1;
  }
  EXPECT_EQ(changes, 2);
}

TEST(AutoLeave, SurvivesALeaderChange) {
  // R16: the leader that entered the joint configuration is gone before it left it.
  Cluster cluster(4);
  cluster.Elect(1);
  ConfChangeV2 change;
  change.transition = ConfChangeTransition::kJointImplicit;
  change.changes = {{ConfChangeType::kAddLearnerNode, 4}};
  cluster.drop = [&cluster](const Message& m) {
    // The change is committed everywhere, but no entry behind it leaves the leader.
    return m.type == MessageType::kApp && m.from == 1 && !m.entries.empty() &&
           cluster[1].raft().conf_state().auto_leave;
  };
  ASSERT_TRUE(cluster[1].raft().ProposeConfChange(change).ok());
  cluster.Settle();
  ASSERT_TRUE(cluster[2].raft().conf_state().auto_leave);
  ASSERT_EQ(cluster[1].raft().last_index(), 13u) << "the leave is proposed, and lost";
  ASSERT_EQ(cluster[2].raft().last_index(), 12u);
  cluster.Isolate(1);
  cluster.drop = nullptr;
  cluster.Elect(2);
  ASSERT_EQ(cluster.Leader(), 2u);
  for (NodeId id : {2, 3, 4}) {
    EXPECT_EQ(cluster[id].raft().conf_state(), (ConfState{{1, 2, 3}, {4}, {}, {}, false}));
  }
}

TEST(AutoLeave, ANewLeaderWaitsForItsPendingIndex) {
  TestNodeOptions options;
  options.configure = [](Config* config) { config->committed_bytes_max = 1; };
  TestNode node(options);
  ConfChangeV2 change;
  change.transition = ConfChangeTransition::kJointImplicit;
  change.changes = {{ConfChangeType::kAddLearnerNode, 3}};
  node.raft().ApplyConfChange(change);
  StepAndRun(&node, MakeApp(2, 1, 1, 10, 1, 10, {MakeEntry(1, 11), MakeEntry(1, 12)}));
  node.BecomeLeader();
  node.AckAll();
  node.Drain();  // entries are applied one by one
  const std::vector<Entry> log = node.StableEntries();
  ASSERT_THAT(log, SizeIs(4));
  EXPECT_EQ(Describe(log[3]), "2/14 EntryConfChangeV2") << "and nothing refused before it";
}

TEST(AutoLeave, IsNeverRefusedForItsSize) {
  TestNodeOptions options;
  options.configure = [](Config* config) { config->uncommitted_bytes_max = 1; };
  TestNode node(options);
  node.BecomeCommittedLeader();
  ConfChangeV2 change;
  change.transition = ConfChangeTransition::kJointImplicit;
  change.changes = {{ConfChangeType::kAddLearnerNode, 3}};
  ASSERT_TRUE(node.raft().ProposeConfChange(change).ok());
  node.Drain();
  StepAndRun(&node, MakeAppResp(2, 1, 1, 12));
  ASSERT_TRUE(node.raft().conf_state().auto_leave);
  EXPECT_EQ(node.raft().last_index(), 13u);
  EXPECT_EQ(node.StableEntries().back().type, EntryType::kConfChangeV2);
  EXPECT_TRUE(node.StableEntries().back().data.empty());
}

}  // namespace
}  // namespace etcdd::raft
