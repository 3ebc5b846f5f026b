// Random watches, slow clients, compactions and snapshots against a model that knows what changed
// in every revision. Checks what watches guarantee (WATCH-033): ordered, unique, reliable, atomic,
// resumable, bookmarkable, with right previous pairs.

#include <algorithm>
#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <optional>
#include <random>
#include <set>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "gtest/gtest.h"
#include "mvcc/watch_hub.h"
#include "mvcc/watcher_group.h"
#include "tests/mvcc/watch_fixture.h"

namespace etcdd::mvcc {
namespace {

// What a client may expect of one watch.
struct Expectation {
  WatchCreate create;
  KeyRange range;
  // Nothing below it may still come; everything wanted from here on must.
  int64_t next = 0;
  bool ended = false;
  std::vector<mvccpb::Event> fragments;  // of a response not complete yet
};

KeyRange RangeOf(const WatchCreate& create) {
  KeyRange range{create.key, create.range_end, create.range_end.empty()};
  if (range.end == std::string(1, '\0')) range.end.clear();
  return range;
}

// Reads a client's responses and holds them against the model.
class CheckedClient {
 public:
  CheckedClient(WatchFixture* fixture, const WatchHubOptions& options, size_t room)
      : fixture_(fixture), options_(options), client_(fixture->NewClient(room)) {}

  void Create(const WatchCreate& create) {
    requested_.push_back(create);
    client_->stream->Create(create);
  }
  void Cancel(int64_t id) { client_->stream->Cancel(id); }
  void RequestProgress() { client_->stream->RequestProgress(); }

  bool ReadOne() {
    if (client_->waiting() == 0) return false;
    const etcdserverpb::WatchResponse response = client_->Read();
    if (response.created()) {
      TakeCreated(response);
    } else if (response.canceled()) {
      TakeCanceled(response);
    } else if (response.events_size() == 0) {
      TakeProgress(response);
    } else {
      TakeEvents(response);
    }
    return true;
  }

  // Nothing is behind any more: all that was wanted must have come.
  void CheckComplete() {
    EXPECT_EQ(client_->waiting(), 0u);
    for (auto& [id, watch] : watches_) {
      if (watch.ended) continue;
      EXPECT_TRUE(watch.fragments.empty());
      SkipUnwanted(&watch, fixture_->store.revision() + 1);
    }
  }

  std::vector<int64_t> ActiveIds() const {
    std::vector<int64_t> ids;
    for (const auto& [id, watch] : watches_) {
      if (!watch.ended) ids.push_back(id);
    }
    return ids;
  }
  // To go on with elsewhere.
  WatchCreate Resume(int64_t id) const {
    const Expectation& watch = watches_.at(id);
    WatchCreate create = watch.create;
    create.start_revision = watch.next;
    create.watch_id = 0;
    return create;
  }
  uint64_t events() const { return events_; }
  uint64_t compacted() const { return compacted_; }
  uint64_t progress() const { return progress_; }
  uint64_t fragments() const { return fragments_; }
  size_t queue_max() const { return client_->queue_max(); }

 private:
  void TakeCreated(const etcdserverpb::WatchResponse& response) {
    ASSERT_FALSE(requested_.empty());
    const WatchCreate create = requested_.front();
    requested_.pop_front();
    if (response.canceled()) {
      EXPECT_EQ(response.cancel_reason(), "mvcc: duplicate watch ID provided on the WatchStream");
      EXPECT_TRUE(create.watch_id != 0);
      return;
    }
    if (create.watch_id != 0) {
      EXPECT_EQ(response.watch_id(), create.watch_id);
    }
    Expectation watch;
    watch.create = create;
    watch.range = RangeOf(create);
    const int64_t revision = response.header().revision();
    const bool past = 0 < create.start_revision && create.start_revision <= revision;
    watch.next = past ? create.start_revision : std::max(revision + 1, create.start_revision);
    const auto old = watches_.find(response.watch_id());
    EXPECT_TRUE(old == watches_.end() || old->second.ended);
    watches_[response.watch_id()] = std::move(watch);
  }

