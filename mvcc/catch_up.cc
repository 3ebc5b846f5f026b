#include "mvcc/catch_up.h"

#include <algorithm>
#include <utility>

#include "mvcc/watch_stream.h"
#include "server/base/api_error.h"
#include "server/base/check.h"

namespace etcdd::mvcc {
namespace {

using Place = Watcher::Place;

bool SameBlocks(absl::Span<const base::Bytes> a, absl::Span<const base::Bytes> b) {
  return std::equal(a.begin(), a.end(), b.begin(), b.end(),
                    [](const base::Bytes& x, const base::Bytes& y) {
                      return x.view().data() == y.view().data();
                    });
}

}  // namespace

CatchUp::CatchUp(WatchState* state) : state_(state), alive_(std::make_shared<Alive>()) {}

CatchUp::~CatchUp() = default;

void CatchUp::Add(Watcher* watcher) {
  ETCDD_CHECK(watcher->next_revision <= state_->current_revision);
  std::list<Watcher*>* queue = &recent_;
  if (!watcher->stream->writable()) {
    watcher->place = Place::kParked;
    queue = &watcher->stream->parked();
  } else if (watcher->next_revision >= state_->ring.first()) {
    watcher->place = Place::kRecent;
  } else {
    watcher->place = Place::kOld;
    queue = &old_;
  }
  watcher->queue_place = queue->insert(queue->end(), watcher);
  if (watcher->place != Place::kParked) SchedulePump();
}

void CatchUp::Remove(Watcher* watcher) {
  switch (watcher->place) {
    case Place::kParked:
      watcher->stream->parked().erase(watcher->queue_place);
      return;
    case Place::kRecent:
      recent_.erase(watcher->queue_place);
      return;
    case Place::kOld:
      old_.erase(watcher->queue_place);
      return;
    case Place::kReading:
      ETCDD_CHECK(reading_[watcher->reading_index] == watcher);
      reading_[watcher->reading_index] = nullptr;
      return;
    case Place::kSynced:
    case Place::kDead:
      break;
  }
  ETCDD_CHECK_MSG(false, "the watcher is not behind");
}

void CatchUp::OnWritable(WatchStream* stream) {
  std::list<Watcher*> parked = std::move(stream->parked());
  stream->parked().clear();
  for (Watcher* watcher : parked) Add(watcher);
}

void CatchUp::SchedulePump() {
  if (pump_posted_ || failed_) return;
  pump_posted_ = true;
  state_->world.apply->Post([this, alive = std::weak_ptr<Alive>(alive_)] {
    if (!alive.expired()) Pump();
  });
}

void CatchUp::Pump() {
  pump_posted_ = false;
  ServeFromRing();
  StartReading();
  if (!recent_.empty() || (!old_.empty() && !read_in_flight_)) SchedulePump();
}

// Everybody in the queue whose next revision is in [from, from + catch_up_revisions_max).
std::vector<Watcher*> CatchUp::TakeNear(std::list<Watcher*>* queue, int64_t from) {
  const int64_t end = from + static_cast<int64_t>(state_->options.catch_up_revisions_max);
  std::vector<Watcher*> taken;
  for (auto it = queue->begin();
       it != queue->end() && taken.size() < state_->options.catch_up_watchers_max;) {
    Watcher* const watcher = *it;
    const bool near = from <= watcher->next_revision && watcher->next_revision < end;
    if (!near) {
      ++it;
      continue;
    }
    it = queue->erase(it);
    if (watcher->stream->writable()) {
      taken.push_back(watcher);
    } else {
      Add(watcher);  // parks it
    }
  }
  return taken;
}

void CatchUp::ServeFromRing() {
  EventRing& ring = state_->ring;
  // What fell out of the ring while it waited goes to the other queue.
  while (!recent_.empty() && recent_.front()->next_revision < ring.first()) {
    Watcher* const watcher = recent_.front();
    recent_.pop_front();
    Add(watcher);
  }
  if (recent_.empty()) return;
  const int64_t from = recent_.front()->next_revision;
  const std::vector<Watcher*> watchers = TakeNear(&recent_, from);
  if (watchers.empty()) return;
  const int64_t next =
      std::min(from + static_cast<int64_t>(state_->options.catch_up_revisions_max), ring.next());
  std::vector<EncodedRevision*> revisions;
  for (int64_t revision = from; revision < next; ++revision) {
    revisions.push_back(&ring.At(revision));
  }
  Deliver(revisions, next, watchers);
}

void CatchUp::StartReading() {
  if (read_in_flight_ || old_.empty()) return;
  const int64_t compact_revision = state_->world.history->CompactRevision();
  // Those who wait for what is gone need no read.
  for (auto it = old_.begin(); it != old_.end();) {
    Watcher* const watcher = *it;
    ++it;
    if (watcher->next_revision >= compact_revision) continue;
    Remove(watcher);
    watcher->stream->EndCompacted(watcher);
  }
  if (old_.empty()) return;
  HistoryRequest request;
  request.from = old_.front()->next_revision;
  reading_ = TakeNear(&old_, request.from);
  if (reading_.empty()) return;
  request.to = state_->current_revision;
  request.revisions_max = state_->options.catch_up_revisions_max;
  request.bytes_max = state_->options.history_read_bytes_max;
  for (size_t i = 0; i < reading_.size(); ++i) {
    reading_[i]->place = Place::kReading;
    reading_[i]->reading_index = i;
    request.wishes.push_back({reading_[i]->range, reading_[i]->prev_kv});
  }
  read_in_flight_ = true;
  state_->world.worker->Post([this, alive = std::weak_ptr<Alive>(alive_),
                              apply = state_->world.apply, history = state_->world.history,
                              request = std::move(request)] {
    HistoryChunk chunk = ReadHistory(*history, request);
    apply->Post([this, alive, chunk = std::move(chunk)]() mutable {
      if (!alive.expired()) FinishReading(std::move(chunk));
    });
  });
}

void CatchUp::FinishReading(HistoryChunk chunk) {
  read_in_flight_ = false;
  std::vector<Watcher*> watchers = std::move(reading_);
  reading_.clear();
  watchers.erase(std::remove(watchers.begin(), watchers.end(), nullptr), watchers.end());
  if (!chunk.status.ok()) {
    const bool compacted = base::IsApiError(chunk.status, base::ErrorId::kCompacted);
    if (!compacted) {
      failed_ = true;
      state_->world.on_failure(chunk.status);
    }
    // StartReading tells those who wait for what is gone.
    for (Watcher* watcher : watchers) Add(watcher);
    return;
  }
  std::vector<EncodedRevision> encoded;
  encoded.reserve(chunk.revisions.size());
  for (RevisionEvents& revision : chunk.revisions) encoded.emplace_back(std::move(revision));
  std::vector<EncodedRevision*> revisions;
  for (EncodedRevision& revision : encoded) revisions.push_back(&revision);
  Deliver(revisions, chunk.next, watchers);
  if (!old_.empty()) SchedulePump();
}

void CatchUp::Deliver(absl::Span<EncodedRevision* const> revisions, int64_t next,
                      absl::Span<Watcher* const> watchers) {
  std::vector<Participant> participants(watchers.size());
  WatcherGroup<Participant> group;
  for (size_t i = 0; i < watchers.size(); ++i) {
    participants[i].watcher = watchers[i];
    participants[i].next = watchers[i]->next_revision;
    group.Add(watchers[i]->range, &participants[i]);
  }
  const std::string header_field = state_->HeaderField(state_->current_revision);
  std::vector<Participant*> touched;
  for (EncodedRevision* revision : revisions) {
    touched.clear();
    Collect(revision, &group, &touched);
    for (Participant* participant : touched) {
      // Between two revisions only: the events of one stay together (WATCH-026).
      if (participant->pending_bytes < state_->options.catch_up_response_bytes_max) continue;
      Flush(participant, header_field);
      if (!participant->stopped) participant->next = revision->revision() + 1;
    }
  }
  for (Participant& participant : participants) {
    if (!participant.stopped) {
      Flush(&participant, header_field);
      if (!participant.stopped) participant.next = std::max(participant.next, next);
    }
    participant.watcher->next_revision = participant.next;
    Settle(participant.watcher);
  }
  last_parts_.clear();
  last_joined_ = {};
}

void CatchUp::Collect(EncodedRevision* revision, WatcherGroup<Participant>* group,
                      std::vector<Participant*>* touched) {
  const int64_t number = revision->revision();
  const std::vector<Event>& events = revision->events();
  // The pair before the compact revision is compacted, even where memory still has it (WATCH-029).
  const bool prev_readable = number > state_->world.history->CompactRevision();
  for (size_t i = 0; i < events.size(); ++i) {
    group->VisitWatching(events[i].key, [&](Participant& participant) {
      const Watcher& watcher = *participant.watcher;
      if (participant.stopped || number < participant.next) return;
      if (!watcher.Wants(events[i].is_delete)) return;
      const base::Bytes& encoded = revision->Encoded(i, watcher.prev_kv && prev_readable, *state_);
      participant.pending.push_back(encoded);
      participant.pending_bytes += encoded.size();
      if (participant.touched_revision != number) {
        participant.touched_revision = number;
        touched->push_back(&participant);
      }
    });
  }
}

// Sends what is pending, or drops it and stops when the stream takes no more.
void CatchUp::Flush(Participant* participant, std::string_view header_field) {
  Watcher* const watcher = participant->watcher;
  std::vector<base::Bytes>& parts = participant->pending;
  if (parts.empty()) return;
  if (!watcher->stream->writable()) {
    participant->stopped = true;
  } else {
    if (!SameBlocks(parts, last_parts_)) {
      last_joined_ = JoinBytes(parts);
      last_parts_ = parts;
    }
    watcher->stream->SendEvents(watcher, header_field, last_joined_, parts.size(),
                                [&parts](size_t index) { return parts[index]; });
  }
  parts.clear();
  participant->pending_bytes = 0;
}

void CatchUp::Settle(Watcher* watcher) {
  if (watcher->next_revision <= state_->current_revision) {
    Add(watcher);
    return;
  }
  watcher->place = Place::kSynced;
  state_->synced.Add(watcher->range, watcher);
}

}  // namespace etcdd::mvcc
