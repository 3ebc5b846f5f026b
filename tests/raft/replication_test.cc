// Replication: appends, rejections, commit, flow control, storage acknowledgements.

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

// Follower ----------------------------------------------------------------------------------------

// A follower whose log is 1/10 (snapshot), 2/11, 2/12, 3/13, with commit 11.
class FollowerAppend : public testing::Test {
 protected:
  FollowerAppend() : node_({}) {
    StepAndRun(&node_, MakeApp(2, 1, 3, 10, 1, 11,
                               {MakeEntry(2, 11, "a"), MakeEntry(2, 12, "b"),
                                MakeEntry(3, 13, "c")}));
  }
  Message Append(uint64_t prev_index, uint64_t prev_term, uint64_t commit,
                 std::vector<Entry> entries) {
    const std::vector<Message> sent = StepAndRun(
        &node_, MakeApp(2, 1, 4, prev_index, prev_term, commit, std::move(entries)));
    EXPECT_THAT(sent, SizeIs(1));
    return sent.at(0);
  }
  TestNode node_;
};

TEST_F(FollowerAppend, AcknowledgesThePreviousIndexPlusTheCountNotItsOwnLast) {
  const Message answer = Append(11, 2, 0, {MakeEntry(2, 12, "b")});
  EXPECT_FALSE(answer.reject);
  EXPECT_EQ(answer.index, 12u);
  EXPECT_EQ(node_.raft().last_index(), 13u) << "matching entries are not truncated";
}

TEST_F(FollowerAppend, ClampsTheCommitIndexToTheLastNewEntry) {
  Append(11, 2, 99, {MakeEntry(2, 12, "b")});
  EXPECT_EQ(node_.raft().committed(), 12u) << "entry 13 is not known to agree with the leader";
  Append(12, 2, 99, {});
  EXPECT_EQ(node_.raft().committed(), 12u);
}

TEST_F(FollowerAppend, ReplacesConflictingEntries) {
  EXPECT_EQ(Append(12, 2, 11, {MakeEntry(4, 13, "d"), MakeEntry(4, 14, "e")}).index, 14u);
  EXPECT_EQ(DescribeEntries(node_.StableEntries()),
            "2/11 EntryNormal \"a\"\n2/12 EntryNormal \"b\"\n4/13 EntryNormal \"d\"\n"
            "4/14 EntryNormal \"e\"\n");
}

TEST_F(FollowerAppend, AnAppendBelowCommitIsAnsweredWithCommit) {
  const Message answer = Append(10, 1, 99, {MakeEntry(4, 11, "other")});
  EXPECT_FALSE(answer.reject);
  EXPECT_EQ(answer.index, 11u);
  EXPECT_EQ(node_.raft().committed(), 11u);
}

TEST_F(FollowerAppend, RejectsWithAHintThatSkipsATerm) {
  // Nothing at a term above 2 at or below 13 can agree with the leader's entry of term 2.
  const Message conflict = Append(13, 2, 0, {});
  EXPECT_TRUE(conflict.reject);
  EXPECT_EQ(conflict.index, 13u);
  EXPECT_EQ(conflict.reject_hint, 12u);
  EXPECT_EQ(conflict.log_term, 2u);
  const Message missing = Append(50, 4, 0, {});
  EXPECT_TRUE(missing.reject);
  EXPECT_EQ(missing.index, 50u);
  EXPECT_EQ(missing.reject_hint, 13u);
  EXPECT_EQ(missing.log_term, 3u);
}

TEST_F(FollowerAppend, AbsentEntriesDoNotMatchTermZero) {
  // R20: a leader that lost track of a term must not find agreement in emptiness.
  EXPECT_TRUE(Append(14, 0, 14, {}).reject);
  EXPECT_EQ(node_.raft().committed(), 11u);
}

TEST_F(FollowerAppend, AHeartbeatBeyondTheLogIsDataLoss) {
  // R28: we lost entries we had acknowledged.
  const absl::Status status = node_.Step(MakeHeartbeat(2, 1, 4, 14));
  EXPECT_TRUE(absl::IsDataLoss(status));
  EXPECT_EQ(node_.raft().committed(), 11u);
}