  void TakeCanceled(const etcdserverpb::WatchResponse& response) {
    const auto it = watches_.find(response.watch_id());
    ASSERT_NE(it, watches_.end());
    Expectation& watch = it->second;
    if (response.compact_revision() != 0) {
      EXPECT_FALSE(watch.ended);
      EXPECT_EQ(response.header().revision(), 0);
      EXPECT_LT(watch.next, response.compact_revision());
      ++compacted_;
    }
    EXPECT_TRUE(watch.fragments.empty());
    watch.ended = true;
  }

  void TakeProgress(const etcdserverpb::WatchResponse& response) {
    ++progress_;
    bool any = false;
    for (auto& [id, watch] : watches_) {
      if (watch.ended || (response.watch_id() != -1 && response.watch_id() != id)) continue;
      any = true;
      EXPECT_LE(watch.create.start_revision, response.header().revision());
      // Everything up to this revision must be here.
      SkipUnwanted(&watch, response.header().revision() + 1);
    }
    EXPECT_TRUE(any);
  }

  void TakeEvents(const etcdserverpb::WatchResponse& response) {
    const auto it = watches_.find(response.watch_id());
    ASSERT_NE(it, watches_.end());
    Expectation& watch = it->second;
    ASSERT_FALSE(watch.ended);
    watch.fragments.insert(watch.fragments.end(), response.events().begin(),
                           response.events().end());
    if (response.fragment()) {
      EXPECT_TRUE(watch.create.fragment);
      ++fragments_;
      return;
    }
    const std::vector<mvccpb::Event> events = std::move(watch.fragments);
    watch.fragments.clear();
    events_ += events.size();
    std::set<int64_t> revisions;
    for (size_t i = 0; i < events.size();) {
      const int64_t revision = events[i].kv().mod_revision();
      revisions.insert(revision);
      ASSERT_GE(revision, watch.next) << "repeated, or out of order";
      ASSERT_LE(revision, fixture_->store.revision());
      SkipUnwanted(&watch, revision);
      i += TakeRevision(watch, revision, events, i);
      watch.next = revision + 1;
    }
    EXPECT_LE(revisions.size(), options_.catch_up_revisions_max);
    EXPECT_GE(response.header().revision(), *revisions.rbegin());
  }

  // All wanted changes of one revision must stand at `from`, in order. Returns their number.
  size_t TakeRevision(const Expectation& watch, int64_t revision,
                      const std::vector<mvccpb::Event>& events, size_t from) {
    size_t at = from;
    for (const Change& change : fixture_->store.changes(revision)) {
      if (!Wants(watch, change)) continue;
      if (at == events.size()) {
        ADD_FAILURE() << "revision " << revision << " was torn";
        break;
      }
      const mvccpb::Event& event = events[at++];
      EXPECT_EQ(event.type() == mvccpb::Event::DELETE, change.is_delete);
      EXPECT_EQ(event.kv().SerializeAsString(), change.kv);
      if (event.has_prev_kv()) {
        EXPECT_TRUE(watch.create.prev_kv);
        EXPECT_EQ(event.prev_kv().SerializeAsString(), change.prev_kv);
      } else if (watch.create.prev_kv && !change.prev_kv.empty()) {
        EXPECT_LT(revision - 1, fixture_->store.compact_revision());
      }
    }
    EXPECT_GT(at, from) << "revision " << revision << " was not wanted";
    return std::max(at - from, size_t{1});
  }

  static bool Wants(const Expectation& watch, const Change& change) {
    if (change.is_delete ? watch.create.no_delete : watch.create.no_put) return false;
    return watch.range.Holds(change.key);
  }
  bool WantsAny(const Expectation& watch, int64_t revision) const {
    const auto& changes = fixture_->store.changes(revision);
    return std::any_of(changes.begin(), changes.end(),
                       [&](const Change& change) { return Wants(watch, change); });
  }
  // Moves on to `revision`; nothing on the way may be wanted, or it was lost.
  void SkipUnwanted(Expectation* watch, int64_t revision) {
    for (; watch->next < revision; ++watch->next) {
      EXPECT_FALSE(WantsAny(*watch, watch->next)) << "revision " << watch->next << " was lost";
    }
  }

