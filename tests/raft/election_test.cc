// Elections: votes, pre-votes, leases, quorum checks.

#include <map>
#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "raft/describe.h"
#include "tests/raft/cluster.h"
#include "tests/raft/test_node.h"

namespace etcdd::raft {
namespace {

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

// The one answer to a message.
Message Answer(TestNode* node, Message message) {
  EXPECT_TRUE(node->Step(std::move(message)).ok());
  std::vector<Message> sent = node->Run();
  EXPECT_THAT(sent, SizeIs(1)) << Text(sent);
  return sent.empty() ? Message() : sent[0];
}

TEST(Election, AMajorityDecides) {
  for (auto configure : {+[](Config*) {}, PreVote}) {
    Cluster whole(5, configure);
    whole.Elect(1);
    EXPECT_EQ(whole.Leader(), 1u);
    EXPECT_EQ(whole[1].raft().term(), 1u);

    Cluster majority(5, configure);
    majority.Isolate(4);
    majority.Isolate(5);
    majority.Elect(1);
    EXPECT_EQ(majority.Leader(), 1u);

    Cluster minority(5, configure);
    for (NodeId id : {3, 4, 5}) minority.Isolate(id);
    minority.Elect(1);
    EXPECT_EQ(minority.Leader(), kNoNode);
  }
}

TEST(Election, EveryNodeCanTakeOver) {
  for (auto configure : {+[](Config*) {}, PreVote}) {
    Cluster cluster(3, configure);
    for (NodeId id : {1, 2, 3, 1}) {
      cluster.Elect(id);
      EXPECT_EQ(cluster.Leader(), id);
      for (NodeId other : {1, 2, 3}) EXPECT_EQ(cluster[other].raft().leader(), id);
    }
    EXPECT_EQ(cluster[1].raft().term(), 4u);
  }
}

TEST(Election, VoteTable) {
  struct Case {
    NodeId vote;        // cast before, in the same term
    uint64_t last_index;  // of the candidate's log; ours ends at 2/11
    uint64_t last_term;
    bool granted;
  };
  for (const Case& c : std::vector<Case>{{0, 11, 2, true},
                                         {0, 12, 2, true},
                                         {0, 1, 3, true},
                                         {0, 10, 2, false},
                                         {0, 50, 1, false},
                                         {2, 11, 2, true},
                                         {3, 11, 2, false},
                                         {3, 99, 9, false}}) {
    TestNode node({});
    ASSERT_TRUE(node.Step(MakeApp(3, 1, 2, 10, 1, 10, {MakeEntry(2, 11)})).ok());
    node.Drain();
    if (c.vote != 0) {
      // Cast in term 3.
      Answer(&node, MakeVote(MessageType::kVote, c.vote, 1, 3, 99, 9));
      ASSERT_EQ(node.raft().hard_state().vote, c.vote);
    }
    const Message answer =
        Answer(&node, MakeVote(MessageType::kVote, 2, 1, 3, c.last_index, c.last_term));
    EXPECT_EQ(answer.type, MessageType::kVoteResp);
    EXPECT_EQ(answer.reject, !c.granted) << c.vote << " " << c.last_index << " " << c.last_term;
    EXPECT_EQ(answer.term, 3u);
  }
}

TEST(Election, AFollowerThatKnowsALeaderRefusesOthersOfTheTerm) {
  TestNode node({});
  ASSERT_TRUE(node.Step(MakeHeartbeat(3, 1, 2, 10)).ok());
  node.Drain();
  EXPECT_EQ(node.raft().hard_state().vote, kNoNode);
  EXPECT_TRUE(Answer(&node, MakeVote(MessageType::kVote, 2, 1, 2, 99, 2)).reject);
  // Told to forget it, the node votes.
  node.raft().ForgetLeader();
  EXPECT_FALSE(Answer(&node, MakeVote(MessageType::kVote, 2, 1, 2, 99, 2)).reject);
}

TEST(Election, OnlyAGrantedRealVoteResetsTheTimer) {
  struct Case {
    MessageType type;
    uint64_t last_index;
    bool resets;
  };
  for (const Case& c : std::vector<Case>{{MessageType::kVote, 99, true},
                                         {MessageType::kVote, 1, false},
                                         {MessageType::kPreVote, 99, false}}) {
    TestNode node({});
    // In the term already, so that adopting it resets nothing.
    Answer(&node, MakeVote(MessageType::kVote, 3, 1, 2, 1, 0));
    node.raft().SetRandomizedElectionTimeout(10);
    node.Tick(9);
    Answer(&node, MakeVote(c.type, 2, 1, c.type == MessageType::kVote ? 2 : 3, c.last_index, 1));
    node.Tick(1);
    EXPECT_EQ(node.raft().state() == StateType::kFollower, c.resets) << Name(c.type);
  }
}

TEST(Election, AVoteAloneMustBeSynced) {
  TestNode node({});
  Answer(&node, MakeVote(MessageType::kVote, 3, 1, 2, 1, 0));  // adopts the term, refuses
  ASSERT_TRUE(node.Step(MakeVote(MessageType::kVote, 2, 1, 2, 99, 1)).ok());
  const Ready ready = node.raft().TakeReady();
  EXPECT_EQ(ready.hard_state, (HardState{2, 2, 10}));
  EXPECT_TRUE(ready.must_sync);
}

TEST(Election, ACommitIndexAloneNeedNotBeSynced) {
  TestNode node({});
  ASSERT_TRUE(node.Step(MakeApp(2, 1, 1, 10, 1, 10, {MakeEntry(1, 11)})).ok());
  node.Drain();
  ASSERT_TRUE(node.Step(MakeHeartbeat(2, 1, 1, 11)).ok());
  const Ready ready = node.raft().TakeReady();
  EXPECT_EQ(ready.hard_state, (HardState{1, kNoNode, 11}));
  EXPECT_FALSE(ready.must_sync);
}

TEST(Election, AHigherTermIsAdoptedInEveryRole) {
  for (const StateType role : {StateType::kFollower, StateType::kCandidate, StateType::kLeader,
                               StateType::kPreCandidate}) {
    for (const MessageType type : {MessageType::kVote, MessageType::kApp}) {
      TestNode node(With(role == StateType::kPreCandidate ? PreVote : nullptr));
      if (role != StateType::kFollower) node.raft().Campaign();
      if (role == StateType::kLeader) node.BecomeLeader();
      ASSERT_EQ(node.raft().state(), role);
      node.Drain();
      Message m = MakeMessage(type, 2, 1, 7);
      m.index = node.raft().last_index();
      m.log_term = 1;
      ASSERT_TRUE(node.Step(std::move(m)).ok());
      EXPECT_EQ(node.raft().state(), StateType::kFollower);
      EXPECT_EQ(node.raft().term(), 7u);
      EXPECT_EQ(node.raft().leader(), type == MessageType::kApp ? 2u : kNoNode);
    }
  }
}

TEST(Election, ACandidateYieldsToTheLeaderOfItsTerm) {
  for (const bool heartbeat : {false, true}) {
    TestNode node({});
    node.raft().Campaign();
    node.Drain();
    ASSERT_TRUE(node.Step(heartbeat ? MakeHeartbeat(2, 1, 1, 10)
                                    : MakeApp(2, 1, 1, 10, 1, 10, {MakeEntry(1, 11)}))
                    .ok());
    EXPECT_EQ(node.raft().state(), StateType::kFollower);
    EXPECT_EQ(node.raft().term(), 1u);
    EXPECT_EQ(node.raft().leader(), 2u);
  }
}

TEST(Election, CandidatesRefuseProposals) {
  for (auto configure : {+[](Config*) {}, PreVote}) {
    TestNode node(With(configure));
    node.raft().Campaign();
    const absl::Status refused = node.Propose("x");
    EXPECT_TRUE(IsDropped(refused));
    EXPECT_EQ(DropReason(refused), "no leader");
  }
}

TEST(Election, ALostVoteMakesAFollowerATieStaysOpen) {
  TestNode node({});
  node.raft().Campaign();
  node.Drain();
  ASSERT_TRUE(node.Step(MakeVoteResp(MessageType::kVoteResp, 2, 1, 1, true)).ok());
  EXPECT_EQ(node.raft().state(), StateType::kCandidate);
  ASSERT_TRUE(node.Step(MakeVoteResp(MessageType::kVoteResp, 2, 1, 1, false)).ok());
  EXPECT_EQ(node.raft().state(), StateType::kCandidate) << "the first answer of a voter counts";
  ASSERT_TRUE(node.Step(MakeVoteResp(MessageType::kVoteResp, 3, 1, 1, true)).ok());
  EXPECT_EQ(node.raft().state(), StateType::kFollower);
  EXPECT_EQ(node.raft().term(), 1u);
}

TEST(Election, TimeoutsCoverTheWholeRangeAndNoMore) {
  std::map<int, int> timeouts;
  TestNode node({});
  for (int round = 0; round < 2000; ++round) {
    const uint64_t term = node.raft().term();
    int ticks = 0;
    while (node.raft().term() == term) {
      node.Tick();
      ++ticks;
    }
    node.Drain();
    if (round > 0) ++timeouts[ticks];
  }
  EXPECT_EQ(timeouts.begin()->first, 10);
  EXPECT_EQ(timeouts.rbegin()->first, 19);
  EXPECT_THAT(timeouts, SizeIs(10));
}

TEST(Election, LateSelfVoteAfterALostElectionIsIgnored) {
  // R37. The own vote is still on its way to the disk when the election is decided.
  TestNode node(With(Async));
  node.raft().Campaign();
  Ready ready = node.raft().TakeReady();
  ASSERT_TRUE(ready.storage_append.has_value());
  ASSERT_TRUE(node.Step(MakeHeartbeat(2, 1, 1, 10)).ok());
  for (Message& m : ready.storage_append->responses) ASSERT_TRUE(node.Step(std::move(m)).ok());
  EXPECT_EQ(node.raft().state(), StateType::kFollower);
  EXPECT_EQ(node.raft().leader(), 2u);
}

TEST(Election, LatePreVoteSelfVoteDoesNotCountAsVote) {
  // R37. Two others grant the pre-vote before the own grant is durable.
  TestNodeOptions options = With(+[](Config* config) {
    config->async_storage_writes = true;
    config->pre_vote = true;
  });
  options.voters = {1, 2, 3, 4, 5};
  TestNode node(options);
  node.raft().Campaign();
  Ready pre = node.raft().TakeReady();
  for (NodeId id : {2, 3, 4}) {
    ASSERT_TRUE(node.Step(MakeVoteResp(MessageType::kPreVoteResp, id, 1, 1, false)).ok());
  }
  ASSERT_EQ(node.raft().state(), StateType::kCandidate);
  ASSERT_TRUE(node.Step(MakeVoteResp(MessageType::kVoteResp, 2, 1, 1, false)).ok());
  ASSERT_TRUE(node.Step(MakeVoteResp(MessageType::kVoteResp, 3, 1, 1, false)).ok());
  ASSERT_TRUE(pre.storage_append.has_value());
  for (Message& m : pre.storage_append->responses) ASSERT_TRUE(node.Step(std::move(m)).ok());
  EXPECT_EQ(node.raft().state(), StateType::kCandidate);
}

TEST(Election, ACandidateWinsOnlyWhenItsOwnVoteIsDurable) {
  // Found by the simulation (seed 8396): elected by the others' votes while its own term was still
  // in the write queue, a node sent entries, crashed, and was elected again in the same term.
  for (const bool upstream : {false, true}) {
    TestNodeOptions options;
    options.configure = [upstream](Config* config) {
      config->async_storage_writes = true;
      config->win_before_own_vote_is_durable = upstream;
    };
    TestNode node(options);
    node.raft().Campaign();
    Ready ready = node.raft().TakeReady();
    for (NodeId id : {2, 3}) {
      ASSERT_TRUE(node.Step(MakeVoteResp(MessageType::kVoteResp, id, 1, 1, false)).ok());
    }
    EXPECT_EQ(node.raft().state() == StateType::kLeader, upstream);
    for (Message& m : ready.storage_append->responses) ASSERT_TRUE(node.Step(std::move(m)).ok());
    EXPECT_EQ(node.raft().state(), StateType::kLeader);
  }
}

TEST(Election, LearnersVoteButNeverCampaign) {
  // R9: a learner may have been promoted without knowing.
  TestNodeOptions options;
  options.id = 3;
  options.voters = {1, 2};
  options.learners = {3};
  TestNode learner(options);
  learner.Tick(100);
  EXPECT_EQ(learner.raft().state(), StateType::kFollower);
  EXPECT_THAT(learner.Run(), IsEmpty());
  learner.raft().Campaign();
  ASSERT_TRUE(learner.Step(MakeMessage(MessageType::kTimeoutNow, 1, 3, 1)).ok());
  EXPECT_EQ(learner.raft().state(), StateType::kFollower);
  EXPECT_FALSE(Answer(&learner, MakeVote(MessageType::kVote, 1, 3, 2, 10, 1)).reject);
}

TEST(Election, ARemovedNodeStillFollows) {
  TestNodeOptions options;
  options.id = 4;
  options.voters = {1, 2, 3};
  options.configure = CheckQuorum;
  TestNode node(options);
  node.Tick(100);
  EXPECT_EQ(node.raft().state(), StateType::kFollower);
  EXPECT_EQ(Answer(&node, MakeHeartbeat(1, 4, 1, 10)).type, MessageType::kHeartbeatResp);
  EXPECT_EQ(node.raft().leader(), 1u);
}

TEST(Election, JointNeedsBothHalves) {
  TestNode node({});
  node.BecomeCommittedLeader();
  ConfChangeV2 change;
  change.transition = ConfChangeTransition::kJointExplicit;
  for (NodeId id : {4, 5}) change.changes.push_back({ConfChangeType::kAddNode, id});
  for (NodeId id : {2, 3}) change.changes.push_back({ConfChangeType::kRemoveNode, id});
  node.raft().ApplyConfChange(change);  // {1 4 5} && {1 2 3}
  ASSERT_TRUE(node.Step(MakeHeartbeat(2, 1, 2, 0)).ok());
  node.Drain();
  node.raft().Campaign();
  const std::vector<Message> asked = node.Run();
  EXPECT_THAT(Select(asked, MessageType::kVote), SizeIs(4));
  for (NodeId id : {4, 5}) {
    ASSERT_TRUE(node.Step(MakeVoteResp(MessageType::kVoteResp, id, 1, 3, false)).ok());
  }
  EXPECT_EQ(node.raft().state(), StateType::kCandidate) << "only one half has agreed";
  ASSERT_TRUE(node.Step(MakeVoteResp(MessageType::kVoteResp, 2, 1, 3, false)).ok());
  EXPECT_EQ(node.raft().state(), StateType::kLeader);
}

TEST(Election, NoCampaignWithACommittedUnappliedConfChange) {
  // R10. The scan is paged (one entry a page here) and crosses into the unstable log.
  TestNodeOptions options =
      With(+[](Config* config) { config->committed_bytes_max = 1; });
  TestNode node(options);
  Entry change = MakeEntry(2, 13, Encode(ConfChange{}).view());
  change.type = EntryType::kConfChange;
  ASSERT_TRUE(node.Step(MakeApp(2, 1, 2, 10, 1, 10, {MakeEntry(2, 11), MakeEntry(2, 12)})).ok());
  node.Drain();
  ASSERT_TRUE(node.Step(MakeApp(2, 1, 2, 12, 2, 13, {change})).ok());
  node.raft().Campaign();
  EXPECT_EQ(node.raft().state(), StateType::kFollower);
  EXPECT_TRUE(node.logger().Contains("pending configuration changes to apply"));
  node.apply_conf_changes = false;
  node.Drain();
  node.raft().Campaign();
  EXPECT_EQ(node.raft().state(), StateType::kCandidate);
}

// Pre-vote ----------------------------------------------------------------------------------------

TEST(PreVoteTest, AskingChangesNothing) {
  TestNode node(With(PreVote));
  ASSERT_TRUE(node.Step(MakeHeartbeat(2, 1, 3, 10)).ok());
  node.Drain();
  node.raft().Campaign();
  const std::vector<Message> asked = node.Run();
  EXPECT_EQ(node.raft().hard_state(), (HardState{3, kNoNode, 10}));
  // R7: it would refuse others by its lease for a leader it gave up.
  EXPECT_EQ(node.raft().leader(), kNoNode);
  ASSERT_THAT(Select(asked, MessageType::kPreVote), SizeIs(2));
  EXPECT_EQ(asked[0].term, 4u);
  ASSERT_TRUE(node.Step(MakeVoteResp(MessageType::kPreVoteResp, 2, 1, 3, true)).ok());
  ASSERT_TRUE(node.Step(MakeVoteResp(MessageType::kPreVoteResp, 3, 1, 3, true)).ok());
  EXPECT_EQ(node.raft().state(), StateType::kFollower);
  EXPECT_EQ(node.raft().term(), 3u);
}

TEST(PreVoteTest, AGrantCarriesTheAskedTermARefusalTheOwn) {
  // R5, R6.
  TestNode node(With(PreVote));
  ASSERT_TRUE(node.Step(MakeHeartbeat(2, 1, 3, 10)).ok());
  node.Drain();
  const Message grant = Answer(&node, MakeVote(MessageType::kPreVote, 3, 1, 9, 99, 3));
  EXPECT_FALSE(grant.reject);
  EXPECT_EQ(grant.term, 9u);
  EXPECT_EQ(node.raft().term(), 3u);
  const Message stale_log = Answer(&node, MakeVote(MessageType::kPreVote, 3, 1, 9, 1, 1));
  EXPECT_TRUE(stale_log.reject);
  EXPECT_EQ(stale_log.term, 3u);
  const Message lower_term = Answer(&node, MakeVote(MessageType::kPreVote, 3, 1, 2, 99, 9));
  EXPECT_TRUE(lower_term.reject) << "refused aloud, so that the asker learns the term";
  EXPECT_EQ(lower_term.term, 3u);
}

TEST(PreVoteTest, ANodeWithoutATermCanRefuse) {
  TestNode node(With(PreVote));
  const Message answer = Answer(&node, MakeVote(MessageType::kPreVote, 3, 1, 1, 1, 0));
  EXPECT_TRUE(answer.reject);
}

TEST(PreVoteTest, ARefusalAtAHigherTermIsAdopted) {
  TestNode node(With(PreVote));
  node.raft().Campaign();
  node.Drain();
  ASSERT_TRUE(node.Step(MakeVoteResp(MessageType::kPreVoteResp, 2, 1, 5, true)).ok());
  EXPECT_EQ(node.raft().term(), 5u);
  EXPECT_EQ(node.raft().state(), StateType::kFollower);
}

TEST(PreVoteTest, ALateVoteIsNoAnswerToThePreVote) {
  // R37. The votes of the term's election arrive when the next one is being asked about.
  TestNode node(With(PreVote));
  ASSERT_TRUE(node.Step(MakeHeartbeat(2, 1, 3, 10)).ok());
  node.Drain();
  node.raft().Campaign();
  node.Drain();
  for (NodeId id : {2, 3}) {
    ASSERT_TRUE(node.Step(MakeVoteResp(MessageType::kVoteResp, id, 1, 3, false)).ok());
  }
  EXPECT_EQ(node.raft().state(), StateType::kPreCandidate);
  EXPECT_EQ(node.raft().term(), 3u);
}

TEST(PreVoteTest, AReturningNodeDoesNotDisturb) {
  Cluster cluster(3, Both);
  cluster.Elect(1);
  cluster.Isolate(3);
  cluster.TickOne(3, 60);
  EXPECT_EQ(cluster[3].raft().term(), 1u);
  cluster.Heal();
  cluster.Tick(3);
  EXPECT_EQ(cluster.Leader(), 1u);
  EXPECT_EQ(cluster[1].raft().term(), 1u);
  EXPECT_EQ(cluster[3].raft().leader(), 1u);
}

TEST(PreVoteTest, WithoutItAStaleCandidateDisturbsOnceAndLoses) {
  Cluster cluster(3);
  cluster.Elect(1);
  cluster.Isolate(3);
  ASSERT_TRUE(cluster.Propose(1, "a").ok());
  cluster[3].raft().Campaign();
  cluster.Settle();
  cluster.Heal();
  cluster[3].raft().Campaign();
  cluster.Settle();
  EXPECT_EQ(cluster.Leader(), kNoNode) << "its higher term deposed the leader";
  cluster.Elect(1);
  EXPECT_EQ(cluster.Leader(), 1u);
  EXPECT_EQ(cluster.Divergence(), "");
}

TEST(PreVoteTest, ASplitVoteIsFollowedByASuccessfulRound) {
  Cluster cluster(3, PreVote);
  cluster.Elect(1);
  cluster.Isolate(1);
  cluster[2].raft().Campaign();
  cluster[3].raft().Campaign();
  cluster.Settle();
  // Both won their pre-votes and voted for themselves.
  EXPECT_EQ(cluster[2].raft().state(), StateType::kCandidate);
  EXPECT_EQ(cluster[3].raft().state(), StateType::kCandidate);
  cluster.Elect(2);
  EXPECT_EQ(cluster.Leader(), 2u);
}

TEST(PreVoteTest, MigrationCanCompleteAnElection) {
  // R6: node 3 has the higher term but the shorter log, and pre-vote comes on one by one.
  std::vector<TestNodeOptions> options(3);
  for (size_t i = 0; i < 3; ++i) {
    options[i].id = i + 1;
    options[i].configure = i == 2 ? nullptr : PreVote;
  }
  Cluster cluster(std::move(options));
  cluster.Elect(1);
  cluster.Isolate(3);
  ASSERT_TRUE(cluster.Propose(1, "longer").ok());
  cluster.Elect(3);
  cluster.Elect(3);
  EXPECT_EQ(cluster[3].raft().term(), 3u);
  cluster.Heal();
  cluster.Isolate(1);
  cluster.Elect(3);
  cluster.Elect(2);
  cluster.Elect(2);
  EXPECT_EQ(cluster.Leader(), 2u);
}

TEST(PreVoteTest, ALeaderOfALowerTermIsToldTheTerm) {
  // R6, R8: with either option on, the node cannot force an election, so it must answer.
  for (auto configure : {PreVote, CheckQuorum}) {
    TestNode node(With(configure));
    ASSERT_TRUE(node.Step(MakeHeartbeat(3, 1, 5, 10)).ok());
    node.Drain();
    for (const Message& m : {MakeHeartbeat(2, 1, 3, 10), MakeApp(2, 1, 3, 10, 1, 10, {})}) {
      const Message answer = Answer(&node, m);
      EXPECT_EQ(answer.type, MessageType::kAppResp);
      EXPECT_EQ(answer.term, 5u);
    }
  }
  TestNode plain({});
  ASSERT_TRUE(plain.Step(MakeHeartbeat(3, 1, 5, 10)).ok());
  plain.Drain();
  ASSERT_TRUE(plain.Step(MakeHeartbeat(2, 1, 3, 10)).ok());
  EXPECT_THAT(plain.Run(), IsEmpty());
}

// Leases and quorum checks ------------------------------------------------------------------------

TEST(Lease, VotesAreIgnoredWhileTheLeaderIsHeardOf) {
  TestNode node(With(CheckQuorum));
  ASSERT_TRUE(node.Step(MakeHeartbeat(2, 1, 1, 10)).ok());
  node.Drain();
  node.raft().SetRandomizedElectionTimeout(19);
  for (const MessageType type : {MessageType::kVote, MessageType::kPreVote}) {
    ASSERT_TRUE(node.Step(MakeVote(type, 3, 1, 5, 99, 5)).ok());
    EXPECT_THAT(node.Run(), IsEmpty());
    EXPECT_EQ(node.raft().term(), 1u);
  }
  node.Tick(9);
  ASSERT_TRUE(node.Step(MakeVote(MessageType::kVote, 3, 1, 5, 99, 5)).ok());
  EXPECT_EQ(node.raft().term(), 1u);
  node.Tick(1);
  EXPECT_FALSE(Answer(&node, MakeVote(MessageType::kVote, 3, 1, 5, 99, 5)).reject);
}

TEST(Lease, ATransferBreaksIt) {
  TestNode node(With(CheckQuorum));
  ASSERT_TRUE(node.Step(MakeHeartbeat(2, 1, 1, 10)).ok());
  node.Drain();
  Message forced = MakeVote(MessageType::kVote, 3, 1, 5, 99, 5);
  forced.context = base::Bytes::Copy(kCampaignTransfer);
  EXPECT_FALSE(Answer(&node, std::move(forced)).reject);
}

TEST(CheckQuorumTest, ALeaderWithoutItsQuorumStepsDown) {
  TestNode node(With(CheckQuorum));
  node.BecomeCommittedLeader();
  node.Tick(10);  // those who answered the election were active
  node.Drain();
  EXPECT_EQ(node.raft().state(), StateType::kLeader);
  ASSERT_TRUE(node.Step(MakeMessage(MessageType::kHeartbeatResp, 2, 1, 1)).ok());
  node.Tick(10);
  EXPECT_EQ(node.raft().state(), StateType::kLeader) << "itself and one other are two of three";
  node.Tick(10);
  EXPECT_EQ(node.raft().state(), StateType::kFollower);
  EXPECT_EQ(node.raft().term(), 1u);
  EXPECT_EQ(node.raft().leader(), kNoNode);
}

TEST(CheckQuorumTest, LearnersDoNotKeepALeaderAlive) {
  TestNodeOptions options = With(CheckQuorum);
  options.learners = {4};
  TestNode node(options);
  node.BecomeCommittedLeader();
  node.Tick(10);
  for (int i = 0; i < 10; ++i) {
    ASSERT_TRUE(node.Step(MakeMessage(MessageType::kHeartbeatResp, 4, 1, 1)).ok());
    node.Tick(1);
  }
  EXPECT_EQ(node.raft().state(), StateType::kFollower);
}

TEST(CheckQuorumTest, ANewMemberCountsAsActive) {
  // R17: else adding the second voter deposes the leader before the new one can speak.
  TestNodeOptions options = With(CheckQuorum);
  options.voters = {1};
  TestNode node(options);
  node.raft().Campaign();
  node.Drain();
  node.Tick(9);
  node.raft().ApplyConfChange(ConfChange{0, ConfChangeType::kAddNode, 2, {}});
  node.Tick(1);
  EXPECT_EQ(node.raft().state(), StateType::kLeader);
  node.Tick(10);
  EXPECT_EQ(node.raft().state(), StateType::kFollower);
}

TEST(CheckQuorumTest, AStuckCandidateIsFreed) {
  // R8: a node with a higher term, alone in leases' refusal, must be able to come back.
  Cluster cluster(3, CheckQuorum);
  cluster.Elect(1);
  cluster.Isolate(3);
  cluster.Elect(3);
  cluster.Elect(3);
  EXPECT_EQ(cluster[3].raft().term(), 3u);
  cluster.Heal();
  cluster[3].raft().Campaign();
  cluster.Settle();
  EXPECT_EQ(cluster.Leader(), 1u) << "the others are in lease";
  cluster.TickOne(1, 1);  // a heartbeat is answered at term 4: the leader gives in
  EXPECT_EQ(cluster[1].raft().state(), StateType::kFollower);
  cluster.Tick(60);
  ASSERT_NE(cluster.Leader(), kNoNode);
  EXPECT_EQ(cluster.Divergence(), "");
}

}  // namespace
}  // namespace etcdd::raft
