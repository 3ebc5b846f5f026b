// Files exchanged with a real etcd: we read its log, it reads ours.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "absl/strings/str_cat.h"
#include "server/base/coding.h"
#include "snap/membership_json.h"
#include "snap/snapshotter.h"
#include "tests/support/temp_dir.h"
#include "tests/wal/etcd_process.h"
#include "tests/wal/log_fixture.h"

namespace etcdd::wal {
namespace {

using ::testing::HasSubstr;
using ::testing::StartsWith;

class EtcdConformanceTest : public ::testing::Test {
 protected:
  Options MakeOptions() {
    Options options;
    options.clock = clock_.get();
    return options;
  }

  void Put(int first, int last) {
    for (int i = first; i <= last; ++i) {
      ASSERT_THAT(etcd_.Ctl(absl::StrCat("put key", i, " value", i)), StartsWith("OK"));
    }
  }
  void ExpectKeys(int count) {
    for (int i = 1; i <= count; ++i) {
      EXPECT_EQ(etcd_.Ctl(absl::StrCat("get --print-value-only key", i)),
                absl::StrCat("value", i, "\n"));
    }
  }

  // etcdserverpb.Metadata {1: node id, 2: cluster id}
  static uint64_t NodeId(std::string_view metadata) {
    EXPECT_EQ(base::TakeVarint(&metadata), base::VarintTag(1));
    const uint64_t node = base::TakeVarint(&metadata).value_or(0);
    EXPECT_EQ(base::TakeVarint(&metadata), base::VarintTag(2));
    EXPECT_NE(base::TakeVarint(&metadata).value_or(0), 0u);
    EXPECT_TRUE(metadata.empty());
    return node;
  }

  static void ExpectSound(const Contents& contents) {
    EXPECT_NE(NodeId(contents.metadata), 0u);
    uint64_t index = contents.snapshot.index;
    uint64_t term = 1;
    for (const Entry& entry : contents.entries) {
      EXPECT_EQ(entry.index, ++index);
      EXPECT_GE(entry.term, term);
      term = entry.term;
    }
    EXPECT_LE(contents.hard_state.commit, index);
    EXPECT_GE(contents.hard_state.term, term);
    EXPECT_EQ(contents.hard_state.vote, NodeId(contents.metadata));
  }

  // Replaces etcd's log by one of ours with the same content, in many small segments.
  void RewriteLog(const Contents& contents) {
    ASSERT_EQ(fs_->RemoveTree(wal_dir_), absl::OkStatus());
    Options options = MakeOptions();
    options.segment_bytes = 300;
    auto wal = Wal::Create(*fs_, options, wal_dir_, contents.metadata);
    ASSERT_TRUE(wal.ok()) << wal.status();
    if (contents.snapshot.index > 0) {
      ASSERT_EQ((*wal)->SaveSnapshot(contents.snapshot), absl::OkStatus());
    }
    const std::vector<EntryView> views = Views(contents.entries);
    for (size_t i = 0; i < views.size(); i += 3) {
      const absl::Span<const EntryView> batch = absl::MakeConstSpan(views).subspan(i, 3);
      ASSERT_EQ((*wal)->Save({}, batch).status(), absl::OkStatus());
    }
    ASSERT_EQ((*wal)->Save(contents.hard_state, {}).status(), absl::OkStatus());
    ASSERT_EQ((*wal)->Close(), absl::OkStatus());
    EXPECT_GT(ListSegments(*fs_, wal_dir_)->size(), 1u);
  }

