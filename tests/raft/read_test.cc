// Linearizable reads. No data file issues any, so everything is tested here.

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

base::Bytes Context(std::string_view text) { return base::Bytes::Copy(text); }

Message Echo(NodeId from, const Message& heartbeat) {
  Message m = MakeMessage(MessageType::kHeartbeatResp, from, heartbeat.from, heartbeat.term);
  m.context = heartbeat.context;
  return m;
}

TEST(ReadSafe, AQuorumMustAnswerARoundStartedAfterTheRead) {
  TestNode node({});
  node.BecomeCommittedLeader();
  ASSERT_TRUE(node.raft().ReadIndex(Context("a")).ok());
  const std::vector<Message> round = Select(node.Run(), MessageType::kHeartbeat);
  ASSERT_THAT(round, SizeIs(2));
  EXPECT_EQ(round[0].context.view(), std::string_view("\x01\0\0\0\0\0\0\0", 8));
  EXPECT_THAT(node.read_states(), IsEmpty());
  ASSERT_TRUE(node.Step(Echo(2, round[0])).ok());
  node.Drain();
  ASSERT_THAT(node.read_states(), SizeIs(1));
  EXPECT_EQ(node.read_states()[0].index, 11u);
  EXPECT_EQ(node.read_states()[0].context.view(), "a");
}

TEST(ReadSafe, ALeaderWithItsQuorumCheckedStillAsks) {
  TestNodeOptions options;
  options.configure = [](Config* config) { config->check_quorum = true; };
  TestNode node(options);
  node.BecomeCommittedLeader();
  ASSERT_TRUE(node.raft().ReadIndex(Context("a")).ok());
  EXPECT_THAT(Select(node.Run(), MessageType::kHeartbeat), SizeIs(2));
  EXPECT_THAT(node.read_states(), IsEmpty()) << "only the lease option trusts the clocks";
}

TEST(ReadSafe, AnOlderHeartbeatsAnswerConfirmsNothing) {
  TestNode node({});
  node.BecomeCommittedLeader();
  node.Tick(1);
  const std::vector<Message> before = Select(node.Run(), MessageType::kHeartbeat, 2);
  ASSERT_THAT(before, SizeIs(1));
  EXPECT_TRUE(before[0].context.empty());
  ASSERT_TRUE(node.raft().ReadIndex(Context("a")).ok());
  ASSERT_TRUE(node.Step(Echo(2, before[0])).ok());
  ASSERT_TRUE(node.Step(Echo(3, before[0])).ok());
  node.Drain();
  EXPECT_THAT(node.read_states(), IsEmpty());
}

TEST(ReadSafe, HeartbeatsCarryTheCounterWhileReadsWait) {
  TestNode node({});
  node.BecomeCommittedLeader();
  ASSERT_TRUE(node.raft().ReadIndex(Context("a")).ok());
  ASSERT_TRUE(node.raft().ReadIndex(Context("b")).ok());
  node.Drain();  // both rounds are lost
  node.Tick(1);
  const std::vector<Message> tick = Select(node.Run(), MessageType::kHeartbeat, 3);
  ASSERT_THAT(tick, SizeIs(1));
  ASSERT_TRUE(node.Step(Echo(3, tick[0])).ok());
  node.Drain();
  ASSERT_THAT(node.read_states(), SizeIs(2)) << "one later round serves all";
  node.Tick(1);
  EXPECT_TRUE(Select(node.Run(), MessageType::kHeartbeat, 3)[0].context.empty());
}

TEST(ReadSafe, ALateEchoCannotConfirmARetry) {
  // R1 (etcd issue 20418): reads keyed by the caller's context were confirmed by old echoes.
  TestNode node({});
  node.BecomeCommittedLeader();
  ASSERT_TRUE(node.raft().ReadIndex(Context("same")).ok());
  const std::vector<Message> first = Select(node.Run(), MessageType::kHeartbeat, 2);
  ASSERT_TRUE(node.raft().ReadIndex(Context("other")).ok());
  ASSERT_TRUE(node.raft().ReadIndex(Context("same")).ok());
  node.Drain();
  ASSERT_TRUE(node.Step(Echo(2, first[0])).ok());
  node.Drain();
  ASSERT_THAT(node.read_states(), SizeIs(1)) << "only the read the echo was sent for";
  ASSERT_TRUE(node.Step(Echo(2, first[0])).ok());
  ASSERT_TRUE(node.Step(Echo(3, first[0])).ok());
  node.Drain();
  EXPECT_THAT(node.read_states(), SizeIs(1));
}

