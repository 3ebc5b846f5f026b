#pragma once

// What one transaction changed, as the store tells it to the watch hub. The bytes are the ones the
// store keeps: sharing them costs a reference, never a copy.

#include <cstdint>
#include <string_view>
#include <vector>

#include "mvcc/revision.h"
#include "server/base/bytes.h"

namespace etcdd::mvcc {

struct Event {
  bool is_delete = false;
  // Encoded mvccpb.KeyValue. Of a deletion only key and mod_revision (WATCH-025).
  base::Bytes kv;
  // The key's pair as of the revision before this transaction, encoded; empty when the event is a
  // creation, or when the pair is not in memory (then prev_revision.main > 0 and the record is to
  // be read from the backend's key bucket).
  base::Bytes prev_kv;
  Revision prev_revision;  // of the previous live pair; main == 0: there was none
  std::string_view key;    // points into kv
};

// All events of one main revision in sub order.
struct RevisionEvents {
  int64_t revision = 0;
  std::vector<Event> events;
};

// Hears of every transaction with changes, in revision order, on the apply strand, after the
// changes have become visible in the store.
class EventObserver {
 public:
  virtual ~EventObserver() = default;
  virtual void OnRevision(RevisionEvents events) = 0;
};

}  // namespace etcdd::mvcc
