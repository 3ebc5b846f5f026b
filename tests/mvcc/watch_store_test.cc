// The watch hub on the real store: what the store hands over and what its history says agree.

#include <cstdint>
#include <memory>
#include <optional>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "mvcc/backend/mem_backend.h"
#include "mvcc/store.h"
#include "mvcc/store_history.h"
#include "mvcc/watch_hub.h"
#include "server/base/random.h"
#include "tests/mvcc/watch_fixture.h"
#include "tests/support/fake_clock.h"

namespace etcdd::mvcc {
namespace {

using ::testing::ElementsAre;

class WatchStoreTest : public ::testing::Test {
 protected:
  WatchStoreTest() {
    StoreOptions options;
    options.resident_bytes_max = 400;  // so that values are evicted in the tests as well
    store_ = *Store::Open(backend_, nullptr, options);
    history_ = std::make_unique<BackendHistory>(HistoryOf(*store_));
    WatchWorld world;
    world.apply = &strand_;
    world.worker = &strand_;
    world.random = random_.get();
    world.history = history_.get();
    world.header = [](int64_t revision) {
      etcdserverpb::ResponseHeader header;
      header.set_member_id(7);
      header.set_revision(revision);
      return header.SerializeAsString();
    };
    world.on_failure = [](absl::Status status) { FAIL() << status; };
    WatchHubOptions hub_options;
    hub_options.catch_up_revisions_max = 7;
    hub_ = std::make_unique<WatchHub>(std::move(world), hub_options, store_->revision());
    store_->SetObserver(hub_.get());
  }
  ~WatchStoreTest() override {
    hub_->CheckInvariants();
    store_->SetObserver(nullptr);
  }

  struct Op {
    std::string key;
    std::optional<std::string> value;  // nullopt: delete
  };
  // Each element of `txns` is a transaction; all are one batch.
  void Apply(const std::vector<std::vector<Op>>& txns, int64_t compact_to = 0) {
    auto batch = backend_->NewBatch();
    store_->BeginBatch(batch.get());
    for (const std::vector<Op>& ops : txns) {
      WriteTxn txn = store_->NewWriteTxn();
      for (const Op& op : ops) {
        if (op.value.has_value()) {
          ASSERT_TRUE(txn.Put(op.key, *op.value).ok());
        } else {
          ASSERT_TRUE(txn.DeleteRange(op.key, "").ok());
        }
      }
      txn.End();
    }
    if (compact_to > 0) {
      ASSERT_TRUE(store_->ScheduleCompaction(compact_to).ok());
    }
    ASSERT_TRUE(backend_->Write(*batch).ok());
    store_->FinishBatch();
  }
  void RemoveCompacted() {
    const std::unique_ptr<Compaction> compaction = store_->NewCompaction();
    bool more = true;
    while (more) {
      auto batch = backend_->NewBatch();
      more = *compaction->Step(batch.get());
      ASSERT_TRUE(backend_->Write(*batch).ok());
    }
    compaction->Finish();
  }

  std::unique_ptr<Client> Watch(int64_t start_revision, size_t room = 1u << 30) {
    auto client = std::make_unique<Client>(room);
    client->stream = hub_->NewStream(client.get());
    WatchCreate create = WatchRange("a", "z", start_revision);
    create.prev_kv = true;
    client->stream->Create(create);
    EXPECT_TRUE(client->Read().created());
    return client;
  }
  // All events there are, read at the client's pace.
  std::vector<std::string> ReadAll(Client& client) {
    std::vector<std::string> events;
    do {
      while (client.waiting() > 0) {
        for (std::string& event : EventsOf(client.Read())) events.push_back(std::move(event));
      }
    } while (clock_.RunReady() > 0);
    return events;
  }