TEST(ReadSafe, ADeposedLeaderReleasesNothing) {
  Cluster cluster(3);
  cluster.Elect(1);
  cluster.Isolate(1);
  ASSERT_TRUE(cluster[1].raft().ReadIndex(Context("a")).ok());
  cluster.Settle();
  cluster.Elect(2);
  ASSERT_TRUE(cluster.Propose(2, "newer").ok());
  cluster.Heal();
  cluster.TickOne(1, 2);
  EXPECT_THAT(cluster[1].read_states(), IsEmpty());
  cluster.TickOne(2, 1);
  EXPECT_EQ(cluster[1].raft().term(), 2u);
  // Leader again later: the old read stays forgotten.
  cluster.Elect(1);
  EXPECT_EQ(cluster.Leader(), 1u);
  EXPECT_THAT(cluster[1].read_states(), IsEmpty());
}

TEST(ReadSafe, EchoesThatAreNoCountersMeanNothing) {
  TestNode node({});
  node.BecomeCommittedLeader();
  ASSERT_TRUE(node.raft().ReadIndex(Context("a")).ok());
  node.Drain();
  for (const std::string& context :
       {std::string("a"), std::string("\x01\0\0", 3), std::string("\x01\0\0\0\0\0\0\0\0", 9),
        std::string("\x02\0\0\0\0\0\0\0", 8), std::string(8, '\xff')}) {
    Message m = MakeMessage(MessageType::kHeartbeatResp, 2, 1, 1);
    m.context = Context(context);
    ASSERT_TRUE(node.Step(std::move(m)).ok());
    node.Drain();
    EXPECT_THAT(node.read_states(), IsEmpty());
  }
}

TEST(ReadSafe, FollowersAndLearnersAskTheLeader) {
  std::vector<TestNodeOptions> options(4);
  for (size_t i = 0; i < 4; ++i) {
    options[i].id = i + 1;
    options[i].learners = {4};
  }
  Cluster cluster(std::move(options));
  cluster.Elect(1);
  ASSERT_TRUE(cluster.Propose(1, "x").ok());
  for (NodeId id : {2, 4}) {
    ASSERT_TRUE(cluster[id].raft().ReadIndex(Context("f")).ok());
    cluster.Settle();
    ASSERT_THAT(cluster[id].read_states(), SizeIs(1));
    EXPECT_EQ(cluster[id].read_states()[0].index, 12u);
    EXPECT_EQ(cluster[id].read_states()[0].context.view(), "f");
  }
}

TEST(ReadSafe, TheForwardedRequestHasNoTermAndKeepsItsSender) {
  // R36.
  TestNode node({});
  ASSERT_TRUE(node.Step(MakeHeartbeat(2, 1, 3, 10)).ok());
  node.Drain();
  Message request = MakeMessage(MessageType::kReadIndex, 3, 1, 0);
  request.entries.push_back(MakeEntry(0, 0, "ctx"));
  ASSERT_TRUE(node.Step(std::move(request)).ok());
  const std::vector<Message> sent = node.Run();
  ASSERT_THAT(sent, SizeIs(1));
  EXPECT_EQ(sent[0].to, 2u);
  EXPECT_EQ(sent[0].from, 3u);
  EXPECT_EQ(sent[0].term, 0u);
}

TEST(ReadSafe, ALearnersEchoDoesNotCount) {
  TestNodeOptions options;
  options.learners = {4};
  TestNode node(options);
  node.BecomeCommittedLeader();
  ASSERT_TRUE(node.raft().ReadIndex(Context("a")).ok());
  const std::vector<Message> round = Select(node.Run(), MessageType::kHeartbeat, 4);
  ASSERT_THAT(round, SizeIs(1));
  ASSERT_TRUE(node.Step(Echo(4, round[0])).ok());
  node.Drain();
  EXPECT_THAT(node.read_states(), IsEmpty());
}

TEST(ReadSafe, JointNeedsBothHalves) {
  TestNode node({});
  node.BecomeCommittedLeader();
  ConfChangeV2 change;
  change.transition = ConfChangeTransition::kJointExplicit;
  for (NodeId id : {4, 5}) change.changes.push_back({ConfChangeType::kAddNode, id});
  for (NodeId id : {2, 3}) change.changes.push_back({ConfChangeType::kRemoveNode, id});
  node.raft().ApplyConfChange(change);  // {1 4 5} && {1 2 3}
  node.Drain();
  ASSERT_TRUE(node.raft().ReadIndex(Context("a")).ok());
  const std::vector<Message> round = Select(node.Run(), MessageType::kHeartbeat, 2);
  ASSERT_TRUE(node.Step(Echo(2, round[0])).ok());
  node.Drain();
  EXPECT_THAT(node.read_states(), IsEmpty());
  ASSERT_TRUE(node.Step(Echo(5, round[0])).ok());
  node.Drain();
  EXPECT_THAT(node.read_states(), SizeIs(1));
}

