#pragma once

// What the parts of the watch hub share: the current revision, the ring, the synced watchers, and
// the world outside. Internal to the hub; confined to the apply strand.

#include <cstdint>
#include <list>
#include <map>
#include <string>

#include "absl/status/status.h"
#include "mvcc/event_ring.h"
#include "mvcc/watch_hub.h"
#include "mvcc/watcher_group.h"
#include "server/base/bytes.h"

namespace etcdd::mvcc {

// A watch: a cursor into the sequence of revisions, never a buffer.
struct Watcher {
  enum class Place {
    kSynced,   // in WatchState::synced: every event up to the current revision is handed over
    kParked,   // behind, and its stream takes no more for now
    kRecent,   // behind, waits to be served from the ring
    kOld,      // behind, waits to be served from history
    kReading,  // behind, its piece of history is being read
    kDead,     // ended by a compaction; only its id is still taken (WATCH-020)
  };

  bool Wants(bool is_delete) const { return is_delete ? !no_delete : !no_put; }
  // WATCH-035, WATCH-036: nothing at or below the current revision is still to come.
  bool MayProgress(int64_t current_revision) const {
    return place == Place::kSynced && start_revision <= current_revision;
  }

  // Fixed after construction.
  WatchStream* stream = nullptr;
  int64_t id = 0;
  KeyRange range;
  int64_t start_revision = 0;  // as asked for; 0: from now on
  bool prev_kv = false;
  bool progress_notify = false;
  bool fragment = false;
  bool no_put = false;
  bool no_delete = false;

  Place place = Place::kSynced;
  // No event below it is still to be sent. Only grows. While synced it does not move along: then
  // it is the smaller bound of what may be sent at all.
  int64_t next_revision = 0;
  // An event was sent since the last progress tick.
  bool had_event = false;

  size_t group_index = 0;                    // kSynced
  std::list<Watcher*>::iterator queue_place;  // kParked, kRecent, kOld
  size_t reading_index = 0;                  // kReading
  // Where the hub collects this watcher's events of the revision it is distributing.
  int64_t touched_revision = 0;
  size_t touched_index = 0;
};

struct WatchState final : public PrevKvLookup {
  WatchState(WatchWorld the_world, const WatchHubOptions& the_options, int64_t revision);

  // Field 1 of a WatchResponse at `revision`.
  std::string HeaderField(int64_t revision) const;
  base::Bytes PrevKv(std::string_view key, int64_t revision) override;

  const WatchWorld world;
  const WatchHubOptions options;
  int64_t current_revision;  // the last one distributed; only grows
  EventRing ring;
  WatcherGroup<Watcher> synced;
  // By number, in the order they were opened.
  std::map<uint64_t, WatchStream*> streams;
  uint64_t last_stream_number = 0;
  size_t watchers = 0;  // all but dead ones
  uint64_t events_sent = 0;
};

}  // namespace etcdd::mvcc
