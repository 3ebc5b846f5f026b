// Scenarios of replication, membership, transfers and reads of raft libraries' own suites that the
// tests by topic do not have, and rules that a single layer keeps. rules.md says which is which.

#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "raft/describe.h"
#include "raft/progress.h"
#include "raft/unstable.h"
#include "tests/raft/cluster.h"
#include "tests/raft/test_node.h"

namespace etcdd::raft {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;
using testing::SizeIs;

void Async(Config* config) { config->async_storage_writes = true; }

TestNodeOptions With(void (*configure)(Config*)) {
  TestNodeOptions options;
  options.configure = configure;
  return options;
}

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

Entry ConfChangeEntry(uint64_t term, uint64_t index, const ConfChangeV2& change) {
  Entry entry;
  entry.type = EntryType::kConfChangeV2;
  entry.term = term;
  entry.index = index;
  entry.data = Encode(change);
  return entry;
}

// Replication -------------------------------------------------------------------------------------

TEST(ReplicationScenario, ALearnerGetsEntriesAndCommit) {
  std::vector<TestNodeOptions> options(2);
  for (size_t i = 0; i < 2; ++i) {
    options[i].id = i + 1;
    options[i].voters = {1};
    options[i].learners = {2};
  }
  Cluster cluster(std::move(options));
  cluster.Elect(1);
  ASSERT_TRUE(cluster.Propose(1, "a").ok());
  EXPECT_THAT(cluster[2].applied(), ElementsAre("a"));
  EXPECT_EQ(cluster[2].raft().committed(), cluster[1].raft().committed());
  EXPECT_EQ(Peer(cluster[1], 2).match, 12u);
}

TEST(ReplicationScenario, HeartbeatAnswersBringAppendsUntilOneIsAcknowledged) {
  TestNode node({});
  node.BecomeCommittedLeader();
  ASSERT_TRUE(node.Propose("lost").ok());
  node.Drain();
  const Message answer = MakeMessage(MessageType::kHeartbeatResp, 2, 1, 1);
  for (int i = 0; i < 2; ++i) {
    EXPECT_THAT(Select(StepAndRun(&node, answer), MessageType::kApp, 2), SizeIs(1));
  }
  StepAndRun(&node, MakeAppResp(2, 1, 1, 12));
  EXPECT_THAT(Select(StepAndRun(&node, answer), MessageType::kApp, 2), IsEmpty());
}

TEST(ReplicationScenario, AnAcknowledgementEndsTheWaitOfThatMemberOnly) {
  TestNode node({});
  node.BecomeLeader();
  ASSERT_TRUE(node.Propose("x").ok());
  node.Drain();
  const std::vector<Message> sent = StepAndRun(&node, MakeAppResp(2, 1, 1, 11));
  EXPECT_THAT(Select(sent, MessageType::kApp, 3), IsEmpty());
  size_t entries = 0;
  for (const Message& m : Select(sent, MessageType::kApp, 2)) entries += m.entries.size();
  EXPECT_EQ(entries, 1u);
  EXPECT_TRUE(Peer(node, 3).paused);
}

TEST(ReplicationScenario, AnAnswerLetsAsManyAppendsGoAsThereIsRoomFor) {
  TestNode node(With(+[](Config* config) {
    config->inflight_messages_max = 3;
    config->message_bytes_max = 0;  // one entry a message
    config->committed_bytes_max = 1000;
  }));
  node.BecomeCommittedLeader();
  for (int i = 0; i < 6; ++i) ASSERT_TRUE(node.Propose("x").ok());
  node.Drain();
  ASSERT_EQ(Peer(node, 2).next, 15u);
  StepAndRun(&node, MakeAppResp(2, 1, 1, 14));
  EXPECT_EQ(Peer(node, 2).next, 18u);
}

TEST(ReplicationScenario, ACaughtUpProbeReturnsToReplicate) {
  // R24.
  TestNode node({});
  node.BecomeCommittedLeader();
  node.raft().ReportUnreachable(2);
  const std::vector<Message> probe =
      Select(StepAndRun(&node, MakeMessage(MessageType::kHeartbeatResp, 2, 1, 1)),
             MessageType::kApp, 2);
  ASSERT_THAT(probe, SizeIs(1));
  EXPECT_THAT(probe[0].entries, IsEmpty());
  StepAndRun(&node, MakeAppResp(2, 1, 1, 5));
  EXPECT_EQ(Peer(node, 2).state, ProgressState::kProbe) << "a stale answer proves nothing";
  StepAndRun(&node, MakeAppResp(2, 1, 1, 11));
  EXPECT_EQ(Peer(node, 2).state, ProgressState::kReplicate);
}

TEST(Commit, AHeartbeatThatSaysLessIsFollowedByTheCommitIndex) {
  // R27: the append that said more may be lost, and the member must not wait for a heartbeat.
  TestNode node({});
  node.BecomeCommittedLeader();
  ASSERT_TRUE(node.Propose("x").ok());
  node.Drain();
  const std::vector<Message> told =
      Select(StepAndRun(&node, MakeAppResp(3, 1, 1, 12)), MessageType::kApp, 2);
  ASSERT_THAT(told, SizeIs(1));
  EXPECT_EQ(told[0].commit, 12u);
  node.Tick(1);
  const std::vector<Message> beats = Select(node.Run(), MessageType::kHeartbeat, 2);
  ASSERT_THAT(beats, SizeIs(1));
  EXPECT_EQ(beats[0].commit, 11u);
  const std::vector<Message> again =
      Select(StepAndRun(&node, MakeAppResp(2, 1, 1, 12)), MessageType::kApp, 2);
  ASSERT_THAT(again, SizeIs(1));
  EXPECT_EQ(again[0].commit, 12u);
}

TEST(FlowControl, AFullWindowBeforeACompactionMeansASnapshot) {
  // R20: the empty append of a full window, too, needs the term of what it follows.
  TestNodeOptions options;
  options.configure = [](Config* config) { config->inflight_messages_max = 1; };
  TestNode node(options);
  node.BecomeCommittedLeader();
  for (int i = 0; i < 2; ++i) ASSERT_TRUE(node.Propose("x").ok());
  node.Drain();
  StepAndRun(&node, MakeAppResp(3, 1, 1, 12));
  StepAndRun(&node, MakeAppResp(3, 1, 1, 13));
  ASSERT_EQ(node.raft().applied(), 13u);
  ASSERT_EQ(Peer(node, 2).next, 13u);
  ASSERT_TRUE(node.storage().CreateSnapshot(13, node.raft().conf_state(), {}).ok());
  ASSERT_TRUE(node.storage().Compact(13).ok());
  const std::vector<Message> sent =
      StepAndRun(&node, MakeMessage(MessageType::kHeartbeatResp, 2, 1, 1));
  EXPECT_THAT(Select(sent, MessageType::kSnap, 2), SizeIs(1)) << Text(sent);
  EXPECT_THAT(Select(sent, MessageType::kApp, 2), IsEmpty()) << Text(sent);
}

TEST(ReplicationScenario, ReorderedMessagesDoNotMatter) {
  // R18: the rejection of an old probe comes when the next ones are already acknowledged.
  TestNode node({});
  node.BecomeLeader();
  ASSERT_TRUE(node.Propose("x").ok());
  node.Drain();
  StepAndRun(&node, MakeAppResp(2, 1, 1, 12));
  StepAndRun(&node, MakeReject(2, 1, 1, 10, 9, 1));
  EXPECT_EQ(Peer(node, 2).match, 12u);
  EXPECT_EQ(Peer(node, 2).next, 13u);
  EXPECT_EQ(Peer(node, 2).state, ProgressState::kReplicate);
}

TEST(ReplicationScenario, AcknowledgementsOfTheOldTermKeepComing) {
  // R32: entries are in the write queue when the term moves. Their acknowledgement will be void, so
  // the next write, though it has no entries, carries another.
  TestNode node(With(Async));
  ASSERT_TRUE(node.Step(MakeApp(2, 1, 2, 10, 1, 10, {MakeEntry(2, 11)})).ok());
  node.raft().TakeReady();
  ASSERT_TRUE(node.Step(MakeHeartbeat(3, 1, 3, 10)).ok());
  const Ready ready = node.raft().TakeReady();
  ASSERT_TRUE(ready.storage_append.has_value());
  EXPECT_THAT(ready.storage_append->entries, IsEmpty());
  EXPECT_EQ(Text(ready.storage_append->responses),
            "AppendThread->1 MsgStorageAppendResp Term:3 Log:2/11\n");
}

TEST(ReplicationScenario, TwoReadiesWithoutAdvanceAreFatal) {
  TestNode node({});
  node.raft().Campaign();
  node.raft().TakeReady();
  EXPECT_DEATH(node.raft().TakeReady(), "without call to Advance");
}

TEST(ProgressScenario, ANewTermForgetsWhatWasSent) {
  Progress progress(3, 4, false, true, Inflights(256, 10));
  progress.BecomeReplicate();
  progress.SentEntries(4, 20);
  progress.SentCommit(7);
  progress.Reset(0, 9);
  EXPECT_EQ(progress.sent_commit(), 0u);
  EXPECT_FALSE(progress.recently_active());
  EXPECT_EQ(progress.inflights().bytes(), 0u) << "R22";
  EXPECT_EQ(Describe(progress), "StateProbe match=0 next=9 inactive");
}

TEST(ProgressScenario, ReplicationStartsBehindTheMatch) {
  Progress progress(3, 9, false, true, Inflights(256, 0));
  EXPECT_TRUE(progress.MaybeUpdate(5));
  EXPECT_EQ(progress.next(), 9u);
  progress.BecomeReplicate();
  EXPECT_EQ(progress.next(), 6u);
}

TEST(UnstableScenario, ANewerSnapshotIsHandedOutToo) {
  Unstable unstable(5, nullptr);
  Snapshot snapshot;
  snapshot.index = 9;
  snapshot.term = 4;
  unstable.Restore(std::make_shared<const Snapshot>(snapshot));
  unstable.AcceptInProgress();
  snapshot.index = 12;
  unstable.Restore(std::make_shared<const Snapshot>(snapshot));
  ASSERT_NE(unstable.NextSnapshot(), nullptr);
  EXPECT_EQ(unstable.NextSnapshot()->index, 12u);
  unstable.CheckInvariants();
}

// Membership --------------------------------------------------------------------------------------

TEST(MembershipScenario, APromotedLearnerLearnsItFromASnapshot) {
  TestNodeOptions options;
  options.voters = {2, 3};
  options.learners = {1};
  TestNode node(options);
  ASSERT_TRUE(node.raft().IsLearner());
  Snapshot snapshot;
  snapshot.index = 20;
  snapshot.term = 2;
  snapshot.conf_state.voters = {1, 2, 3};
  Message m = MakeMessage(MessageType::kSnap, 2, 1, 2);
  m.snapshot = std::make_shared<const Snapshot>(snapshot);
  StepAndRun(&node, std::move(m));
  EXPECT_FALSE(node.raft().IsLearner());
  node.raft().Campaign();
  EXPECT_EQ(node.raft().state(), StateType::kCandidate);
}

TEST(MembershipScenario, RemovingTheLastVoterIsFatal) {
  TestNodeOptions options;
  options.voters = {1};
  TestNode node(options);
  EXPECT_DEATH(node.raft().ApplyConfChange(ConfChange{0, ConfChangeType::kRemoveNode, 1, {}}),
               "removed all voters");
}

TEST(MembershipScenario, ADemotedLeaderStepsDown) {
  // R14.
  TestNode node(With(+[](Config* config) { config->step_down_on_removal = true; }));
  node.BecomeCommittedLeader();
  node.raft().ApplyConfChange(ConfChange{0, ConfChangeType::kAddLearnerNode, 1, {}});
  EXPECT_EQ(node.raft().state(), StateType::kFollower);
  EXPECT_TRUE(node.raft().IsLearner());
}

TEST(MembershipScenario, AChangeInABatchPendsAtItsOwnIndex) {
  TestNode node({});
  node.BecomeCommittedLeader();
  ConfChangeV2 change;
  change.changes = {{ConfChangeType::kAddLearnerNode, 7}};
  Message proposal = MakeMessage(MessageType::kProp, 2, 1, 0);
  proposal.entries = {MakeEntry(0, 0, "first"), ConfChangeEntry(0, 0, change)};
  ASSERT_TRUE(node.Step(std::move(proposal)).ok());
  node.Drain();
  // The first of the two is committed and applied, the change is not.
  StepAndRun(&node, MakeAppResp(2, 1, 1, 12));
  ASSERT_EQ(node.raft().applied(), 12u);
  ASSERT_TRUE(node.raft().ProposeConfChange(change).ok());
  EXPECT_TRUE(node.logger().Contains("possible unapplied conf change at index 13 (applied to 12)"));
}

TEST(MembershipScenario, ADroppedChangeLeavesNoTrace) {
  TestNode node(With(+[](Config* config) { config->uncommitted_bytes_max = 40; }));
  node.BecomeCommittedLeader();
  ASSERT_TRUE(node.Propose(std::string(30, 'x')).ok());
  ConfChange change{0, ConfChangeType::kAddLearnerNode, 7, base::Bytes::Copy("long enough")};
  ASSERT_TRUE(IsDropped(node.raft().ProposeConfChange(change)));
  change.context = base::Bytes();
  ASSERT_TRUE(node.raft().ProposeConfChange(change).ok());
  node.Drain();
  EXPECT_EQ(node.StableEntries().back().type, EntryType::kConfChange);
}

TEST(MembershipScenario, StatusNamesEverybodyInOrder) {
  TestNodeOptions options;
  options.voters = {3, 1, 2};
  options.learners = {5, 4};
  TestNode node(options);
  node.BecomeCommittedLeader();
  const NodeStatus status = node.raft().Status();
  EXPECT_THAT(status.conf_state.voters, ElementsAre(1, 2, 3));
  std::vector<NodeId> ids;
  for (const PeerStatus& peer : status.peers) {
    ids.push_back(peer.id);
    EXPECT_EQ(peer.learner, peer.id > 3);
    EXPECT_EQ(peer.match, 11u);
  }
  EXPECT_THAT(ids, ElementsAre(1, 2, 3, 4, 5));
  EXPECT_EQ(status.hard_state, (HardState{1, 1, 11}));
  EXPECT_EQ(status.soft_state, (SoftState{1, StateType::kLeader}));
  EXPECT_EQ(status.first_index, 11u);
  EXPECT_EQ(status.last_index, 11u);
  EXPECT_EQ(status.applied, 11u);
}

// Transfers and reads -----------------------------------------------------------------------------

TEST(TransferScenario, ALateTargetIsSentWhatItLacks) {
  TestNode node({});
  node.BecomeCommittedLeader();
  ASSERT_TRUE(node.Propose("x").ok());
  node.Drain();
  node.raft().ReportUnreachable(2);
  node.raft().TransferLeader(2);
  const std::vector<Message> sent = Select(node.Run(), MessageType::kApp, 2);
  ASSERT_THAT(sent, SizeIs(1));
  EXPECT_THAT(sent[0].entries, SizeIs(1));
}

base::Bytes Context(std::string_view text) { return base::Bytes::Copy(text); }

Message Echo(NodeId from, const Message& heartbeat) {
  Message m = MakeMessage(MessageType::kHeartbeatResp, from, heartbeat.from, heartbeat.term);
  m.context = heartbeat.context;
  return m;
}

TEST(ReadScenario, ForwardingOffConcernsProposalsOnly) {
  TestNode node(With(+[](Config* config) { config->disable_proposal_forwarding = true; }));
  ASSERT_TRUE(node.Step(MakeHeartbeat(2, 1, 1, 10)).ok());
  node.Drain();
  ASSERT_TRUE(node.raft().ReadIndex(Context("r")).ok());
  EXPECT_THAT(Select(node.Run(), MessageType::kReadIndex, 2), SizeIs(1));
}

TEST(ReadScenario, ARemovedLeaderIsNotTheOnlyVoter) {
  TestNodeOptions options;
  options.voters = {1, 2};
  TestNode node(options);
  node.BecomeCommittedLeader();
  node.raft().ApplyConfChange(ConfChange{0, ConfChangeType::kRemoveNode, 1, {}});
  node.Drain();
  ASSERT_EQ(node.raft().state(), StateType::kLeader);
  ASSERT_TRUE(node.raft().ReadIndex(Context("r")).ok());
  node.Drain();
  EXPECT_THAT(node.read_states(), IsEmpty()) << "member 2 may have gone on without us";
}

TEST(ReadScenario, AJointSingleVoterIsNotAlone) {
  TestNodeOptions options;
  options.voters = {1, 2, 3};
  TestNode node(options);
  node.BecomeCommittedLeader();
  ConfChangeV2 change;
  change.transition = ConfChangeTransition::kJointExplicit;
  change.changes = {{ConfChangeType::kRemoveNode, 2}, {ConfChangeType::kRemoveNode, 3}};
  node.raft().ApplyConfChange(change);  // {1} && {1 2 3}
  node.Drain();
  ASSERT_TRUE(node.raft().ReadIndex(Context("r")).ok());
  node.Drain();
  EXPECT_THAT(node.read_states(), IsEmpty());
}

TEST(ReadScenario, TheIndexIsTheCommitIndexOfItsTime) {
  TestNode node(With(Async));
  node.BecomeCommittedLeader();
  ASSERT_TRUE(node.Propose("x").ok());
  node.raft().TakeReady();
  node.AckAll();  // committed, not applied here
  ASSERT_TRUE(node.Propose("y").ok());
  ASSERT_EQ(node.raft().committed(), 12u);
  ASSERT_EQ(node.raft().applied(), 11u);
  ASSERT_TRUE(node.raft().ReadIndex(Context("r")).ok());
  const Ready ready = node.raft().TakeReady();
  const std::vector<Message> round = Select(ready.messages, MessageType::kHeartbeat, 2);
  ASSERT_THAT(round, SizeIs(1));
  ASSERT_TRUE(node.Step(Echo(2, round[0])).ok());
  const Ready answer = node.raft().TakeReady();
  ASSERT_THAT(answer.read_states, SizeIs(1));
  EXPECT_EQ(answer.read_states[0].index, 12u);
}

TEST(ReadScenario, ALateEchoTakesNothingBack) {
  TestNodeOptions options;
  options.voters = {1, 2, 3, 4, 5};
  TestNode node(options);
  node.BecomeCommittedLeader();
  ASSERT_TRUE(node.raft().ReadIndex(Context("a")).ok());
  const Message first = Select(node.Run(), MessageType::kHeartbeat, 2).at(0);
  ASSERT_TRUE(node.raft().ReadIndex(Context("b")).ok());
  const Message second = Select(node.Run(), MessageType::kHeartbeat, 2).at(0);
  for (const Message& heartbeat : {second, first}) {
    ASSERT_TRUE(node.Step(Echo(2, heartbeat)).ok());
  }
  ASSERT_TRUE(node.Step(Echo(3, second)).ok());
  node.Drain();
  EXPECT_THAT(node.read_states(), SizeIs(2));
}

TEST(ReadScenario, EchoesOfAnEarlierTermConfirmNothing) {
  // R1.
  TestNodeOptions options;
  options.learners = {4};
  TestNode node(options);
  node.BecomeCommittedLeader();
  ASSERT_TRUE(node.raft().ReadIndex(Context("a")).ok());
  ASSERT_TRUE(node.Step(Echo(2, Select(node.Run(), MessageType::kHeartbeat, 2).at(0))).ok());
  node.Drain();
  ASSERT_THAT(node.read_states(), SizeIs(1));
  ASSERT_TRUE(node.Step(MakeHeartbeat(3, 1, 2, 11)).ok());
  node.BecomeCommittedLeader();
  ASSERT_TRUE(node.raft().ReadIndex(Context("b")).ok());
  // A learner's echo decides nothing, but makes the leader count.
  ASSERT_TRUE(node.Step(Echo(4, Select(node.Run(), MessageType::kHeartbeat, 4).at(0))).ok());
  node.Drain();
  EXPECT_THAT(node.read_states(), SizeIs(1));
}

TEST(ReadScenario, APostponedReadSurvivesAChangeOfTerm) {
  TestNode node({});
  node.BecomeLeader();
  ASSERT_TRUE(node.raft().ReadIndex(Context("patient")).ok());
  ASSERT_TRUE(node.Step(MakeHeartbeat(3, 1, 2, 10)).ok());
  node.Drain();
  node.BecomeLeader();
  node.AckAll();
  const std::vector<Message> round = Select(node.Run(), MessageType::kHeartbeat, 2);
  ASSERT_THAT(round, SizeIs(1));
  ASSERT_TRUE(node.Step(Echo(2, round[0])).ok());
  node.Drain();
  ASSERT_THAT(node.read_states(), SizeIs(1));
  EXPECT_EQ(node.read_states()[0].index, 12u);
}

TEST(ReadScenario, ALeaseEndsWhenTheQuorumIsSilent) {
  // A leader that was paused, or is alone, must not go on answering from its lease.
  TestNode node(With(+[](Config* config) {
    config->check_quorum = true;
    config->read_only = ReadOnlyOption::kLeaseBased;
  }));
  node.BecomeCommittedLeader();
  node.Tick(20);
  node.Drain();
  EXPECT_TRUE(IsDropped(node.raft().ReadIndex(Context("stale"))));
  EXPECT_THAT(node.read_states(), IsEmpty());
}

}  // namespace
}  // namespace etcdd::raft
