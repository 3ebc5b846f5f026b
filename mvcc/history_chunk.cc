#include "mvcc/history_chunk.h"

#include <optional>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "mvcc/record.h"
#include "server/base/check.h"

namespace etcdd::mvcc {
namespace {

struct Wisher {
  bool prev_kv;
  size_t group_index = 0;
};

class ChunkBuilder {
 public:
  ChunkBuilder(const HistoryReader& history, const HistoryRequest& request)
      : history_(history), request_(request) {
    wishers_.reserve(request.wishes.size());
    for (const HistoryWish& wish : request.wishes) {
      wishers_.push_back({wish.prev_kv});
      group_.Add(wish.range, &wishers_.back());
    }
  }

  HistoryChunk Read() {
    chunk_.next = request_.to + 1;
    absl::Status status = history_.Scan(
        request_.from, request_.to,
        [this](Revision revision, bool is_delete, std::string_view record) {
          return Take(revision, is_delete, record);
        });
    if (status.ok()) status = FillPrevious();
    if (!status.ok()) return {std::move(status), {}, request_.from};
    return std::move(chunk_);
  }

 private:
  bool Take(Revision revision, bool is_delete, std::string_view record) {
    if (revision.main != last_revision_) {
      // A revision ends only where the next one begins.
      if (revisions_ == request_.revisions_max || bytes_ >= request_.bytes_max) {
        chunk_.next = revision.main;
        return false;
      }
      ++revisions_;
      last_revision_ = revision.main;
    }
    bytes_ += record.size();
    // An empty record marks a revision bump of a restored backup; it changes no key.
    if (record.empty()) return true;
    const std::optional<RecordFields> fields = DecodeRecord(record);
    if (!fields.has_value()) {
      broken_ = absl::DataLossError(
          absl::StrCat("the record of revision ", revision.main, " is not a key-value pair"));
      return false;
    }
    bool wanted = false;
    bool wants_prev = false;
    group_.VisitWatching(fields->key, [&](const Wisher& wisher) {
      wanted = true;
      wants_prev |= wisher.prev_kv;
    });
    if (wanted) Add(revision, is_delete, record, *fields, wants_prev);
    return true;
  }

  void Add(Revision revision, bool is_delete, std::string_view record, const RecordFields& fields,
           bool wants_prev) {
    if (chunk_.revisions.empty() || chunk_.revisions.back().revision != revision.main) {
      chunk_.revisions.push_back({revision.main, {}});
    }
    std::vector<Event>& events = chunk_.revisions.back().events;
    Event event;
    event.is_delete = is_delete;
    if (is_delete) {
      RecordFields deletion;  // WATCH-025
      deletion.key = fields.key;
      deletion.mod_revision = revision.main;
      event.kv = EncodeRecord(deletion);
    } else {
      event.kv = base::Bytes::Copy(record);
    }
    const bool creation = !is_delete && fields.create_revision == fields.mod_revision;
    if (wants_prev && !creation) previous_.push_back({chunk_.revisions.size() - 1, events.size()});
    events.push_back(std::move(event));
  }

  // After the scan, so that look-ups do not hold the scan's view.
  absl::Status FillPrevious() {
    if (!broken_.ok()) return broken_;
    for (RevisionEvents& revision : chunk_.revisions) {
      for (Event& event : revision.events) event.key = RecordKey(event.kv.view());
    }
    for (const Place& place : previous_) {
      RevisionEvents& revision = chunk_.revisions[place.revision_index];
      Event& event = revision.events[place.event_index];
      auto pair = history_.PairAt(event.key, revision.revision - 1);
      if (!pair.ok()) return pair.status();
      event.prev_kv = *std::move(pair);
    }
    return absl::OkStatus();
  }

  struct Place {
    size_t revision_index;
    size_t event_index;
  };

  const HistoryReader& history_;
  const HistoryRequest& request_;
  std::vector<Wisher> wishers_;
  WatcherGroup<Wisher> group_;
  HistoryChunk chunk_;
  std::vector<Place> previous_;
  absl::Status broken_;
  int64_t last_revision_ = -1;
  size_t revisions_ = 0;
  size_t bytes_ = 0;
};

}  // namespace

HistoryChunk ReadHistory(const HistoryReader& history, const HistoryRequest& request) {
  ETCDD_CHECK(request.from <= request.to && request.revisions_max > 0);
  return ChunkBuilder(history, request).Read();
}

}  // namespace etcdd::mvcc
