// The checkers are checked: correct histories pass, and every mutation of one is found out.

#include <functional>
#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/sim/client.h"
#include "tests/sim/history.h"
#include "tests/sim/kv_checker.h"
#include "tests/sim/lease_checker.h"
#include "tests/sim/watch_checker.h"

namespace etcdd::sim {
namespace {

using ::testing::Contains;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

// Makes a history in which everything goes as it should: time moves on with each operation.
class Author {
 public:
  // Runs the request at the newest state, as its only one at the time.
  Operation& Do(Operation operation) {
    Operation& begun = Begin(std::move(operation));
    Apply(begun);
    End(begun);
    return begun;
  }
  Operation& Begin(Operation operation) {
    operation.call = Tick();
    return history.Begin(std::move(operation));
  }
  void Apply(Operation& operation) {
    const Model::Outcome outcome = log.model().Run(operation.request, log.revision());
    if (!outcome.events.empty()) Append(outcome.events);
    operation.response = outcome.response;
    operation.revision = log.revision();
  }
  void End(Operation& operation) {
    operation.end = Tick();
    operation.result = Result::kOk;
  }
  void Append(const Events& events) {
    ASSERT_EQ(log.Add(log.revision() + 1, events, Tick()), std::nullopt);
  }
  absl::Duration Tick() { return now += absl::Milliseconds(1); }

  Operation& Put(const std::string& key, const std::string& value) {
    return Do(Client::Put(key, value));
  }
  Operation& Get(const std::string& key) { return Do(Client::Read(key, "", false)); }
  Operation& Delete(const std::string& key) {
    Operation operation;
    operation.request.add_success()->mutable_request_delete_range()->set_key(key);
    return Do(std::move(operation));
  }
  Operation& Compact(int64_t revision) {
    Operation operation;
    operation.kind = OperationKind::kCompact;
    operation.compact_revision = revision;
    Operation& begun = Begin(std::move(operation));
    End(begun);
    begun.revision = log.revision();
    return begun;
  }
  Operation& Lease(OperationKind kind, int64_t id, int64_t ttl) {
    Operation operation;
    operation.kind = kind;
    operation.lease = id;
    operation.ttl_seconds = ttl;
    Operation& begun = Begin(std::move(operation));
    End(begun);
    return begun;
  }

  History history;
  EventLog log;
  absl::Duration now;
};

class KvCheckerTest : public ::testing::Test {
 protected:
  void SetUp() override {
    put_ = &author_.Put("a", "1");         // revision 2
    get_ = &author_.Get("a");
    overwrite_ = &author_.Put("a", "2");   // 3
    last_get_ = &author_.Get("a");
    remove_ = &author_.Delete("a");        // 4
    empty_remove_ = &author_.Delete("a");  // changes nothing
    ASSERT_THAT(CheckKv(author_.history, author_.log), IsEmpty());
  }
  void ExpectFound(const std::string& text) {
    EXPECT_THAT(CheckKv(author_.history, author_.log), Contains(HasSubstr(text)));
  }

