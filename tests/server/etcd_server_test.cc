// A whole member under a fake clock: what is acknowledged stays, and what waits is answered.

#include <map>
#include <string>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "gtest/gtest.h"
#include "server/base/api_error.h"
#include "tests/server/member_fixture.h"

namespace etcdd::server {
namespace {

using base::ErrorId;

class EtcdServerTest : public ::testing::Test {
 protected:
  void StartMember() {
    const absl::Status status = member_.Start();
    ASSERT_TRUE(status.ok()) << status;
    ASSERT_TRUE(member_.ready);
    ASSERT_TRUE(member_.server->is_leader());
  }
  MemberFixture member_;
};

TEST_F(EtcdServerTest, LoneVoterIsReadyWithoutWaitingForATimeout) {
  const absl::Duration before = member_.clock.Monotonic();
  StartMember();
  EXPECT_EQ(member_.clock.Monotonic(), before);
  EXPECT_EQ(member_.server->cluster().version(), "3.7.0");
  ASSERT_EQ(member_.server->cluster().members().size(), 1u);
  EXPECT_EQ(member_.server->cluster().members()[0].name, "default");
}

TEST_F(EtcdServerTest, PutThenGetBothWays) {
  StartMember();
  EXPECT_TRUE(member_.Put("k", "v").ok());
  EXPECT_EQ(member_.Get("k"), "v");
  EXPECT_EQ(member_.Get("k", /*serializable=*/true), "v");
  EXPECT_EQ(member_.Get("other"), std::nullopt);
  EXPECT_TRUE(member_.Delete("k").ok());
  EXPECT_EQ(member_.Get("k"), std::nullopt);
}

TEST_F(EtcdServerTest, TxnTakesTheBranchItsCompareSays) {
  StartMember();
  etcdserverpb::TxnRequest request;
  auto* compare = request.add_compare();
  compare->set_key("k");
  compare->set_target(etcdserverpb::Compare::VERSION);
  compare->set_result(etcdserverpb::Compare::EQUAL);
  compare->set_version(0);
  request.add_success()->mutable_request_put()->set_key("k");
  request.add_success()->mutable_request_range()->set_key("k");
  request.add_failure()->mutable_request_delete_range()->set_key("k");
  for (const bool expected : {true, false, true}) {
    const Outcome outcome = member_.Txn(request);
    ASSERT_TRUE(outcome.ok()) << outcome.status;
    etcdserverpb::TxnResponse response;
    ASSERT_TRUE(response.ParseFromString(outcome.reply));
    EXPECT_EQ(response.succeeded(), expected);
  }
  EXPECT_EQ(member_.metrics->txns.value(), 2u);  // the branch of one deletion counts as none
  EXPECT_EQ(member_.metrics->puts.value(), 2u);
  EXPECT_EQ(member_.metrics->deletes.value(), 1u);
}

TEST_F(EtcdServerTest, LongRangesOfAReadOnlyTxnAreReadOffTheStrand) {
  StartMember();
  constexpr int kKeys = kInlineRangeKeysMax + 100;
  for (int i = 0; i < kKeys; i += 100) {
    etcdserverpb::TxnRequest puts;
    for (int k = i; k < i + 100; ++k) {
      puts.add_success()->mutable_request_put()->set_key(absl::StrCat("k", k));
    }
    ASSERT_TRUE(member_.Txn(puts).ok());
  }
  etcdserverpb::TxnRequest request;
  request.add_success()->mutable_request_range()->set_key("k");
  request.mutable_success(0)->mutable_request_range()->set_range_end("l");
  std::optional<std::string> reply;
  member_.server->ReadOnlyTxn(request, /*serializable=*/true,
                              [&](absl::Status status, std::string text) {
                                EXPECT_TRUE(status.ok()) << status;
                                reply = std::move(text);
                              });
  EXPECT_FALSE(reply.has_value()) << "a short one would be answered at once";
  member_.Run();
  ASSERT_TRUE(reply.has_value());
  etcdserverpb::TxnResponse response;
  ASSERT_TRUE(response.ParseFromString(*reply));
  EXPECT_EQ(response.responses(0).response_range().kvs_size(), kKeys);
}

TEST_F(EtcdServerTest, WhatWasAcknowledgedSurvivesACrash) {
  for (const bool with_wal_strand : {false, true}) {
    MemberFixture member;
    member.with_wal_strand = with_wal_strand;
    ASSERT_TRUE(member.Start().ok());
    for (int i = 0; i < 20; ++i) ASSERT_TRUE(member.Put(absl::StrCat("k", i), "v").ok());
    ASSERT_TRUE(member.Delete("k3").ok());
    ASSERT_TRUE(member.LeaseGrant(7, 60).ok());
    const int64_t revision = member.server->store().revision();
    member.Crash();
    ASSERT_TRUE(member.Start().ok());
    EXPECT_EQ(member.server->store().revision(), revision);
    EXPECT_EQ(member.Get("k19"), "v");
    EXPECT_EQ(member.Get("k3"), std::nullopt);
    EXPECT_EQ(member.server->Leases(), std::vector<int64_t>{7});
    EXPECT_TRUE(member.Put("after", "v").ok());
  }
}

// The member crashes after every single change of its disk, with a flush of the backend and the
// snapshots in between; whatever was acknowledged before must be there afterwards.
TEST_F(EtcdServerTest, CrashAtEveryDiskOperationLosesNothingAcknowledged) {
  bool survived_all = false;
  for (uint64_t operations = 1; !survived_all; ++operations) {
    ASSERT_LT(operations, 2000u);
    MemberFixture member;
    member.options.snapshot_count = 5;
    member.options.snapshot_catchup_entries = 2;
    ASSERT_TRUE(member.Start().ok());
    member.fs.PowerOffAfter(operations);
    std::map<std::string, std::string> acknowledged;
    // A write that failed may have been made all the same.
    std::string attempted_key;
    std::string attempted_value;
    for (int i = 0; i < 16 && member.fatal.ok(); ++i) {
      const std::string key = absl::StrCat("k", i % 7);
      const std::string value = absl::StrCat("v", i);
      if (member.Put(key, value).ok()) {
        acknowledged[key] = value;
      } else {
        attempted_key = key;
        attempted_value = value;
      }
    }
    survived_all = member.fatal.ok();
    member.Crash();
    const absl::Status status = member.Start();
    ASSERT_TRUE(status.ok()) << "after " << operations << " operations: " << status;
    for (const auto& [key, value] : acknowledged) {
      const auto got = member.Get(key);
      ASSERT_TRUE(got == value || (key == attempted_key && got == attempted_value))
          << key << " after " << operations << " operations: " << got.value_or("none");
    }
  }
}

TEST_F(EtcdServerTest, FailingWalStopsTheMemberAndAnswersEverybody) {
  StartMember();
  testing::FileFault fault;
  fault.op = testing::FileOp::kSync;
  fault.for_ever = true;
  member_.fs.Inject(fault);
  const Outcome outcome = member_.Put("k", "v");
  EXPECT_TRUE(outcome.done);
  EXPECT_TRUE(base::IsApiError(outcome.status, ErrorId::kStopped)) << outcome.status;
  EXPECT_FALSE(member_.fatal.ok());
  EXPECT_TRUE(base::IsApiError(member_.Put("k", "w").status, ErrorId::kStopped));
}

// As above, with more entries than are synced inline.
TEST_F(EtcdServerTest, WalThatFailsOnItsStrandStopsTheMemberToo) {
  member_.with_wal_strand = true;
  StartMember();
  testing::FileFault fault;
  fault.op = testing::FileOp::kSync;
  fault.for_ever = true;
  member_.fs.Inject(fault);
  std::vector<OutcomePointer> waiting;
  for (int i = 0; i < 10; ++i) waiting.push_back(member_.PutLater("k", "v"));
  member_.Run();
  for (const auto& outcome : waiting) {
    ASSERT_TRUE(outcome->done);
    EXPECT_TRUE(base::IsApiError(outcome->status, ErrorId::kStopped)) << outcome->status;
  }
  EXPECT_FALSE(member_.fatal.ok());
}

TEST_F(EtcdServerTest, SlowAppliesAreCountedByBatch) {
  member_.with_wal_strand = true;
  member_.options.warning_apply_duration = -absl::Nanoseconds(1);  // everything is slow
  StartMember();
  const uint64_t before = member_.metrics->slow_applies.value();
  for (int i = 0; i < 10; ++i) member_.PutLater("k", "v");
  member_.Run();
  EXPECT_EQ(member_.metrics->puts.value(), 10u);
  EXPECT_EQ(member_.metrics->slow_applies.value(), before + 1);
}

TEST_F(EtcdServerTest, FailingBackendStopsTheMember) {
  StartMember();
  member_.backend->FailWrite(1);
  EXPECT_TRUE(member_.Put("k", "v").done);
  EXPECT_FALSE(member_.fatal.ok());
}

// Scenario TriggerSnap: N + 1 puts make N + 1 records and exactly one snapshot.
TEST_F(EtcdServerTest, SnapshotIsTriggeredOnceByTheCount) {
  constexpr uint64_t kCount = 10;
  member_.options.snapshot_count = kCount;
  int saves = 0;
  member_.save_snapshot = [&](const SnapshotPoint&) {
    ++saves;
    return absl::OkStatus();
  };
  StartMember();
  const uint64_t before = member_.server->applied_index();
  ASSERT_LE(before, kCount);
  for (uint64_t i = before; i < kCount; ++i) ASSERT_TRUE(member_.Put("k", "v").ok());
  EXPECT_EQ(saves, 0);
  ASSERT_TRUE(member_.Put("k", "v").ok());
  EXPECT_EQ(saves, 1);
  for (uint64_t i = 0; i < kCount; ++i) ASSERT_TRUE(member_.Put("k", "v").ok());
  EXPECT_EQ(saves, 1);
  EXPECT_EQ(member_.metrics->puts.value(), 2 * kCount + 1 - before);
}

// Scenario Snapshot: the backend is durable before the file is saved, the file before the mark.
TEST_F(EtcdServerTest, SnapshotFlushesTheBackendBeforeItSavesAndMarks) {
  member_.options.snapshot_count = 5;
  int saves = 0;
  member_.save_snapshot = [&](const SnapshotPoint& point) {
    ++saves;
    EXPECT_EQ(member_.backend->unflushed_batches(), 0u);
    EXPECT_EQ(point.conf_state.voters.size(), 1u);
    EXPECT_EQ(wal::ValidSnapshotRecords(member_.fs, member_.bootstrap.wal_dir)->back().index, 0u);
    return absl::OkStatus();
  };
  StartMember();
  while (saves == 0) ASSERT_TRUE(member_.Put("k", "v").ok());
  member_.Run();
  EXPECT_EQ(saves, 1);
  EXPECT_GT(wal::ValidSnapshotRecords(member_.fs, member_.bootstrap.wal_dir)->back().index, 5u);
  ASSERT_TRUE(member_.Put("last", "v").ok());
  member_.Crash();
  StartMember();
  EXPECT_EQ(member_.Get("last"), "v");
}

TEST_F(EtcdServerTest, UnsavedSnapshotStopsTheMember) {
  member_.options.snapshot_count = 5;
  member_.save_snapshot = [](const SnapshotPoint&) { return absl::InternalError("disk broken"); };
  StartMember();
  for (int i = 0; i < 8; ++i) member_.Put("k", "v");
  EXPECT_EQ(member_.fatal.message(), "disk broken");
}

TEST_F(EtcdServerTest, LeaseExpiresWithItsKeysAfterItsTimeAndNotBefore) {
  StartMember();
  ASSERT_TRUE(member_.LeaseGrant(7, 5).ok());
  ASSERT_TRUE(member_.Put("k", "v", 7).ok());
  ASSERT_TRUE(member_.Put("kept", "v").ok());
  member_.clock.AdvanceBy(absl::Seconds(5) - absl::Milliseconds(1));
  EXPECT_EQ(member_.Get("k"), "v");
  member_.clock.AdvanceBy(absl::Seconds(1));
  EXPECT_EQ(member_.Get("k"), std::nullopt);
  EXPECT_EQ(member_.Get("kept"), "v");
  EXPECT_TRUE(member_.server->Leases().empty());
  EXPECT_EQ(member_.metrics->leases_expired.value(), 1u);
  EXPECT_EQ(member_.metrics->leases_revoked.value(), 1u);
}

TEST_F(EtcdServerTest, RenewalPutsOffTheEndAndRestartGivesTheFullTime) {
  StartMember();
  ASSERT_TRUE(member_.LeaseGrant(7, 5).ok());
  member_.clock.AdvanceBy(absl::Seconds(3));
  int64_t ttl = -1;
  member_.server->LeaseRenew(7, [&](absl::Status status, int64_t seconds) {
    EXPECT_TRUE(status.ok());
    ttl = seconds;
  });
  EXPECT_EQ(ttl, 5);
  member_.clock.AdvanceBy(absl::Seconds(4));
  EXPECT_EQ(member_.server->Leases().size(), 1u);
  member_.Crash();
  StartMember();
  EXPECT_EQ(member_.server->LeaseTimeToLiveHere(7, false)->granted_ttl_seconds, 5);
  member_.clock.AdvanceBy(absl::Seconds(5) - absl::Milliseconds(1));
  EXPECT_EQ(member_.server->Leases().size(), 1u);
  member_.clock.AdvanceBy(absl::Seconds(3));
  EXPECT_TRUE(member_.server->Leases().empty());
}

TEST_F(EtcdServerTest, QuotaRaisesNoSpaceWhichStaysUntilItIsTakenBack) {
  member_.options.quota_bytes = 64 * 1024;
  StartMember();
  const std::string value(4096, 'v');
  Outcome outcome;
  for (int i = 0; i < 40; ++i) {
    outcome = member_.Put(absl::StrCat("k", i), value);
    if (!outcome.ok()) break;
  }
  EXPECT_TRUE(base::IsApiError(outcome.status, ErrorId::kNoSpace)) << outcome.status;
  EXPECT_TRUE(member_.server->alarms().Active(apply::kAlarmNoSpace));
  EXPECT_TRUE(base::IsApiError(member_.Put("small", "v").status, ErrorId::kNoSpace));
  EXPECT_TRUE(member_.Delete("k0").ok());
  member_.Crash();
  StartMember();
  EXPECT_TRUE(member_.server->alarms().Active(apply::kAlarmNoSpace));
  ASSERT_TRUE(
      member_.Alarm(etcdserverpb::AlarmRequest::DEACTIVATE, etcdserverpb::NOSPACE).ok());
  EXPECT_FALSE(member_.server->alarms().Active(apply::kAlarmNoSpace));
}

TEST_F(EtcdServerTest, CorruptAlarmRefusesWrites) {
  StartMember();
  ASSERT_TRUE(member_.Alarm(etcdserverpb::AlarmRequest::ACTIVATE, etcdserverpb::CORRUPT).ok());
  EXPECT_TRUE(base::IsApiError(member_.Put("k", "v").status, ErrorId::kCorrupt));
  EXPECT_TRUE(base::IsApiError(member_.LeaseGrant(1, 60).status, ErrorId::kCorrupt));
}

TEST_F(EtcdServerTest, PhysicalCompactionIsAnsweredWhenTheRecordsAreGone) {
  member_.options.store.compaction_step_revisions_max = 3;
  StartMember();
  for (int i = 0; i < 20; ++i) ASSERT_TRUE(member_.Put("k", absl::StrCat(i)).ok());
  const int64_t revision = member_.server->store().revision();
  ASSERT_TRUE(member_.Compact(revision).ok());
  const Outcome outcome = member_.Compact(revision, /*physical=*/true);
  member_.clock.AdvanceBy(absl::Seconds(1));
  EXPECT_TRUE(base::IsApiError(outcome.status, ErrorId::kCompacted)) << outcome.status;
  EXPECT_EQ(member_.server->store().finished_compact_revision(), revision);
  EXPECT_EQ(member_.metrics->compacted_keys.value(), 19u);
  EXPECT_EQ(member_.Get("k"), "19");
  EXPECT_TRUE(base::IsApiError(member_.Compact(revision + 1).status, ErrorId::kFutureRev));
}

TEST_F(EtcdServerTest, InterruptedCompactionGoesOnAfterACrash) {
  member_.options.store.compaction_step_revisions_max = 2;
  StartMember();
  for (int i = 0; i < 50; ++i) ASSERT_TRUE(member_.Put("k", absl::StrCat(i)).ok());
  const int64_t revision = member_.server->store().revision();
  etcdserverpb::CompactionRequest request;
  request.set_revision(revision);
  bool answered = false;
  member_.server->Compact(request.SerializeAsString(), [&](absl::Status status, std::string) {
    answered = true;
    EXPECT_TRUE(status.ok());
  });
  member_.Run();
  ASSERT_TRUE(answered);
  member_.Crash();
  StartMember();
  member_.clock.AdvanceBy(absl::Seconds(10));
  EXPECT_EQ(member_.server->store().finished_compact_revision(), revision);
  EXPECT_EQ(member_.server->store().compact_revision(), revision);
  EXPECT_EQ(member_.server->store().revision(), revision);
}

TEST_F(EtcdServerTest, StopAnswersThoseWhoWait) {
  member_.with_wal_strand = true;
  StartMember();
  std::vector<OutcomePointer> waiting;
  for (int i = 0; i < 10; ++i) waiting.push_back(member_.PutLater("k", "v"));
  waiting.push_back(member_.RangeLater("k"));
  member_.Stop();
  for (const auto& outcome : waiting) {
    ASSERT_TRUE(outcome->done);
    EXPECT_EQ(outcome->status.message(), "etcdserver: server stopped");
  }
}

TEST_F(EtcdServerTest, OversizedRequestIsRefusedBeforeItReachesTheLog) {
  member_.options.request_bytes_max = 1000;
  StartMember();
  const uint64_t applied = member_.server->applied_index();
  EXPECT_TRUE(base::IsApiError(member_.Put("k", std::string(1000, 'v')).status,
                               ErrorId::kRequestTooLarge));
  EXPECT_EQ(member_.server->applied_index(), applied);
  EXPECT_TRUE(member_.Put("k", std::string(900, 'v')).ok());
}

TEST_F(EtcdServerTest, MetricsShowTheStateOfTheMember) {
  StartMember();
  ASSERT_TRUE(member_.Put("k", "value").ok());
  const std::string page = member_.registry->TextPage();
  for (const char* line :
       {"etcd_server_has_leader 1\n", "etcd_server_is_leader 1\n",
        "etcd_server_leader_changes_seen_total 1\n", "etcd_mvcc_put_total 1\n",
        "etcd_debugging_mvcc_total_put_size_in_bytes 6\n",
        "etcd_debugging_mvcc_current_revision 2\n", "etcd_debugging_mvcc_keys_total 1\n",
        "etcd_debugging_mvcc_compact_revision -1\n", "etcd_server_proposals_pending 0\n",
        "etcd_cluster_version{cluster_version=\"3.7\"} 1\n",
        "etcd_server_id{server_id=\"8e9e05c52164694d\"} 1\n",
        "etcd_server_request_duration_seconds_count{type=\"Put\",success=\"true\"} 1\n"}) {
    EXPECT_TRUE(absl::StrContains(page, line)) << line;
  }
  EXPECT_TRUE(absl::StrContains(
      page, absl::StrCat("etcd_server_proposals_applied_total ",
                         member_.server->applied_index(), "\n")));
}

}  // namespace
}  // namespace etcdd::server
