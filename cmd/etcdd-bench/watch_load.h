#pragma once

// Many watchers of one key, and puts to it. Each put is under way until every watcher has received
// its event, so a closed loop measures what the server can sustain, with a bounded backlog; a paced
// run puts at a fixed rate instead. The latency recorded is from the sending of a put to the
// arrival of an event of it, one per watcher and put.
//
// Checked: every watcher sees every version of the key once and in order. The key must not be
// written by others meanwhile.

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "cmd/etcdd-bench/event_loop.h"
#include "cmd/etcdd-bench/message_assembler.h"
#include "cmd/etcdd-bench/messages.h"
#include "cmd/etcdd-bench/options.h"
#include "cmd/etcdd-bench/report.h"

namespace etcdd::bench {

class WatchLoad : public ConnectionListener {
 public:
  // `loop` and `meter` must outlive the load. Requires: options.value_bytes >= 8,
  // options.streams >= options.connections, options.watchers >= options.streams.
  WatchLoad(EventLoop* loop, Meter* meter, const Options& options);

  // Connects, creates all watchers and waits until the server has confirmed them.
  absl::Status Prepare();
  // Starts putting: a closed loop, or one put whenever Tick finds it due.
  void Begin();
  // No further puts; those under way still count.
  void Stop() { stopping_ = true; }

  // Paced: sends the puts that are due. Closed loop: nothing.
  void Tick();
  // When the next put is due; UINT64_MAX in a closed loop.
  uint64_t next_put_ns() const { return next_put_ns_; }

  // Every event of every put has arrived.
  bool idle() const { return puts_under_way_ == 0; }
  uint64_t puts_completed() const { return puts_completed_; }

  void OnData(Connection& connection, uint64_t tag, std::string_view data) override;
  void OnEnd(Connection& connection, uint64_t tag, const CallEnd& end) override;
  void OnRoom(Connection& connection) override;

 private:
  struct Stream {
    Connection* connection = nullptr;
    uint32_t id = 0;  // 0: not started
    uint32_t watchers_to_create = 0;
    MessageAssembler assembler;
    std::vector<int64_t> last_version;  // by watch id, which the server counts from 0; 0: none yet
  };
  struct Put {
    uint64_t number = 0;  // 0: free
    uint64_t sent_ns = 0;
    uint32_t events_missing = 0;
    bool replied = false;
  };

  void CreateWatchers(Stream* stream);
  void HandleReply(Stream* stream, std::string_view message);
  void HandleEvent(Stream* stream, int64_t watch_id, const WatchEvent& event);
  void SendPut();
  void FinishIfComplete(Put* put);
  Put* FindPut(uint64_t number);

  EventLoop* const loop_;
  Meter* const meter_;
  const Options options_;
  const std::string create_message_;
  RequestTemplate put_template_;
  Connection* put_connection_ = nullptr;
  std::vector<Stream> streams_;
  std::vector<Put> puts_;  // by number modulo size, a power of two
  WatchReply reply_;       // reused memory
  uint32_t watchers_created_ = 0;
  uint64_t next_put_number_ = 1;
  uint64_t next_put_ns_ = UINT64_MAX;
  uint64_t puts_under_way_ = 0;
  uint64_t puts_without_room_ = 0;
  uint64_t puts_completed_ = 0;
  bool stopping_ = false;
};

}  // namespace etcdd::bench
