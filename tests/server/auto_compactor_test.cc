// Automatic compaction under a fake clock (KV-076).

#include "server/auto_compactor.h"

#include <utility>
#include <vector>

#include "gtest/gtest.h"
#include "server/base/api_error.h"
#include "tests/support/fake_clock.h"

namespace etcdd::server {
namespace {

class AutoCompactorTest : public ::testing::Test {
 protected:
  void Start(AutoCompactionOptions options) {
    AutoCompactor::Parts parts;
    parts.strand = &strand_;
    parts.clock = &clock_;
    parts.revision = [this] { return revision_; };
    parts.is_leader = [this] { return leads_; };
    parts.compact = [this](int64_t revision, absl::AnyInvocable<void(absl::Status)> done) {
      compacted_.push_back(revision);
      if (answers_) done(answer_); else waiting_ = std::move(done);
    };
    compactor_ = std::make_unique<AutoCompactor>(std::move(parts), options);
    compactor_->Start();
  }
  // A write a minute.
  void Live(int minutes) {
    for (int i = 0; i < minutes; ++i) {
      clock_.AdvanceBy(absl::Minutes(1));
      ++revision_;
    }
  }

  testing::FakeClock clock_;
  testing::FakeStrand strand_{&clock_};
  int64_t revision_ = 100;
  bool leads_ = true;
  bool answers_ = true;
  absl::Status answer_;
  absl::AnyInvocable<void(absl::Status)> waiting_;
  std::vector<int64_t> compacted_;
  std::unique_ptr<AutoCompactor> compactor_;
};

TEST_F(AutoCompactorTest, PeriodicKeepsOnePeriodAndStartsAfterOne) {
  Start({CompactionMode::kPeriodic, absl::Hours(2), 0});
  Live(119);
  EXPECT_TRUE(compacted_.empty());
  Live(1);
  EXPECT_EQ(compacted_, std::vector<int64_t>{100});  // the revision of two hours ago
  Live(59);
  EXPECT_EQ(compacted_.size(), 1u);
  Live(1);  // from then on every hour
  EXPECT_EQ(compacted_, (std::vector<int64_t>{100, 159}));
  Live(60);
  EXPECT_EQ(compacted_.size(), 3u);
}

TEST_F(AutoCompactorTest, ShortPeriodIsItsOwnInterval) {
  Start({CompactionMode::kPeriodic, absl::Minutes(10), 0});
  Live(30);
  EXPECT_EQ(compacted_, (std::vector<int64_t>{100, 109, 119}));
}

TEST_F(AutoCompactorTest, NothingNewIsNotCompactedTwice) {
  Start({CompactionMode::kPeriodic, absl::Minutes(10), 0});
  clock_.AdvanceBy(absl::Hours(1));
  EXPECT_EQ(compacted_, std::vector<int64_t>{100});
}

TEST_F(AutoCompactorTest, FollowerSamplesButDoesNotCompact) {
  leads_ = false;
  Start({CompactionMode::kPeriodic, absl::Minutes(10), 0});
  Live(25);
  EXPECT_TRUE(compacted_.empty());
  leads_ = true;
  Live(1);
  EXPECT_EQ(compacted_, std::vector<int64_t>{115});
}

TEST_F(AutoCompactorTest, FailureIsTriedAgainAfterOneSample) {
  Start({CompactionMode::kPeriodic, absl::Minutes(10), 0});
  answer_ = absl::UnavailableError("no leader");
  Live(11);
  EXPECT_EQ(compacted_, (std::vector<int64_t>{100, 100}));
  answer_ = absl::OkStatus();
  Live(1);
  EXPECT_EQ(compacted_.size(), 3u);
  Live(9);
  EXPECT_EQ(compacted_.size(), 3u);
}

TEST_F(AutoCompactorTest, WhatSomebodyElseCompactedCounts) {
  Start({CompactionMode::kPeriodic, absl::Minutes(10), 0});
  answer_ = base::ApiError(base::ErrorId::kCompacted);
  Live(19);
  EXPECT_EQ(compacted_.size(), 1u);
}

TEST_F(AutoCompactorTest, OneAtATime) {
  answers_ = false;
  Start({CompactionMode::kPeriodic, absl::Minutes(10), 0});
  Live(30);
  EXPECT_EQ(compacted_.size(), 1u);
  answers_ = true;
  std::exchange(waiting_, nullptr)(absl::OkStatus());
  Live(11);
  EXPECT_EQ(compacted_.size(), 2u);
}

TEST_F(AutoCompactorTest, RevisionModeKeepsACountEveryFiveMinutes) {
  Start({CompactionMode::kRevision, {}, 102});
  Live(5);
  EXPECT_EQ(compacted_, std::vector<int64_t>{2});  // at minute five the revision is 104
  Live(5);
  EXPECT_EQ(compacted_, (std::vector<int64_t>{2, 7}));
  clock_.AdvanceBy(absl::Minutes(5));
  EXPECT_EQ(compacted_, (std::vector<int64_t>{2, 7, 8}));
  clock_.AdvanceBy(absl::Minutes(5));
  EXPECT_EQ(compacted_.size(), 3u);
}

TEST_F(AutoCompactorTest, RevisionModeWaitsUntilThereIsEnough) {
  Start({CompactionMode::kRevision, {}, 1000});
  Live(60);
  EXPECT_TRUE(compacted_.empty());
}

TEST_F(AutoCompactorTest, OffAndStoppedDoNothing) {
  Start({CompactionMode::kPeriodic, absl::ZeroDuration(), 0});
  EXPECT_EQ(strand_.timer_count(), 0u);
  Start({CompactionMode::kRevision, absl::Hours(1), 0});
  EXPECT_EQ(strand_.timer_count(), 0u);
  Start({CompactionMode::kPeriodic, absl::Minutes(10), 0});
  compactor_->Stop();
  Live(60);
  EXPECT_TRUE(compacted_.empty());
}

}  // namespace
}  // namespace etcdd::server
