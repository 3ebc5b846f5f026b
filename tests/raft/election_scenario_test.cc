// Election scenarios of raft libraries' own suites that election_test.cc does not have, and rules
// that a single layer keeps. rules.md says which is which.

#include <memory>
#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/raft/cluster.h"
#include "tests/raft/test_node.h"

namespace etcdd::raft {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;
using testing::SizeIs;

void PreVote(Config* config) { config->pre_vote = true; }
void CheckQuorum(Config* config) { config->check_quorum = true; }
void Both(Config* config) {
  config->pre_vote = true;
  config->check_quorum = true;
}
void Async(Config* config) { config->async_storage_writes = true; }

TestNodeOptions With(void (*configure)(Config*)) {
  TestNodeOptions options;
  options.configure = configure;
  return options;
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

TEST(ElectionScenario, ANodeWithASmallerTermCanCompleteAnElection) {
  // R5: a grant that carried the voter's own term would be dropped by the asker, or the other way.
  Cluster cluster(3, PreVote);
  cluster.Elect(1);
  cluster.Isolate(3);
  cluster.Elect(2);
  cluster.Elect(1);
  EXPECT_EQ(cluster[1].raft().term(), 3u);
  EXPECT_EQ(cluster[3].raft().term(), 1u);
  cluster.Heal();
  cluster.Isolate(1);
  cluster.Elect(3);
  EXPECT_NE(cluster[3].raft().state(), StateType::kLeader) << "its log is shorter";
  cluster.Elect(2);
  EXPECT_EQ(cluster.Leader(), 2u);
  EXPECT_EQ(cluster[3].raft().leader(), 2u);
}

TEST(ElectionScenario, PreVoteWithCheckQuorumTakesOverFromADeadLeader) {
  // R7: a pre-candidate that still had its leader would refuse the other by its lease for ever.
  Cluster cluster(3, Both);
  cluster.Elect(1);
  cluster.Isolate(1);
  for (NodeId id : {2, 3}) {
    cluster[id].raft().SetRandomizedElectionTimeout(id == 2 ? 12 : 10);
    cluster[id].Tick(9);
  }
  // 3 gives up first, while 2 still refuses it; then 2 asks, and 3 must not refuse.
  cluster[3].Tick(1);
  cluster.Settle();
  ASSERT_EQ(cluster[3].raft().state(), StateType::kPreCandidate);
  cluster[2].Tick(3);
  cluster.Settle();
  EXPECT_EQ(cluster.Leader(), 2u);
}

TEST(ElectionScenario, VotesAreHandledInEveryRole) {
  for (const MessageType type : {MessageType::kVote, MessageType::kPreVote}) {
    for (const StateType role : {StateType::kFollower, StateType::kPreCandidate,
                                 StateType::kCandidate, StateType::kLeader}) {
      TestNode node(With(role == StateType::kPreCandidate ? PreVote : nullptr));
      if (role != StateType::kFollower) node.raft().Campaign();
      if (role == StateType::kLeader) node.BecomeLeader();
      node.Drain();
      ASSERT_EQ(node.raft().state(), role);
      const uint64_t term = node.raft().term();
      const std::vector<Message> sent = StepAndRun(&node, MakeVote(type, 2, 1, term + 1, 99, 9));
      ASSERT_THAT(sent, SizeIs(1));
      EXPECT_FALSE(sent[0].reject);
      EXPECT_EQ(sent[0].term, term + 1);
      const bool real = type == MessageType::kVote;
      EXPECT_EQ(node.raft().state(), real ? StateType::kFollower : role);
      EXPECT_EQ(node.raft().term(), real ? term + 1 : term);
      EXPECT_EQ(node.raft().hard_state().vote == 2, real);
    }
  }
}

TEST(ElectionScenario, ALeaderDoesNotCampaign) {
  for (auto configure : {+[](Config*) {}, PreVote}) {
    TestNode node(With(configure));
    node.BecomeCommittedLeader();
    node.raft().Campaign();
    EXPECT_EQ(node.raft().state(), StateType::kLeader);
    EXPECT_EQ(node.raft().term(), 1u);
    EXPECT_THAT(node.Run(), IsEmpty());
  }
}

TEST(ElectionScenario, ASingleVoterNeedsNobodysPreVote) {
  TestNodeOptions options = With(PreVote);
  options.voters = {1};
  TestNode node(options);
  node.raft().Campaign();
  node.Drain();
  EXPECT_EQ(node.raft().state(), StateType::kLeader);
  EXPECT_EQ(node.raft().term(), 1u);
}

TEST(ElectionScenario, AnUnansweredPreVoteIsRepeatedAfterAnotherTimeoutOnly) {
  TestNode node(With(PreVote));
  node.raft().SetRandomizedElectionTimeout(10);
  node.Tick(9);
  EXPECT_THAT(node.Run(), IsEmpty());
  node.Tick(1);
  EXPECT_THAT(Select(node.Run(), MessageType::kPreVote), SizeIs(2));
  node.Tick(9);
  EXPECT_THAT(node.Run(), IsEmpty());
  node.Tick(1);
  EXPECT_THAT(Select(node.Run(), MessageType::kPreVote), SizeIs(2));
}

TEST(ElectionScenario, AnAdoptedTermStartsTheTimerOver) {
  TestNode node({});
  node.Tick(9);
  StepAndRun(&node, MakeVote(MessageType::kVote, 2, 1, 5, 1, 0));  // refused, but a new term
  node.raft().SetRandomizedElectionTimeout(10);
  node.Tick(9);
  EXPECT_EQ(node.raft().state(), StateType::kFollower);
  node.Tick(1);
  EXPECT_EQ(node.raft().state(), StateType::kCandidate);
}

TEST(ElectionScenario, NodesTimeOutMostlyAlone) {
  // Raft 5.2: randomized timeouts, so that split votes are rare.
  int alone = 0;
  for (uint64_t round = 0; round < 200; ++round) {
    std::vector<std::unique_ptr<TestNode>> nodes;
    for (NodeId id = 1; id <= 3; ++id) {
      TestNodeOptions options;
      options.id = id;
      nodes.push_back(std::make_unique<TestNode>(options));
      // Another draw each round.
      for (uint64_t i = 0; i < round; ++i) {
        StepAndRun(nodes.back().get(),
                   MakeVote(MessageType::kVote, id % 3 + 1, id, i + 1, 1, 0));
      }
    }
    int candidates = 0;
    while (candidates == 0) {
      for (auto& node : nodes) {
        node->Tick();
        candidates += node->raft().state() == StateType::kCandidate ? 1 : 0;
      }
    }
    alone += candidates == 1 ? 1 : 0;
  }
  EXPECT_GT(alone, 120);
}

TEST(ElectionScenario, WhateverTheLeaderSendsResetsTheTimer) {
  Snapshot snapshot;
  snapshot.index = 20;
  snapshot.term = 2;
  snapshot.conf_state.voters = {1, 2, 3};
  Message snap = MakeMessage(MessageType::kSnap, 2, 1, 2);
  snap.snapshot = std::make_shared<const Snapshot>(snapshot);
  for (const Message& m : {MakeApp(2, 1, 2, 10, 1, 10, {}), MakeHeartbeat(2, 1, 2, 10), snap}) {
    TestNode node({});
    // In the term already, so that adopting it resets nothing.
    StepAndRun(&node, MakeVote(MessageType::kVote, 3, 1, 2, 1, 0));
    node.raft().SetRandomizedElectionTimeout(10);
    node.Tick(9);
    StepAndRun(&node, m);
    EXPECT_EQ(node.raft().leader(), 2u);
    node.Tick(9);
    EXPECT_EQ(node.raft().state(), StateType::kFollower);
    node.Tick(1);
    EXPECT_EQ(node.raft().state(), StateType::kCandidate);
  }
}

TEST(ElectionScenario, OnlyATransferForcesLeases) {
  TestNode node({});
  node.raft().Campaign();
  for (const Message& m : Select(node.Run(), MessageType::kVote)) EXPECT_TRUE(m.context.empty());
}

TEST(ElectionScenario, AVoteRequestNamesTheLastEntry) {
  TestNode node({});
  StepAndRun(&node, MakeApp(2, 1, 3, 10, 1, 10, {MakeEntry(2, 11), MakeEntry(3, 12)}));
  node.raft().Campaign();
  const std::vector<Message> asked = Select(node.Run(), MessageType::kVote);
  ASSERT_THAT(asked, SizeIs(2));
  EXPECT_EQ(asked[0].index, 12u);
  EXPECT_EQ(asked[0].log_term, 3u);
  EXPECT_EQ(asked[0].term, 4u);
}

TEST(ElectionScenario, OnlyCommittedChangesForbidCampaigning) {
  // R10, with a change of the second kind.
  ConfChangeV2 change;
  change.changes = {{ConfChangeType::kAddNode, 4}};
  for (const uint64_t commit : {10, 11}) {
    TestNode node(With(Async));
    ASSERT_TRUE(
        node.Step(MakeApp(2, 1, 2, 10, 1, commit, {ConfChangeEntry(2, 11, change)})).ok());
    node.raft().Campaign();
    EXPECT_EQ(node.raft().state() == StateType::kCandidate, commit == 10);
  }
}

TEST(ElectionScenario, ADeposedLeaderSendsNoHeartbeat) {
  TestNode node(With(+[](Config* config) { config->check_quorum = true; }));
  node.BecomeCommittedLeader();
  node.Tick(19);
  node.Drain();
  ASSERT_EQ(node.raft().state(), StateType::kLeader);
  node.Tick(1);
  EXPECT_EQ(node.raft().state(), StateType::kFollower);
  EXPECT_THAT(node.Run(), IsEmpty());
}

TEST(CheckQuorumTest, WithoutItALeaderStays) {
  TestNode node({});
  node.BecomeCommittedLeader();
  node.Tick(40);
  EXPECT_EQ(node.raft().state(), StateType::kLeader);
}

TEST(CheckQuorumTest, ALeaderCountsItselfBeforeItsDiskAnswers) {
  TestNode node(With(CheckQuorum));
  node.raft().Campaign();
  node.Drain();
  ASSERT_TRUE(node.Step(MakeVoteResp(MessageType::kVoteResp, 2, 1, 1, false)).ok());
  ASSERT_EQ(node.raft().state(), StateType::kLeader);
  ASSERT_TRUE(node.Step(MakeMessage(MessageType::kHeartbeatResp, 2, 1, 1)).ok());
  node.Tick(10);  // nothing is written meanwhile
  EXPECT_EQ(node.raft().state(), StateType::kLeader);
}

TEST(ElectionScenario, HeartbeatsKeepTheirInterval) {
  TestNode node(With(+[](Config* config) { config->heartbeat_ticks = 3; }));
  node.BecomeCommittedLeader();
  std::vector<size_t> beats;
  for (int i = 0; i < 7; ++i) {
    node.Tick(1);
    beats.push_back(Select(node.Run(), MessageType::kHeartbeat).size());
  }
  EXPECT_THAT(beats, ElementsAre(0, 0, 2, 0, 0, 2, 0));
}

TEST(RestartScenario, TheVoteIsKept) {
  TestNode node({});
  StepAndRun(&node, MakeVote(MessageType::kVote, 2, 1, 3, 99, 1));
  node.Restart(10);
  EXPECT_EQ(node.raft().hard_state(), (HardState{3, 2, 10}));
  EXPECT_TRUE(StepAndRun(&node, MakeVote(MessageType::kVote, 3, 1, 3, 99, 1)).at(0).reject);
  EXPECT_FALSE(StepAndRun(&node, MakeVote(MessageType::kVote, 2, 1, 3, 99, 1)).at(0).reject);
}

}  // namespace
}  // namespace etcdd::raft