TEST_F(FollowerAppend, AHeartbeatCommitsButNeverBackwards) {
  StepAndRun(&node_, MakeHeartbeat(2, 1, 4, 13));
  EXPECT_EQ(node_.raft().committed(), 13u);
  StepAndRun(&node_, MakeHeartbeat(2, 1, 4, 11));
  EXPECT_EQ(node_.raft().committed(), 13u);
}

TEST_F(FollowerAppend, OldTermsAreIgnored) {
  ASSERT_TRUE(node_.Step(MakeApp(3, 1, 2, 11, 2, 13, {MakeEntry(2, 12, "x")})).ok());
  EXPECT_THAT(node_.Run(), IsEmpty());
  EXPECT_EQ(node_.raft().last_index(), 13u);
}

TEST_F(FollowerAppend, EntriesHandedOutDoNotChangeUnderTheirHolder) {
  // R33.
  ASSERT_TRUE(node_.Step(MakeApp(2, 1, 4, 13, 3, 11, {MakeEntry(4, 14, "first")})).ok());
  const Ready ready = node_.raft().TakeReady();
  ASSERT_TRUE(node_.Step(MakeApp(3, 1, 5, 13, 3, 11, {MakeEntry(5, 14, "second")})).ok());
  ASSERT_THAT(ready.entries, SizeIs(1));
  EXPECT_EQ(ready.entries[0].data.view(), "first");
}

TEST_F(FollowerAppend, MalformedMessagesHaveNoEffect) {
  // R42.
  const auto refused = [this](Message m) {
    const absl::Status status = node_.Step(std::move(m));
    EXPECT_TRUE(absl::IsInvalidArgument(status)) << status;
    EXPECT_FALSE(node_.raft().HasReady());
    EXPECT_EQ(node_.raft().term(), 3u);
  };
  refused(MakeApp(2, 1, 4, 13, 3, 0, {MakeEntry(4, 15)}));                     // a gap
  refused(MakeApp(2, 1, 4, 13, 3, 0, {MakeEntry(4, 14), MakeEntry(4, 16)}));   // a gap inside
  refused(MakeApp(2, 1, 4, 13, 3, 0, {MakeEntry(4, 14), MakeEntry(3, 15)}));   // terms fall
  refused(MakeApp(2, 1, 4, 13, 3, 0, {MakeEntry(2, 14)}));                     // below previous
  refused(MakeApp(2, 1, 4, 13, 3, 0, {MakeEntry(5, 14)}));                     // of the future
  refused(MakeApp(1, 1, 4, 13, 3, 0, {}));                                     // from itself
  refused(MakeApp(0, 1, 4, 13, 3, 0, {}));                                     // from nobody
  refused(MakeApp(2, 1, 0, 13, 3, 0, {}));                                     // without a term
  refused(MakeHeartbeat(2, 1, 0, 11));
  refused(MakeVote(MessageType::kVote, 2, 1, 0, 99, 3));
  refused(MakeMessage(MessageType::kSnap, 2, 1, 4));                           // no snapshot
  refused(MakeMessage(MessageType::kProp, 2, 1, 0));                           // nothing proposed
  refused(MakeMessage(MessageType::kReadIndex, 2, 1, 0));                      // no context
  refused(MakeMessage(static_cast<MessageType>(200), 2, 1, 4));                // unknown
}

TEST_F(FollowerAppend, LocalMessagesAndStrangersAnswersAreRefused) {
  for (const MessageType type :
       {MessageType::kHup, MessageType::kBeat, MessageType::kUnreachable, MessageType::kSnapStatus,
        MessageType::kCheckQuorum, MessageType::kStorageAppend, MessageType::kStorageAppendResp,
        MessageType::kStorageApply, MessageType::kStorageApplyResp}) {
    EXPECT_EQ(node_.Step(MakeMessage(type, 2, 1, 3)), StepLocalMessageError()) << Name(type);
  }
  for (const MessageType type : {MessageType::kAppResp, MessageType::kVoteResp,
                                 MessageType::kPreVoteResp, MessageType::kHeartbeatResp,
                                 MessageType::kReadIndexResp}) {
    EXPECT_EQ(node_.Step(MakeMessage(type, 9, 1, 3)), StepPeerNotFoundError()) << Name(type);
  }
}

TEST_F(FollowerAppend, ForwardsProposalsWithoutATerm) {
  // R36.
  ASSERT_TRUE(node_.Propose("p").ok());
  const std::vector<Message> sent = node_.Run();
  EXPECT_EQ(Text(sent), "1->2 MsgProp Term:0 Log:0/0 Entries:[0/0 EntryNormal \"p\"]\n");
}

