// A member comes to life: new, again, and after every kind of loss.

#include "server/bootstrap.h"

#include <string>

#include "absl/strings/match.h"
#include "gtest/gtest.h"
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
