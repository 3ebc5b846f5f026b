// The rules of watches, one by one (behaviour.md section 3).

#include "mvcc/watch_hub.h"

#include <algorithm>
#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/mvcc/watch_fixture.h"

namespace etcdd::mvcc {
namespace {

using etcdserverpb::WatchResponse;
using ::testing::ElementsAre;

const std::string kZero("\0", 1);

TEST_F(WatchHubTest, HeaderIsComplete) {
  auto client = NewClient();
  client->stream->Create(WatchKey("a"));
  const WatchResponse response = client->Read();
  EXPECT_EQ(response.header().cluster_id(), 5u);
  EXPECT_EQ(response.header().member_id(), 7u);
  EXPECT_EQ(response.header().raft_term(), 3u);
  EXPECT_EQ(response.header().revision(), 1);
}

TEST_F(WatchHubTest, RangesFollowTheRulesOfRange) {  // WATCH-002
  auto client = NewClient();
  ExpectRejected(*client, WatchRange("b", "a"), "mvcc: watcher range is empty");
  ExpectRejected(*client, WatchRange("b", "b"), "mvcc: watcher range is empty");
  EXPECT_EQ(Watch(*client, WatchRange("b", kZero)), 0);  // from b on
  EXPECT_EQ(Watch(*client, WatchRange("b", "d")), 1);
  EXPECT_EQ(Watch(*client, WatchKey("")), 2);            // the key of one zero byte
  EXPECT_EQ(Watch(*client, WatchRange("", kZero)), 3);   // everything
  const auto watching = [&](const std::string& key) {
    Put(key, "x");
    std::vector<int64_t> ids;
    while (client->waiting() > 0) ids.push_back(client->Read().watch_id());
    std::sort(ids.begin(), ids.end());
    return ids;
  };
  EXPECT_THAT(watching("a"), ElementsAre(3));
  EXPECT_THAT(watching("b"), ElementsAre(0, 1, 3));
  EXPECT_THAT(watching("czz"), ElementsAre(0, 1, 3));
  EXPECT_THAT(watching("d"), ElementsAre(0, 3));
  EXPECT_THAT(watching("\xff\xff"), ElementsAre(0, 3));
  EXPECT_THAT(watching(kZero), ElementsAre(2, 3));
}

TEST_F(WatchHubTest, IdsAreAutomaticOrChosen) {  // WATCH-003
  auto client = NewClient();
  auto chosen = WatchKey("a");
  EXPECT_EQ(Watch(*client, WatchKey("a")), 0);
  chosen.watch_id = 2;
  EXPECT_EQ(Watch(*client, chosen), 2);
  ExpectRejected(*client, chosen, "mvcc: duplicate watch ID provided on the WatchStream");
  ExpectRejected(*client, WatchRange("b", "a"), "mvcc: watcher range is empty");
  EXPECT_EQ(Watch(*client, WatchKey("a")), 1);  // failed creates use none up
  EXPECT_EQ(Watch(*client, WatchKey("a")), 3);  // 2 is in use
  client->stream->Cancel(3);
  client->stream->Cancel(2);
  (void)client->Read();
  (void)client->Read();
  EXPECT_EQ(Watch(*client, WatchKey("a")), 4);  // never handed out twice
  EXPECT_EQ(Watch(*client, chosen), 2);         // free again
  chosen.watch_id = -1;
  EXPECT_EQ(Watch(*client, chosen), -1);
  chosen.watch_id = -9;
  EXPECT_EQ(Watch(*client, chosen), -9);
  EXPECT_EQ(hub->stats().watchers, 6u);
}

TEST_F(WatchHubTest, NegativeStartIsRefused) {  // WATCH-005
  auto client = NewClient();
  ExpectRejected(*client, WatchKey("a", -1),
                 "etcdserver: mvcc: required revision has been compacted");
  EXPECT_EQ(Watch(*client, WatchKey("a")), 0);
}

TEST_F(WatchHubTest, CallerMayReject) {  // WATCH-006
  auto client = NewClient();
  client->stream->RejectCreate("rpc error: code = PermissionDenied desc = ...");
  const WatchResponse response = client->Read();
  EXPECT_TRUE(response.created() && response.canceled());
  EXPECT_EQ(response.watch_id(), -1);
  EXPECT_EQ(response.cancel_reason(), "rpc error: code = PermissionDenied desc = ...");
  EXPECT_EQ(Watch(*client, WatchKey("a")), 0);
}

TEST_F(WatchHubTest, CancelEndsTheWatch) {  // WATCH-009, WATCH-031
  auto client = NewClient();
  const int64_t id = Watch(*client, WatchKey("a"));
  Put("a", "1");
  client->stream->Cancel(id);
  Put("a", "2");
  client->stream->Cancel(id);  // unknown by now: no answer
  client->stream->Cancel(77);
  EXPECT_THAT(EventsOf(client->Read()), ElementsAre("PUT a=1@2"));
  const WatchResponse response = client->Read();
  EXPECT_TRUE(response.canceled());
  EXPECT_FALSE(response.created());
  EXPECT_EQ(response.watch_id(), id);
  EXPECT_EQ(response.cancel_reason(), "");
  EXPECT_EQ(response.header().revision(), 2);
  EXPECT_EQ(client->waiting(), 0u);
  EXPECT_EQ(hub->stats().watchers, 0u);
}

TEST_F(WatchHubTest, CancelWhileBehindSendsNothingMore) {
  Put("a", "1");
  auto client = NewClient();
  const int64_t id = Watch(*client, WatchKey("a", 1));
  apply.RunReady();  // the read is on its way
  client->stream->Cancel(id);
  RunAll();
  EXPECT_TRUE(client->Read().canceled());
  EXPECT_EQ(client->waiting(), 0u);
}

TEST_F(WatchHubTest, ClosedStreamLeavesNothingBehind) {  // WATCH-010
  Put("a", "1");
  auto client = NewClient(2);
  Watch(*client, WatchKey("a"));
  Watch(*client, WatchKey("a", 1));
  auto notify = WatchKey("a");
  notify.progress_notify = true;
  Watch(*client, notify);
  for (int i = 0; i < 5; ++i) Put("a", "x");  // some are parked now
  apply.RunReady();
  EXPECT_EQ(hub->stats().streams, 1u);
  client->stream.reset();
  EXPECT_EQ(hub->stats().streams, 0u);
  EXPECT_EQ(hub->stats().watchers, 0u);
  RunAll();
  clock.AdvanceBy(absl::Minutes(30));
  Put("a", "y");
  EXPECT_EQ(apply.timer_count(), 0u);
}

TEST_F(WatchHubTest, HubMayGoWhileAReadIsInFlight) {
  Put("a", "1");
  auto client = NewClient();
  Watch(*client, WatchKey("a", 1));
  apply.RunReady();
  client.reset();
  hub.reset();
  RunAll();
  hub = std::make_unique<WatchHub>(WatchWorld(), WatchHubOptions(), store.revision());
}

TEST_F(WatchHubTest, LiveWatchGetsWhatComesLater) {  // WATCH-015, WATCH-025
  Put("a", "0");
  auto client = NewClient();
  Watch(*client, WatchKey("a"));
  Put("a", "1");
  Put("b", "other");
  Delete("a");
  Put("a", "2");
  WatchResponse response = client->Read();
  EXPECT_THAT(EventsOf(response), ElementsAre("PUT a=1@3"));
  EXPECT_EQ(response.header().revision(), 3);
  EXPECT_EQ(response.events(0).kv().create_revision(), 2);
  EXPECT_EQ(response.events(0).kv().version(), 2);
  response = client->Read();
  EXPECT_THAT(EventsOf(response), ElementsAre("DELETE a@5"));
  EXPECT_EQ(response.events(0).kv().create_revision(), 0);
  EXPECT_EQ(response.events(0).kv().version(), 0);
  EXPECT_EQ(response.events(0).kv().value(), "");
  response = client->Read();
  EXPECT_EQ(response.events(0).kv().create_revision(), 6);
  EXPECT_EQ(client->waiting(), 0u);
}

TEST_F(WatchHubTest, FutureStartWaits) {  // WATCH-015
  auto client = NewClient();
  Watch(*client, WatchKey("a", 4));
  client->stream->RequestProgress();
  Put("a", "2");
  Put("a", "3");
  client->stream->RequestProgress();
  Put("a", "4");
  client->stream->RequestProgress();
  EXPECT_THAT(EventsOf(client->Read()), ElementsAre("PUT a=4@4"));
  EXPECT_EQ(client->Read().header().revision(), 4);
  EXPECT_EQ(client->waiting(), 0u);
}

TEST_F(WatchHubTest, HistoryThenLiveWithoutGapOrDuplicate) {  // WATCH-016, WATCH-027
  for (int i = 2; i <= 6; ++i) Put("a", absl::StrCat(i));
  auto client = NewClient();
  Watch(*client, WatchKey("a", 4));
  apply.RunReady();
  Put("a", "7");  // arrives while the read is in flight
  RunAll();
  Put("a", "8");
  WatchResponse response = client->Read();
  EXPECT_THAT(EventsOf(response), ElementsAre("PUT a=4@4", "PUT a=5@5", "PUT a=6@6"));
  EXPECT_EQ(response.header().revision(), 7);  // the store's when sent
  EXPECT_THAT(EventsOf(client->Read()), ElementsAre("PUT a=7@7"));
  EXPECT_THAT(EventsOf(client->Read()), ElementsAre("PUT a=8@8"));
  EXPECT_EQ(client->waiting(), 0u);
}

TEST_F(WatchHubTest, CreatedComesBeforeHistory) {  // WATCH-004
  Put("a", "1");
  auto client = NewClient();
  client->stream->Create(WatchKey("a", 1));
  RunAll();
  EXPECT_TRUE(client->Read().created());
  EXPECT_THAT(EventsOf(client->Read()), ElementsAre("PUT a=1@2"));
}

TEST_F(WatchHubTest, CompactedStartIsEnded) {  // WATCH-017, WATCH-020
  for (int i = 2; i <= 6; ++i) Put("a", absl::StrCat(i));
  Compact(5);
  auto client = NewClient();
  auto create = WatchKey("a", 4);
  create.watch_id = 9;
  EXPECT_EQ(Watch(*client, create), 9);
  RunAll();
  WatchResponse response = client->Read();
  EXPECT_TRUE(response.canceled());
  EXPECT_FALSE(response.created());
  EXPECT_EQ(response.watch_id(), 9);
  EXPECT_EQ(response.compact_revision(), 5);
  EXPECT_EQ(response.cancel_reason(), "");
  EXPECT_EQ(response.header().revision(), 0);
  EXPECT_EQ(response.header().cluster_id(), 5u);
  EXPECT_EQ(hub->stats().watchers, 0u);

  ExpectRejected(*client, create, "mvcc: duplicate watch ID provided on the WatchStream");
  client->stream->Cancel(9);
  response = client->Read();
  EXPECT_TRUE(response.canceled());
  EXPECT_EQ(response.header().revision(), 6);
  create.start_revision = 0;
  EXPECT_EQ(Watch(*client, create), 9);
}

TEST_F(WatchHubTest, StartAtTheCompactRevisionIsComplete) {  // WATCH-018
  Put("a", "2");
  Put("b", "3");
  Delete("a");
  Put("b", "5");
  Compact(4);
  auto client = NewClient();
  Watch(*client, WatchRange("a", "z", 4));
  RunAll();
  EXPECT_THAT(EventsOf(client->Read()), ElementsAre("DELETE a@4", "PUT b=5@5"));
}

TEST_F(WatchHubTest, CompactionDuringTheReadEndsTheWatch) {  // WATCH-019
  for (int i = 2; i <= 6; ++i) Put("a", absl::StrCat(i));
  auto client = NewClient();
  Watch(*client, WatchKey("a", 3));
  Watch(*client, WatchKey("a", 6));
  apply.RunReady();  // posted to the worker, which has not begun
  Compact(5);
  RunAll();
  const WatchResponse first = client->Read();
  EXPECT_TRUE(first.canceled());
  EXPECT_EQ(first.watch_id(), 0);
  EXPECT_EQ(first.compact_revision(), 5);
  const WatchResponse second = client->Read();
  EXPECT_EQ(second.watch_id(), 1);
  EXPECT_THAT(EventsOf(second), ElementsAre("PUT a=6@6"));
  EXPECT_EQ(client->waiting(), 0u);
}

TEST_F(WatchHubTest, CompactionDoesNotTouchSyncedWatches) {
  auto client = NewClient();
  Watch(*client, WatchKey("a"));
  Watch(*client, WatchKey("a", 5));
  for (int i = 2; i <= 4; ++i) Put("b", "x");
  Compact(4);
  RunAll();
  EXPECT_EQ(client->waiting(), 0u);
  Put("a", "1");
  EXPECT_THAT(EventsOf(client->Read()), ElementsAre("PUT a=1@5"));
  EXPECT_THAT(EventsOf(client->Read()), ElementsAre("PUT a=1@5"));
}

TEST_F(WatchHubTest, TransactionIsOneResponse) {  // WATCH-026
  auto live = NewClient();
  Watch(*live, WatchRange("a", "c"));
  Txn({{"a", "1"}, {"b", "2"}, {"x", "3"}, {"a2", "4"}});
  Txn({{"a", std::nullopt}, {"b", std::nullopt}});
  auto late = NewClient();
  Watch(*late, WatchRange("a", "c", 1));
  RunAll();
  EXPECT_THAT(EventsOf(live->Read()), ElementsAre("PUT a=1@2", "PUT b=2@2", "PUT a2=4@2"));
  EXPECT_THAT(EventsOf(live->Read()), ElementsAre("DELETE a@3", "DELETE b@3"));
  EXPECT_THAT(EventsOf(late->Read()), ElementsAre("PUT a=1@2", "PUT b=2@2", "PUT a2=4@2",
                                                  "DELETE a@3", "DELETE b@3"));
}

TEST_F(WatchHubTest, FiltersDropEventsAndEmptyResponses) {  // WATCH-028
  auto no_put = WatchKey("a");
  no_put.no_put = true;
  auto no_delete = WatchKey("a");
  no_delete.no_delete = true;
  auto neither = WatchKey("a");
  neither.no_put = neither.no_delete = true;
  auto client = NewClient();
  Watch(*client, no_put);
  Watch(*client, no_delete);
  Watch(*client, neither);
  Put("a", "1");
  Delete("a");
  no_put.start_revision = no_delete.start_revision = neither.start_revision = 1;
  auto late = NewClient();
  Watch(*late, no_put);
  Watch(*late, no_delete);
  Watch(*late, neither);
  RunAll();
  for (Client* reader : {client.get(), late.get()}) {
    std::vector<std::pair<int64_t, std::string>> events;
    while (reader->waiting() > 0) {
      const WatchResponse response = reader->Read();
      for (const std::string& event : EventsOf(response)) {
        events.emplace_back(response.watch_id(), event);
      }
    }
    std::sort(events.begin(), events.end());
    EXPECT_THAT(events, ElementsAre(std::pair(0, "DELETE a@3"), std::pair(1, "PUT a=1@2")));
  }
}

TEST_F(WatchHubTest, PreviousPairs) {  // WATCH-029
  auto with = WatchKey("a");
  with.prev_kv = true;
  auto client = NewClient();
  Watch(*client, with);
  Watch(*client, WatchKey("a"));
  Txn({{"a", "1"}});
  Txn({{"a", "2"}}, /*prev_in_memory=*/false);
  Txn({{"a", "3"}, {"a", std::nullopt}});
  const std::vector<std::string> expected_with[] = {
      {"PUT a=1@2"}, {"PUT a=2@3 was 1"}, {"PUT a=3@4 was 2", "DELETE a@4 was 2"}};
  const std::vector<std::string> expected_without[] = {
      {"PUT a=1@2"}, {"PUT a=2@3"}, {"PUT a=3@4", "DELETE a@4"}};
  for (int i = 0; i < 3; ++i) {
    EXPECT_EQ(EventsOf(client->Read()), expected_with[i]);
    EXPECT_EQ(EventsOf(client->Read()), expected_without[i]);
  }
  with.start_revision = 2;
  auto late = NewClient();
  Watch(*late, with);
  Watch(*late, WatchKey("a", 2));
  RunAll();
  EXPECT_THAT(EventsOf(late->Read()), ElementsAre("PUT a=1@2", "PUT a=2@3 was 1", "PUT a=3@4 was 2",
                                                  "DELETE a@4 was 2"));
  EXPECT_THAT(EventsOf(late->Read()),
              ElementsAre("PUT a=1@2", "PUT a=2@3", "PUT a=3@4", "DELETE a@4"));
}

TEST_F(WatchHubTest, CompactedPreviousPairIsLeftOut) {  // WATCH-029
  Put("a", "2");
  Put("a", "3");
  Put("a", "4");
  Compact(3);
  auto create = WatchKey("a", 3);
  create.prev_kv = true;
  auto client = NewClient();
  Watch(*client, create);
  RunAll();
  EXPECT_THAT(EventsOf(client->Read()), ElementsAre("PUT a=3@3", "PUT a=4@4 was 3"));
}

TEST_F(WatchHubTest, CompactedPreviousPairIsLeftOutThoughInMemory) {  // WATCH-029
  auto live = NewClient();  // With a watch there, recent revisions stay in memory.
  Watch(*live, WatchKey("z"));
  Put("a", "2");
  Put("a", "3");
  Put("a", "4");
  Compact(3);
  auto create = WatchKey("a", 3);
  create.prev_kv = true;
  auto client = NewClient();
  Watch(*client, create);
  RunAll();
  EXPECT_THAT(EventsOf(client->Read()), ElementsAre("PUT a=3@3", "PUT a=4@4 was 3"));
}

TEST_F(WatchHubTest, ManualProgress) {  // WATCH-036
  auto client = NewClient();
  client->stream->RequestProgress();  // no watches: no answer
  EXPECT_EQ(client->waiting(), 0u);
  Watch(*client, WatchKey("a"));
  client->stream->RequestProgress();
  WatchResponse response = client->Read();
  EXPECT_EQ(response.watch_id(), -1);
  EXPECT_EQ(response.header().revision(), 1);
  EXPECT_EQ(response.events_size(), 0);
  EXPECT_FALSE(response.created() || response.canceled());
  Put("b", "x");
  client->stream->RequestProgress();
  EXPECT_EQ(client->Read().header().revision(), 2);
}

TEST_F(WatchHubTest, NoProgressWhileAnyWatchIsBehind) {  // WATCH-036, WATCH-037
  Put("a", "1");
  auto client = NewClient();
  Watch(*client, WatchKey("a"));
  Watch(*client, WatchKey("a", 1));
  client->stream->RequestProgress();
  EXPECT_EQ(client->waiting(), 0u);
  RunAll();
  client->stream->RequestProgress();
  EXPECT_THAT(EventsOf(client->Read()), ElementsAre("PUT a=1@2"));
  EXPECT_EQ(client->Read().watch_id(), -1);
}

TEST_F(WatchHubTest, WatchEndedByCompactionDoesNotHoldUpProgress) {
  Put("a", "2");
  Put("a", "3");
  Compact(3);
  auto client = NewClient();
  Watch(*client, WatchKey("a", 1));
  EXPECT_TRUE(client->Read().canceled());
  client->stream->RequestProgress();
  EXPECT_EQ(client->waiting(), 0u);  // there is no watch
  Watch(*client, WatchKey("a"));
  client->stream->RequestProgress();
  EXPECT_EQ(client->Read().header().revision(), 3);
}

TEST_F(WatchHubTest, PeriodicProgress) {  // WATCH-035
  auto notify = WatchKey("a");
  notify.progress_notify = true;
  auto future = WatchKey("a", 100);
  future.progress_notify = true;
  auto client = NewClient();
  Watch(*client, WatchKey("a"));  // did not ask
  const int64_t id = Watch(*client, notify);
  Watch(*client, future);
  Put("b", "x");
  clock.AdvanceBy(absl::Minutes(10) - absl::Seconds(1));
  EXPECT_EQ(client->waiting(), 0u);
  clock.AdvanceBy(absl::Minutes(1) + absl::Seconds(2));
  WatchResponse response = client->Read();
  EXPECT_EQ(response.watch_id(), id);
  EXPECT_EQ(response.header().revision(), 2);
  EXPECT_EQ(response.events_size(), 0);
  EXPECT_EQ(client->waiting(), 0u);

  Put("a", "1");  // an event since the last tick: one notification is left out
  (void)client->Read();
  (void)client->Read();
  clock.AdvanceBy(absl::Minutes(11));
  EXPECT_EQ(client->waiting(), 0u);
  clock.AdvanceBy(absl::Minutes(11));
  EXPECT_EQ(client->Read().header().revision(), 3);
}

TEST_F(WatchHubTest, PeriodicProgressEndsWithItsLastWatch) {
  auto notify = WatchKey("a");
  notify.progress_notify = true;
  auto client = NewClient();
  client->stream->Cancel(Watch(*client, notify));
  (void)client->Read();
  clock.AdvanceBy(absl::Hours(1));
  EXPECT_EQ(client->waiting(), 0u);
  EXPECT_EQ(apply.timer_count(), 0u);
}

}  // namespace
}  // namespace etcdd::mvcc