TEST(Forwarding, CanBeSwitchedOff) {
  TestNodeOptions options;
  options.configure = [](Config* config) { config->disable_proposal_forwarding = true; };
  TestNode node(options);
  ASSERT_TRUE(node.Step(MakeHeartbeat(2, 1, 1, 10)).ok());
  const absl::Status status = node.Propose("p");
  EXPECT_TRUE(IsDropped(status));
  EXPECT_EQ(status.message(), "raft proposal dropped");
}

// Leader: probing and rejections ------------------------------------------------------------------

TEST(Probe, OneAppendUntilAnswered) {
  TestNode node({});
  EXPECT_THAT(Select(node.BecomeLeader(), MessageType::kApp, 2), SizeIs(1));
  for (int i = 0; i < 3; ++i) ASSERT_TRUE(node.Propose("x").ok());
  EXPECT_THAT(node.Run(), IsEmpty()) << "probing and paused";
  // R23: sending heartbeats does not unpause, their answers do.
  node.Tick(3);
  EXPECT_THAT(Select(node.Run(), MessageType::kApp), IsEmpty());
  const std::vector<Message> sent =
      StepAndRun(&node, MakeMessage(MessageType::kHeartbeatResp, 2, 1, 1));
  ASSERT_THAT(sent, SizeIs(1));
  EXPECT_EQ(sent[0].to, 2u);
  EXPECT_THAT(sent[0].entries, SizeIs(4));
  EXPECT_TRUE(Peer(node, 2).paused);
}

TEST(Probe, StaleAnswersNeverLowerMatchOrNext) {
  // R18, R19.
  TestNode node({});
  node.BecomeCommittedLeader();
  ASSERT_TRUE(node.Propose("a").ok());
  node.Drain();
  StepAndRun(&node, MakeAppResp(2, 1, 1, 12));
  StepAndRun(&node, MakeAppResp(2, 1, 1, 11));
  EXPECT_EQ(Peer(node, 2).match, 12u);
  EXPECT_THAT(StepAndRun(&node, MakeReject(2, 1, 1, 12, 5, 1)), IsEmpty())
      << "rejected something already acknowledged";
  EXPECT_EQ(Peer(node, 2).next, 13u);
  node.raft().ReportUnreachable(2);
  ASSERT_EQ(Peer(node, 2).state, ProgressState::kProbe);
  StepAndRun(&node, MakeReject(2, 1, 1, 5, 3, 1));
  EXPECT_EQ(Peer(node, 2).next, 13u) << "not what was probed";
  StepAndRun(&node, MakeReject(2, 1, 1, 12, 3, 1));
  EXPECT_EQ(Peer(node, 2).next, 13u) << "never at or below match";
}

TEST(Probe, AnAcknowledgementOfTheUnknownIsIgnored) {
  TestNode node({});
  node.BecomeCommittedLeader();
  StepAndRun(&node, MakeAppResp(2, 1, 1, 99));
  EXPECT_EQ(Peer(node, 2).match, 11u);
  EXPECT_EQ(node.raft().committed(), 11u);
}

