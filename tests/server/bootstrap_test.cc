// A member comes to life: new, again, and after every kind of loss.

#include "server/bootstrap.h"

#include <string>
#include <vector>

#include "absl/strings/match.h"
#include "gtest/gtest.h"
#include "raft/conf_change.h"
#include "server/base/coding.h"
#include "tests/server/member_fixture.h"

namespace etcdd::server {
namespace {

class BootstrapTest : public ::testing::Test {
 protected:
  absl::StatusOr<Bootstrapped> Start() {
    return Bootstrap(member_.fs, member_.bootstrap, *member_.backend);
  }
  void SetConsistentIndex(uint64_t index) {
    auto batch = member_.backend->NewBatch();
    std::string bytes;
    base::AppendBigEndian64(index, &bytes);
    batch->Put(mvcc::Bucket::kMeta, kConsistentIndexKey, bytes);
    ASSERT_TRUE(member_.backend->Write(*batch).ok());
  }
  MemberFixture member_;
};

TEST_F(BootstrapTest, NewMemberHasOneCommittedEntryThatAddsItself) {
  member_.bootstrap.peer_urls = {"http://127.0.0.1:33801"};
  member_.bootstrap.cluster_token = "tok";
  const auto started = Start();
  ASSERT_TRUE(started.ok()) << started.status();
  EXPECT_FALSE(started->restarted);
  EXPECT_EQ(started->member_id, 0x25b50d13d364e517u);
  EXPECT_EQ(started->cluster_id, 0xf7257449d41f157bu);
  EXPECT_EQ(started->applied, 0u);
  EXPECT_EQ(started->storage->LastIndex(), 1u);
  EXPECT_EQ(started->storage->hard_state().commit, 1u);
}

TEST_F(BootstrapTest, RestartKeepsTheIdsWhateverTheOptionsSay) {
  uint64_t member_id = 0;
  {
    const auto started = Start();
    ASSERT_TRUE(started.ok());
    member_id = started->member_id;
  }
  member_.bootstrap.cluster_token = "another";
  member_.bootstrap.peer_urls = {"http://127.0.0.1:1"};
  const auto started = Start();
  ASSERT_TRUE(started.ok());
  EXPECT_TRUE(started->restarted);
  EXPECT_EQ(started->member_id, member_id);
}

TEST_F(BootstrapTest, FirstEntryWithoutItsHardStateIsWrittenAgainUnderTheSameId) {
  uint64_t member_id = 0;
  {
    const auto started = Start();
    ASSERT_TRUE(started.ok());
    member_id = started->member_id;
  }
  // What a crash leaves that tore the hard state off: the log's metadata and the whole entry.
  const auto whole = wal::ReadContents(member_.fs, member_.bootstrap.wal_dir, {});
  ASSERT_TRUE(whole.ok());
  ASSERT_TRUE(member_.fs.RemoveTree(member_.bootstrap.wal_dir).ok());
  {
    auto torn = wal::Wal::Create(member_.fs, member_.bootstrap.wal, member_.bootstrap.wal_dir,
                                 whole->metadata);
    ASSERT_TRUE(torn.ok());
    const wal::Entry& first = whole->entries.front();
    const wal::EntryView view{first.type, first.term, first.index, first.data.view()};
    ASSERT_TRUE((*torn)->Save({}, absl::MakeConstSpan(&view, 1)).ok());
    ASSERT_TRUE((*torn)->Close().ok());
  }
  member_.bootstrap.peer_urls = {"http://127.0.0.1:1"};
  const auto started = Start();
  ASSERT_TRUE(started.ok()) << started.status();
  EXPECT_EQ(started->member_id, member_id);
  EXPECT_EQ(started->storage->LastIndex(), 1u);
  EXPECT_EQ(started->storage->hard_state().commit, 1u);
}

TEST_F(BootstrapTest, LostWalIsRefused) {
  SetConsistentIndex(5);
  const auto started = Start();
  EXPECT_TRUE(absl::IsFailedPrecondition(started.status()));
  EXPECT_TRUE(absl::StrContains(started.status().message(), "holds data up to index 5"));
}

TEST_F(BootstrapTest, BackendAheadOfTheWalIsRefused) {
  ASSERT_TRUE(Start().ok());
  SetConsistentIndex(2);
  const auto started = Start();
  EXPECT_TRUE(absl::IsFailedPrecondition(started.status()));
  EXPECT_TRUE(absl::StrContains(started.status().message(), "is ahead of the WAL"));
}

class AfterSnapshotTest : public BootstrapTest {
 protected:
  // Runs a member until it has a snapshot, with old segments gone.
  void SetUp() override {
    member_.options.snapshot_count = 5;
    member_.options.snapshot_catchup_entries = 1;
    ASSERT_TRUE(member_.Start().ok());
    for (int i = 0; i < 20; ++i) ASSERT_TRUE(member_.Put("k", "v").ok());
    member_.Crash();
  }
};

TEST_F(AfterSnapshotTest, EmptyBackendBehindTheSnapshotIsRefusedByName) {
  member_.backend = std::make_shared<mvcc::MemBackend>();
  member_.bootstrap.backend_existed = false;
  const absl::Status missing = Start().status();
  EXPECT_TRUE(absl::IsFailedPrecondition(missing));
  EXPECT_TRUE(absl::StrContains(missing.message(), "of the backend is missing")) << missing;
  member_.bootstrap.backend_existed = true;
  const absl::Status behind = Start().status();
  EXPECT_TRUE(absl::StrContains(behind.message(), "index 0) does not match with snapshot"))
      << behind;
}

TEST_F(AfterSnapshotTest, BackendBetweenSnapshotAndEndOfLogIsBroughtUpToDate) {
  const auto started = Start();
  ASSERT_TRUE(started.ok()) << started.status();
  EXPECT_GT(started->snapshot_index, 0u);
  EXPECT_GE(started->applied, started->snapshot_index);
  EXPECT_EQ(started->storage->FirstIndex(), started->snapshot_index + 1);
}

TEST_F(AfterSnapshotTest, UnreadableConsistentIndexIsRefused) {
  auto batch = member_.backend->NewBatch();
  batch->Put(mvcc::Bucket::kMeta, kConsistentIndexKey, "abc");
  ASSERT_TRUE(member_.backend->Write(*batch).ok());
  EXPECT_TRUE(absl::IsDataLoss(Start().status()));
}

// --- Several members ---

class SeveralMembersTest : public BootstrapTest {
 protected:
  static membership::Member Named(const std::string& name) {
    membership::Member member;
    member.name = name;
    member.peer_urls = {"http://" + name + ":2380"};
    return member;
  }
  // The options of one of the members a, b and c of a new cluster.
  static void MakeOneOfThree(const std::string& name, MemberFixture* member) {
    member->bootstrap.name = name;
    member->bootstrap.peer_urls = Named(name).peer_urls;
    for (const char* other : {"a", "b", "c"}) {
      if (other != name) member->bootstrap.others.push_back(Named(other));
    }
  }
  static std::vector<wal::Entry> LogOf(MemberFixture& member) {
    auto contents = wal::ReadContents(member.fs, member.bootstrap.wal_dir, {});
    EXPECT_TRUE(contents.ok()) << contents.status();
    return std::move(contents->entries);
  }
};

TEST_F(SeveralMembersTest, EachOfANewClusterWritesTheSameFirstEntries) {
  std::vector<std::string> first;
  uint64_t cluster_id = 0;
  for (const char* name : {"a", "b", "c"}) {
    MemberFixture member;
    MakeOneOfThree(name, &member);
    const auto started = Bootstrap(member.fs, member.bootstrap, *member.backend);
    ASSERT_TRUE(started.ok()) << started.status();
    EXPECT_EQ(started->member_id,
              membership::MakeMemberId(member.bootstrap.peer_urls, "etcd-cluster"));
    EXPECT_EQ(started->storage->hard_state().commit, 3u);
    std::vector<std::string> entries;
    for (const wal::Entry& entry : LogOf(member)) entries.emplace_back(entry.data.view());
    ASSERT_EQ(entries.size(), 3u);
    if (first.empty()) {
      first = entries;
      cluster_id = started->cluster_id;
    }
    EXPECT_EQ(entries, first);
    EXPECT_EQ(started->cluster_id, cluster_id);
  }
}

TEST_F(SeveralMembersTest, LostFirstEntriesAreWrittenAgainForAll) {
  MakeOneOfThree("b", &member_);
  ASSERT_TRUE(Start().ok());
  const auto whole = wal::ReadContents(member_.fs, member_.bootstrap.wal_dir, {});
  ASSERT_TRUE(whole.ok());
  ASSERT_TRUE(member_.fs.RemoveTree(member_.bootstrap.wal_dir).ok());
  ASSERT_TRUE(wal::Wal::Create(member_.fs, member_.bootstrap.wal, member_.bootstrap.wal_dir,
                               whole->metadata).ok());
  const auto started = Start();
  ASSERT_TRUE(started.ok()) << started.status();
  EXPECT_EQ(started->storage->LastIndex(), 3u);
  EXPECT_EQ(started->storage->hard_state().commit, 3u);
}

TEST_F(SeveralMembersTest, AJoiningMemberBeginsWithNothingAndTheIdsItWasGiven) {
  member_.bootstrap.join = JoinedCluster{0xbeef, 13, {Named("a"), Named("b"), Named("c")}};
  {
    const auto joined = Start();
    ASSERT_TRUE(joined.ok()) << joined.status();
    EXPECT_EQ(joined->cluster_id, 0xbeefu);
    EXPECT_EQ(joined->member_id, 13u);
    EXPECT_EQ(joined->storage->LastIndex(), 0u);
    EXPECT_EQ(joined->remotes.size(), 3u);
  }
  // Killed before it was told anything, it is still a member of that cluster and of no other.
  member_.bootstrap.join.reset();
  const auto again = Start();
  ASSERT_TRUE(again.ok()) << again.status();
  EXPECT_TRUE(again->restarted);
  EXPECT_EQ(again->cluster_id, 0xbeefu);
  EXPECT_EQ(again->storage->LastIndex(), 0u);
  EXPECT_TRUE(again->remotes.empty());
}

// BOOT-007.
TEST_F(SeveralMembersTest, ForceNewClusterDropsTheOthersAndWhatWasNotCommitted) {
  MakeOneOfThree("a", &member_);
  uint64_t self = 0;
  {
    auto started = Start();
    ASSERT_TRUE(started.ok());
    self = started->member_id;
    const wal::EntryView uncommitted{0, 1, 4, "never agreed on"};
    ASSERT_TRUE(started->wal->Save({1, 0, 3}, absl::MakeConstSpan(&uncommitted, 1)).ok());
    ASSERT_TRUE(started->wal->Close().ok());
  }
  member_.bootstrap.force_new_cluster = true;
  const absl::Status status = member_.Start();
  ASSERT_TRUE(status.ok()) << status;
  EXPECT_TRUE(member_.ready);
  EXPECT_TRUE(member_.server->is_leader());
  EXPECT_EQ(member_.server->identity().member_id, self);
  ASSERT_EQ(member_.server->cluster().members().size(), 1u);
  EXPECT_EQ(member_.server->cluster().removed_ids().size(), 2u);
  EXPECT_TRUE(member_.Put("k", "v").ok());
  for (const wal::Entry& entry : LogOf(member_)) EXPECT_NE(entry.data.view(), "never agreed on");
  // Once more, with nothing left to remove.
  member_.Stop();
  ASSERT_TRUE(member_.Start().ok());
  EXPECT_EQ(member_.Get("k"), "v");
}

TEST_F(SeveralMembersTest, ForceNewClusterMakesALearnerAVoter) {
  member_.bootstrap.join = JoinedCluster{0xbeef, 13, {}};
  {
    auto joined = Start();
    ASSERT_TRUE(joined.ok());
    std::vector<base::Bytes> changes;
    for (const uint64_t id : {11, 13}) {
      membership::Member member = Named(std::to_string(id));
      member.id = id;
      member.is_learner = id == 13;
      raft::ConfChange change;
      change.type = member.is_learner ? raft::ConfChangeType::kAddLearnerNode
                                      : raft::ConfChangeType::kAddNode;
      change.node_id = id;
      change.context = base::Bytes::Copy(membership::MemberToJson(member));
      changes.push_back(raft::Encode(change));
    }
    const std::vector<wal::EntryView> entries = {{1, 1, 1, changes[0].view()},
                                                 {1, 1, 2, changes[1].view()}};
    ASSERT_TRUE(joined->wal->Save({1, 0, 2}, entries).ok());
    ASSERT_TRUE(joined->wal->Close().ok());
  }
  member_.bootstrap.force_new_cluster = true;
  const absl::Status status = member_.Start();
  ASSERT_TRUE(status.ok()) << status;
  EXPECT_TRUE(member_.server->is_leader());
  const auto members = member_.server->cluster().members();
  ASSERT_EQ(members.size(), 1u);
  EXPECT_EQ(members[0].id, 13u);
  EXPECT_FALSE(members[0].is_learner);
}

// Power fails after each disk operation of the first start; the next start must work, and the
// member it makes must take writes.
TEST_F(BootstrapTest, CrashAtEveryOperationOfTheFirstStartIsHarmless) {
  for (const bool random_crash : {false, true}) {
    bool survived = false;
    for (uint64_t operations = 0; !survived; ++operations) {
      ASSERT_LT(operations, 200u);
      MemberFixture member;
      member.fs.PowerOffAfter(operations);
      survived = Bootstrap(member.fs, member.bootstrap, *member.backend).ok();
      if (random_crash) {
        member.fs.CrashAtRandom(*member.random);
      } else {
        member.fs.Crash();
      }
      const absl::Status status = member.Start();
      ASSERT_TRUE(status.ok()) << "after " << operations << " operations: " << status;
      ASSERT_TRUE(member.Put("k", "v").ok());
      ASSERT_EQ(member.server->cluster().members().size(), 1u);
    }
  }
}

}  // namespace
}  // namespace etcdd::server
