#pragma once

// Distributes changes to watches (architecture.md D10): each event is encoded once per revision and
// shared by all who watch it. A watch is a cursor. One whose stream takes no more for now, or which
// starts in the past, falls behind and catches up from the ring of recent revisions, or further
// back from history, in bounded pieces. No watch is dropped silently, none holds more than a few
// named limits of memory, and none holds up a write.
//
// How it is built: watch_state.h (what is shared), watch_stream.h (one client), catch_up.h (those
// behind), event_ring.h, history_chunk.h.
//
// Confined to the apply strand, which in this build is the connections' loop as well.

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "mvcc/event.h"
#include "mvcc/history_reader.h"
#include "mvcc/watch_stream.h"
#include "server/base/random.h"
#include "server/base/strand.h"

namespace etcdd::mvcc {

class CatchUp;
class EncodedRevision;
struct Watcher;
struct WatchState;

struct WatchHubOptions {
  // The ring keeps at most so many revisions and about so many bytes.
  size_t ring_revisions_max = 65536;
  size_t ring_bytes_max = 8u << 20;
  // A response of the past has at most so many revisions (WATCH-027), and ends with the revision
  // that takes it over so many bytes. The first also bounds one piece of work on the apply strand.
  size_t catch_up_revisions_max = 1000;
  size_t catch_up_response_bytes_max = 512u << 10;
  // Bytes of records looked at in one read of history (whole revisions).
  size_t history_read_bytes_max = 4u << 20;
  // Watches served together by one piece of work.
  size_t catch_up_watchers_max = 512;
  // Where fragments begin: max-request-bytes + 512 KiB (WATCH-040).
  size_t fragment_bytes = 1572864 + (512u << 10);
  // WATCH-035; each stream adds up to a tenth at random.
  absl::Duration progress_interval = absl::Minutes(10);
};

// What the hub needs of the world. Everything outlives the hub; `history` also outlives whatever
// was posted to `worker`.
struct WatchWorld {
  base::Strand* apply = nullptr;   // the hub's own
  base::Strand* worker = nullptr;  // may block; reads of history run there
  base::Random* random = nullptr;
  const HistoryReader* history = nullptr;
  // An encoded ResponseHeader with this revision; cluster, member and term are the server's.
  std::function<std::string(int64_t revision)> header;
  // History cannot be read: the store is broken and the member must stop.
  std::function<void(absl::Status status)> on_failure;
};

struct WatchStats {
  size_t streams = 0;
  size_t watchers = 0;
  size_t slow_watchers = 0;  // not synced
  uint64_t events_sent = 0;  // since start
};

class WatchHub : public EventObserver {
 public:
  // `revision` is the store's current one.
  WatchHub(WatchWorld world, const WatchHubOptions& options, int64_t revision);
  // Requires: all streams are gone.
  ~WatchHub() override;

  // `sink` must outlive the stream, the hub too.
  std::unique_ptr<WatchStream> NewStream(WatchSink* sink);

  // Requires: revisions come without a gap, and their records can be read from history.
  void OnRevision(RevisionEvents events) override;
  // Another state was put in place of the store's, at `revision`, which is not below the present
  // one. Watches go on from where they are (WATCH-044).
  void OnRestore(int64_t revision);

  WatchStats stats() const;
  // Aborts when a watch is not where it should be. Walks all watches.
  void CheckInvariants() const;

 private:
  void Distribute(EncodedRevision* revision);
  void DistributeOne(EncodedRevision* revision);
  void DistributeMany(EncodedRevision* revision);
  void FallBehind(Watcher* watcher);

  const std::unique_ptr<WatchState> state_;
  const std::unique_ptr<CatchUp> catch_up_;

  // Scratch of Distribute, kept for its memory.
  std::vector<Watcher*> matches_;
  std::vector<std::vector<uint32_t>> match_indices_;
};

}  // namespace etcdd::mvcc
