// The election service on a member under a fake clock: ELEC-001..006.

#include "tests/server/concurrency_fixture.h"

namespace etcdd::server {
namespace {

using v3electionpb::LeaderKey;
using v3electionpb::LeaderResponse;
using ElectionTest = ConcurrencyTest;
using Strings = std::vector<std::string>;

TEST_F(ElectionTest, TheFirstCandidateLeads) {
  const auto elected = Elected(Campaign("e", 1, "one"));
  EXPECT_EQ(elected.leader().name(), "e");
  EXPECT_EQ(elected.leader().key(), "e/1");
  EXPECT_EQ(elected.leader().rev(), revision());
  EXPECT_EQ(elected.leader().lease(), 1);
  EXPECT_EQ(elected.header().revision(), revision());
  const auto leader = Reply<LeaderResponse>(Leader("e"));
  EXPECT_EQ(leader.kv().value(), "one");
  EXPECT_EQ(leader.kv().lease(), 1);
  EXPECT_EQ(leader.header().revision(), revision());
}

TEST_F(ElectionTest, WithoutALeaseTheServerGrantsOne) {
  const auto elected = Elected(Campaign("e", 0, "one"));
  EXPECT_NE(elected.leader().lease(), 0);
  EXPECT_TRUE(Exists(elected.leader().key()));
  member_.clock.AdvanceBy(absl::Seconds(62));
  ExpectError(Leader("e"), "election: no leader");
}

TEST_F(ElectionTest, ALaterCandidateIsToldTheHeaderOfItsRegistration) {
  const auto first = Elected(Campaign("e", 1, "one"));
  const CallPointer second = Campaign("e", 2, "two");
  const int64_t registered = revision();
  EXPECT_FALSE(second->finished);
  EXPECT_EQ(Reply<LeaderResponse>(Leader("e")).kv().value(), "one");
  ASSERT_TRUE(Resign(first.leader())->status.ok());
  EXPECT_EQ(Elected(second).header().revision(), registered);
  EXPECT_EQ(Elected(second).leader().rev(), registered);
  EXPECT_EQ(Reply<LeaderResponse>(Leader("e")).kv().value(), "two");
}

TEST_F(ElectionTest, CampaigningAgainProclaimsANewValue) {
  const auto first = Elected(Campaign("e", 1, "one"));
  const int64_t before = revision();
  EXPECT_EQ(Elected(Campaign("e", 1, "one")).leader().rev(), first.leader().rev());
  EXPECT_EQ(revision(), before);
  EXPECT_EQ(Elected(Campaign("e", 1, "two")).leader().rev(), first.leader().rev());
  EXPECT_EQ(member_.Get("e/1"), "two");
}

TEST_F(ElectionTest, ACandidateThatWaitsMayChangeItsValue) {
  const auto first = Elected(Campaign("e", 1, "one"));
  const CallPointer second = Campaign("e", 2, "two");
  const CallPointer again = Campaign("e", 2, "three");
  EXPECT_EQ(member_.Get("e/2"), "three");
  EXPECT_FALSE(again->finished);
  ASSERT_TRUE(Resign(first.leader())->status.ok());
  EXPECT_EQ(Elected(second).leader().rev(), Elected(again).leader().rev());
}

TEST_F(ElectionTest, AClientThatGoesAwayWithdraws) {
  Elected(Campaign("e", 1, "one"));
  const CallPointer second = Campaign("e", 2, "two");
  second->Cancel();
  member_.Run();
  EXPECT_FALSE(Exists("e/2"));
  EXPECT_TRUE(Exists("e/1"));
}

TEST_F(ElectionTest, OnlyTheLeaderOfThatRevisionProclaims) {
  LeaderKey leader = Elected(Campaign("e", 1, "one")).leader();
  const auto proclaimed = Reply<v3electionpb::ProclaimResponse>(Proclaim(leader, "two"));
  EXPECT_EQ(proclaimed.header().revision(), revision());
  EXPECT_EQ(member_.Get("e/1"), "two");
  leader.set_rev(leader.rev() - 1);
  const int64_t before = revision();
  ExpectError(Proclaim(leader, "three"), "election: not leader");
  EXPECT_EQ(Reply<v3electionpb::ResignResponse>(Resign(leader)).header().revision(), before);
  EXPECT_EQ(member_.Get("e/1"), "two");
  leader.set_rev(leader.rev() + 1);
  EXPECT_EQ(Reply<v3electionpb::ResignResponse>(Resign(leader)).header().revision(), before + 1);
  ExpectError(Proclaim(leader, "three"), "election: not leader");
}

TEST_F(ElectionTest, ProclaimAndResignNeedALeaderAndAKey) {
  constexpr char kMissing[] = "\"leader\" field must be provided";
  const v3electionpb::ProclaimRequest proclaim;
  ExpectError(Run(Start("/v3electionpb.Election/Proclaim", proclaim)), kMissing);
  const v3electionpb::ResignRequest resign;
  ExpectError(Run(Start("/v3electionpb.Election/Resign", resign)), kMissing);
  LeaderKey empty;
  empty.set_lease(1);
  ExpectError(Proclaim(empty, "x"), "etcdserver: key is not provided");
  ExpectError(Resign(empty), "etcdserver: key is not provided");
}

TEST_F(ElectionTest, ErrorsOfTheStoreHaveTheCodeUnknown) {
  ExpectError(Campaign("e", 4242, "x"), "etcdserver: requested lease not found");
  ExpectError(Leader("e"), "election: no leader");
  LeaderKey leader = Elected(Campaign("e", 1, "one")).leader();
  leader.set_lease(4242);
  ExpectError(Proclaim(leader, "x"), "etcdserver: requested lease not found");
}

TEST_F(ElectionTest, AnObserverSeesEveryValueOfALeaderAndThenTheNext) {
  const LeaderKey first = Elected(Campaign("e", 1, "one")).leader();
  const auto stream = Observe("e");
  EXPECT_EQ(Values(*stream), (Strings{"one"}));
  Proclaim(first, "two");
  Proclaim(first, "three");
  Campaign("e", 2, "other");
  EXPECT_EQ(Values(*stream), (Strings{"one", "two", "three"}));
  Resign(first);
  EXPECT_EQ(Values(*stream), (Strings{"one", "two", "three", "other"}));
  EXPECT_FALSE(stream->status.has_value());
}

TEST_F(ElectionTest, AnObserverWaitsForTheFirstLeader) {
  const auto stream = Observe("e");
  EXPECT_TRUE(stream->sent.empty());
  Campaign("other", 1, "no");
  const LeaderKey first = Elected(Campaign("e", 1, "one")).leader();
  EXPECT_EQ(Values(*stream), (Strings{"one"}));
  Proclaim(first, "two");
  Resign(first);
  EXPECT_EQ(Values(*stream), (Strings{"one", "two"}));
  Campaign("e", 2, "three");
  EXPECT_EQ(Values(*stream), (Strings{"one", "two", "three"}));
}

TEST_F(ElectionTest, AnObserverMissesNoValueThatFollowsAtOnce) {
  const auto stream = Observe("e");
  for (const char* value : {"one", "two", "three"}) member_.PutLater("e/1", value);
  member_.Run();
  EXPECT_EQ(Values(*stream), (Strings{"one", "two", "three"}));
}

TEST_F(ElectionTest, ALeaderOlderThanTheCompactionIsObserved) {
  const LeaderKey first = Elected(Campaign("e", 1, "one")).leader();
  for (int i = 0; i < 5; ++i) ASSERT_TRUE(member_.Put("x", "y").ok());
  ASSERT_TRUE(member_.Compact(revision(), /*physical=*/true).ok());
  const auto stream = Observe("e");
  EXPECT_EQ(Values(*stream), (Strings{"one"}));
  ASSERT_TRUE(member_.Put("x", "y").ok());
  ASSERT_TRUE(member_.Compact(revision(), /*physical=*/true).ok());
  Proclaim(first, "two");
  EXPECT_EQ(Values(*stream), (Strings{"one", "two"}));
}

TEST_F(ElectionTest, AnObserverThatDoesNotReadIsSentNoMore) {
  const LeaderKey first = Elected(Campaign("e", 1, "0")).leader();
  const auto stream = Observe("e");
  stream->SetWritable(false);
  Strings all = {"0", "1"};
  Proclaim(first, "1");
  EXPECT_EQ(Values(*stream), all) << "the one that fills it";
  for (int i = 2; i < 10; ++i) {
    all.push_back(std::to_string(i));
    Proclaim(first, all.back());
  }
  EXPECT_EQ(stream->sent.size(), 2u);
  stream->SetWritable(true);
  member_.Run();
  EXPECT_EQ(Values(*stream), all);
}

TEST_F(ElectionTest, AnObserverThatDoesNotReadIsSentTheNewestLeaderAfterwards) {
  LeaderKey leader = Elected(Campaign("e", 1, "one")).leader();
  const auto stream = Observe("e");
  stream->SetWritable(false);
  Resign(leader);
  leader = Elected(Campaign("e", 1, "two")).leader();
  for (const char* value : {"three", "four"}) {
    Resign(leader);
    leader = Elected(Campaign("e", 1, value)).leader();
  }
  EXPECT_LE(stream->sent.size(), 2u);
  stream->SetWritable(true);
  member_.Run();
  ASSERT_FALSE(stream->sent.empty());
  EXPECT_EQ(Values(*stream).back(), "four");
}

TEST_F(ElectionTest, AnObserverThatGoesAwayLeavesNoWatch) {
  Elected(Campaign("e", 1, "one"));
  const auto following = Observe("e");
  const auto waiting = Observe("f");
  EXPECT_EQ(watchers(), 2u);
  following->Close();
  waiting->Close();
  EXPECT_EQ(watchers(), 0u);
}

}  // namespace
}  // namespace etcdd::server
