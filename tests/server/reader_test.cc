// Linearizable reads share rounds of ReadIndex, and no answer is taken for another's.

#include <string>
#include <vector>

#include "gtest/gtest.h"
#include "server/base/api_error.h"
#include "server/linearizable_reader.h"
#include "server/request_waiter.h"
#include "server/server_metrics.h"
#include "tests/support/fake_clock.h"

namespace etcdd::server {
namespace {

using base::ErrorId;

class ReaderTest : public ::testing::Test {
 protected:
  // The index of the status the read ended with in `ends_`.
  size_t Read() {
    const size_t number = ends_.size();
    ends_.push_back(absl::UnknownError("waiting"));
    reader_.Read([this, number](absl::Status status) { ends_[number] = std::move(status); });
    return number;
  }
  bool Waiting(size_t number) const { return ends_[number].message() == "waiting"; }
  void Answer(size_t asked, uint64_t index) {
    const raft::ReadState state{index, asked_[asked]};
    reader_.OnReadStates(absl::MakeConstSpan(&state, 1));
    clock_.RunReady();
  }

  testing::FakeClock clock_;
  testing::FakeStrand strand_{&clock_};
  base::Metrics registry_;
  ServerMetrics metrics_{&registry_};
  std::vector<base::Bytes> asked_;
  std::vector<absl::Status> ends_;
  LinearizableReader reader_{0, &strand_, &clock_, absl::Seconds(7), &metrics_,
                             [this](base::Bytes context) { asked_.push_back(context); }};
};

TEST_F(ReaderTest, ReadsOfOneTurnShareARound) {
  for (int i = 0; i < 5; ++i) Read();
  EXPECT_TRUE(asked_.empty());
  clock_.RunReady();
  ASSERT_EQ(asked_.size(), 1u);
  Answer(0, 0);
  for (const absl::Status& status : ends_) EXPECT_TRUE(status.ok());
}

TEST_F(ReaderTest, StopEndsWaitingReadsAndThoseStillToCome) {
  const size_t waiting = Read();
  clock_.RunReady();
  reader_.Stop(base::ApiError(ErrorId::kStopped));
  const size_t late = Read();
  clock_.RunReady();
  EXPECT_TRUE(base::IsApiError(ends_[waiting], ErrorId::kStopped));
  EXPECT_TRUE(base::IsApiError(ends_[late], ErrorId::kStopped));
  EXPECT_EQ(asked_.size(), 1u);
}

TEST_F(ReaderTest, ReadThatComesDuringARoundWaitsForTheNext) {
  const size_t first = Read();
  clock_.RunReady();
  const size_t second = Read();
  clock_.RunReady();
  EXPECT_EQ(asked_.size(), 1u);
  Answer(0, 0);
  EXPECT_TRUE(ends_[first].ok());
  EXPECT_TRUE(Waiting(second));
  ASSERT_EQ(asked_.size(), 2u);
  Answer(1, 0);
  EXPECT_TRUE(ends_[second].ok());
}

TEST_F(ReaderTest, ReadWaitsUntilItsIndexIsApplied) {
  const size_t read = Read();
  clock_.RunReady();
  Answer(0, 9);
  EXPECT_TRUE(Waiting(read));
  reader_.OnApplied(8);
  EXPECT_TRUE(Waiting(read));
  reader_.OnApplied(9);
  EXPECT_TRUE(ends_[read].ok());
}

TEST_F(ReaderTest, LateAnswerToAnEarlierQuestionConfirmsNothing) {
  const size_t read = Read();
  clock_.RunReady();
  clock_.AdvanceBy(kReadIndexRetryInterval);
  reader_.OnTick();
  ASSERT_EQ(asked_.size(), 2u);
  EXPECT_EQ(metrics_.read_indexes_slow.value(), 1u);
  Answer(0, 0);  // the answer to the first question comes now
  EXPECT_TRUE(Waiting(read));
  Answer(1, 0);
  EXPECT_TRUE(ends_[read].ok());
  const size_t next = Read();
  clock_.RunReady();
  Answer(1, 0);  // and the same answer again
  EXPECT_TRUE(Waiting(next));
  Answer(2, 0);
  EXPECT_TRUE(ends_[next].ok());
}

TEST_F(ReaderTest, AnswersThatAreNoneOfOursAreIgnored) {
  const size_t read = Read();
  clock_.RunReady();
  const raft::ReadState states[] = {{0, base::Bytes()},
                                    {0, base::Bytes::Copy("short")},
                                    {0, base::Bytes::Copy("12345678")}};
  reader_.OnReadStates(states);
  EXPECT_TRUE(Waiting(read));
}

TEST_F(ReaderTest, LeaderChangeFailsTheRoundAndTheNextGoesOn) {
  const size_t first = Read();
  clock_.RunReady();
  const size_t second = Read();
  reader_.OnLeaderChanged();
  EXPECT_TRUE(base::IsApiError(ends_[first], ErrorId::kLeaderChanged)) << ends_[first];
  EXPECT_EQ(metrics_.read_indexes_failed.value(), 1u);
  EXPECT_TRUE(Waiting(second));
  clock_.RunReady();
  ASSERT_EQ(asked_.size(), 2u);
  Answer(1, 0);
  EXPECT_TRUE(ends_[second].ok());
}

TEST_F(ReaderTest, TimeEndsEveryWait) {
  const size_t confirmed = Read();
  clock_.RunReady();
  Answer(0, 100);  // never applied
  const size_t asked = Read();
  clock_.RunReady();
  clock_.AdvanceBy(absl::Seconds(1));
  const size_t queued = Read();
  clock_.AdvanceBy(absl::Seconds(6) - absl::Milliseconds(1));
  reader_.OnTick();
  EXPECT_TRUE(Waiting(confirmed));
  clock_.AdvanceBy(absl::Milliseconds(1));
  reader_.OnTick();
  EXPECT_TRUE(base::IsApiError(ends_[confirmed], ErrorId::kTimeout));
  EXPECT_TRUE(base::IsApiError(ends_[asked], ErrorId::kTimeout));
  EXPECT_TRUE(Waiting(queued));
  clock_.AdvanceBy(absl::Seconds(1));
  reader_.OnTick();
  EXPECT_TRUE(base::IsApiError(ends_[queued], ErrorId::kTimeout));
}

TEST_F(ReaderTest, StopAnswersAll) {
  Read();
  clock_.RunReady();
  Answer(0, 100);
  Read();
  clock_.RunReady();
  Read();
  reader_.Stop(absl::UnavailableError("stopped"));
  ASSERT_EQ(ends_.size(), 3u);
  for (const absl::Status& status : ends_) EXPECT_EQ(status.message(), "stopped");
}

// --- RequestWaiter ---

class WaiterTest : public ::testing::Test {
 protected:
  void Register(uint64_t id, int at_seconds, size_t bytes = 10) {
    waiter_.Register(id, absl::Seconds(at_seconds), absl::Seconds(7), bytes, static_cast<int>(id),
                     [this, id](absl::Status, std::string) { answered_.push_back(id); });
  }
  RequestWaiter waiter_;
  std::vector<uint64_t> answered_;
};

TEST_F(WaiterTest, EveryIdIsTakenOnceWithWhatWasRegistered) {
  Register(1, 0);
  Register(2, 5, 30);
  EXPECT_EQ(waiter_.waiting_bytes(), 40u);
  EXPECT_TRUE(waiter_.Contains(2));
  auto taken = waiter_.Take(2);
  ASSERT_TRUE(taken.has_value());
  EXPECT_EQ(taken->started, absl::Seconds(5));
  EXPECT_EQ(taken->kind, 2);
  EXPECT_FALSE(waiter_.Take(2).has_value());
  EXPECT_FALSE(waiter_.Take(3).has_value());
  EXPECT_EQ(waiter_.waiting_bytes(), 10u);
  EXPECT_EQ(waiter_.size(), 1u);
}

TEST_F(WaiterTest, ExpiryTakesThoseWhoseTimeIsUpInOrder) {
  Register(1, 0);
  Register(2, 1);
  Register(3, 2);
  waiter_.Take(1);
  EXPECT_TRUE(waiter_.TakeExpired(absl::Seconds(7)).empty());
  auto expired = waiter_.TakeExpired(absl::Seconds(9));
  ASSERT_EQ(expired.size(), 2u);
  EXPECT_EQ(expired[0].started, absl::Seconds(1));
  EXPECT_EQ(expired[1].started, absl::Seconds(2));
  EXPECT_EQ(waiter_.size(), 0u);
  EXPECT_EQ(waiter_.waiting_bytes(), 0u);
}

TEST_F(WaiterTest, TakeAllGivesEachOnceInOrder) {
  for (uint64_t id : {5, 3, 9}) Register(id, 0);
  waiter_.Take(3);
  for (Done& done : waiter_.TakeAll()) done(absl::OkStatus(), {});
  EXPECT_EQ(answered_, (std::vector<uint64_t>{5, 9}));
  EXPECT_TRUE(waiter_.TakeAll().empty());
}

}  // namespace
}  // namespace etcdd::server