TEST(Probe, LongDivergentTailsTakeFewProbes) {
  // R26, both directions: terms in the log of the leader-to-be, and of the follower.
  struct Case {
    std::vector<uint64_t> leader_terms;
    std::vector<uint64_t> follower_terms;
    int probes_max;
  };
  const auto repeat = [](std::vector<std::pair<uint64_t, int>> runs) {
    std::vector<uint64_t> terms;
    for (const auto& [term, count] : runs) {
      terms.insert(terms.end(), static_cast<size_t>(count), term);
    }
    return terms;
  };
  for (const Case& c : std::vector<Case>{
           {repeat({{1, 1}, {3, 500}}), repeat({{1, 1}, {2, 500}}), 3},
           {repeat({{1, 1}, {2, 500}, {5, 1}}), repeat({{1, 1}, {4, 500}}), 3},
           {repeat({{1, 1}, {2, 100}, {3, 100}, {6, 1}}), repeat({{1, 1}, {4, 400}}), 3},
           {repeat({{1, 500}, {6, 1}}), repeat({{1, 3}}), 3},
           {repeat({{1, 1}, {6, 1}}), repeat({{1, 1}, {2, 200}, {3, 200}, {4, 200}}), 3}}) {
    const auto fill = [](TestNode* node, const std::vector<uint64_t>& terms, NodeId from) {
      std::vector<Entry> entries;
      for (size_t i = 0; i < terms.size(); ++i) entries.push_back(MakeEntry(terms[i], 11 + i));
      const uint64_t last_term = terms.back();
      StepAndRun(node, MakeApp(from, node->id(), last_term, 10, 1, 10, std::move(entries)));
    };
    Cluster cluster(3);
    fill(&cluster[1], c.leader_terms, 3);
    fill(&cluster[2], c.follower_terms, 3);
    cluster.Isolate(3);
    int rejections = 0;
    cluster.drop = [&rejections](const Message& m) {
      if (m.type == MessageType::kAppResp && m.reject) ++rejections;
      return false;
    };
    // Node 2 may be at a higher term.
    cluster.Elect(1);
    cluster.Elect(1);
    ASSERT_EQ(cluster.Leader(), 1u);
    cluster.TickOne(1, 2);
    EXPECT_EQ(cluster[2].raft().committed(), cluster[1].raft().last_index());
    EXPECT_LE(rejections, c.probes_max);
  }
}

TEST(Probe, UnreachableGoesBackToProbing) {
  TestNode node({});
  node.BecomeCommittedLeader();
  for (int i = 0; i < 3; ++i) ASSERT_TRUE(node.Propose("x").ok());
  EXPECT_EQ(Peer(node, 2).next, 15u);
  node.raft().ReportUnreachable(2);
  EXPECT_EQ(Peer(node, 2).state, ProgressState::kProbe);
  EXPECT_EQ(Peer(node, 2).next, 12u);
}

// Leader: commit ----------------------------------------------------------------------------------

TEST(Commit, EntriesOfOldTermsAreNotCommittedByCounting) {
  // R41, Raft 5.4.2.
  TestNode node({});
  StepAndRun(&node, MakeApp(2, 1, 1, 10, 1, 10, {MakeEntry(1, 11, "old")}));
  node.BecomeLeader();
  ASSERT_EQ(node.raft().term(), 2u);
  StepAndRun(&node, MakeAppResp(2, 1, 2, 11));
  EXPECT_EQ(node.raft().committed(), 10u);
  StepAndRun(&node, MakeAppResp(2, 1, 2, 12));
  EXPECT_EQ(node.raft().committed(), 12u);
  EXPECT_THAT(node.applied(), ElementsAre("old"));
}

TEST(Commit, LearnersDoNotCount) {
  TestNodeOptions options;
  options.learners = {4, 5};
  TestNode node(options);
  node.BecomeLeader();
  StepAndRun(&node, MakeAppResp(4, 1, 1, 11));
  StepAndRun(&node, MakeAppResp(5, 1, 1, 11));
  EXPECT_EQ(node.raft().committed(), 10u);
  StepAndRun(&node, MakeAppResp(3, 1, 1, 11));
  EXPECT_EQ(node.raft().committed(), 11u);
}

TEST(Commit, HeartbeatsSayNoMoreThanTheMemberHolds) {
  TestNode node({});
  node.BecomeLeader();
  StepAndRun(&node, MakeAppResp(2, 1, 1, 11));
  node.Tick(1);
  const std::vector<Message> beats = Select(node.Run(), MessageType::kHeartbeat);
  ASSERT_THAT(beats, SizeIs(2));
  EXPECT_EQ(beats[0].commit, 11u);
  EXPECT_EQ(beats[1].commit, 0u);
  EXPECT_EQ(beats[0].index, 0u);
  EXPECT_EQ(beats[0].log_term, 0u);
}

TEST(Commit, LogsEndEqualAfterLeaderChanges) {
  Cluster cluster(3);
  cluster.Elect(1);
  ASSERT_TRUE(cluster.Propose(1, "a").ok());
  cluster.Isolate(1);
  ASSERT_TRUE(cluster.Propose(1, "lost").ok());
  cluster.Elect(2);
  ASSERT_TRUE(cluster.Propose(2, "b").ok());
  ASSERT_TRUE(cluster.Propose(3, "through a follower").ok());
  cluster.Heal();
  cluster.TickOne(2, 2);
  EXPECT_EQ(cluster.Divergence(), "");
  for (NodeId id : {1, 2, 3}) {
    EXPECT_THAT(cluster[id].applied(), ElementsAre("a", "b", "through a follower"));
  }
}

