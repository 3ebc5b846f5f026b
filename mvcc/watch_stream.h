#pragma once

// One client's watch stream: its watches, their ids, and everything that is said on it, in terms of
// encoded WatchResponses (behaviour.md section 3). The handler above decodes WatchRequests and
// checks permissions; nothing else is left to it.
//
// Confined to the apply strand.

#include <cstdint>
#include <list>
#include <map>
#include <memory>
#include <string>
#include <string_view>

#include "absl/functional/function_ref.h"
#include "server/base/bytes.h"
#include "server/base/strand.h"

namespace etcdd::mvcc {

class CatchUp;
struct Watcher;
struct WatchState;

// The way to the client. Must not call back into the stream from within Send.
class WatchSink {
 public:
  virtual ~WatchSink() = default;
  // Queues one WatchResponse made of `head` followed by `events` (often empty), which is shared and
  // not copied. Returns false when enough is queued: the message is queued all the same, but the
  // sender should call again only after WatchStream::OnWritable, small control responses excepted.
  virtual bool Send(std::string head, base::Bytes events) = 0;
};

// WatchCreateRequest.
struct WatchCreate {
  std::string key;
  std::string range_end;
  int64_t start_revision = 0;
  bool progress_notify = false;
  bool no_put = false;
  bool no_delete = false;
  bool prev_kv = false;
  int64_t watch_id = 0;
  bool fragment = false;
};

class WatchStream {
 public:
  // Made by WatchHub::NewStream.
  WatchStream(WatchState* state, CatchUp* catch_up, WatchSink* sink);
  // Ends all watches silently. Not to be called from within WatchSink::Send.
  ~WatchStream();
  WatchStream(const WatchStream&) = delete;
  WatchStream& operator=(const WatchStream&) = delete;

  // Answers with one created response (WATCH-002..005), then events come. The caller has checked
  // that the user may read this range, exactly as sent (WATCH-007).
  void Create(const WatchCreate& create);
  // Answers a create request which the caller refuses (WATCH-006).
  void RejectCreate(std::string_view reason);
  // WATCH-009.
  void Cancel(int64_t watch_id);
  // WATCH-036.
  void RequestProgress();
  // The sink takes messages again after it had said false.
  void OnWritable();

  // ---- For the other parts of the hub ----

  bool writable() const { return writable_; }
  // Sends events of `watcher` in one response, or in several when it asked for fragments and the
  // response is long (WATCH-040). `events` is all `count` of them joined; part(i) is one.
  // Requires: the events are the next ones of this watcher.
  void SendEvents(Watcher* watcher, std::string_view header_field, const base::Bytes& events,
                  size_t count, absl::FunctionRef<base::Bytes(size_t index)> part);
  // Ends the watch because its events are compacted (WATCH-017, WATCH-019).
  // Requires: the watcher is in no list.
  void EndCompacted(Watcher* watcher);
  // Watchers that wait for OnWritable; CatchUp's.
  std::list<Watcher*>& parked() { return parked_; }
  // By id.
  const std::map<int64_t, std::unique_ptr<Watcher>>& watchers() const { return watchers_; }

 private:
  int64_t TakeAutomaticId();
  void Start(Watcher* watcher);
  void Stop(Watcher* watcher);
  void SendFragments(const Watcher& watcher, std::string_view header_field, size_t count,
                     absl::FunctionRef<base::Bytes(size_t index)> part);
  void Send(std::string head, base::Bytes events);
  void ArmProgressTimer();
  void OnProgressTick();

  // Fixed after construction.
  WatchState* const state_;
  CatchUp* const catch_up_;
  WatchSink* const sink_;
  const uint64_t number_;

  std::map<int64_t, std::unique_ptr<Watcher>> watchers_;
  std::list<Watcher*> parked_;
  bool writable_ = true;
  bool sending_ = false;  // within WatchSink::Send
  // Smallest id not yet handed out by itself; only grows (WATCH-003).
  int64_t next_automatic_id_ = 0;
  base::TimerId progress_timer_ = 0;
};

}  // namespace etcdd::mvcc
