// Watches that are behind: slow clients, starts in the past, limits, snapshots.

#include <algorithm>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "mvcc/watch_hub.h"
#include "tests/mvcc/watch_fixture.h"

namespace etcdd::mvcc {
namespace {

using etcdserverpb::WatchResponse;
using ::testing::ElementsAre;

TEST_F(WatchHubTest, SlowConsumerFallsBackAndLosesNothing) {  // WATCH-042
  auto slow = NewClient(4);
  auto quick = NewClient();
  Watch(*slow, WatchKey("a"));
  Watch(*quick, WatchKey("a"));
  for (int i = 0; i < 100; ++i) Put("a", absl::StrCat(i));
  RunAll();
  EXPECT_EQ(quick->waiting(), 100u);
  EXPECT_LE(slow->queue_max(), 5u);
  EXPECT_EQ(hub->stats().slow_watchers, 1u);
  slow->stream->RequestProgress();  // must not overtake, so it is not answered
  int next = 0;
  while (slow->waiting() > 0) {
    const WatchResponse response = slow->Read();
    for (const mvccpb::Event& event : response.events()) {
      EXPECT_EQ(event.kv().value(), absl::StrCat(next++));
    }
    RunAll();
  }
  EXPECT_EQ(next, 100);
  EXPECT_EQ(hub->stats().slow_watchers, 0u);
}

TEST_F(WatchHubTest, ParkedWatchCostsNoWork) {
  auto slow = NewClient(1);
  Watch(*slow, WatchKey("a"));
  Put("a", "1");
  Put("a", "2");
  RunAll();
  EXPECT_EQ(apply.posted_count(), 0u);  // nobody polls
  EXPECT_EQ(apply.timer_count(), 0u);
}

TEST_F(WatchHubTest, RestoreContinuesWatches) {  // WATCH-044
  auto client = NewClient();
  Watch(*client, WatchKey("a"));
  Watch(*client, WatchKey("a", 6));
  Put("a", "2");
  EXPECT_THAT(EventsOf(client->Read()), ElementsAre("PUT a=2@2"));
  // Revisions 3 to 7 arrive as a snapshot.
  for (int i = 3; i <= 7; ++i) (void)store.Apply({{"a", absl::StrCat(i)}});
  hub->OnRestore(7);
  hub->CheckInvariants();
  client->stream->RequestProgress();
  RunAll();
  EXPECT_THAT(EventsOf(client->Read()), ElementsAre("PUT a=3@3", "PUT a=4@4", "PUT a=5@5",
                                                    "PUT a=6@6", "PUT a=7@7"));
  EXPECT_THAT(EventsOf(client->Read()), ElementsAre("PUT a=6@6", "PUT a=7@7"));
  Put("a", "8");
  EXPECT_THAT(EventsOf(client->Read()), ElementsAre("PUT a=8@8"));
  EXPECT_THAT(EventsOf(client->Read()), ElementsAre("PUT a=8@8"));
}

TEST_F(WatchHubTest, RestorePastACompactionEndsWatches) {  // WATCH-044
  auto client = NewClient();
  Watch(*client, WatchKey("a"));
  Watch(*client, WatchKey("a", 9));
  for (int i = 2; i <= 7; ++i) (void)store.Apply({{"a", absl::StrCat(i)}});
  Compact(6);
  hub->OnRestore(7);
  RunAll();
  const WatchResponse response = client->Read();
  EXPECT_TRUE(response.canceled());
  EXPECT_EQ(response.watch_id(), 0);
  EXPECT_EQ(response.compact_revision(), 6);
  Put("a", "8");
  Put("a", "9");  // the future watch gets nothing older
  EXPECT_THAT(EventsOf(client->Read()), ElementsAre("PUT a=9@9"));
  EXPECT_EQ(client->waiting(), 0u);
}

TEST_F(WatchHubTest, BrokenHistoryIsReported) {
  Put("a", "1");
  auto batch = store.backend()->NewBatch();
  batch->Put(Bucket::kKey, EncodeRevision({2, 5}), "\xff not a record");
  ASSERT_TRUE(store.backend()->Write(*batch).ok());
  auto client = NewClient();
  Watch(*client, WatchKey("a", 1));
  RunAll();
  EXPECT_TRUE(absl::IsDataLoss(failure)) << failure;
  EXPECT_EQ(client->waiting(), 0u);
  failure = absl::OkStatus();
}

// Small limits, so that a few events reach them.
class SmallWatchHubTest : public WatchHubTest {
 protected:
  SmallWatchHubTest() : WatchHubTest(Options()) {}
  static WatchHubOptions Options() {
    WatchHubOptions options;
    options.ring_revisions_max = 8;
    options.catch_up_revisions_max = 5;
    options.catch_up_response_bytes_max = 400;
    options.catch_up_watchers_max = 3;
    options.fragment_bytes = 200;
    return options;
  }
};

TEST_F(SmallWatchHubTest, HistoryComesInPieces) {  // WATCH-027
  for (int i = 2; i <= 13; ++i) Put("a", absl::StrCat(i));
  auto client = NewClient();
  Watch(*client, WatchKey("a", 2));
  RunAll();
  std::vector<int> sizes;
  int next = 2;
  while (client->waiting() > 0) {
    const WatchResponse response = client->Read();
    sizes.push_back(response.events_size());
    for (const int64_t revision : RevisionsOf(response)) EXPECT_EQ(revision, next++);
  }
  EXPECT_EQ(next, 14);
  EXPECT_THAT(sizes, ElementsAre(5, 5, 2));
}

TEST_F(SmallWatchHubTest, LongPiecesEndBetweenRevisions) {
  const std::string value(150, 'v');
  for (int i = 0; i < 3; ++i) Txn({{"a", value}, {"b", value}});
  auto client = NewClient();
  Watch(*client, WatchRange("a", "z", 2));
  RunAll();
  std::vector<int> sizes;
  while (client->waiting() > 0) sizes.push_back(client->Read().events_size());
  EXPECT_THAT(sizes, ElementsAre(4, 2));
}

TEST_F(SmallWatchHubTest, ManyWatchesShareTheWork) {
  for (int i = 2; i <= 30; ++i) Put("a", absl::StrCat(i));
  std::vector<std::unique_ptr<Client>> clients;
  for (int i = 0; i < 20; ++i) {
    clients.push_back(NewClient());
    Watch(*clients.back(), WatchKey("a", 1 + i));
  }
  RunAll();
  for (int i = 0; i < 20; ++i) {
    int64_t next = std::max(2, 1 + i);
    while (clients[static_cast<size_t>(i)]->waiting() > 0) {
      for (const int64_t revision : RevisionsOf(clients[static_cast<size_t>(i)]->Read())) {
        EXPECT_EQ(revision, next++);
      }
    }
    EXPECT_EQ(next, 31);
  }
  EXPECT_EQ(hub->stats().slow_watchers, 0u);
}

TEST_F(SmallWatchHubTest, SlowConsumerGoesOnFromHistory) {
  auto client = NewClient(2);
  Watch(*client, WatchKey("a"));
  for (int i = 2; i <= 40; ++i) Put("a", absl::StrCat(i));  // far more than the ring holds
  int64_t next = 2;
  while (client->waiting() > 0) {
    for (const int64_t revision : RevisionsOf(client->Read())) {
      EXPECT_EQ(revision, next++);
    }
    RunAll();
  }
  EXPECT_EQ(next, 41);
}

TEST_F(SmallWatchHubTest, SlowConsumerOvertakenByCompactionIsTold) {  // WATCH-019
  auto client = NewClient(2);
  Watch(*client, WatchKey("a"));
  for (int i = 2; i <= 40; ++i) Put("a", absl::StrCat(i));
  Compact(38);
  RunAll();
  EXPECT_EQ(client->Read().events(0).kv().mod_revision(), 2);
  EXPECT_EQ(client->Read().events(0).kv().mod_revision(), 3);
  RunAll();
  const WatchResponse response = client->Read();
  EXPECT_TRUE(response.canceled());
  EXPECT_EQ(response.compact_revision(), 38);
  EXPECT_EQ(client->waiting(), 0u);
}

TEST_F(SmallWatchHubTest, FragmentsOnRequestOnly) {  // WATCH-040, WATCH-041
  auto fragment = WatchRange("a", "z");
  fragment.fragment = true;
  const std::string value(60, 'v');
  for (const int64_t start : {int64_t{0}, int64_t{2}}) {
    fragment.start_revision = start;
    auto client = NewClient();
    Watch(*client, fragment);
    Watch(*client, WatchRange("a", "z", start));
    if (start == 0) Txn({{"a", value}, {"b", value}, {"c", std::string(300, 'v')}, {"d", value}});
    RunAll();
    std::vector<int> sizes;
    WatchResponse response;
    do {
      response = client->Read();
      EXPECT_EQ(response.watch_id(), 0);
      EXPECT_EQ(response.header().revision(), 2);
      sizes.push_back(response.events_size());
      if (response.events_size() > 1) {
        EXPECT_LT(response.ByteSizeLong(), 200u);
      }
    } while (response.fragment());
    EXPECT_THAT(sizes, ElementsAre(2, 1, 1));
    response = client->Read();
    EXPECT_EQ(response.watch_id(), 1);
    EXPECT_EQ(response.events_size(), 4);
    EXPECT_FALSE(response.fragment());
  }
}

TEST_F(SmallWatchHubTest, OneLongEventIsNotSplit) {  // WATCH-040
  auto fragment = WatchKey("a");
  fragment.fragment = true;
  auto client = NewClient();
  Watch(*client, fragment);
  Put("a", std::string(1000, 'v'));
  const WatchResponse response = client->Read();
  EXPECT_EQ(response.events_size(), 1);
  EXPECT_FALSE(response.fragment());
}

}  // namespace
}  // namespace etcdd::mvcc