TEST(Commit, ALeaderWithALowerTermTailOverwritesNewerUncommittedEntries) {
  Cluster cluster(5);
  cluster.Elect(1);
  cluster.Isolate(2);
  cluster[2].raft().Campaign();
  cluster[2].raft().Campaign();
  cluster.Heal();
  // Node 5 got an entry of term 2 from a leader nobody else heard.
  StepAndRun(&cluster[5], MakeApp(4, 5, 2, 11, 1, 11, {MakeEntry(2, 12, "never")}));
  cluster.Isolate(5);
  cluster.Elect(1);
  cluster.Elect(1);
  cluster.Elect(1);
  ASSERT_EQ(cluster.Leader(), 1u);
  ASSERT_TRUE(cluster.Propose(1, "kept").ok());
  cluster.Heal();
  cluster.TickOne(1, 3);
  EXPECT_EQ(cluster.Divergence(), "");
  EXPECT_THAT(cluster[5].applied(), ElementsAre("kept"));
}

// Leader: flow control ----------------------------------------------------------------------------

TEST(FlowControl, AFullWindowLetsOneEmptyAppendThroughPerHeartbeatAnswer) {
  // R22.
  TestNodeOptions options;
  options.configure = [](Config* config) { config->inflight_messages_max = 3; };
  TestNode node(options);
  node.BecomeCommittedLeader();
  for (int i = 0; i < 5; ++i) ASSERT_TRUE(node.Propose("x").ok());
  EXPECT_THAT(Select(node.Run(), MessageType::kApp, 2), SizeIs(3));
  EXPECT_TRUE(Peer(node, 2).paused);
  for (int i = 0; i < 2; ++i) {
    const std::vector<Message> probe = Select(
        StepAndRun(&node, MakeMessage(MessageType::kHeartbeatResp, 2, 1, 1)), MessageType::kApp, 2);
    ASSERT_THAT(probe, SizeIs(1));
    EXPECT_THAT(probe[0].entries, IsEmpty());
    EXPECT_TRUE(Peer(node, 2).paused);
  }
  // A stale acknowledgement opens nothing, a fresh one as much as it covers.
  EXPECT_THAT(Select(StepAndRun(&node, MakeAppResp(2, 1, 1, 11)), MessageType::kApp, 2),
              IsEmpty());
  const std::vector<Message> more =
      Select(StepAndRun(&node, MakeAppResp(2, 1, 1, 13)), MessageType::kApp, 2);
  size_t entries = 0;
  for (const Message& m : more) entries += m.entries.size();
  EXPECT_EQ(entries, 2u);
}

TEST(FlowControl, TheByteWindowIsSoft) {
  TestNodeOptions options;
  options.configure = [](Config* config) {
    config->message_bytes_max = 100;
    config->inflight_bytes_max = 100;
  };
  TestNode node(options);
  node.BecomeCommittedLeader();
  for (int i = 0; i < 4; ++i) ASSERT_TRUE(node.Propose(std::string(60, 'x')).ok());
  EXPECT_THAT(Select(node.Run(), MessageType::kApp, 2), SizeIs(2))
      << "the message that crosses the limit is still sent";
  EXPECT_THAT(Select(StepAndRun(&node, MakeAppResp(2, 1, 1, 13)), MessageType::kApp, 2),
              testing::Not(IsEmpty()));
}

TEST(FlowControl, MessageSizeLimits) {
  for (const uint64_t limit : {uint64_t{0}, uint64_t{30}, kNoLimit}) {
    TestNodeOptions options;
    options.configure = [limit](Config* config) {
      config->message_bytes_max = limit;
      config->committed_bytes_max = 1000;
    };
    TestNode node(options);
    node.BecomeCommittedLeader();
    node.raft().ReportUnreachable(2);
    for (int i = 0; i < 4; ++i) ASSERT_TRUE(node.Propose("1234567").ok());
    node.Drain();
    const std::vector<Message> sent = Select(
        StepAndRun(&node, MakeMessage(MessageType::kHeartbeatResp, 2, 1, 1)), MessageType::kApp, 2);
    // An entry is 15 bytes encoded.
    const size_t expected = limit == 0 ? 1 : limit == 30 ? 2 : 4;
    ASSERT_THAT(sent, SizeIs(1));
    EXPECT_THAT(sent[0].entries, SizeIs(expected));
  }
}

