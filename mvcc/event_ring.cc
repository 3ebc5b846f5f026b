#include "mvcc/event_ring.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "mvcc/watch_codec.h"
#include "server/base/check.h"

namespace etcdd::mvcc {
namespace {

// An event's own structures, about.
constexpr size_t kEventOverheadBytes = 192;

}  // namespace

EncodedRevision::EncodedRevision(RevisionEvents events)
    : revision_(events.revision), events_(std::move(events.events)) {
  ETCDD_CHECK(!events_.empty());
  bytes_ = 0;
  for (const Event& event : events_) {
    // The pairs, and both encodings as if they were there already.
    bytes_ += kEventOverheadBytes + 3 * event.kv.size() + 2 * event.prev_kv.size();
  }
}

EncodedRevision::Made& EncodedRevision::made() {
  if (made_ == nullptr) {
    made_ = std::make_unique<Made>();
    made_->encodings.resize(events_.size());
  }
  return *made_;
}

const base::Bytes& EncodedRevision::Encoded(size_t index, bool with_prev,
                                            PrevKvLookup& lookup) {
  Event& event = events_[index];
  Encodings& encodings = made().encodings[index];
  if (with_prev && event.prev_kv.empty() && event.prev_revision.main > 0) {
    event.prev_kv = lookup.PrevKv(event.key, revision_ - 1);
    event.prev_revision = Revision();  // what is not there now will not come
  }
  // Without a previous pair both forms are the same bytes.
  if (with_prev && !event.prev_kv.empty()) {
    if (encodings.with_prev.empty()) {
      encodings.with_prev =
          EncodeWatchEvent(event.is_delete, event.kv.view(), event.prev_kv.view());
    }
    return encodings.with_prev;
  }
  if (encodings.plain.empty()) {
    encodings.plain = EncodeWatchEvent(event.is_delete, event.kv.view(), "");
  }
  return encodings.plain;
}

const base::Bytes& EncodedRevision::Joined(absl::Span<const uint32_t> indices, bool with_prev,
                                           PrevKvLookup& lookup) {
  ETCDD_CHECK(!indices.empty());
  if (indices.size() == 1) return Encoded(indices[0], with_prev, lookup);
  LastJoined& last = with_prev ? made().with_prev : made().plain;
  if (absl::MakeConstSpan(last.indices) != indices) {
    std::vector<base::Bytes> parts;
    parts.reserve(indices.size());
    for (const uint32_t index : indices) parts.push_back(Encoded(index, with_prev, lookup));
    last.bytes = JoinBytes(parts);
    last.indices.assign(indices.begin(), indices.end());
  }
  return last.bytes;
}

base::Bytes JoinBytes(absl::Span<const base::Bytes> parts) {
  if (parts.size() == 1) return parts[0];
  size_t size = 0;
  for (const base::Bytes& part : parts) size += part.size();
  return base::Bytes::Build(size, [parts](char* out) {
    for (const base::Bytes& part : parts) {
      std::memcpy(out, part.view().data(), part.size());
      out += part.size();
    }
  });
}

void EventRing::Reset(int64_t next) {
  revisions_.clear();
  bytes_ = 0;
  next_ = next;
}

EncodedRevision& EventRing::Push(RevisionEvents events) {
  ETCDD_CHECK(events.revision == next_);
  revisions_.emplace_back(std::move(events));
  bytes_ += revisions_.back().bytes();
  ++next_;
  while (revisions_.size() > 1 && (revisions_.size() > revisions_max_ || bytes_ > bytes_max_)) {
    bytes_ -= revisions_.front().bytes();
    revisions_.pop_front();
  }
  return revisions_.back();
}

EncodedRevision& EventRing::At(int64_t revision) {
  ETCDD_CHECK(first() <= revision && revision < next_);
  return revisions_[static_cast<size_t>(revision - first())];
}

}  // namespace etcdd::mvcc