  const testing::TempDir temp_;
  const std::string wal_dir_ = temp_.Path("data/member/wal");
  const std::string snap_dir_ = temp_.Path("data/member/snap");
  const std::unique_ptr<base::FileSystem> fs_ = base::NewPosixFileSystem();
  const std::unique_ptr<base::Clock> clock_ = base::NewSystemClock();
  EtcdProcess etcd_{temp_.Path("data")};
};

TEST_F(EtcdConformanceTest, WeReadTheLogOfARealEtcd) {
  ASSERT_EQ(etcd_.Start({"--snapshot-count=10"}), absl::OkStatus());
  Put(1, 25);
  const std::string big(100'000, 'x');
  EXPECT_THAT(etcd_.Ctl("put big " + big), StartsWith("OK"));
  EXPECT_TRUE(absl::IsFailedPrecondition(Wal::Open(*fs_, MakeOptions(), wal_dir_, {}).status()))
      << "etcd holds the lock";
  etcd_.Kill();

  const absl::StatusOr<Contents> all = ReadContents(*fs_, wal_dir_, {});
  ASSERT_TRUE(all.ok()) << all.status();
  ExpectSound(*all);
  EXPECT_GE(all->entries.size(), 26u);
  std::string payload;
  for (const Entry& entry : all->entries) payload += entry.data.view();
  EXPECT_THAT(payload, HasSubstr("key25"));
  EXPECT_THAT(payload, HasSubstr(big));

  const std::vector<SnapshotRecord> marks = *ValidSnapshotRecords(*fs_, wal_dir_);
  ASSERT_GE(marks.size(), 2u);
  std::vector<snap::SnapshotId> ids;
  for (const SnapshotRecord& mark : marks) ids.push_back({mark.term, mark.index});
  snap::Snapshotter snapshotter(*fs_, *clock_, snap_dir_);
  const absl::StatusOr<snap::Snapshot> newest = snapshotter.LoadNewestOf(ids);
  ASSERT_TRUE(newest.ok()) << newest.status();
  EXPECT_EQ(newest->id.index, marks.back().index);
  EXPECT_THAT(newest->data, StartsWith("{\"Root\":"));

  const absl::StatusOr<Wal::Opened> opened =
      Wal::Open(*fs_, MakeOptions(), wal_dir_, marks.back());
  ASSERT_TRUE(opened.ok()) << opened.status();
  ExpectSound(opened->contents);
  EXPECT_EQ(opened->contents.entries.size(), all->entries.size() - marks.back().index);
}

TEST_F(EtcdConformanceTest, ARealEtcdReadsOurLogAndGoesOnWithIt) {
  ASSERT_EQ(etcd_.Start(), absl::OkStatus());
  Put(1, 10);
  etcd_.Stop();
  const absl::StatusOr<Contents> before = ReadContents(*fs_, wal_dir_, {});
  ASSERT_TRUE(before.ok()) << before.status();
  RewriteLog(*before);
  // Without its database it must find everything in the log.
  ASSERT_EQ(fs_->RemoveTree(snap_dir_), absl::OkStatus());

  ASSERT_EQ(etcd_.Start(), absl::OkStatus());
  ExpectKeys(10);
  Put(11, 12);
  ExpectKeys(12);
  etcd_.Stop();
  const absl::StatusOr<Wal::Opened> after = Wal::Open(*fs_, MakeOptions(), wal_dir_, {});
  ASSERT_TRUE(after.ok()) << after.status();
  ExpectSound(after->contents);
  EXPECT_EQ(Prefix(after->contents.entries, before->entries.size()), before->entries);
  EXPECT_GE(after->contents.entries.size(), before->entries.size() + 2);
}

TEST_F(EtcdConformanceTest, ARealEtcdStartsFromOurSnapshot) {
  ASSERT_EQ(etcd_.Start({"--snapshot-count=10"}), absl::OkStatus());
  Put(1, 15);
  etcd_.Stop();
  std::vector<SnapshotRecord> marks = *ValidSnapshotRecords(*fs_, wal_dir_);
  ASSERT_GE(marks.size(), 2u);
  snap::Snapshotter snapshotter(*fs_, *clock_, snap_dir_);
  absl::StatusOr<snap::Snapshot> snapshot =
      snapshotter.LoadNewestOf({{marks.back().term, marks.back().index}});
  ASSERT_TRUE(snapshot.ok()) << snapshot.status();
  absl::StatusOr<Contents> contents = ReadContents(*fs_, wal_dir_, marks.back());
  ASSERT_TRUE(contents.ok()) << contents.status();

  // The same position, with our document and our mark.
  snap::Membership membership;
  membership.members = {{NodeId(contents->metadata), {etcd_.peer_url()}, false, "ours",
                         {"http://127.0.0.1:1"}}};
  membership.cluster_version = "3.4.0";
  snapshot->data = snap::MembershipJson(membership);
  ASSERT_EQ(snapshotter.Save(*snapshot), absl::OkStatus());
  contents->snapshot.conf_state = snapshot->conf_state;
  RewriteLog(*contents);

  ASSERT_EQ(etcd_.Start({"--name=ours", "--initial-cluster=ours=" + etcd_.peer_url()}),
            absl::OkStatus());
  const std::string members = etcd_.Ctl("member list");
  EXPECT_THAT(members, HasSubstr("started, ours, " + etcd_.peer_url()));
  ExpectKeys(15);
  Put(16, 17);
  ExpectKeys(17);
  etcd_.Stop();
  const absl::StatusOr<Contents> after = ReadContents(*fs_, wal_dir_, contents->snapshot);
  ASSERT_TRUE(after.ok()) << after.status();
  ExpectSound(*after);
}

}  // namespace
}  // namespace etcdd::wal