TEST(ReadSafe, WaitsForTheFirstCommitOfTheTerm) {
  // R2: the commit index of a new leader may be behind the old leader's.
  TestNode node({});
  node.BecomeLeader();
  ASSERT_TRUE(node.raft().ReadIndex(Context("a")).ok());
  ASSERT_TRUE(node.raft().ReadIndex(Context("b")).ok());
  EXPECT_THAT(Select(node.Run(), MessageType::kHeartbeat), IsEmpty());
  ASSERT_TRUE(node.Step(MakeAppResp(2, 1, 1, 11)).ok());
  const std::vector<Message> round = Select(node.Run(), MessageType::kHeartbeat, 2);
  ASSERT_THAT(round, SizeIs(1)) << "one round for all that waited";
  ASSERT_TRUE(node.Step(Echo(2, round[0])).ok());
  node.Drain();
  ASSERT_THAT(node.read_states(), SizeIs(2));
  EXPECT_EQ(node.read_states()[1].index, 11u);
}

TEST(ReadSafe, ASingleVoterWaitsForTheFirstCommitOfTheTermToo) {
  // R3: its commit index on disk may be behind what it applied and answered before a crash.
  TestNodeOptions options;
  options.voters = {1};
  options.configure = [](Config* config) { config->async_storage_writes = true; };
  TestNode node(options);
  node.raft().Campaign();
  Ready vote = node.raft().TakeReady();
  for (Message& m : vote.storage_append->responses) ASSERT_TRUE(node.Step(std::move(m)).ok());
  ASSERT_EQ(node.raft().state(), StateType::kLeader);
  ASSERT_TRUE(node.raft().ReadIndex(Context("a")).ok());
  Ready entry = node.raft().TakeReady();
  EXPECT_THAT(entry.read_states, IsEmpty());
  node.storage().Append(entry.storage_append->entries);
  for (Message& m : entry.storage_append->responses) ASSERT_TRUE(node.Step(std::move(m)).ok());
  const Ready after = node.raft().TakeReady();
  ASSERT_THAT(after.read_states, SizeIs(1));
  EXPECT_EQ(after.read_states[0].index, 11u);
}

TEST(ReadSafe, WaitingReadsAreBounded) {
  // R4.
  for (const bool committed : {false, true}) {
    TestNodeOptions options;
    options.configure = [](Config* config) { config->pending_reads_max = 2; };
    TestNode node(options);
    if (committed) {
      node.BecomeCommittedLeader();
    } else {
      node.BecomeLeader();
    }
    ASSERT_TRUE(node.raft().ReadIndex(Context("a")).ok());
    ASSERT_TRUE(node.raft().ReadIndex(Context("b")).ok());
    const absl::Status refused = node.raft().ReadIndex(Context("c"));
    EXPECT_TRUE(IsDropped(refused));
    EXPECT_EQ(DropReason(refused), "too many reads waiting");
  }
}

TEST(ReadSafe, AShrinkingQuorumReleasesWhatItConfirmed) {
  TestNodeOptions options;
  options.voters = {1, 2, 3, 4};
  TestNode node(options);
  node.BecomeCommittedLeader();
  ASSERT_TRUE(node.raft().ReadIndex(Context("a")).ok());
  const std::vector<Message> round = Select(node.Run(), MessageType::kHeartbeat, 2);
  ASSERT_TRUE(node.Step(Echo(2, round[0])).ok());
  node.Drain();
  EXPECT_THAT(node.read_states(), IsEmpty());
  node.raft().ApplyConfChange(ConfChange{0, ConfChangeType::kRemoveNode, 4, {}});
  node.Drain();
  EXPECT_THAT(node.read_states(), SizeIs(1));
}

TEST(ReadSafe, CandidatesAndFollowersWithoutALeaderRefuse) {
  TestNode node({});
  EXPECT_TRUE(IsDropped(node.raft().ReadIndex(Context("a"))));
  node.raft().Campaign();
  EXPECT_TRUE(IsDropped(node.raft().ReadIndex(Context("a"))));
}

TEST(ReadLease, AnswersAtOnceAfterTheFirstCommit) {
  TestNodeOptions options;
  options.configure = [](Config* config) {
    config->check_quorum = true;
    config->read_only = ReadOnlyOption::kLeaseBased;
  };
  TestNode node(options);
  node.BecomeLeader();
  ASSERT_TRUE(node.raft().ReadIndex(Context("a")).ok());
  node.Drain();
  EXPECT_THAT(node.read_states(), IsEmpty());
  node.AckAll();
  node.Drain();
  EXPECT_THAT(node.read_states(), SizeIs(1));
  ASSERT_TRUE(node.raft().ReadIndex(Context("b")).ok());
  EXPECT_THAT(Select(node.Run(), MessageType::kHeartbeat), IsEmpty());
  EXPECT_THAT(node.read_states(), SizeIs(2));
}

}  // namespace
}  // namespace etcdd::raft
