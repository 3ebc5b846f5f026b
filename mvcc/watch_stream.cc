#include "mvcc/watch_stream.h"

#include <algorithm>
#include <utility>
#include <vector>

#include "mvcc/catch_up.h"
#include "mvcc/event_ring.h"
#include "mvcc/watch_codec.h"
#include "mvcc/watch_state.h"
#include "server/base/api_error.h"
#include "server/base/check.h"

namespace etcdd::mvcc {
namespace {

// In responses that belong to no watch.
constexpr int64_t kNoWatchId = -1;
// WatchResponse.cancel_reason texts: rpc-errors.tsv.
constexpr std::string_view kEmptyRangeReason = "mvcc: watcher range is empty";
constexpr std::string_view kDuplicateIdReason =
    "mvcc: duplicate watch ID provided on the WatchStream";
// As a range end it means "all keys from here on" (KV-012).
constexpr std::string_view kZeroByte("\0", 1);

KeyRange MakeRange(const WatchCreate& create) {
  KeyRange range;
  range.key = create.key.empty() ? std::string(kZeroByte) : create.key;  // WATCH-002
  range.single = create.range_end.empty();
  if (create.range_end != kZeroByte) range.end = create.range_end;
  return range;
}

bool IsEmpty(const KeyRange& range) {
  return !range.single && !range.end.empty() && range.end <= range.key;
}

}  // namespace

WatchStream::WatchStream(WatchState* state, CatchUp* catch_up, WatchSink* sink)
    : state_(state), catch_up_(catch_up), sink_(sink), number_(++state->last_stream_number) {
  state_->streams.emplace(number_, this);
}

WatchStream::~WatchStream() {
  ETCDD_CHECK_MSG(!sending_, "a sink ended its stream from within Send");
  if (progress_timer_ != 0) state_->world.apply->Cancel(progress_timer_);
  for (const auto& [id, watcher] : watchers_) Stop(watcher.get());
  state_->streams.erase(number_);
}

void WatchStream::Create(const WatchCreate& create) {
  if (create.start_revision < 0) {
    RejectCreate(base::ApiErrorText(base::ErrorId::kCompacted));  // WATCH-005
    return;
  }
  KeyRange range = MakeRange(create);
  if (IsEmpty(range)) {
    RejectCreate(kEmptyRangeReason);
    return;
  }
  if (create.watch_id != 0 && watchers_.contains(create.watch_id)) {
    RejectCreate(kDuplicateIdReason);
    return;
  }
  auto watcher = std::make_unique<Watcher>();
  watcher->stream = this;
  watcher->id = create.watch_id != 0 ? create.watch_id : TakeAutomaticId();
  watcher->range = std::move(range);
  watcher->start_revision = create.start_revision;
  watcher->prev_kv = create.prev_kv;
  watcher->progress_notify = create.progress_notify;
  watcher->fragment = create.fragment;
  watcher->no_put = create.no_put;
  watcher->no_delete = create.no_delete;

  WatchHead head;
  head.watch_id = watcher->id;
  head.created = true;
  Send(EncodeWatchHead(state_->HeaderField(state_->current_revision), head), {});
  Watcher* const started = watcher.get();
  watchers_.emplace(started->id, std::move(watcher));
  Start(started);
  if (create.progress_notify) ArmProgressTimer();
}

void WatchStream::Start(Watcher* watcher) {
  ++state_->watchers;
  const int64_t start = watcher->start_revision;
  if (start == 0 || start > state_->current_revision) {
    watcher->next_revision = std::max(start, state_->current_revision + 1);
    watcher->place = Watcher::Place::kSynced;
    state_->synced.Add(watcher->range, watcher);
    return;
  }
  watcher->next_revision = start;
  if (start < state_->world.history->CompactRevision()) {
    EndCompacted(watcher);
  } else {
    catch_up_->Add(watcher);
  }
}

void WatchStream::Stop(Watcher* watcher) {
  if (watcher->place == Watcher::Place::kDead) return;
  --state_->watchers;
  if (watcher->place == Watcher::Place::kSynced) {
    state_->synced.Remove(watcher->range, watcher);
  } else {
    catch_up_->Remove(watcher);
  }
}

int64_t WatchStream::TakeAutomaticId() {
  while (watchers_.contains(next_automatic_id_)) ++next_automatic_id_;
  return next_automatic_id_++;
}

void WatchStream::RejectCreate(std::string_view reason) {
  WatchHead head;
  head.watch_id = kNoWatchId;
  head.created = true;
  head.canceled = true;
  head.cancel_reason = reason;
  Send(EncodeWatchHead(state_->HeaderField(state_->current_revision), head), {});
}

void WatchStream::Cancel(int64_t watch_id) {
  const auto it = watchers_.find(watch_id);
  if (it == watchers_.end()) return;
  Stop(it->second.get());
  watchers_.erase(it);
  WatchHead head;
  head.watch_id = watch_id;
  head.canceled = true;
  Send(EncodeWatchHead(state_->HeaderField(state_->current_revision), head), {});
}

void WatchStream::EndCompacted(Watcher* watcher) {
  watcher->place = Watcher::Place::kDead;
  --state_->watchers;
  WatchHead head;
  head.watch_id = watcher->id;
  head.canceled = true;
  head.compact_revision = state_->world.history->CompactRevision();
  // The header's revision is 0 here and only here (WATCH-017).
  Send(EncodeWatchHead(state_->HeaderField(0), head), {});
}

void WatchStream::RequestProgress() {
  // What is behind, or starts later, makes the answer impossible; what a compaction ended does not
  // count any more.
  bool any = false;
  for (const auto& [id, watcher] : watchers_) {
    if (watcher->place == Watcher::Place::kDead) continue;
    if (!watcher->MayProgress(state_->current_revision)) return;
    any = true;
  }
  if (!any || !writable_) return;
  WatchHead head;
  head.watch_id = kNoWatchId;
  Send(EncodeWatchHead(state_->HeaderField(state_->current_revision), head), {});
}

void WatchStream::OnWritable() {
  ETCDD_CHECK_MSG(!sending_, "a sink called OnWritable from within Send");
  writable_ = true;
  catch_up_->OnWritable(this);
}

void WatchStream::SendEvents(Watcher* watcher, std::string_view header_field,
                             const base::Bytes& events, size_t count,
                             absl::FunctionRef<base::Bytes(size_t index)> part) {
  watcher->had_event = true;
  state_->events_sent += count;
  WatchHead head;
  head.watch_id = watcher->id;
  std::string encoded = EncodeWatchHead(header_field, head);
  if (watcher->fragment && count > 1 &&
      encoded.size() + events.size() >= state_->options.fragment_bytes) {
    SendFragments(*watcher, header_field, count, part);
    return;
  }
  Send(std::move(encoded), events);
}

void WatchStream::SendFragments(const Watcher& watcher, std::string_view header_field, size_t count,
                                absl::FunctionRef<base::Bytes(size_t index)> part) {
  WatchHead head;
  head.watch_id = watcher.id;
  head.fragment = true;
  const std::string more_head = EncodeWatchHead(header_field, head);
  std::vector<base::Bytes> piece;
  size_t bytes = more_head.size();
  for (size_t i = 0; i < count; ++i) {
    base::Bytes event = part(i);
    if (!piece.empty() && bytes + event.size() >= state_->options.fragment_bytes) {
      Send(more_head, JoinBytes(piece));
      piece.clear();
      bytes = more_head.size();
    }
    bytes += event.size();
    piece.push_back(std::move(event));
  }
  head.fragment = false;
  Send(EncodeWatchHead(header_field, head), JoinBytes(piece));
}

void WatchStream::Send(std::string head, base::Bytes events) {
  sending_ = true;
  if (!sink_->Send(std::move(head), std::move(events))) writable_ = false;
  sending_ = false;
}

void WatchStream::ArmProgressTimer() {
  if (progress_timer_ != 0) return;
  constexpr uint64_t kJitterSteps = 1000;
  const absl::Duration interval = state_->options.progress_interval;
  const auto step = static_cast<int64_t>(state_->world.random->Uniform(kJitterSteps));
  progress_timer_ = state_->world.apply->PostAfter(
      interval + interval / 10 * step / static_cast<int64_t>(kJitterSteps),
      [this] { OnProgressTick(); });
}

void WatchStream::OnProgressTick() {
  progress_timer_ = 0;
  bool any = false;
  for (const auto& [id, watcher] : watchers_) {
    if (!watcher->progress_notify || watcher->place == Watcher::Place::kDead) continue;
    any = true;
    const bool quiet = !std::exchange(watcher->had_event, false);
    if (!quiet || !writable_ || !watcher->MayProgress(state_->current_revision)) continue;
    WatchHead head;
    head.watch_id = id;
    Send(EncodeWatchHead(state_->HeaderField(state_->current_revision), head), {});
  }
  if (any) ArmProgressTimer();
}

}  // namespace etcdd::mvcc
