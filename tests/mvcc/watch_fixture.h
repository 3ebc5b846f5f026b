#pragma once

// A store small enough to be obviously right, a client that reads as fast as it is told, and a hub
// between them, all in one thread.

#include <algorithm>
#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "gtest/gtest.h"
#include "mvcc/backend/mem_backend.h"
#include "mvcc/backend_history.h"
#include "mvcc/record.h"
#include "mvcc/watch_hub.h"
#include "proto/rpc.pb.h"
#include "server/base/api_error.h"
#include "server/base/check.h"
#include "server/base/random.h"
#include "tests/support/fake_clock.h"

namespace etcdd::mvcc {

// One change, as the store remembers it.
struct Change {
  std::string key;
  bool is_delete = false;
  std::string kv;       // as an event carries it
  std::string prev_kv;  // the pair before this revision; empty: there was none
  bool creation = false;
};

// Every version of every key in a map, and the records in a backend. Any revision can be asked for
// what changed in it, compacted or not: the model remembers all.
class ModelStore {
 public:
  struct Op {
    std::string key;
    std::optional<std::string> value;  // nullopt: delete
  };

  ModelStore() { changes_.resize(2); }

  int64_t revision() const { return static_cast<int64_t>(changes_.size()) - 1; }
  int64_t compact_revision() const { return compact_revision_; }
  const std::vector<Change>& changes(int64_t revision) const {
    return changes_[static_cast<size_t>(revision)];
  }
  std::shared_ptr<MemBackend> backend() const { return backend_; }

  // One transaction. Deletions of absent keys do nothing; what remains must not be empty.
  // `prev_in_memory` false: the event names the previous pair's revision only.
  RevisionEvents Apply(const std::vector<Op>& ops, bool prev_in_memory = true) {
    const int64_t main = revision() + 1;
    RevisionEvents result{main, {}};
    std::vector<Change> changes;
    auto batch = backend_->NewBatch();
    for (const Op& op : ops) {
      std::vector<Version>& versions = keys_[op.key];
      const bool alive = !versions.empty() && !versions.back().record.empty();
      if (!alive && !op.value.has_value()) continue;
      Change change{op.key, !op.value.has_value(), "", PairBefore(op.key, main), false};
      RecordFields fields;
      fields.key = op.key;
      std::string stored;
      if (change.is_delete) {
        stored = std::string(EncodeRecord(fields).view());
        fields.mod_revision = main;
      } else {
        const auto old = alive ? DecodeRecord(versions.back().record) : std::nullopt;
        fields.create_revision = alive ? old->create_revision : main;
        fields.mod_revision = main;
        fields.version = alive ? old->version + 1 : 1;
        fields.value = *op.value;
        change.creation = fields.create_revision == main;
      }
      change.kv = std::string(EncodeRecord(fields).view());
      if (!change.is_delete) stored = change.kv;
      if (change.creation) change.prev_kv.clear();
      const Revision revision{main, static_cast<int64_t>(changes.size())};
      batch->Put(Bucket::kKey, EncodeRevision(revision, change.is_delete), stored);

      Event event;
      event.is_delete = change.is_delete;
      event.kv = base::Bytes::Copy(change.kv);
      event.key = RecordKey(event.kv.view());
      if (!change.prev_kv.empty()) {
        event.prev_revision = {DecodeRecord(change.prev_kv)->mod_revision, 0};
        if (prev_in_memory) event.prev_kv = base::Bytes::Copy(change.prev_kv);
      }
      result.events.push_back(std::move(event));
      versions.push_back({revision, change.is_delete ? "" : change.kv});
      changes.push_back(std::move(change));
    }
    ETCDD_CHECK(!changes.empty());
    ETCDD_CHECK(backend_->Write(*batch).ok());
    changes_.push_back(std::move(changes));
    return result;
  }

  bool Exists(const std::string& key) const { return !PairBefore(key, revision() + 1).empty(); }