  WatchFixture* const fixture_;
  const WatchHubOptions options_;
  std::unique_ptr<Client> client_;
  std::deque<WatchCreate> requested_;
  std::map<int64_t, Expectation> watches_;
  uint64_t events_ = 0, compacted_ = 0, progress_ = 0, fragments_ = 0;
};

struct Totals {
  uint64_t events = 0, compacted = 0, progress = 0, fragments = 0, resumed = 0, restores = 0;
};

class Scenario {
 public:
  Scenario(uint64_t seed, Totals* totals)
      : random_(seed), options_(RandomOptions()), fixture_(options_), totals_(totals) {}

  void Run(int steps) {
    for (int step = 0; step < steps && !::testing::Test::HasFailure(); ++step) {
      Step();
      if (step % 50 == 0) fixture_.hub->CheckInvariants();
    }
    bool more = true;
    while (more) {
      more = fixture_.clock.RunReady() > 0;
      for (auto& client : clients_) {
        while (client->ReadOne()) more = true;
      }
    }
    EXPECT_EQ(fixture_.hub->stats().slow_watchers, 0u);
    for (auto& client : clients_) client->CheckComplete();
    while (!clients_.empty()) Close(0);
    EXPECT_TRUE(fixture_.failure.ok()) << fixture_.failure;
  }

 private:
  uint64_t Below(uint64_t bound) { return random_() % bound; }

  WatchHubOptions RandomOptions() {
    WatchHubOptions options;
    options.ring_revisions_max = 1 + Below(64);
    options.ring_bytes_max = 1000 + Below(100000);
    options.catch_up_revisions_max = 1 + Below(20);
    options.catch_up_response_bytes_max = 1 + Below(2000);
    options.history_read_bytes_max = 1 + Below(4000);
    options.catch_up_watchers_max = 1 + Below(20);
    options.fragment_bytes = 100 + Below(400);
    options.progress_interval = absl::Milliseconds(100);
    return options;
  }

  std::string RandomKey() { return std::string(1, static_cast<char>('a' + Below(12))); }

  RevisionEvents RandomTxn() {
    std::vector<ModelStore::Op> ops;
    std::set<std::string> used;
    for (uint64_t i = Below(4) + 1; i > 0; --i) {
      const std::string key = RandomKey();
      if (!used.insert(key).second) continue;
      if (Below(4) == 0 && fixture_.store.Exists(key)) {
        ops.push_back({key, std::nullopt});
      } else {
        ops.push_back({key, std::string(Below(60), 'v') + absl::StrCat(fixture_.store.revision())});
      }
    }
    return fixture_.store.Apply(ops, Below(4) != 0);
  }

  WatchCreate RandomCreate() {
    WatchCreate create;
    create.key = RandomKey();
    switch (Below(4)) {
      case 0:
        break;
      case 1:
        create.range_end = std::string(1, '\0');
        break;
      default:
        create.range_end = create.key;
        create.range_end[0] = static_cast<char>(create.range_end[0] + 1 + Below(8));
    }
    const auto revision = static_cast<uint64_t>(fixture_.store.revision());
    switch (Below(4)) {
      case 0:
        break;
      case 1:
        create.start_revision = static_cast<int64_t>(revision + Below(20));
        break;
      default:
        create.start_revision =
            static_cast<int64_t>(revision - Below(std::min<uint64_t>(revision, 150)));
    }
    create.no_put = Below(8) == 0;
    create.no_delete = Below(8) == 0;
    create.prev_kv = Below(2) == 0;
    create.progress_notify = Below(4) == 0;
    create.fragment = Below(3) == 0;
    if (Below(5) == 0) create.watch_id = static_cast<int64_t>(Below(12)) + 1;
    return create;
  }