  testing::FakeClock clock_;
  testing::FakeStrand strand_{&clock_};
  std::unique_ptr<base::Random> random_ = base::NewSeededRandom(1);
  std::shared_ptr<MemBackend> backend_ = std::make_shared<MemBackend>();
  std::unique_ptr<Store> store_;
  std::unique_ptr<BackendHistory> history_;
  std::unique_ptr<WatchHub> hub_;
};

TEST_F(WatchStoreTest, LiveAndHistoryAgree) {
  auto live = Watch(0);
  Apply({{{"a", "1"}}, {{"a", "2"}, {"b", "1"}}});
  Apply({{{"c", "1"}, {"c", std::nullopt}}, {{"a", std::nullopt}}, {{"a", "3"}}});
  auto late = Watch(1);
  const std::vector<std::string> expected = ReadAll(*live);
  EXPECT_THAT(expected, ElementsAre("PUT a=1@2", "PUT a=2@3 was 1", "PUT b=1@3", "PUT c=1@4",
                                    "DELETE c@4", "DELETE a@5 was 2", "PUT a=3@6"));
  EXPECT_EQ(ReadAll(*late), expected);
}

TEST_F(WatchStoreTest, DeletionAtTheCompactRevisionIsSeen) {  // WATCH-018
  Apply({{{"a", "1"}}, {{"b", "1"}}, {{"a", std::nullopt}}, {{"b", "2"}}});
  Apply({}, 4);
  RemoveCompacted();
  EXPECT_THAT(ReadAll(*Watch(4)), ElementsAre("DELETE a@4", "PUT b=2@5 was 1"));
  auto client = Watch(3);
  EXPECT_EQ(client->Read().compact_revision(), 4);
}

TEST_F(WatchStoreTest, RestoreFromAnotherBackend) {  // WATCH-044
  auto client = Watch(0);
  Apply({{{"a", "1"}}});
  // What another member has: the same and more.
  auto other_backend = std::make_shared<MemBackend>();
  auto other = *Store::Open(other_backend, nullptr);
  for (const char* value : {"1", "2", "3"}) {
    auto batch = other_backend->NewBatch();
    other->BeginBatch(batch.get());
    WriteTxn txn = other->NewWriteTxn();
    ASSERT_TRUE(txn.Put("a", value).ok());
    txn.End();
    ASSERT_TRUE(other_backend->Write(*batch).ok());
    other->FinishBatch();
  }
  auto content = store_->ReadContent(other_backend);
  ASSERT_TRUE(content.ok()) << content.status();
  store_->Restore(*content);
  backend_ = other_backend;
  hub_->OnRestore(store_->revision());
  Apply({{{"a", "4"}}});
  EXPECT_THAT(ReadAll(*client),
              ElementsAre("PUT a=1@2", "PUT a=2@3 was 1", "PUT a=3@4 was 2", "PUT a=4@5 was 3"));
}

// A quick client, a slow one and one that starts in the past see the same.
TEST_F(WatchStoreTest, AllSeeTheSameUnderRandomWrites) {
  std::mt19937 random(11);
  auto quick = Watch(0);
  auto slow = Watch(0, 2);
  std::vector<std::string> quick_events, slow_events;
  for (int step = 0; step < 1500; ++step) {
    std::vector<std::vector<Op>> txns(1 + random() % 3);
    for (auto& ops : txns) {
      const std::string key(1, static_cast<char>('a' + random() % 10));
      ops.push_back({key, absl::StrCat(step, std::string(random() % 100, 'v'))});
      if (random() % 4 == 0) ops.push_back({key == "a" ? "b" : "a", std::nullopt});
    }
    Apply(txns);
    if (random() % 10 == 0) {
      for (std::string& event : ReadAll(*quick)) quick_events.push_back(std::move(event));
    }
    if (random() % 3 == 0 && slow->waiting() > 0) {
      for (std::string& event : EventsOf(slow->Read())) slow_events.push_back(std::move(event));
    }
    strand_.RunOne();
  }
  for (std::string& event : ReadAll(*quick)) quick_events.push_back(std::move(event));
  for (std::string& event : ReadAll(*slow)) slow_events.push_back(std::move(event));
  EXPECT_GT(store_->stats().evicted_values, 0u);
  EXPECT_EQ(slow_events, quick_events);
  EXPECT_EQ(ReadAll(*Watch(1)), quick_events);
}

}  // namespace
}  // namespace etcdd::mvcc