  Author author_;
  Operation* put_;
  Operation* get_;
  Operation* overwrite_;
  Operation* last_get_;
  Operation* remove_;
  Operation* empty_remove_;
};

TEST_F(KvCheckerTest, StaleReadIsFound) {
  // Answered from the state before the second put, which had ended.
  last_get_->revision = get_->revision;
  last_get_->response = get_->response;
  ExpectFound("ordered before one that had ended");
}

TEST_F(KvCheckerTest, StaleSerializableReadIsAllowed) {
  last_get_->revision = get_->revision;
  last_get_->response = get_->response;
  last_get_->serializable = true;
  last_get_->member = 7;  // one that lags
  EXPECT_THAT(CheckKv(author_.history, author_.log), IsEmpty());
}

TEST_F(KvCheckerTest, OneMemberGoingBackIsFoundEvenForSerializableReads) {
  last_get_->revision = get_->revision;
  last_get_->response = get_->response;
  last_get_->serializable = true;
  ExpectFound("ordered before one that had ended");
}

TEST_F(KvCheckerTest, WrongValueIsFound) {
  get_->response.mutable_responses(0)->mutable_response_range()->mutable_kvs(0)->set_value("x");
  ExpectFound("the answer should be");
}

TEST_F(KvCheckerTest, LostUpdateIsFound) {
  // Acknowledged with a revision that is somebody else's change.
  overwrite_->revision = put_->revision;
  ExpectFound("revision 2 is PUT a=1");
}

TEST_F(KvCheckerTest, AcknowledgedButNeverHappenedIsFound) {
  Operation& lost = author_.Begin(Client::Put("b", "1"));
  lost.response.set_succeeded(true);
  lost.response.add_responses()->mutable_response_put();
  author_.End(lost);
  lost.revision = author_.log.revision() + 1;
  ExpectFound("a revision nobody has seen");
}

TEST_F(KvCheckerTest, ChangeNobodyAskedForIsFound) {
  Operation ghost = Client::Put("b", "ghost");
  author_.Append(author_.log.model().Run(ghost.request, author_.log.revision()).events);
  ExpectFound("nobody asked for revision 5");
}

TEST_F(KvCheckerTest, UnansweredChangeMayHappenOnceButNotTwice) {
  Operation& open = author_.Begin(Client::Put("b", "1"));
  author_.Append(author_.log.model().Run(open.request, author_.log.revision()).events);
  EXPECT_THAT(CheckKv(author_.history, author_.log), IsEmpty());
  author_.Append(author_.log.model().Run(open.request, author_.log.revision()).events);
  ExpectFound("all who may have asked for it have been served");
}

TEST_F(KvCheckerTest, UnansweredChangeMayNeverHappen) {
  author_.Begin(Client::Put("b", "1"));
  EXPECT_THAT(CheckKv(author_.history, author_.log), IsEmpty());
}

TEST_F(KvCheckerTest, RefusedChangeThatHappensIsFound) {
  Operation& refused = author_.Begin(Client::Put("b", "1"));
  author_.Append(author_.log.model().Run(refused.request, author_.log.revision()).events);
  refused.end = author_.Tick();
  refused.result = Result::kRefused;
  ExpectFound("nobody asked for revision 5");
}

TEST_F(KvCheckerTest, EffectBeforeItWasAskedForIsFound) {
  Operation& early = author_.Put("b", "1");
  early.call = early.end - absl::Nanoseconds(1);
  ExpectFound("seen before it was asked for");
}

TEST_F(KvCheckerTest, OverlappingOperationsMayGoEitherWay) {
  Operation& write = author_.Begin(Client::Put("b", "1"));
  Operation& before = author_.Begin(Client::Read("b", "", false));
  author_.Apply(before);
  author_.Apply(write);
  author_.End(write);
  author_.End(before);
  EXPECT_THAT(CheckKv(author_.history, author_.log), IsEmpty());
}

TEST_F(KvCheckerTest, OpenDeletesAreMatchedToWhatEachCanExplain) {
  author_.Put("b", "1");
  author_.Put("c", "1");
  Operation all;
  all.request.add_success()->mutable_request_delete_range()->set_key("b");
  all.request.mutable_success(0)->mutable_request_delete_range()->set_range_end("d");
  Operation one;
  one.request.add_success()->mutable_request_delete_range()->set_key("c");
  Operation& range = author_.Begin(std::move(all));
  Operation& single = author_.Begin(std::move(one));
  // Deletes c, then b: only the range can have done the second, so the first was the single one.
  for (const Operation* operation : {&single, &range}) {
    author_.Append(author_.log.model().Run(operation->request, author_.log.revision()).events);
  }
  EXPECT_THAT(CheckKv(author_.history, author_.log), IsEmpty());
}

TEST_F(KvCheckerTest, CompactedWithoutACompactionIsFound) {
  Operation read = Client::Read("a", "", false);
  read.request.mutable_success(0)->mutable_request_range()->set_revision(2);
  Operation& old = author_.Begin(std::move(read));
  old.end = author_.Tick();
  old.result = Result::kRefused;
  old.error = "etcdserver: mvcc: required revision has been compacted";
  ExpectFound("compacted though nobody asked for it");
  author_.Compact(3).call = old.call;
  EXPECT_THAT(CheckKv(author_.history, author_.log), IsEmpty());
}

TEST_F(KvCheckerTest, ReadBehindACompactionIsFound) {
  author_.Compact(3);
  Operation read = Client::Read("a", "", false);
  read.request.mutable_success(0)->mutable_request_range()->set_revision(2);
  author_.Do(std::move(read));
  ExpectFound("read a revision that had been compacted");
}

TEST(EventLogTest, MembersThatDifferAreFound) {
  Author author;
  author.Put("a", "1");
  Operation other = Client::Put("a", "2");
  const Events events = author.log.model().Run(other.request, 1).events;
  EXPECT_THAT(author.log.Add(2, events, author.Tick()).value_or(""), HasSubstr("members differ"));
}

TEST(EventLogTest, EventsThatDoNotFollowAreFound) {
  Author author;
  author.Put("a", "1");
  Events events = author.log.model().Run(Client::Put("a", "2").request, 2).events;
  events[0].mutable_kv()->set_version(7);
  EXPECT_THAT(author.log.Add(3, events, author.Tick()).value_or(""), HasSubstr("should be"));
}

class WatchCheckerTest : public ::testing::Test {
 protected:
  void SetUp() override {
    author_.Put("a", "1");   // 2
    author_.Put("b", "1");   // 3
    author_.Put("a", "2");   // 4
    author_.Delete("a");     // 5
    run_.request.set_key("a");
    run_.request.set_prev_kv(true);
    Say([](auto* created) { created->set_created(true); }, 1);
    for (const int64_t revision : {2, 4, 5}) SayEvents(revision);
    run_.open_at_end = true;
    ASSERT_THAT(Check(), IsEmpty());
  }
  std::vector<std::string> Check() { return CheckWatch(run_, author_.history, author_.log); }
  void ExpectFound(const std::string& text) { EXPECT_THAT(Check(), Contains(HasSubstr(text))); }