  void Step() {
    const uint64_t dice = Below(100);
    if (dice < 35) {
      fixture_.hub->OnRevision(RandomTxn());
    } else if (dice < 55) {
      if (!clients_.empty()) {
        CheckedClient& client = *clients_[Below(clients_.size())];
        for (uint64_t i = Below(20); i > 0; --i) client.ReadOne();
      }
    } else if (dice < 70) {
      (void)fixture_.apply.RunOne();
    } else if (dice < 80) {
      (void)fixture_.worker.RunOne();
    } else if (dice < 84) {
      if (clients_.size() < 8) {
        const size_t room = Below(3) == 0 ? 1000 : 1 + Below(16);
        clients_.push_back(std::make_unique<CheckedClient>(&fixture_, options_, room));
      }
    } else if (dice < 92) {
      if (!clients_.empty()) clients_[Below(clients_.size())]->Create(RandomCreate());
    } else {
      RareStep();
    }
  }

  void RareStep() {
    switch (Below(8)) {
      case 0: {
        const int64_t low = std::max<int64_t>(fixture_.store.compact_revision(), 1);
        const auto room = static_cast<uint64_t>(fixture_.store.revision() - low);
        // Mostly far behind, sometimes up to the present.
        const uint64_t back = Below(4) == 0 ? 0 : std::min<uint64_t>(room, 60);
        fixture_.store.ScheduleCompaction(
            low + static_cast<int64_t>(room > back ? Below(room - back + 1) : 0));
        break;
      }
      case 1:
        fixture_.store.RemoveCompacted();
        break;
      case 2:
        fixture_.clock.AdvanceBy(absl::Milliseconds(60));
        break;
      case 3:
        if (Below(4) == 0) Restore();
        break;
      case 4:
        if (!clients_.empty() && Below(4) == 0) Move(Below(clients_.size()));
        break;
      case 5: {
        if (clients_.empty()) break;
        CheckedClient& client = *clients_[Below(clients_.size())];
        const std::vector<int64_t> ids = client.ActiveIds();
        if (!ids.empty()) client.Cancel(ids[Below(ids.size())]);
        break;
      }
      default:
        if (!clients_.empty()) clients_[Below(clients_.size())]->RequestProgress();
    }
  }

  // A snapshot takes the member forward.
  void Restore() {
    for (uint64_t i = Below(30); i > 0; --i) (void)RandomTxn();
    fixture_.hub->OnRestore(fixture_.store.revision());
    ++totals_->restores;
  }

  // The connection breaks; the client goes on with another, from where it was.
  void Move(size_t index) {
    std::vector<WatchCreate> creates;
    for (const int64_t id : clients_[index]->ActiveIds()) {
      creates.push_back(clients_[index]->Resume(id));
    }
    Close(index);
    clients_.push_back(std::make_unique<CheckedClient>(&fixture_, options_, 1 + Below(16)));
    for (const WatchCreate& create : creates) clients_.back()->Create(create);
    totals_->resumed += creates.size();
  }

  void Close(size_t index) {
    const CheckedClient& client = *clients_[index];
    totals_->events += client.events();
    totals_->compacted += client.compacted();
    totals_->progress += client.progress();
    totals_->fragments += client.fragments();
    clients_.erase(clients_.begin() + static_cast<int64_t>(index));
  }

  std::mt19937_64 random_;
  const WatchHubOptions options_;
  WatchFixture fixture_;
  Totals* const totals_;
  std::vector<std::unique_ptr<CheckedClient>> clients_;
};

TEST(WatchModelTest, GuaranteesHoldUnderRandomUse) {
  Totals totals;
  for (uint64_t seed = 1; seed <= 25 && !HasFailure(); ++seed) {
    SCOPED_TRACE(absl::StrCat("seed ", seed));
    Scenario(seed, &totals).Run(4000);
  }
  // The rare branches were reached.
  EXPECT_GT(totals.events, 100000u);
  EXPECT_GT(totals.compacted, 100u);
  EXPECT_GT(totals.progress, 100u);
  EXPECT_GT(totals.fragments, 100u);
  EXPECT_GT(totals.resumed, 100u);
  EXPECT_GT(totals.restores, 30u);
  RecordProperty("events", absl::StrCat(totals.events));
}

}  // namespace
}  // namespace etcdd::mvcc
