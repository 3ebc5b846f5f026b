// The lock service on a member under a fake clock: LOCK-001..007, and clients that go away.

#include "tests/server/concurrency_fixture.h"

namespace etcdd::server {
namespace {

using LockTest = ConcurrencyTest;

TEST_F(LockTest, KeyIsTheNameAndTheLeaseInHexadecimal) {
  ASSERT_TRUE(member_.LeaseGrant(0xab10, 60).ok());
  ASSERT_TRUE(member_.LeaseGrant(-0x5, 60).ok());
  ASSERT_TRUE(member_.LeaseGrant(INT64_MIN, 60).ok());
  EXPECT_EQ(Locked(Lock("a", 0xab10)).key(), "a/ab10");
  EXPECT_EQ(Locked(Lock("b", -0x5)).key(), "b/-5");
  EXPECT_EQ(Locked(Lock("c", INT64_MIN)).key(), "c/-8000000000000000");
  EXPECT_EQ(Locked(Lock("", 1)).key(), "/1");
  EXPECT_EQ(member_.Get("a/ab10"), "");
  ASSERT_TRUE(member_.LeaseRevoke(0xab10).ok());
  EXPECT_FALSE(Exists("a/ab10"));
}

TEST_F(LockTest, WithoutALeaseTheServerGrantsOneThatNobodyRenews) {
  const std::string key = Locked(Lock("a", 0)).key();
  EXPECT_EQ(member_.server->Leases().size(), 4u);
  member_.clock.AdvanceBy(absl::Seconds(59));
  EXPECT_TRUE(Exists(key));
  member_.clock.AdvanceBy(absl::Seconds(3));
  EXPECT_FALSE(Exists(key));
}

TEST_F(LockTest, WaitersGetTheLockInTheOrderOfTheirArrival) {
  const auto first = Locked(Lock("a", 2));
  const CallPointer second = Lock("a", 3);
  const CallPointer third = Lock("a", 1);
  EXPECT_FALSE(second->finished || third->finished);
  ASSERT_TRUE(Unlock(first.key())->status.ok());
  EXPECT_GT(Locked(second).header().revision(), first.header().revision());
  EXPECT_FALSE(third->finished);
  ASSERT_TRUE(Unlock("a/3")->status.ok());
  EXPECT_GT(Locked(third).header().revision(), Locked(second).header().revision());
  EXPECT_EQ(watchers(), 0u);
}

TEST_F(LockTest, AllEarlierKeysMustGo) {
  Locked(Lock("a", 1));
  const CallPointer second = Lock("a", 2);
  const CallPointer third = Lock("a", 3);
  ASSERT_TRUE(Unlock("a/2")->status.ok());
  EXPECT_FALSE(third->finished) << "the holder is still there";
  ASSERT_TRUE(Unlock("a/1")->status.ok());
  EXPECT_EQ(Locked(third).key(), "a/3");
  ExpectError(second, "mutex: session is expired");
}

TEST_F(LockTest, NamesDoNotTouchEachOther) {
  Locked(Lock("a", 1));
  Locked(Lock("a/b", 2));
  Locked(Lock("a0", 3));
  Locked(Lock("", 2));
}

TEST_F(LockTest, TheHolderGetsTheLockAgain) {
  const auto first = Locked(Lock("a", 1));
  const auto again = Locked(Lock("a", 1));
  EXPECT_EQ(again.key(), first.key());
  EXPECT_EQ(revision(), first.header().revision());
}

TEST_F(LockTest, HeaderIsThatOfTheDecidingRequest) {
  const auto first = Locked(Lock("a", 1));
  EXPECT_EQ(first.header().revision(), revision());
  const CallPointer second = Lock("a", 2);
  ASSERT_TRUE(member_.Put("x", "y").ok());
  ASSERT_TRUE(Unlock("a/1")->status.ok());
  EXPECT_EQ(Locked(second).header().revision(), revision());
  EXPECT_EQ(Locked(second).header().member_id(), member_.server->identity().member_id);
}

TEST_F(LockTest, ExpiryAndRevokeReleaseTheLock) {
  ASSERT_TRUE(member_.LeaseGrant(7, 10).ok());
  Locked(Lock("a", 7));
  const CallPointer second = Lock("a", 1);
  const CallPointer third = Lock("a", 2);
  member_.clock.AdvanceBy(absl::Seconds(13));
  EXPECT_EQ(Locked(second).key(), "a/1");
  ASSERT_TRUE(member_.LeaseRevoke(1).ok());
  EXPECT_EQ(Locked(third).key(), "a/2");
}

TEST_F(LockTest, AWaiterThatLostItsLeaseIsToldWhenItsTurnComes) {
  Locked(Lock("a", 1));
  const CallPointer second = Lock("a", 2);
  ASSERT_TRUE(member_.LeaseRevoke(2).ok());
  EXPECT_FALSE(second->finished);
  ASSERT_TRUE(Unlock("a/1")->status.ok());
  ExpectError(second, "mutex: session is expired");
}

TEST_F(LockTest, AnotherKeyOfTheSameNameIsNotTheWaitersOwn) {
  Locked(Lock("a", 1));
  const CallPointer second = Lock("a", 2);
  ASSERT_TRUE(member_.Delete("a/2").ok());
  ASSERT_TRUE(member_.Put("a/2", "").ok());
  ASSERT_TRUE(Unlock("a/1")->status.ok());
  ExpectError(second, "mutex: session is expired");
  EXPECT_TRUE(Exists("a/2"));
}

TEST_F(LockTest, AClientThatGoesAwayLeavesTheQueue) {
  Locked(Lock("a", 1));
  const CallPointer second = Lock("a", 2);
  const CallPointer third = Lock("a", 3);
  second->Cancel();
  member_.Run();
  EXPECT_FALSE(Exists("a/2"));
  EXPECT_FALSE(second->finished || third->finished);
  ASSERT_TRUE(Unlock("a/1")->status.ok());
  EXPECT_EQ(Locked(third).key(), "a/3");
  EXPECT_EQ(watchers(), 0u);
}

TEST_F(LockTest, AClientThatGoesAwayWhileItsKeyIsWrittenLeavesNoKey) {
  const CallPointer call = StartLock("a", 1);
  call->Cancel();
  member_.Run();
  EXPECT_FALSE(call->finished);
  EXPECT_FALSE(Exists("a/1"));
}

TEST_F(LockTest, AClientThatGoesAwayWhileItsLeaseIsGrantedLeavesNoKey) {
  const CallPointer call = StartLock("a", 0);
  const int64_t before = revision();
  call->Cancel();
  member_.Run();
  EXPECT_EQ(revision(), before);
}

TEST_F(LockTest, GoingAwayAsTheHolderChangesNothing) {
  const CallPointer first = Lock("a", 1);
  Locked(first);
  first->Cancel();
  member_.Run();
  EXPECT_TRUE(Exists("a/1"));
}

// A client that gave up and asks again shares the key with its first request.
TEST_F(LockTest, TheFirstRequestOnItsWayOutLeavesTheKeyOfTheSecond) {
  const CallPointer first = StartLock("a", 1);
  first->Cancel();
  const CallPointer again = Lock("a", 1);
  EXPECT_EQ(Locked(again).key(), "a/1");
  EXPECT_TRUE(Exists("a/1"));

  const CallPointer waits = Lock("a", 2);
  const CallPointer waits_too = Lock("a", 2);
  waits->Cancel();
  member_.Run();
  EXPECT_TRUE(Exists("a/2"));
  ASSERT_TRUE(Unlock("a/1")->status.ok());
  EXPECT_EQ(Locked(waits_too).key(), "a/2");
  EXPECT_TRUE(Exists("a/2"));
}

TEST_F(LockTest, WhoComesAfterAWithdrawalEntersAnew) {
  Locked(Lock("a", 1));
  const CallPointer gone = Lock("a", 2);
  gone->Cancel();
  const CallPointer again = Lock("a", 2);
  EXPECT_TRUE(Exists("a/2"));
  ASSERT_TRUE(Unlock("a/1")->status.ok());
  EXPECT_EQ(Locked(again).key(), "a/2");
}

TEST_F(LockTest, UnlockDeletesAlsoWhatIsNotThere) {
  Locked(Lock("a", 1));
  const auto unlocked = Reply<v3lockpb::UnlockResponse>(Unlock("a/1"));
  EXPECT_EQ(unlocked.header().revision(), revision());
  EXPECT_FALSE(Exists("a/1"));
  EXPECT_TRUE(Unlock("a/1")->status.ok());
}

TEST_F(LockTest, ErrorsOfTheStoreHaveTheCodeUnknown) {
  ExpectError(Lock("a", 4242), "etcdserver: requested lease not found");
  ExpectError(Unlock(""), "etcdserver: key is not provided");
  ExpectError(Lock(std::string(2 << 20, 'x'), 1), "etcdserver: request is too large");
  ASSERT_TRUE(member_.Alarm(etcdserverpb::AlarmRequest::ACTIVATE, etcdserverpb::NOSPACE).ok());
  ExpectError(Lock("a", 1), "etcdserver: mvcc: database space exceeded");
  EXPECT_EQ(watchers(), 0u);
}

TEST_F(LockTest, AWaitSurvivesCompactionOfEverythingBeforeIt) {
  Locked(Lock("a", 1));
  const CallPointer second = Lock("a", 2);
  for (int i = 0; i < 10; ++i) ASSERT_TRUE(member_.Put("a/1", "changed", 1).ok());
  ASSERT_TRUE(member_.Compact(revision(), /*physical=*/true).ok());
  EXPECT_FALSE(second->finished);
  ASSERT_TRUE(Unlock("a/1")->status.ok());
  EXPECT_EQ(Locked(second).key(), "a/2");
}

TEST_F(LockTest, MalformedRequestsAreRefused) {
  auto call = std::make_shared<rpc::FakeCall>("/v3lockpb.Lock/Lock", "\xff\xff\xff");
  dispatcher_->Dispatch(std::shared_ptr<rpc::Call>(call));
  EXPECT_EQ(call->status.code(), absl::StatusCode::kInternal);
}

TEST_F(LockTest, AStoppedServerRefuses) {
  const CallPointer running = StartLock("a", 1);
  member_.server->Stop(absl::UnavailableError("etcdserver: server stopped"));
  ExpectError(running, "etcdserver: server stopped");
}

}  // namespace
}  // namespace etcdd::server
