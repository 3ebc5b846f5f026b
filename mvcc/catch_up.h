#pragma once

// Serves the watches that are behind. Those within the ring are served from it, a piece per turn of
// the apply strand; older ones from history, read on the worker strand, one read at a time, shared
// by all watches near the same revision. Both queues are first come, first served, and a watch that
// needs another piece goes to the end, so none starves another.
//
// A watch whose stream takes no more is parked with its stream until the stream is writable; it
// costs nothing meanwhile.
//
// Confined to the apply strand.

#include <cstdint>
#include <list>
#include <memory>
#include <string>
#include <vector>

#include "absl/types/span.h"
#include "mvcc/event_ring.h"
#include "mvcc/history_chunk.h"
#include "mvcc/watch_state.h"
#include "server/base/bytes.h"

namespace etcdd::mvcc {

class CatchUp {
 public:
  // `state` must outlive it.
  explicit CatchUp(WatchState* state);
  ~CatchUp();
  CatchUp(const CatchUp&) = delete;
  CatchUp& operator=(const CatchUp&) = delete;

  // Serves the watcher from its next_revision on and makes it synced in the end.
  // Requires: it is in no list and next_revision <= the current revision.
  void Add(Watcher* watcher);
  // Requires: the watcher is behind. It is in no list afterwards.
  void Remove(Watcher* watcher);
  void OnWritable(WatchStream* stream);

 private:
  // A watcher in one piece of work.
  struct Participant {
    Watcher* watcher;
    int64_t next;  // next_revision as this piece moves it
    std::vector<base::Bytes> pending;
    size_t pending_bytes = 0;
    bool stopped = false;  // its stream takes no more
    size_t group_index = 0;
    int64_t touched_revision = 0;
  };
  // Ends what is in flight when the owner goes.
  struct Alive {};

  void SchedulePump();
  void Pump();
  void ServeFromRing();
  void StartReading();
  void FinishReading(HistoryChunk chunk);
  // Takes watchers out of the queue that can share a piece beginning at `from`.
  std::vector<Watcher*> TakeNear(std::list<Watcher*>* queue, int64_t from);
  // Hands the events over. The revisions are all with events for anybody in [.., next).
  void Deliver(absl::Span<EncodedRevision* const> revisions, int64_t next,
               absl::Span<Watcher* const> watchers);
  void Collect(EncodedRevision* revision, WatcherGroup<Participant>* group,
               std::vector<Participant*>* touched);
  void Flush(Participant* participant, std::string_view header_field);
  // Where the watcher goes next.
  void Settle(Watcher* watcher);

  WatchState* const state_;
  std::list<Watcher*> recent_;
  std::list<Watcher*> old_;
  // Watchers of the read in flight; a removed one is null.
  std::vector<Watcher*> reading_;
  bool read_in_flight_ = false;
  bool pump_posted_ = false;
  bool failed_ = false;
  // The last joined response of Deliver; watchers of one range want the same.
  std::vector<base::Bytes> last_parts_;
  base::Bytes last_joined_;
  // Shared so that tasks in flight can tell whether this object still exists.
  std::shared_ptr<Alive> alive_;
};

}  // namespace etcdd::mvcc
