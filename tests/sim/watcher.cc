#include "tests/sim/watcher.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_format.h"

namespace etcdd::sim {
namespace {

using etcdserverpb::WatchCreateRequest;
using etcdserverpb::WatchResponse;

constexpr absl::Duration kReconnectMax = absl::Milliseconds(500);
constexpr int kWatchSecondsMax = 15;

}  // namespace

Watcher::Watcher(int client, uint64_t seed, Scheduler* scheduler, SimStrand* world,
                 const std::vector<std::unique_ptr<SimMember>>* members,
                 std::deque<WatchRun>* runs, const PlantedBugs& planted)
    : client_(client),
      random_(base::NewSeededRandom(seed)),
      scheduler_(scheduler),
      world_(world),
      members_(members),
      runs_(runs),
      planted_(planted) {}

void Watcher::Start() { ConnectSoon(); }

void Watcher::ConnectSoon() {
  const auto span = static_cast<uint64_t>(absl::ToInt64Microseconds(kReconnectMax));
  world_->PostAfter(absl::Microseconds(random_->Uniform(span)), [this] { Connect(); });
}

void Watcher::DrawWishes() {
  request_.Clear();
  if (random_->Uniform(2) == 0) {
    request_.set_key("k");
    request_.set_range_end("l");
  } else {
    request_.set_key(absl::StrFormat("k%02d", random_->Uniform(12)));
    if (random_->Uniform(3) == 0) {
      request_.set_range_end(absl::StrFormat("k%02d", random_->Uniform(12)));
    }
  }
  if (!request_.range_end().empty() && request_.range_end() <= request_.key()) {
    request_.clear_range_end();
  }
  request_.set_prev_kv(random_->Uniform(2) == 0);
  request_.set_progress_notify(random_->Uniform(2) == 0);
  if (random_->Uniform(4) == 0) request_.add_filters(WatchCreateRequest::NOPUT);
  if (random_->Uniform(4) == 0) request_.add_filters(WatchCreateRequest::NODELETE);
  switch (random_->Uniform(4)) {
    case 0:  // history, perhaps compacted away
      request_.set_start_revision(
          static_cast<int64_t>(random_->Uniform(static_cast<uint64_t>(seen_revision_) + 1)) + 1);
      break;
    case 1:  // yet to come
      request_.set_start_revision(seen_revision_ + static_cast<int64_t>(random_->Uniform(50)) + 1);
      break;
    default: break;  // from now on
  }
}

void Watcher::Connect() {
  SimMember* const member = (*members_)[random_->Uniform(members_->size())].get();
  if (!member->running() || !member->ready()) return ConnectSoon();
  if (next_ == 0) {
    DrawWishes();
  } else {
    request_.set_start_revision(next_);
  }
  WatchRun& run = runs_->emplace_back();
  run.client = client_;
  run.member = member->index();
  run.member_life = member->life();
  run.created_at = scheduler_->Now();
  run.request = request_;
  run_ = &run;
  member_ = member;
  WatchSession::Options options;
  // Some are quick, some so slow that the member has to wait for them.
  const bool slow = random_->Uniform(4) == 0;
  options.delay_max = slow ? absl::Milliseconds(400) : absl::Milliseconds(5);
  options.window_messages = slow ? 3 : 64;
  const uint64_t connection = ++connection_;
  session_ = member->Connect(
      options, [this](const WatchResponse& response) { OnResponse(response); },
      [this, connection] {
        if (connection == connection_ && session_ != nullptr) Disconnect();
      });
  member->strand().Post([session = session_, member, request = request_] {
    session->Open(&member->server().watch_hub());
    session->Create(request);
  });
  if (random_->Uniform(3) == 0) {
    member->strand().PostAfter(absl::Seconds(1),
                               [session = session_] { session->RequestProgress(); });
  }
  world_->PostAfter(
      absl::Milliseconds(random_->Uniform(kWatchSecondsMax * 1000) + 1), [this, connection] {
        if (connection == connection_ && session_ != nullptr && !settled_) Disconnect();
      });
}

void Watcher::OnResponse(const WatchResponse& response) {
  if (planted_.lost_watch_responses && response.events_size() > 0 && random_->Uniform(20) == 0) {
    return;
  }
  run_->responses.push_back({scheduler_->Now(), response});
  seen_revision_ = std::max(seen_revision_, response.header().revision());
  if (response.canceled()) {
    world_->Post([this, connection = connection_] {
      if (connection == connection_ && session_ != nullptr) Disconnect();
    });
  }
}

void Watcher::Disconnect() {
  // The member's side hears of it on its own strand; what is still in flight is lost.
  next_ = NextRevision(*run_);
  if (!settled_ && random_->Uniform(3) == 0) next_ = 0;
  run_ = nullptr;
  session_->Close();
  session_ = nullptr;
  ConnectSoon();
}

void Watcher::MarkOpen() {
  if (run_ != nullptr) run_->open_at_end = true;
}

}  // namespace etcdd::sim