TEST(UncommittedLimit, ExactAccounting) {
  // R34.
  TestNodeOptions options;
  options.configure = [](Config* config) { config->uncommitted_bytes_max = 20; };
  TestNode node(options);
  node.BecomeCommittedLeader();
  ASSERT_TRUE(node.Propose("1234567890").ok());
  ASSERT_TRUE(node.Propose("1234567890").ok());
  const absl::Status refused = node.Propose("1");
  EXPECT_TRUE(IsDropped(refused));
  EXPECT_EQ(DropReason(refused), "uncommitted entries exceed their limit");
  EXPECT_TRUE(node.Propose("").ok()) << "empty payloads are never refused";
  // Replaced by an empty entry before it is measured.
  ConfChange change;
  change.type = ConfChangeType::kAddLearnerNode;
  change.node_id = 7;
  change.context = base::Bytes::Copy(std::string(100, 'c'));
  ASSERT_TRUE(IsDropped(node.raft().ProposeConfChange(change)));
  node.Drain();
  node.AckAll();
  node.Drain();
  // Everything applied: room again; and a single one of any size when nothing is under way.
  EXPECT_TRUE(node.Propose(std::string(50, 'x')).ok());
  EXPECT_TRUE(IsDropped(node.Propose("1")));
}

TEST(UncommittedLimit, StartsAnewWithALeadership) {
  TestNodeOptions options;
  options.configure = [](Config* config) { config->uncommitted_bytes_max = 20; };
  TestNode node(options);
  node.BecomeCommittedLeader();
  ASSERT_TRUE(node.Propose(std::string(20, 'x')).ok());
  ASSERT_TRUE(IsDropped(node.Propose("y")));
  ASSERT_TRUE(node.Step(MakeHeartbeat(2, 1, 2, 0)).ok());
  node.BecomeLeader();
  EXPECT_TRUE(node.Propose(std::string(20, 'x')).ok());
}

TEST(SelfAcknowledgement, ALeaderCountsItsNewEntryOnlyWhenItIsDurable) {
  // R29.
  TestNode node({});
  node.raft().Campaign();
  node.Drain();
  ASSERT_TRUE(node.Step(MakeVoteResp(MessageType::kVoteResp, 2, 1, 1, false)).ok());
  ASSERT_EQ(node.raft().state(), StateType::kLeader);
  EXPECT_EQ(node.raft().last_index(), 11u);
  EXPECT_EQ(Peer(node, 1).match, 10u) << "what it had before it led is durable";
  node.Drain();
  EXPECT_EQ(Peer(node, 1).match, 11u);
}

// Pages and acknowledgements ----------------------------------------------------------------------

TEST(ApplyPages, NothingIsSkippedWhenTheStorageStopsEarlyOrGivesTooMuch) {
  // R30.
  class OddStorage : public MemoryStorage {
   public:
    absl::Status Entries(uint64_t low, uint64_t high, uint64_t,
                         std::vector<Entry>* entries) const override {
      const uint64_t end = generous ? std::min(high + 1, LastIndex() + 1) : low + 1;
      return MemoryStorage::Entries(low, end, kNoLimit, entries);
    }
    bool generous = false;
  };
  for (const bool generous : {false, true}) {
    OddStorage storage;
    storage.generous = generous;
    Snapshot snapshot;
    snapshot.index = 10;
    snapshot.term = 1;
    snapshot.conf_state.voters = {1};
    ASSERT_TRUE(storage.ApplySnapshot(std::make_shared<const Snapshot>(snapshot)).ok());
    std::vector<Entry> entries;
    for (uint64_t index = 11; index <= 20; ++index) entries.push_back(MakeEntry(1, index));
    storage.Append(entries);
    storage.SetHardState({1, 0, 18});
    TestRandom random(1);
    Config config;
    config.id = 1;
    config.random = &random;
    config.committed_bytes_max = 30;
    auto node = *RawNode::Create(config, &storage);
    uint64_t applied = 10;
    while (node->HasReady()) {
      const Ready ready = node->TakeReady();
      for (const Entry& entry : ready.committed_entries) ASSERT_EQ(entry.index, ++applied);
      node->Advance();
      node->CheckInvariants();
    }
    EXPECT_EQ(applied, 18u);
  }
}