  void Say(const std::function<void(etcdserverpb::WatchResponse*)>& fill, int64_t revision) {
    etcdserverpb::WatchResponse response;
    response.mutable_header()->set_revision(revision);
    fill(&response);
    run_.responses.push_back({author_.Tick(), response});
  }
  void SayEvents(int64_t revision) {
    Say(
        [&](auto* response) {
          for (mvccpb::Event event : author_.log.model().events(revision)) {
            const auto* before = author_.log.model().Get(event.kv().key(), revision - 1);
            if (before != nullptr) *event.mutable_prev_kv() = *before;
            *response->add_events() = event;
          }
        },
        revision);
  }
  mvccpb::Event* EventOf(size_t response) {
    return run_.responses[response].response.mutable_events(0);
  }

  Author author_;
  WatchRun run_;
};

TEST_F(WatchCheckerTest, LostEventIsFound) {
  run_.responses.erase(run_.responses.begin() + 2);
  ExpectFound("revision 4 is missing before 5");
}

TEST_F(WatchCheckerTest, LostLastEventIsFoundOnlyOfAnOpenWatch) {
  run_.responses.pop_back();
  ExpectFound("revision 5 never came");
  run_.open_at_end = false;
  EXPECT_THAT(Check(), IsEmpty());
}

TEST_F(WatchCheckerTest, DoubledEventIsFound) {
  run_.responses.push_back(run_.responses.back());
  ExpectFound("although 6 is the next one");
}

TEST_F(WatchCheckerTest, ReorderedEventsAreFound) {
  std::swap(run_.responses[1], run_.responses[2]);
  ExpectFound("revision 2 is missing before 4");
}

TEST_F(WatchCheckerTest, ForeignEventIsFound) {
  run_.responses.pop_back();
  run_.responses.pop_back();
  SayEvents(3);
  ExpectFound("revision 3 is PUT b=1");
}

TEST_F(WatchCheckerTest, ProgressThatPassesOverAnEventIsFound) {
  run_.responses.resize(2);
  Say([](auto*) {}, 4);
  ExpectFound("progress passes over revision 4");
}

TEST_F(WatchCheckerTest, EventBehindAProgressIsFound) {
  run_.responses.insert(run_.responses.begin() + 1, run_.responses[0]);
  run_.responses[1].response.set_created(false);
  run_.responses[1].response.mutable_header()->set_revision(2);
  ExpectFound("progress passes over revision 2");
}

TEST_F(WatchCheckerTest, WrongPreviousPairIsFound) {
  EventOf(2)->mutable_prev_kv()->set_value("x");
  ExpectFound("another previous pair");
  EventOf(2)->clear_prev_kv();
  ExpectFound("no previous pair");
  author_.Compact(4);
  run_.responses[2].time = author_.Tick();  // it may be compacted by now
  EXPECT_THAT(Check(), IsEmpty());
}

TEST_F(WatchCheckerTest, EventAgainstTheFilterIsFound) {
  run_.request.add_filters(etcdserverpb::WatchCreateRequest::NODELETE);
  ExpectFound("revision 5 is DELETE a@5 instead of");
}

TEST_F(WatchCheckerTest, FutureWatchThatGetsThePastIsFound) {
  run_.request.set_start_revision(5);
  ExpectFound("although 5 is the next one");
}

TEST_F(WatchCheckerTest, CancelForACompactionMustBeTrue) {
  run_.responses.resize(2);
  Say([](auto* response) { response->set_canceled(true), response->set_compact_revision(4); }, 0);
  ExpectFound("a compaction nobody asked for");
  author_.Compact(4);
  run_.responses.back().time = author_.Tick();
  EXPECT_THAT(Check(), IsEmpty());
  EXPECT_EQ(NextRevision(run_), 4);
  run_.responses.back().response.set_compact_revision(3);
  ExpectFound("a compaction it is not touched by");
}

TEST_F(WatchCheckerTest, TornRevisionIsFound) {
  Operation txn;
  for (const char* value : {"3", "4"}) {
    auto* put = txn.request.add_success()->mutable_request_put();
    put->set_key(value[0] == '3' ? "a" : "aa");
    put->set_value(value);
  }
  author_.Do(std::move(txn));  // 6
  run_.request.set_range_end("b");
  SayEvents(6);
  EXPECT_THAT(Check(), IsEmpty());
  run_.responses.back().response.mutable_events()->RemoveLast();
  ExpectFound("revision 6 is");
}

class LeaseCheckerTest : public ::testing::Test {
 protected:
  void SetUp() override {
    author_.Lease(OperationKind::kLeaseGrant, 7, 5);
    author_.Do(Client::Put("a", "1", 7));
    granted_at_ = author_.now;
  }
  std::vector<std::string> Check() { return CheckLeases(author_.history, author_.log); }
  void ExpireAt(absl::Duration time) {
    author_.now = time;
    Operation remove;
    remove.request.add_success()->mutable_request_delete_range()->set_key("a");
    author_.Append(author_.log.model().Run(remove.request, author_.log.revision()).events);
  }

