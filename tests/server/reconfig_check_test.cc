// --strict-reconfig-check: which changes of membership are refused (CLUS-020..024).

#include "server/membership/reconfig_check.h"

#include <map>
#include <optional>
#include <string>

#include "gtest/gtest.h"
#include "mvcc/backend/mem_backend.h"
#include "server/base/api_error.h"

namespace etcdd::membership {
namespace {

using base::ErrorId;

constexpr absl::Duration kNow = absl::Seconds(100);

// A cluster in which member 1 asks.
class ReconfigCheckTest : public ::testing::Test {
 protected:
  void Add(uint64_t id, bool started = true, bool learner = false) {
    Member member;
    member.id = id;
    member.peer_urls = {"http://h:" + std::to_string(id)};
    if (started) member.name = "m" + std::to_string(id);
    member.is_learner = learner;
    cluster_->Add(member, *batch_);
  }
  // Connected for `seconds`; without a call: not connected.
  void Connect(uint64_t id, int seconds = 60) { since_[id] = kNow - absl::Seconds(seconds); }
  // `voters` members, all started; the first `connected` of them connected to member 1.
  void AddVoters(uint64_t voters, uint64_t connected) {
    for (uint64_t id = 1; id <= voters; ++id) {
      Add(id);
      if (id > 1 && id <= connected) Connect(id);
    }
  }
  template <typename Check>
  absl::Status Ask(Check check) {
    const auto active_since = [this](uint64_t id) -> std::optional<absl::Duration> {
      auto found = since_.find(id);
      if (found == since_.end()) return std::nullopt;
      return found->second;
    };
    return check(Connections{kNow, active_since});
  }
  absl::Status AddVoter() {
    return Ask([&](const Connections& c) { return MayAddVoter(*cluster_, c); });
  }
  absl::Status AddLearner() {
    return Ask([&](const Connections& c) { return MayAddLearner(*cluster_, c); });
  }
  absl::Status Remove(uint64_t id) {
    return Ask([&](const Connections& c) { return MayRemove(*cluster_, c, id); });
  }

  mvcc::MemBackend backend_;
  std::unique_ptr<mvcc::Batch> batch_ = backend_.NewBatch();
  std::optional<Cluster> cluster_{std::in_place, 9, 1, /*learners_max=*/10};
  std::map<uint64_t, absl::Duration> since_;
};

bool Is(const absl::Status& status, ErrorId id) { return base::IsApiError(status, id); }

TEST_F(ReconfigCheckTest, ALoneStartedMemberMayAlwaysAdd) {
  Add(1);
  EXPECT_TRUE(AddVoter().ok());
  EXPECT_TRUE(AddLearner().ok());
}

TEST_F(ReconfigCheckTest, ASecondMemberMustStartBeforeAThirdIsAdded) {
  Add(1);
  Add(2, /*started=*/false);
  EXPECT_TRUE(Is(AddVoter(), ErrorId::kMemberNotEnoughStarted));
}

TEST_F(ReconfigCheckTest, AdditionNeedsAMajorityOfTheGrownClusterConnected) {
  struct Case {
    uint64_t voters, connected;
    bool accepted;
  };
  // CLUS-021: 3 with one down refuse; 4 or 5 with one down accept; 5 with two down refuse.
  for (const Case& c : {Case{3, 3, true}, Case{3, 2, false}, Case{4, 3, true}, Case{4, 2, false},
                        Case{5, 4, true}, Case{5, 3, false}, Case{2, 2, true}, Case{2, 1, false}}) {
    cluster_.emplace(9, 1, 10);
    since_.clear();
    AddVoters(c.voters, c.connected);
    const absl::Status voter = AddVoter();
    EXPECT_EQ(voter.ok(), c.accepted) << c.voters << " voters, " << c.connected << " connected";
    EXPECT_EQ(AddLearner().ok(), c.accepted);
    EXPECT_EQ(Is(voter, ErrorId::kUnhealthy), !c.accepted) << voter;
  }
}

TEST_F(ReconfigCheckTest, ConnectionsCountFromFiveSecondsOn) {
  AddVoters(3, 1);
  Connect(2, 4);
  Connect(3, 4);
  EXPECT_TRUE(Is(AddVoter(), ErrorId::kUnhealthy));
  Connect(2, 5);
  Connect(3, 5);
  EXPECT_TRUE(AddVoter().ok());
}

TEST_F(ReconfigCheckTest, RemovingTheLastMemberIsRefused) {
  Add(1);
  EXPECT_TRUE(Is(Remove(1), ErrorId::kMemberNotEnoughStarted));
}

TEST_F(ReconfigCheckTest, ADownMemberMayBeRemovedAHealthyOneOnlyIfAQuorumStays) {
  AddVoters(3, 2);                // 3 is down
  EXPECT_TRUE(Remove(3).ok());
  EXPECT_TRUE(Is(Remove(2), ErrorId::kUnhealthy));
  EXPECT_TRUE(Is(Remove(1), ErrorId::kUnhealthy));
  Connect(3);
  EXPECT_TRUE(Remove(2).ok());
}

TEST_F(ReconfigCheckTest, RemovalCountsStartedVotersAmongTheRest) {
  Add(1);
  Add(2, /*started=*/false);
  Connect(2);
  EXPECT_TRUE(Remove(2).ok());
  EXPECT_TRUE(Is(Remove(1), ErrorId::kMemberNotEnoughStarted));
}

TEST_F(ReconfigCheckTest, LearnersMayAlwaysBeRemoved) {
  AddVoters(3, 1);
  Add(4, /*started=*/false, /*learner=*/true);
  EXPECT_TRUE(Remove(4).ok());
}

TEST_F(ReconfigCheckTest, PromotionNeedsStartedVoters) {
  Add(1);
  Add(2, /*started=*/true, /*learner=*/true);
  EXPECT_TRUE(MayPromote(*cluster_, 2).ok());
  Add(3, /*started=*/false);
  Add(4, /*started=*/false);
  EXPECT_TRUE(Is(MayPromote(*cluster_, 2), ErrorId::kMemberNotEnoughStarted));
}

}  // namespace
}  // namespace etcdd::membership