TEST(StableTo, ALateAcknowledgementOfAnOlderTermIsVoid) {
  // R32: 2/11 is handed out, then 3/11, then 2/11 again. When the first write is acknowledged the
  // second is still in the queue and will overwrite it: the entry is not stable, though it matches.
  TestNodeOptions options;
  options.configure = [](Config* config) { config->async_storage_writes = true; };
  TestNode node(options);
  const auto append = [&node](NodeId from, uint64_t term, uint64_t entry_term) {
    EXPECT_TRUE(
        node.Step(MakeApp(from, 1, term, 10, 1, 10, {MakeEntry(entry_term, 11, "a")})).ok());
    Ready ready = node.raft().TakeReady();
    EXPECT_TRUE(ready.storage_append.has_value());
    return *std::move(ready.storage_append);
  };
  Message first = append(2, 2, 2);
  Message second = append(3, 3, 3);
  Message third = append(2, 4, 2);
  const auto acknowledge = [&node](Message* append_message) {
    node.storage().Append(append_message->entries);
    for (Message& m : append_message->responses) {
      if (m.to == 1) {
        EXPECT_TRUE(node.Step(std::move(m)).ok());
      }
    }
  };
  ASSERT_TRUE(node.Step(MakeHeartbeat(2, 1, 4, 11)).ok());
  acknowledge(&first);
  EXPECT_TRUE(node.logger().Contains("ignored entry appends from a MsgStorageAppendResp"));
  EXPECT_FALSE(node.raft().TakeReady().storage_apply.has_value());
  acknowledge(&second);
  EXPECT_FALSE(node.raft().TakeReady().storage_apply.has_value());
  acknowledge(&third);
  EXPECT_TRUE(node.raft().TakeReady().storage_apply.has_value());
}

TEST(StableTo, RejectionsWaitForDurabilityToo) {
  TestNodeOptions options;
  options.configure = [](Config* config) { config->async_storage_writes = true; };
  TestNode node(options);
  ASSERT_TRUE(node.Step(MakeApp(2, 1, 2, 50, 2, 10, {})).ok());
  ASSERT_TRUE(node.Step(MakeVote(MessageType::kVote, 3, 1, 2, 1, 0)).ok());
  const Ready ready = node.raft().TakeReady();
  EXPECT_THAT(ready.messages, IsEmpty());
  ASSERT_TRUE(ready.storage_append.has_value());
  EXPECT_THAT(ready.storage_append->responses, SizeIs(2));
}

TEST(StableTo, TheLeadersAppendsDoNotWaitForItsDisk) {
  TestNodeOptions options;
  options.configure = [](Config* config) { config->async_storage_writes = true; };
  TestNode node(options);
  node.BecomeCommittedLeader();
  ASSERT_TRUE(node.Propose("x").ok());
  const Ready ready = node.raft().TakeReady();
  EXPECT_THAT(Select(ready.messages, MessageType::kApp), SizeIs(2));
  ASSERT_TRUE(ready.storage_append.has_value());
  // Both others have it before we do: committed, yet not applied here.
  node.AckAll();
  EXPECT_EQ(node.raft().committed(), 12u);
  EXPECT_FALSE(node.raft().TakeReady().storage_apply.has_value());
}

TEST(SelfAcknowledgement, AfterTheTermChangedIsIgnored) {
  // R37.
  TestNodeOptions options;
  options.configure = [](Config* config) { config->async_storage_writes = true; };
  TestNode node(options);
  node.BecomeCommittedLeader();
  ASSERT_TRUE(node.Propose("x").ok());
  Ready ready = node.raft().TakeReady();
  ASSERT_TRUE(node.Step(MakeHeartbeat(2, 1, 5, 0)).ok());
  node.storage().Append(ready.storage_append->entries);
  for (Message& m : ready.storage_append->responses) {
    if (m.to == 1) {
      ASSERT_TRUE(node.Step(std::move(m)).ok());
    }
  }
  EXPECT_EQ(node.raft().committed(), 11u);
  EXPECT_EQ(node.raft().term(), 5u);
}

}  // namespace
}  // namespace etcdd::raft