  Author author_;
  absl::Duration granted_at_;
};

TEST_F(LeaseCheckerTest, EndInTimePasses) {
  ExpireAt(granted_at_ + absl::Seconds(6));
  EXPECT_THAT(Check(), IsEmpty());
}

TEST_F(LeaseCheckerTest, EarlyEndIsFound) {
  ExpireAt(granted_at_ + absl::Seconds(4));
  EXPECT_THAT(Check(), Contains(HasSubstr("lease 7 ended early")));
}

TEST_F(LeaseCheckerTest, EndDuringARenewedLifeIsFound) {
  author_.now = granted_at_ + absl::Seconds(4);
  author_.Lease(OperationKind::kLeaseRenew, 7, 5);
  ExpireAt(granted_at_ + absl::Seconds(8));
  EXPECT_THAT(Check(), Contains(HasSubstr("lease 7 ended early")));
}

TEST_F(LeaseCheckerTest, RevokedLeaseMayEndAtOnce) {
  author_.Lease(OperationKind::kLeaseRevoke, 7, 0);
  ExpireAt(granted_at_ + absl::Seconds(1));
  EXPECT_THAT(Check(), IsEmpty());
}

TEST_F(LeaseCheckerTest, BeingToldThatItIsGoneEarlyIsFound) {
  author_.now = granted_at_ + absl::Seconds(2);
  author_.Lease(OperationKind::kLeaseTimeToLive, 7, -1);
  EXPECT_THAT(Check(), Contains(HasSubstr("lease 7 ended early")));
}

TEST_F(LeaseCheckerTest, RenewalOfAGoneLeaseIsFound) {
  ExpireAt(granted_at_ + absl::Seconds(6));
  author_.Lease(OperationKind::kLeaseRenew, 7, 5);
  EXPECT_THAT(Check(), Contains(HasSubstr("lease 7 came back")));
}

}  // namespace
}  // namespace etcdd::sim
