// The rules of leases (LEASE-001..020) under a fake clock.

#include "server/lease/lessor.h"

#include <algorithm>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "gtest/gtest.h"
#include "mvcc/backend/mem_backend.h"
#include "server/base/api_error.h"
#include "server/base/random.h"
#include "tests/support/fake_clock.h"

namespace etcdd::lease {
namespace {

using base::ErrorId;

class LessorTest : public ::testing::Test {
 protected:
  void TearDown() override { lessor_->CheckInvariants(); }

  absl::StatusOr<int64_t> Grant(int64_t id, int64_t ttl) {
    auto batch = backend_.NewBatch();
    auto result = lessor_->Grant(id, ttl, *batch);
    EXPECT_TRUE(backend_.Write(*batch).ok());
    return result;
  }
  void Remove(int64_t id) {
    auto batch = backend_.NewBatch();
    lessor_->Remove(id, *batch);
    EXPECT_TRUE(backend_.Write(*batch).ok());
  }
  void ApplyCheckpoint(int64_t id, int64_t remaining) {
    auto batch = backend_.NewBatch();
    lessor_->ApplyCheckpoint({id, remaining}, *batch);
    EXPECT_TRUE(backend_.Write(*batch).ok());
  }
  // A new lessor from what the old one wrote.
  void Restart() {
    Make();
    ASSERT_TRUE(lessor_->Restore(*backend_.NewView()).ok());
  }
  void Make() { lessor_ = std::make_unique<Lessor>(clock_, options_); }
  std::vector<int64_t> Expired(size_t max = kExpiredPerScanMax) {
    return lessor_->TakeExpired(max, absl::Seconds(7));
  }