  // Both halves of a compaction: refuse what is below, then drop the records (KV-071).
  void ScheduleCompaction(int64_t revision) {
    compact_revision_ = std::max(compact_revision_, revision);
  }
  void RemoveCompacted() {
    auto batch = backend_->NewBatch();
    for (const auto& [key, versions] : keys_) {
      const Version* newest = nullptr;
      for (const Version& version : versions) {
        if (version.revision.main > compact_revision_) break;
        if (newest != nullptr) Remove(*newest, batch.get());
        newest = &version;
      }
      if (newest != nullptr && newest->record.empty() &&
          newest->revision.main < compact_revision_) {
        Remove(*newest, batch.get());
      }
    }
    ETCDD_CHECK(backend_->Write(*batch).ok());
  }

  BackendHistorySources Sources() {
    BackendHistorySources sources;
    sources.backend = [this] { return backend_; };
    sources.compact_revision = [this] { return compact_revision_; };
    sources.pair_at = [this](std::string_view key,
                             int64_t revision) -> absl::StatusOr<base::Bytes> {
      if (revision < compact_revision_) return base::ApiError(base::ErrorId::kCompacted);
      return base::Bytes::Copy(PairBefore(std::string(key), revision + 1));
    };
    return sources;
  }

 private:
  struct Version {
    Revision revision;
    std::string record;  // empty: deletion
  };

  std::string PairBefore(const std::string& key, int64_t main) const {
    const auto it = keys_.find(key);
    if (it == keys_.end()) return "";
    std::string pair;
    for (const Version& version : it->second) {
      if (version.revision.main >= main) break;
      pair = version.record;
    }
    return pair;
  }
  static void Remove(const Version& version, Batch* batch) {
    batch->Delete(Bucket::kKey, EncodeRevision(version.revision, version.record.empty()));
  }

  const std::shared_ptr<MemBackend> backend_ = std::make_shared<MemBackend>();
  std::map<std::string, std::vector<Version>> keys_;
  std::vector<std::vector<Change>> changes_;  // by revision
  int64_t compact_revision_ = -1;
};

// A client on one stream. It has room for `room` responses; beyond it Send says false, and when
// half of them are read the stream hears that it may go on.
class Client : public WatchSink {
 public:
  explicit Client(size_t room = 1u << 30) : room_(room) {}

  bool Send(std::string head, base::Bytes events) override {
    etcdserverpb::WatchResponse response;
    head.append(events.view());
    EXPECT_TRUE(response.ParseFromString(head));
    EXPECT_EQ(response.header().member_id(), 7u);
    queue_.push_back(std::move(response));
    queue_max_ = std::max(queue_max_, queue_.size());
    if (queue_.size() < room_) return true;
    full_ = true;
    return false;
  }

  // The next response, which must be there.
  etcdserverpb::WatchResponse Read() {
    EXPECT_FALSE(queue_.empty()) << "no response";
    if (queue_.empty()) return {};
    etcdserverpb::WatchResponse response = std::move(queue_.front());
    queue_.pop_front();
    if (full_ && queue_.size() <= room_ / 2) {
      full_ = false;
      stream->OnWritable();
    }
    return response;
  }
  size_t waiting() const { return queue_.size(); }
  size_t queue_max() const { return queue_max_; }
  bool full() const { return full_; }

  std::unique_ptr<WatchStream> stream;

 private:
  const size_t room_;
  std::deque<etcdserverpb::WatchResponse> queue_;
  size_t queue_max_ = 0;
  bool full_ = false;
};

class WatchFixture {
 public:
  explicit WatchFixture(const WatchHubOptions& options = {}) {
    WatchWorld world;
    world.apply = &apply;
    world.worker = &worker;
    world.random = random.get();
    world.history = &history;
    world.header = [](int64_t revision) {
      etcdserverpb::ResponseHeader header;
      header.set_cluster_id(5);
      header.set_member_id(7);
      header.set_revision(revision);
      header.set_raft_term(3);
      return header.SerializeAsString();
    };
    world.on_failure = [this](absl::Status status) { failure = std::move(status); };
    hub = std::make_unique<WatchHub>(std::move(world), options, store.revision());
  }

