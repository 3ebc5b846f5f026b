// Windows, progress, quorums, the configuration changer, texts and bytes.

#include <algorithm>
#include <map>
#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "raft/conf_change.h"
#include "raft/conf_changer.h"
#include "raft/describe.h"
#include "raft/inflights.h"
#include "raft/progress.h"
#include "raft/quorum.h"
#include "tests/raft/datadriven.h"
#include "tests/raft/test_node.h"

namespace etcdd::raft {
namespace {

using testing::ElementsAre;

TEST(InflightsTest, WindowOfMessages) {
  Inflights window(10, 0);
  for (uint64_t round = 0; round < 5; ++round) {  // wraps around the ring
    for (uint64_t i = 1; i <= 10; ++i) window.Add(round * 10 + i, 100);
    EXPECT_TRUE(window.Full());
    EXPECT_EQ(window.bytes(), 1000u);
    window.FreeUpTo(round * 10);  // nothing in the window
    EXPECT_EQ(window.count(), 10u);
    window.FreeUpTo(round * 10 + 4);
    EXPECT_EQ(window.count(), 6u);
    EXPECT_EQ(window.bytes(), 600u);
    EXPECT_FALSE(window.Full());
    window.FreeUpTo(round * 10 + 10);
    EXPECT_EQ(window.count(), 0u);
    EXPECT_EQ(window.bytes(), 0u);
  }
}

TEST(InflightsTest, TheByteLimitIsSoftAndResetClearsIt) {
  Inflights window(10, 100);
  window.Add(1, 99);
  EXPECT_FALSE(window.Full());
  window.Add(2, 500);
  EXPECT_TRUE(window.Full());
  window.Reset();
  EXPECT_FALSE(window.Full());
  EXPECT_EQ(window.bytes(), 0u);
  EXPECT_DEATH(
      {
        Inflights one(1, 0);
        one.Add(1, 0);
        one.Add(2, 0);
      },
      "Full");
}

TEST(InflightsTest, AWindowThatGrowsKeepsItsOrder) {
  Inflights window(20, 0);
  for (uint64_t i = 1; i <= 8; ++i) window.Add(i, i);
  window.FreeUpTo(3);
  for (uint64_t i = 9; i <= 16; ++i) window.Add(i, i);  // around the ring's end, and more
  for (uint64_t i = 4; i <= 16; ++i) {
    window.FreeUpTo(i);
    EXPECT_EQ(window.count(), 16 - i);
  }
  EXPECT_EQ(window.bytes(), 0u);
}

Progress NewProgress() { return Progress(0, 1, false, true, Inflights(2, 0)); }

TEST(ProgressTest, StatesAndTheirPauses) {
  Progress progress = NewProgress();
  progress.SentEntries(0, 0);
  EXPECT_FALSE(progress.IsPaused()) << "empty appends do not pause a probe";
  progress.SentEntries(3, 30);
  EXPECT_TRUE(progress.IsPaused());
  EXPECT_EQ(progress.next(), 1u) << "a probe does not move ahead of itself";
  EXPECT_TRUE(progress.MaybeUpdate(3));
  EXPECT_FALSE(progress.IsPaused());
  progress.BecomeReplicate();
  progress.SentEntries(2, 20);
  EXPECT_EQ(progress.next(), 6u);
  EXPECT_FALSE(progress.IsPaused());
  progress.SentEntries(1, 10);
  EXPECT_TRUE(progress.IsPaused());
  EXPECT_EQ(Describe(progress), "StateReplicate match=3 next=7 paused inflight=2[full]");
  progress.BecomeSnapshot(9);
  EXPECT_TRUE(progress.IsPaused());
  EXPECT_EQ(progress.next(), 10u);
  EXPECT_EQ(Describe(progress), "StateSnapshot match=3 next=10 paused pendingSnap=9");
  progress.BecomeProbe();
  EXPECT_EQ(progress.next(), 10u) << "the snapshot was delivered";
  progress.BecomeSnapshot(20);
  progress.ForgetPendingSnapshot();
  progress.BecomeProbe();
  EXPECT_EQ(progress.next(), 4u) << "the snapshot failed";
  progress.CheckInvariants();
}

TEST(ProgressTest, DecrementTable) {
  struct Case {
    bool replicate;
    uint64_t match;
    uint64_t next;
    uint64_t rejected;
    uint64_t hint;
    bool news;
    uint64_t expected;
  };
  for (const Case& c : std::vector<Case>{
           {true, 5, 10, 5, 5, false, 10},   // stale
           {true, 5, 10, 4, 4, false, 10},   // stale
           {true, 5, 10, 9, 9, true, 6},     // back to match + 1
           {false, 0, 10, 5, 3, false, 10},  // not what was probed
           {false, 0, 10, 9, 20, true, 9},   // at most the rejected index
           {false, 0, 10, 9, 2, true, 3},    // the hint
           {false, 0, 10, 9, 0, true, 1},    // never below 1
           {false, 4, 10, 9, 1, true, 5}}) { // never at or below match
    Progress progress(c.match, c.next, false, true, Inflights(256, 0));
    if (c.replicate) {
      progress.BecomeReplicate();
      progress.SentEntries(c.next - c.match - 1, 0);
    }
    EXPECT_EQ(progress.MaybeDecrement(c.rejected, c.hint), c.news);
    EXPECT_EQ(progress.next(), c.expected) << c.rejected << " " << c.hint;
  }
}

TEST(ProgressTest, TheSentCommitRegressesWithNext) {
  // R27.
  Progress progress(3, 4, false, true, Inflights(256, 0));
  progress.BecomeReplicate();
  progress.SentEntries(4, 0);  // 4..7
  progress.SentCommit(3);
  EXPECT_TRUE(progress.CanBumpCommit(5));
  progress.SentCommit(7);
  EXPECT_FALSE(progress.CanBumpCommit(9)) << "it could not commit more than it was sent";
  progress.BecomeProbe();
  EXPECT_EQ(progress.sent_commit(), 3u) << "what was sent may be lost";
  Progress probing(0, 10, false, true, Inflights(256, 0));
  probing.SentCommit(9);
  ASSERT_TRUE(probing.MaybeDecrement(9, 4));
  EXPECT_EQ(probing.sent_commit(), 4u) << "it cannot have committed what it does not hold";
}

TEST(QuorumTest, AgreesWithASlowRule) {
  TestRandom random(7);
  for (int round = 0; round < 5000; ++round) {
    IdSet voters;
    std::map<NodeId, uint64_t> acked;
    const uint64_t count = 1 + random.Uniform(9);
    for (uint64_t i = 0; i < count; ++i) {
      const NodeId id = 1 + random.Uniform(20);
      voters.Insert(id);
      acked[id] = random.Uniform(6);
    }
    const auto lookup = [&acked](NodeId id) { return acked[id]; };
    uint64_t expected = 0;
    for (uint64_t index = 1; index < 6; ++index) {
      const auto holders = std::count_if(voters.begin(), voters.end(),
                                         [&](NodeId id) { return acked[id] >= index; });
      if (static_cast<size_t>(holders) * 2 > voters.size()) expected = index;
    }
    ASSERT_EQ(CommittedIndex(voters, lookup), expected);
  }
}

TEST(ConfChangerTest, SimpleStepsAndOneJointChangeEndAlike) {
  TestRandom random(11);
  for (int round = 0; round < 300; ++round) {
    std::vector<ConfChangeSingle> changes;
    const uint64_t count = 1 + random.Uniform(8);
    for (uint64_t i = 0; i < count; ++i) {
      changes.push_back({static_cast<ConfChangeType>(random.Uniform(4)), 1 + random.Uniform(6)});
    }
    Tracker start(10, 0);
    auto first = ConfChanger(start, 10).Simple(
        std::vector<ConfChangeSingle>{{ConfChangeType::kAddNode, 1}});
    ASSERT_TRUE(first.ok());
    start.Switch(first->configuration, first->progress);

    Tracker simple = start;
    bool possible = true;
    for (const ConfChangeSingle& change : changes) {
      auto next = ConfChanger(simple, 10).Simple(absl::MakeConstSpan(&change, 1));
      possible = possible && next.ok();
      if (!next.ok()) break;
      simple.Switch(next->configuration, next->progress);
      simple.CheckInvariants();
    }
    auto joint = ConfChanger(start, 10).EnterJoint(random.Chance(50), changes);
    if (!possible || !joint.ok()) continue;
    Tracker in_joint = start;
    in_joint.Switch(joint->configuration, joint->progress);
    in_joint.CheckInvariants();
    // What a snapshot would restore is the same.
    auto restored = RestoreConfiguration(ToConfState(in_joint.configuration()), 10, 0, 10);
    ASSERT_TRUE(restored.ok());
    EXPECT_EQ(restored->configuration, in_joint.configuration());
    auto left = ConfChanger(in_joint, 10).LeaveJoint();
    ASSERT_TRUE(left.ok());
    EXPECT_EQ(left->configuration, simple.configuration()) << DescribeOperations(changes);
    EXPECT_EQ(Describe(left->progress), Describe(simple.progress()));
  }
}

TEST(ConfChangeBytes, AreRaftpbs) {
  ConfChange change{7, ConfChangeType::kAddLearnerNode, 300, base::Bytes::Copy("ctx")};
  EXPECT_EQ(Encode(change).view(), std::string_view("\x08\x07\x10\x03\x18\xac\x02\x22\x03"
                                                    "ctx"));
  EXPECT_EQ(*DecodeConfChange(Encode(change).view()), change);
  EXPECT_EQ(AsV2(change).context, change.context);
  // Zero scalars are written, absent ones read as zero.
  EXPECT_EQ(Encode(ConfChange()).view(), std::string_view("\x08\0\x10\0\x18\0", 6));
  EXPECT_EQ(*DecodeConfChange(""), ConfChange());

  ConfChangeV2 v2;
  v2.transition = ConfChangeTransition::kJointExplicit;
  v2.changes = {{ConfChangeType::kAddNode, 1}, {ConfChangeType::kRemoveNode, 2}};
  v2.context = base::Bytes::Copy("c");
  EXPECT_EQ(*DecodeConfChangeV2(Encode(v2).view()), v2);
  EXPECT_TRUE(Encode(ConfChangeV2()).empty());
  EXPECT_TRUE(DecodeConfChangeV2("")->LeaveJoint());
  EXPECT_TRUE(absl::IsInvalidArgument(DecodeConfChange("\xff").status()));
  EXPECT_TRUE(absl::IsInvalidArgument(DecodeConfChange("\x10\x09").status())) << "unknown type";
  EXPECT_TRUE(absl::IsInvalidArgument(DecodeConfChangeV2("\x08\x09").status()));
}

TEST(ConfStateTest, EquivalentInWhateverOrderButInEveryPart) {
  const ConfState state{{1, 2}, {3}, {2, 4}, {4}, true};
  EXPECT_TRUE(Equivalent(state, ConfState{{2, 1}, {3}, {4, 2}, {4}, true}));
  EXPECT_FALSE(Equivalent(state, ConfState{{1}, {3}, {2, 4}, {4}, true}));
  EXPECT_FALSE(Equivalent(state, ConfState{{1, 2}, {}, {2, 4}, {4}, true}));
  EXPECT_FALSE(Equivalent(state, ConfState{{1, 2}, {3}, {2}, {4}, true}));
  EXPECT_FALSE(Equivalent(state, ConfState{{1, 2}, {3}, {2, 4}, {}, true}));
  EXPECT_FALSE(Equivalent(state, ConfState{{1, 2}, {3}, {2, 4}, {4}, false}));
}

TEST(ConfChangeKinds, JointOrNot) {
  ConfChangeV2 one = AsV2(ConfChange());
  EXPECT_FALSE(one.EnterJoint());
  EXPECT_FALSE(one.LeaveJoint());
  one.transition = ConfChangeTransition::kJointImplicit;
  EXPECT_TRUE(one.EnterJoint());
  EXPECT_TRUE(one.AutoLeave());
  one.transition = ConfChangeTransition::kJointExplicit;
  EXPECT_FALSE(one.AutoLeave());
  ConfChangeV2 none;
  none.context = base::Bytes::Copy("why");
  EXPECT_TRUE(none.LeaveJoint());
}

TEST(DescribeTest, IdsAreHexInMessagesAndDecimalInStates) {
  Message m = MakeMessage(MessageType::kHeartbeat, 0xab, kAppendThread, 3);
  EXPECT_EQ(Describe(m), "ab->AppendThread MsgHeartbeat Term:3 Log:0/0");
  EXPECT_EQ(Describe(HardState{3, 171, 9}), "Term:3 Vote:171 Commit:9");
  EXPECT_EQ(Describe(SoftState{171, StateType::kPreCandidate}),
            "Lead:171 State:StatePreCandidate");
  Configuration configuration;
  configuration.voters.incoming = IdSet({171, 1});
  configuration.voters.outgoing = IdSet({2});
  configuration.learners = IdSet({12});
  configuration.auto_leave = true;
  EXPECT_EQ(Describe(configuration), "voters=(1 ab)&&(2) learners=(c) autoleave");
}

TEST(DescribeTest, QuotesAsGoDoes) {
  EXPECT_EQ(Quote("plain"), "\"plain\"");
  EXPECT_EQ(Quote("a\"b\\c"), "\"a\\\"b\\\\c\"");
  EXPECT_EQ(Quote("\a\b\f\n\r\t\v"), "\"\\a\\b\\f\\n\\r\\t\\v\"");
  EXPECT_EQ(Quote(std::string_view("\0\x1f\x7f", 3)), "\"\\x00\\x1f\\x7f\"");
  EXPECT_EQ(Quote("\xff\xc3"), "\"\\xff\\xc3\"");
  EXPECT_EQ(Quote("h\xc3\xa9llo \xe2\x88\x9e"), "\"h\xc3\xa9llo \xe2\x88\x9e\"");
  EXPECT_EQ(Quote("\xc2\x80\xe2\x80\x8b"), "\"\\u0080\\u200b\"");
}

TEST(DescribeTest, ReadStatesPrintBytes) {
  Ready ready;
  EXPECT_EQ(Describe(ready), "<empty Ready>");
  ready.read_states = {{4, base::Bytes::Copy("ctx")}, {5, base::Bytes()}};
  EXPECT_EQ(Describe(ready), "Ready MustSync=false:\nReadStates [{4 [99 116 120]} {5 []}]\n");
}

TEST(DescribeTest, ConfChangeText) {
  ConfChangeV2 change;
  change.transition = ConfChangeTransition::kJointExplicit;
  change.changes = {{ConfChangeType::kAddNode, 17}, {ConfChangeType::kAddLearnerNode, 2}};
  EXPECT_EQ(Describe(change),
            "transition:ConfChangeTransitionJointExplicit changes:{type:ConfChangeAddNode "
            "node_id:17} changes:{type:ConfChangeAddLearnerNode node_id:2}");
  change.context = base::Bytes::Copy("x");
  EXPECT_THAT(Describe(change), testing::EndsWith(" context:\"x\""));
}

TEST(ConfigTest, NamesWhatCannotWork) {
  TestRandom random(1);
  Config good;
  good.id = 1;
  good.random = &random;
  EXPECT_TRUE(good.Validate().ok());
  const auto bad = [&good](auto change) {
    Config config = good;
    change(&config);
    EXPECT_TRUE(absl::IsInvalidArgument(config.Validate()));
  };
  bad([](Config* c) { c->id = kNoNode; });
  bad([](Config* c) { c->id = kAppendThread; });
  bad([](Config* c) { c->heartbeat_ticks = 0; });
  bad([](Config* c) { c->election_ticks = c->heartbeat_ticks; });
  bad([](Config* c) { c->inflight_messages_max = 0; });
  bad([](Config* c) { c->inflight_bytes_max = 1; });
  bad([](Config* c) { c->read_only = ReadOnlyOption::kLeaseBased; });
  bad([](Config* c) { c->random = nullptr; });
  bad([](Config* c) { c->message_bytes_max = 0; });  // and committed_bytes_max = 0
}

TEST(DataDriven, ReadsItsFormat) {
  const auto cases = ParseScript("f",
                                 "# comment\n"
                                 "\n"
                                 "one 1 \"foo\" a=b c=(x, (y, z),w) d= e=(v)\n"
                                 " input\n"
                                 "# input too\n"
                                 "----\n"
                                 "out\n"
                                 "# out too\n"
                                 " \n"
                                 "two \\\n"
                                 "  more\n"
                                 "----\n"
                                 "----\n"
                                 "a\n"
                                 "\n"
                                 "b\n"
                                 "----\n"
                                 "----\n"
                                 "three\n"
                                 "----\n");
  ASSERT_TRUE(cases.ok()) << cases.status();
  ASSERT_EQ(cases->size(), 3u);
  const ScriptCase& one = (*cases)[0];
  EXPECT_EQ(one.line, 3);
  EXPECT_EQ(one.command, "one");
  ASSERT_EQ(one.arguments.size(), 6u);
  EXPECT_EQ(one.arguments[1].key, "\"foo\"");
  EXPECT_THAT(one.arguments[2].values, ElementsAre("b"));
  EXPECT_THAT(one.arguments[3].values, ElementsAre("x", "(y, z)", "w"));
  EXPECT_THAT(one.arguments[4].values, ElementsAre(""));
  EXPECT_THAT(one.arguments[5].values, ElementsAre("v"));
  EXPECT_EQ(one.input, "input\n# input too");
  EXPECT_EQ(one.expected, "out\n# out too\n");
  EXPECT_EQ((*cases)[1].arguments[0].key, "more");
  EXPECT_EQ((*cases)[1].expected, "a\n\nb\n");
  EXPECT_EQ((*cases)[2].expected, "");
  EXPECT_TRUE(absl::IsInvalidArgument(ParseScript("f", "x\ny\n").status()));
}

}  // namespace
}  // namespace etcdd::raft