  testing::FakeClock clock_;
  mvcc::MemBackend backend_;
  LessorOptions options_;
  std::unique_ptr<Lessor> lessor_ = std::make_unique<Lessor>(clock_, options_);
};

TEST_F(LessorTest, GrantRaisesShortTtlsAndRefusesLongOnesFirst) {
  EXPECT_EQ(*Grant(1, 0), 2);
  EXPECT_EQ(*Grant(2, -5), 2);
  EXPECT_EQ(*Grant(3, 60), 60);
  EXPECT_EQ(*Grant(-4, 60), 60);
  EXPECT_EQ(*Grant(5, kLeaseTtlSecondsMax), kLeaseTtlSecondsMax);
  EXPECT_TRUE(base::IsApiError(Grant(3, 60).status(), ErrorId::kLeaseExist));
  EXPECT_TRUE(base::IsApiError(Grant(3, kLeaseTtlSecondsMax + 1).status(),
                               ErrorId::kLeaseTTLTooLarge));
  EXPECT_EQ(lessor_->size(), 5u);
}

TEST_F(LessorTest, KeysComeInOrderAndDetachedOnesNotAtAll) {
  ASSERT_TRUE(Grant(1, 60).ok());
  for (const char* key : {"c", "a", "b"}) lessor_->Attach(1, key);
  lessor_->Attach(1, "a");
  lessor_->Detach(1, "c");
  lessor_->Detach(1, "never");
  EXPECT_EQ(*lessor_->Keys(1), (std::vector<std::string>{"a", "b"}));
  EXPECT_TRUE(base::IsApiError(lessor_->Keys(9).status(), ErrorId::kLeaseNotFound));
  lessor_->Attach(0, "x");  // no lease at all
  lessor_->Detach(0, "x");
}

TEST_F(LessorTest, FollowerExpiresNothing) {
  ASSERT_TRUE(Grant(1, 2).ok());
  clock_.AdvanceBy(absl::Hours(1));
  EXPECT_TRUE(Expired().empty());
}

TEST_F(LessorTest, LeaseEndsAtItsTimeAndIsHandedOutAgainLater) {
  lessor_->Promote(absl::ZeroDuration());
  ASSERT_TRUE(Grant(1, 5).ok());
  clock_.AdvanceBy(absl::Seconds(5) - absl::Nanoseconds(1));
  EXPECT_TRUE(Expired().empty());
  clock_.AdvanceBy(absl::Nanoseconds(1));
  EXPECT_EQ(Expired(), std::vector<int64_t>{1});
  EXPECT_TRUE(Expired().empty());
  clock_.AdvanceBy(absl::Seconds(7));
  EXPECT_EQ(Expired(), std::vector<int64_t>{1});
  Remove(1);
  clock_.AdvanceBy(absl::Seconds(7));
  EXPECT_TRUE(Expired().empty());
}

TEST_F(LessorTest, RenewalGivesTheFullTimeButNeverResurrects) {
  lessor_->Promote(absl::ZeroDuration());
  ASSERT_TRUE(Grant(1, 5).ok());
  clock_.AdvanceBy(absl::Seconds(4));
  const Renewal renewal = lessor_->Renew(1);
  EXPECT_EQ(renewal.outcome, Renewal::Outcome::kRenewed);
  EXPECT_EQ(renewal.ttl_seconds, 5);
  clock_.AdvanceBy(absl::Seconds(4));
  EXPECT_TRUE(Expired().empty());
  clock_.AdvanceBy(absl::Seconds(1));
  EXPECT_EQ(lessor_->Renew(1).outcome, Renewal::Outcome::kExpired);
  bool gone = false;
  lessor_->OnGone(1, [&](bool was_revoked) { gone = was_revoked; });
  EXPECT_FALSE(gone);
  EXPECT_EQ(Expired(), std::vector<int64_t>{1});
  Remove(1);
  EXPECT_TRUE(gone);
  EXPECT_EQ(lessor_->Renew(1).outcome, Renewal::Outcome::kNotFound);
  bool at_once = false;
  lessor_->OnGone(1, [&](bool was_revoked) { at_once = was_revoked; });
  EXPECT_TRUE(at_once);
}

TEST_F(LessorTest, WhoWaitsForARevokeHearsOfTheDemotion) {
  lessor_->Promote(absl::ZeroDuration());
  ASSERT_TRUE(Grant(1, 5).ok());
  clock_.AdvanceBy(absl::Seconds(5));
  std::optional<bool> gone;
  lessor_->OnGone(1, [&](bool was_revoked) { gone = was_revoked; });
  lessor_->Demote();
  EXPECT_EQ(gone, false);
}

TEST_F(LessorTest, NewLeaderStartsEveryTimerAnew) {
  lessor_->Promote(absl::ZeroDuration());
  ASSERT_TRUE(Grant(1, 5).ok());
  clock_.AdvanceBy(absl::Seconds(4));
  lessor_->Demote();
  clock_.AdvanceBy(absl::Hours(1));
  EXPECT_TRUE(Expired().empty());
  lessor_->Promote(absl::Seconds(1));
  clock_.AdvanceBy(absl::Seconds(6) - absl::Nanoseconds(1));
  EXPECT_TRUE(Expired().empty());
  clock_.AdvanceBy(absl::Nanoseconds(1));
  EXPECT_EQ(Expired(), std::vector<int64_t>{1});
}

TEST_F(LessorTest, RestartKeepsLeasesWithTheirFullTime) {
  lessor_->Promote(absl::ZeroDuration());
  ASSERT_TRUE(Grant(1, 5).ok());
  ASSERT_TRUE(Grant(-2, 600).ok());
  ASSERT_TRUE(Grant(3, 60).ok());
  Remove(3);
  Restart();
  EXPECT_EQ(lessor_->size(), 2u);
  lessor_->Promote(absl::ZeroDuration());
  EXPECT_EQ(lessor_->GetTimeToLive(1).granted_ttl_seconds, 5);
  EXPECT_EQ(lessor_->GetTimeToLive(-2).ttl_seconds, 600);
  EXPECT_TRUE(lessor_->Keys(1)->empty());
}

TEST_F(LessorTest, RenewalAfterAPromotionEndsOnTime) {
  ASSERT_TRUE(Grant(1, 5).ok());
  lessor_->Promote(absl::Seconds(30));
  EXPECT_EQ(lessor_->Renew(1).ttl_seconds, 5);
  clock_.AdvanceBy(absl::Seconds(5));
  EXPECT_EQ(Expired(), std::vector<int64_t>{1});
}

TEST_F(LessorTest, IdThatIsGrantedAgainIsHandedOutOnce) {
  lessor_->Promote(absl::ZeroDuration());
  for (int i = 0; i < 3; ++i) {
    ASSERT_TRUE(Grant(1, 5).ok());
    Remove(1);
  }
  ASSERT_TRUE(Grant(1, 5).ok());
  clock_.AdvanceBy(absl::Seconds(5));
  EXPECT_EQ(Expired(), std::vector<int64_t>{1});
}

TEST_F(LessorTest, TimeToLiveIsRoundedDown) {
  lessor_->Promote(absl::ZeroDuration());
  ASSERT_TRUE(Grant(1, 10).ok());
  clock_.AdvanceBy(absl::Milliseconds(1));
  EXPECT_EQ(lessor_->GetTimeToLive(1).ttl_seconds, 9);
  EXPECT_EQ(lessor_->GetTimeToLive(1).granted_ttl_seconds, 10);
  EXPECT_EQ(lessor_->GetTimeToLive(2).ttl_seconds, -1);
  EXPECT_EQ(lessor_->GetTimeToLive(2).granted_ttl_seconds, 0);
}

TEST_F(LessorTest, ListIsOrderedByRemainingTime) {
  lessor_->Promote(absl::ZeroDuration());
  ASSERT_TRUE(Grant(1, 30).ok());
  ASSERT_TRUE(Grant(2, 10).ok());
  ASSERT_TRUE(Grant(3, 20).ok());
  EXPECT_EQ(lessor_->List(), (std::vector<int64_t>{2, 3, 1}));
}

TEST_F(LessorTest, OneScanHandsOutNoMoreThanItsLimit) {
  lessor_->Promote(absl::ZeroDuration());
  for (int64_t id = 1; id <= 10; ++id) ASSERT_TRUE(Grant(id, 2).ok());
  clock_.AdvanceBy(absl::Seconds(2));
  EXPECT_EQ(Expired(4).size(), 4u);
  EXPECT_EQ(Expired(4).size(), 4u);
  EXPECT_EQ(Expired(4).size(), 2u);
}

TEST_F(LessorTest, ManyLeasesOfOneLengthAreSpreadAfterAPromotion) {
  constexpr int64_t kLeases = 3000;
  for (int64_t id = 1; id <= kLeases; ++id) ASSERT_TRUE(Grant(id, 10).ok());
  lessor_->Promote(absl::ZeroDuration());
  clock_.AdvanceBy(absl::Seconds(10) - absl::Nanoseconds(1));
  EXPECT_TRUE(Expired(kLeases).empty());
  size_t total = 0;
  size_t seconds = 0;
  clock_.AdvanceBy(absl::Nanoseconds(1));
  for (; total < kLeases; ++seconds) {
    ASSERT_LT(seconds, 10u);
    const size_t now = Expired(kLeases).size();
    EXPECT_LE(now, kSpreadPerSecondMax);
    total += now;
    clock_.AdvanceBy(absl::Seconds(1));
  }
  EXPECT_EQ(seconds, kLeases / kSpreadPerSecondMax);
}

TEST_F(LessorTest, CheckpointsShortenWhatANewLeaderGives) {
  options_.checkpoint = true;
  options_.checkpoint_persist = true;
  Make();
  lessor_->Promote(absl::ZeroDuration());
  ASSERT_TRUE(Grant(1, 3600).ok());
  ASSERT_TRUE(Grant(2, 60).ok());  // too short to be worth one
  EXPECT_TRUE(lessor_->TakeCheckpoints().empty());
  clock_.AdvanceBy(kCheckpointInterval);
  const std::vector<Checkpoint> due = lessor_->TakeCheckpoints();
  ASSERT_EQ(due.size(), 1u);
  EXPECT_EQ(due[0].id, 1);
  EXPECT_EQ(due[0].remaining_ttl_seconds, 3300);
  EXPECT_TRUE(lessor_->TakeCheckpoints().empty());
  ApplyCheckpoint(1, 3300);
  Restart();
  lessor_->Promote(absl::ZeroDuration());
  EXPECT_EQ(lessor_->GetTimeToLive(1).ttl_seconds, 3300);
  // A renewal first takes the checkpoint back.
  EXPECT_EQ(lessor_->Renew(1).outcome, Renewal::Outcome::kNeedsCheckpoint);
  ApplyCheckpoint(1, 0);
  EXPECT_EQ(lessor_->RenewAfterCheckpoint(1).ttl_seconds, 3600);
  EXPECT_EQ(lessor_->GetTimeToLive(1).ttl_seconds, 3600);
  ApplyCheckpoint(99, 5);  // no such lease: nothing happens
  EXPECT_EQ(lessor_->size(), 2u);
}

// Random use against the simplest description of a lease: a map from id to its end.
TEST_F(LessorTest, RandomUseAgreesWithAModel) {
  const auto random = base::NewSeededRandom(7);
  lessor_->Promote(absl::ZeroDuration());
  std::map<int64_t, std::pair<int64_t, absl::Duration>> model;  // id -> ttl, end
  for (int step = 0; step < 5000; ++step) {
    const int64_t id = static_cast<int64_t>(random->Uniform(40)) + 1;
    switch (random->Uniform(4)) {
      case 0: {
        const int64_t ttl = static_cast<int64_t>(random->Uniform(30)) + 2;
        const auto granted = Grant(id, ttl);
        ASSERT_EQ(granted.ok(), !model.contains(id));
        if (granted.ok()) model[id] = {ttl, clock_.Monotonic() + absl::Seconds(ttl)};
        break;
      }
      case 1: {
        const Renewal renewal = lessor_->Renew(id);
        auto found = model.find(id);
        if (found == model.end()) {
          ASSERT_EQ(renewal.outcome, Renewal::Outcome::kNotFound);
        } else if (found->second.second <= clock_.Monotonic()) {
          ASSERT_EQ(renewal.outcome, Renewal::Outcome::kExpired);
        } else {
          ASSERT_EQ(renewal.ttl_seconds, found->second.first);
          found->second.second = clock_.Monotonic() + absl::Seconds(found->second.first);
        }
        break;
      }
      case 2:
        clock_.AdvanceBy(absl::Milliseconds(random->Uniform(3000)));
        break;
      default: {
        std::vector<int64_t> expected;
        for (const auto& [known, lease] : model) {
          if (lease.second <= clock_.Monotonic()) expected.push_back(known);
        }
        std::vector<int64_t> expired = Expired();
        std::sort(expired.begin(), expired.end());
        ASSERT_EQ(expired, expected) << "step " << step;
        for (int64_t gone : expired) {
          Remove(gone);
          model.erase(gone);
        }
      }
    }
    lessor_->CheckInvariants();
  }
  EXPECT_GT(model.size(), 0u);
}

}  // namespace
}  // namespace etcdd::lease
