// A one-voter group: what a server of one member runs on.

#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "raft/describe.h"
#include "tests/raft/test_node.h"

namespace etcdd::raft {
namespace {

using testing::ElementsAre;

class SingleVoter : public testing::TestWithParam<bool> {
 protected:
  TestNodeOptions Options() const {
    TestNodeOptions options;
    options.voters = {1};
    const bool async = GetParam();
    options.configure = [async](Config* config) { config->async_storage_writes = async; };
    return options;
  }
};

TEST_P(SingleVoter, CampaignsProposesAndApplies) {
  TestNode node(Options());
  node.raft().Campaign();
  node.Drain();
  EXPECT_EQ(node.raft().state(), StateType::kLeader);
  EXPECT_EQ(node.raft().term(), 1u);
  ASSERT_TRUE(node.Propose("a").ok());
  ASSERT_TRUE(node.Propose("b").ok());
  node.Drain();
  EXPECT_THAT(node.applied(), ElementsAre("a", "b"));
  EXPECT_EQ(node.raft().committed(), 13u);
  EXPECT_EQ(node.raft().applied(), 13u);
}

TEST_P(SingleVoter, ABatchIsOneReady) {
  TestNode node(Options());
  node.raft().Campaign();
  node.Drain();
  std::vector<base::Bytes> batch;
  for (int i = 0; i < 1000; ++i) batch.push_back(base::Bytes::Copy(std::to_string(i)));
  ASSERT_TRUE(node.raft().Propose(std::move(batch)).ok());
  const Ready ready = node.raft().TakeReady();
  EXPECT_EQ(ready.EntriesToPersist().size(), 1000u);
  EXPECT_TRUE(ready.must_sync);
  EXPECT_EQ(ready.EntriesToPersist()[999].index, 1011u);
  EXPECT_EQ(ready.EntriesToApply().size(), 0u) << "nothing is committed before it is durable";
}

TEST_P(SingleVoter, RestartsFromItsLog) {
  TestNode node(Options());
  node.raft().Campaign();
  node.Drain();
  ASSERT_TRUE(node.Propose("a").ok());
  node.Drain();
  node.Restart(/*applied=*/11);
  EXPECT_EQ(node.raft().term(), 1u);
  EXPECT_EQ(node.raft().state(), StateType::kFollower);
  node.Drain();
  EXPECT_THAT(node.applied(), ElementsAre("a", "a")) << "entries above applied come again";
  node.raft().Campaign();
  node.Drain();
  EXPECT_EQ(node.raft().term(), 2u);
  ASSERT_TRUE(node.Propose("b").ok());
  node.Drain();
  EXPECT_THAT(node.applied(), ElementsAre("a", "a", "b"));
}

TEST_P(SingleVoter, FirstReadyAfterRestartHasCommittedEntriesAndNoHardState) {
  TestNode node(Options());
  node.raft().Campaign();
  node.Drain();
  node.Restart(/*applied=*/10);
  ASSERT_TRUE(node.raft().HasReady());
  const Ready ready = node.raft().TakeReady();
  EXPECT_FALSE(ready.hard_state.has_value());
  EXPECT_FALSE(ready.soft_state.has_value());
  EXPECT_FALSE(ready.must_sync);
  EXPECT_EQ(ready.EntriesToApply().size(), 1u);
}

TEST_P(SingleVoter, NothingToDoAfterRestartWithEverythingApplied) {
  TestNode node(Options());
  node.raft().Campaign();
  node.Drain();
  node.Restart(/*applied=*/11);
  EXPECT_FALSE(node.raft().HasReady());
}

TEST_P(SingleVoter, ReadsAtItsCommitIndex) {
  TestNode node(Options());
  node.raft().Campaign();
  node.Drain();
  ASSERT_TRUE(node.raft().ReadIndex(base::Bytes::Copy("ctx")).ok());
  node.Drain();
  ASSERT_EQ(node.read_states().size(), 1u);
  EXPECT_EQ(node.read_states()[0].index, 11u);
  EXPECT_EQ(node.read_states()[0].context.view(), "ctx");
}

TEST_P(SingleVoter, ElectsItselfByTicks) {
  TestNode node(Options());
  node.Tick(20);
  node.Drain();
  EXPECT_EQ(node.raft().state(), StateType::kLeader);
}

TEST_P(SingleVoter, ReadBeforeAnyLeaderIsRefused) {
  TestNode node(Options());
  const absl::Status status = node.raft().ReadIndex(base::Bytes::Copy("ctx"));
  EXPECT_TRUE(IsDropped(status));
  EXPECT_EQ(DropReason(status), "no leader");
  EXPECT_TRUE(IsDropped(node.Propose("x")));
}

INSTANTIATE_TEST_SUITE_P(StorageModes, SingleVoter, testing::Bool(),
                         [](const auto& mode) -> std::string {
                           return mode.param ? "Async" : "Sync";
                         });

TEST(AsyncWrites, OneVoterAcknowledgesItselfOnlyThroughTheAppendThread) {
  TestNodeOptions options;
  options.voters = {1};
  options.configure = [](Config* config) { config->async_storage_writes = true; };
  TestNode node(options);
  node.raft().Campaign();

  Ready vote = node.raft().TakeReady();
  ASSERT_TRUE(vote.storage_append.has_value());
  EXPECT_TRUE(vote.must_sync);
  EXPECT_EQ(vote.storage_append->term, 1u);
  EXPECT_EQ(vote.storage_append->vote, 1u);
  EXPECT_EQ(node.raft().state(), StateType::kCandidate) << "its vote is not durable yet";
  for (Message& m : vote.storage_append->responses) ASSERT_TRUE(node.Step(std::move(m)).ok());
  EXPECT_EQ(node.raft().state(), StateType::kLeader);

  Ready entry = node.raft().TakeReady();
  ASSERT_TRUE(entry.storage_append.has_value());
  ASSERT_EQ(entry.storage_append->entries.size(), 1u);
  EXPECT_FALSE(entry.storage_apply.has_value());
  node.storage().Append(entry.storage_append->entries);
  ASSERT_EQ(Text(entry.storage_append->responses),
            "1->1 MsgAppResp Term:1 Log:0/11\n"
            "AppendThread->1 MsgStorageAppendResp Term:1 Log:1/11\n");
  ASSERT_TRUE(node.Step(std::move(entry.storage_append->responses[0])).ok());
  EXPECT_EQ(node.raft().committed(), 11u);
  EXPECT_FALSE(node.raft().TakeReady().storage_apply.has_value())
      << "only locally stable entries are applied";
  ASSERT_TRUE(node.Step(std::move(entry.storage_append->responses[1])).ok());
  Ready apply = node.raft().TakeReady();
  ASSERT_TRUE(apply.storage_apply.has_value());
  EXPECT_EQ(node.raft().applied(), 10u);
  ASSERT_TRUE(node.Step(std::move(apply.storage_apply->responses[0])).ok());
  EXPECT_EQ(node.raft().applied(), 11u);
}

TEST(AsyncWrites, ApplyBackPressureHandsOutOneEntryAtATime) {
  TestNodeOptions options;
  options.voters = {1};
  options.configure = [](Config* config) {
    config->async_storage_writes = true;
    config->committed_bytes_max = 1;
  };
  TestNode node(options);
  node.raft().Campaign();
  node.Drain();
  std::vector<base::Bytes> batch(3, base::Bytes::Copy("x"));
  ASSERT_TRUE(node.raft().Propose(std::move(batch)).ok());
  Ready ready = node.raft().TakeReady();
  node.storage().Append(ready.storage_append->entries);
  for (Message& m : ready.storage_append->responses) ASSERT_TRUE(node.Step(std::move(m)).ok());
  for (uint64_t index = 12; index <= 14; ++index) {
    Ready apply = node.raft().TakeReady();
    ASSERT_EQ(apply.EntriesToApply().size(), 1u);
    EXPECT_EQ(apply.EntriesToApply()[0].index, index);
    EXPECT_FALSE(node.raft().HasReady()) << "paused until the last one is applied";
    ASSERT_TRUE(node.Step(std::move(apply.storage_apply->responses[0])).ok());
  }
  EXPECT_EQ(node.raft().applied(), 14u);
}

TEST(RestartTest, RefusesACommitBeyondTheLog) {
  // R31.
  MemoryStorage storage;
  Snapshot snapshot;
  snapshot.index = 10;
  snapshot.term = 1;
  snapshot.conf_state.voters = {1};
  ASSERT_TRUE(storage.ApplySnapshot(std::make_shared<const Snapshot>(snapshot)).ok());
  TestRandom random(1);
  Config config;
  config.id = 1;
  config.random = &random;
  storage.SetHardState({2, 1, 11});
  EXPECT_TRUE(absl::IsDataLoss(RawNode::Create(config, &storage).status()));
  storage.SetHardState({2, 1, 10});
  EXPECT_TRUE(RawNode::Create(config, &storage).ok());
  config.applied = 11;
  EXPECT_TRUE(absl::IsDataLoss(RawNode::Create(config, &storage).status()));
}

TEST(RestartTest, ACommitIndexLostInACrashIsRaised) {
  MemoryStorage storage;
  Snapshot snapshot;
  snapshot.index = 10;
  snapshot.term = 1;
  snapshot.conf_state.voters = {1};
  ASSERT_TRUE(storage.ApplySnapshot(std::make_shared<const Snapshot>(snapshot)).ok());
  storage.Append(std::vector<Entry>{MakeEntry(2, 11), MakeEntry(2, 12)});
  TestRandom random(1);
  Config config;
  config.id = 1;
  config.random = &random;
  storage.SetHardState({2, 1, 9});
  EXPECT_EQ((*RawNode::Create(config, &storage))->committed(), 10u) << "up to the snapshot";
  config.applied = 11;
  EXPECT_EQ((*RawNode::Create(config, &storage))->committed(), 11u) << "up to what was applied";
}

TEST(RestartTest, ATermLostInATornWriteIsTakenFromTheLog) {
  MemoryStorage storage;
  Snapshot snapshot;
  snapshot.index = 10;
  snapshot.term = 1;
  snapshot.conf_state.voters = {1, 2, 3};
  ASSERT_TRUE(storage.ApplySnapshot(std::make_shared<const Snapshot>(snapshot)).ok());
  storage.SetHardState({2, 3, 10});
  storage.Append(std::vector<Entry>{MakeEntry(5, 11)});
  TestRandom random(1);
  Config config;
  config.id = 1;
  config.random = &random;
  const auto node = *RawNode::Create(config, &storage);
  EXPECT_EQ(node->hard_state(), (HardState{5, kNoNode, 10}));
  ASSERT_TRUE(node->HasReady());
  const Ready ready = node->TakeReady();
  EXPECT_TRUE(ready.must_sync) << "the term must be durable before anything is said at it";
  EXPECT_EQ(ready.hard_state, (HardState{5, kNoNode, 10}));
}

}  // namespace
}  // namespace etcdd::raft
