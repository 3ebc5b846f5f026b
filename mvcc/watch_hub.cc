#include "mvcc/watch_hub.h"

#include <algorithm>
#include <utility>

#include "mvcc/catch_up.h"
#include "mvcc/event_ring.h"
#include "mvcc/watch_state.h"
#include "server/base/check.h"

namespace etcdd::mvcc {

WatchHub::WatchHub(WatchWorld world, const WatchHubOptions& options, int64_t revision)
    : state_(std::make_unique<WatchState>(std::move(world), options, revision)),
      catch_up_(std::make_unique<CatchUp>(state_.get())) {}

WatchHub::~WatchHub() { ETCDD_CHECK(state_->streams.empty()); }

std::unique_ptr<WatchStream> WatchHub::NewStream(WatchSink* sink) {
  return std::make_unique<WatchStream>(state_.get(), catch_up_.get(), sink);
}

void WatchHub::OnRevision(RevisionEvents events) {
  ETCDD_CHECK(events.revision == state_->current_revision + 1);
  state_->current_revision = events.revision;
  if (state_->watchers == 0) {
    // Nobody is behind, so nobody can ask for it; a later start in the past reads history.
    state_->ring.Reset(events.revision + 1);
    return;
  }
  EncodedRevision& revision = state_->ring.Push(std::move(events));
  if (!state_->synced.empty()) Distribute(&revision);
}

void WatchHub::Distribute(EncodedRevision* revision) {
  if (revision->events().size() == 1) {
    DistributeOne(revision);
  } else {
    DistributeMany(revision);
  }
}

void WatchHub::DistributeOne(EncodedRevision* revision) {
  const Event& event = revision->events()[0];
  matches_.clear();
  state_->synced.VisitWatching(event.key, [&](Watcher& watcher) {
    if (watcher.next_revision > revision->revision() || !watcher.Wants(event.is_delete)) return;
    matches_.push_back(&watcher);
  });
  if (matches_.empty()) return;
  const std::string header_field = state_->HeaderField(revision->revision());
  for (Watcher* watcher : matches_) {
    if (!watcher->stream->writable()) {
      FallBehind(watcher);
      continue;
    }
    const base::Bytes& encoded = revision->Encoded(0, watcher->prev_kv, *state_);
    watcher->stream->SendEvents(watcher, header_field, encoded, 1,
                                [&encoded](size_t) { return encoded; });
  }
}

void WatchHub::DistributeMany(EncodedRevision* revision) {
  const std::vector<Event>& events = revision->events();
  const int64_t number = revision->revision();
  matches_.clear();
  for (uint32_t i = 0; i < events.size(); ++i) {
    state_->synced.VisitWatching(events[i].key, [&](Watcher& watcher) {
      if (watcher.next_revision > number || !watcher.Wants(events[i].is_delete)) return;
      if (watcher.touched_revision != number) {
        watcher.touched_revision = number;
        watcher.touched_index = matches_.size();
        matches_.push_back(&watcher);
        if (match_indices_.size() < matches_.size()) match_indices_.emplace_back();
        match_indices_[watcher.touched_index].clear();
      }
      match_indices_[watcher.touched_index].push_back(i);
    });
  }
  if (matches_.empty()) return;
  const std::string header_field = state_->HeaderField(number);
  for (size_t i = 0; i < matches_.size(); ++i) {
    Watcher* const watcher = matches_[i];
    if (!watcher->stream->writable()) {
      FallBehind(watcher);
      continue;
    }
    const std::vector<uint32_t>& indices = match_indices_[i];
    const base::Bytes& joined = revision->Joined(indices, watcher->prev_kv, *state_);
    watcher->stream->SendEvents(
        watcher, header_field, joined, indices.size(), [&](size_t index) {
          return revision->Encoded(indices[index], watcher->prev_kv, *state_);
        });
  }
}

void WatchHub::FallBehind(Watcher* watcher) {
  state_->synced.Remove(watcher->range, watcher);
  watcher->next_revision = state_->current_revision;
  catch_up_->Add(watcher);
}

void WatchHub::OnRestore(int64_t revision) {
  ETCDD_CHECK(revision >= state_->current_revision);
  const int64_t next = state_->current_revision + 1;
  state_->current_revision = revision;
  state_->ring.Reset(revision + 1);
  for (const auto& [number, stream] : state_->streams) {
    for (const auto& [id, watcher] : stream->watchers()) {
      if (watcher->place != Watcher::Place::kSynced) continue;
      watcher->next_revision = std::max(watcher->next_revision, next);
      if (watcher->next_revision > revision) continue;
      state_->synced.Remove(watcher->range, watcher.get());
      catch_up_->Add(watcher.get());
    }
  }
}

WatchStats WatchHub::stats() const {
  WatchStats stats;
  stats.streams = state_->streams.size();
  stats.watchers = state_->watchers;
  stats.slow_watchers = state_->watchers - state_->synced.size();
  stats.events_sent = state_->events_sent;
  return stats;
}

void WatchHub::CheckInvariants() const {
  size_t watchers = 0;
  size_t synced = 0;
  for (const auto& [number, stream] : state_->streams) {
    size_t parked = 0;
    for (const auto& [id, watcher] : stream->watchers()) {
      ETCDD_CHECK(watcher->id == id && watcher->stream == stream);
      if (watcher->place == Watcher::Place::kDead) continue;
      ++watchers;
      if (watcher->place == Watcher::Place::kSynced) {
        ++synced;
      } else {
        ETCDD_CHECK(watcher->next_revision <= state_->current_revision);
        if (watcher->place == Watcher::Place::kParked) ++parked;
      }
    }
    ETCDD_CHECK(parked == stream->parked().size());
    ETCDD_CHECK(parked == 0 || !stream->writable());
  }
  ETCDD_CHECK(watchers == state_->watchers && synced == state_->synced.size());
  ETCDD_CHECK(state_->ring.next() == state_->current_revision + 1);
}

}  // namespace etcdd::mvcc
