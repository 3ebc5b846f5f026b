#pragma once

// Recent revisions, ready to be sent. Each event is encoded at most once with and once without its
// previous pair, when the first watcher wants it so, and shared by all watchers.
//
// Confined to the apply strand.

#include <cstddef>
#include <cstdint>
#include <deque>
#include <memory>
#include <string_view>
#include <vector>

#include "absl/types/span.h"
#include "mvcc/event.h"
#include "server/base/bytes.h"

namespace etcdd::mvcc {

// Where previous pairs come from that are not in memory.
class PrevKvLookup {
 public:
  virtual ~PrevKvLookup() = default;
  // The encoded pair of `key` as of `revision`; empty when it cannot be had.
  virtual base::Bytes PrevKv(std::string_view key, int64_t revision) = 0;
};

// The events of one revision and their encodings.
class EncodedRevision {
 public:
  explicit EncodedRevision(RevisionEvents events);

  int64_t revision() const { return revision_; }
  const std::vector<Event>& events() const { return events_; }
  // About what it holds in memory, encodings included.
  size_t bytes() const { return bytes_; }

  // Event `index` as an element of WatchResponse.events. A previous pair that is not in memory is
  // asked of `lookup`; when it cannot be had the event goes without.
  const base::Bytes& Encoded(size_t index, bool with_prev, PrevKvLookup& lookup);
  // Several events one after the other. `indices` ascend and are not empty. Asking for the same
  // ones again in succession costs nothing.
  const base::Bytes& Joined(absl::Span<const uint32_t> indices, bool with_prev,
                            PrevKvLookup& lookup);

 private:
  struct Encodings {
    base::Bytes plain;
    base::Bytes with_prev;
  };
  struct LastJoined {
    std::vector<uint32_t> indices;
    base::Bytes bytes;
  };

  // Only for what somebody watches; most revisions are watched by nobody, and small.
  struct Made {
    std::vector<Encodings> encodings;  // one per event
    LastJoined plain;
    LastJoined with_prev;
  };
  Made& made();

  int64_t revision_;
  std::vector<Event> events_;
  size_t bytes_;
  std::unique_ptr<Made> made_;
};

// One Bytes made of all parts.
base::Bytes JoinBytes(absl::Span<const base::Bytes> parts);

class EventRing {
 public:
  EventRing(size_t revisions_max, size_t bytes_max)
      : revisions_max_(revisions_max), bytes_max_(bytes_max) {}

  // Empties the ring; the next revision pushed is `next`.
  void Reset(int64_t next);
  // Requires: the revision is next(). Old revisions go to keep the limits, but the new one stays.
  EncodedRevision& Push(RevisionEvents events);

  // Revisions in [first, next) are here.
  int64_t first() const { return next_ - static_cast<int64_t>(revisions_.size()); }
  int64_t next() const { return next_; }
  // Requires: first() <= revision < next().
  EncodedRevision& At(int64_t revision);

 private:
  const size_t revisions_max_;
  const size_t bytes_max_;
  std::deque<EncodedRevision> revisions_;
  int64_t next_ = 0;
  size_t bytes_ = 0;
};

}  // namespace etcdd::mvcc