  std::unique_ptr<Client> NewClient(size_t room = 1u << 30) {
    auto client = std::make_unique<Client>(room);
    client->stream = hub->NewStream(client.get());
    return client;
  }

  int64_t Txn(const std::vector<ModelStore::Op>& ops, bool prev_in_memory = true) {
    hub->OnRevision(store.Apply(ops, prev_in_memory));
    return store.revision();
  }
  int64_t Put(const std::string& key, const std::string& value) { return Txn({{key, value}}); }
  int64_t Delete(const std::string& key) { return Txn({{key, std::nullopt}}); }
  void Compact(int64_t revision) {
    store.ScheduleCompaction(revision);
    store.RemoveCompacted();
  }
  // Runs everything posted, timers not yet due excepted.
  void RunAll() { clock.RunReady(); }

  testing::FakeClock clock;
  testing::FakeStrand apply{&clock};
  testing::FakeStrand worker{&clock};
  std::unique_ptr<base::Random> random = base::NewSeededRandom(1);
  ModelStore store;
  BackendHistory history{store.Sources()};
  absl::Status failure;
  std::unique_ptr<WatchHub> hub;
};

inline WatchCreate WatchKey(std::string key, int64_t start_revision = 0) {
  WatchCreate create;
  create.key = std::move(key);
  create.start_revision = start_revision;
  return create;
}
inline WatchCreate WatchRange(std::string key, std::string end, int64_t start_revision = 0) {
  WatchCreate create = WatchKey(std::move(key), start_revision);
  create.range_end = std::move(end);
  return create;
}

// "PUT a=1" and "DELETE a", with the revision: "PUT a=1@2".
inline std::vector<std::string> EventsOf(const etcdserverpb::WatchResponse& response) {
  std::vector<std::string> texts;
  for (const mvccpb::Event& event : response.events()) {
    std::string text = event.type() == mvccpb::Event::DELETE
                           ? absl::StrCat("DELETE ", event.kv().key())
                           : absl::StrCat("PUT ", event.kv().key(), "=", event.kv().value());
    absl::StrAppend(&text, "@", event.kv().mod_revision());
    if (event.has_prev_kv()) absl::StrAppend(&text, " was ", event.prev_kv().value());
    texts.push_back(text);
  }
  return texts;
}

// The mod revisions of its events.
inline std::vector<int64_t> RevisionsOf(const etcdserverpb::WatchResponse& response) {
  std::vector<int64_t> revisions;
  for (const mvccpb::Event& event : response.events()) {
    revisions.push_back(event.kv().mod_revision());
  }
  return revisions;
}

class WatchHubTest : public ::testing::Test, public WatchFixture {
 protected:
  WatchHubTest() : WatchHubTest(WatchHubOptions()) {}
  explicit WatchHubTest(const WatchHubOptions& options) : WatchFixture(options) {}
  ~WatchHubTest() override {
    EXPECT_TRUE(failure.ok()) << failure;
    hub->CheckInvariants();
  }

  // Creates a watch that must succeed and takes its created response off the stream.
  int64_t Watch(Client& client, const WatchCreate& create) {
    client.stream->Create(create);
    const etcdserverpb::WatchResponse response = client.Read();
    EXPECT_TRUE(response.created());
    EXPECT_FALSE(response.canceled());
    EXPECT_EQ(response.header().revision(), store.revision());
    return response.watch_id();
  }
  void ExpectRejected(Client& client, const WatchCreate& create, const std::string& reason) {
    client.stream->Create(create);
    const etcdserverpb::WatchResponse response = client.Read();
    EXPECT_TRUE(response.created());
    EXPECT_TRUE(response.canceled());
    EXPECT_EQ(response.watch_id(), -1);
    EXPECT_EQ(response.cancel_reason(), reason);
    EXPECT_EQ(response.header().revision(), store.revision());
  }
};

}  // namespace etcdd::mvcc
