#pragma once

// A client's watch stream as the network carries it: the member's end of the connection, with a
// send window, and messages on their way to the client, late but in order, as TCP delivers them.
//
// Confined to the simulator's thread. The member's side runs on the member's strand.

#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "absl/time/time.h"
#include "mvcc/watch_hub.h"
#include "proto/rpc.pb.h"
#include "tests/sim/scheduler.h"

namespace etcdd::sim {

class WatchSession final : public mvcc::WatchSink,
                           public std::enable_shared_from_this<WatchSession> {
 public:
  struct Options {
    absl::Duration delay_max = absl::ZeroDuration();  // of one message; zero: delivered at once
    int window_messages = 64;                         // in flight before the stream is told to wait
  };
  // Both strands outlive the member's end: call Close before the member's strand goes.
  WatchSession(Scheduler* scheduler, SimStrand* member_strand, SimStrand* world, Options options,
               std::function<void(const etcdserverpb::WatchResponse&)> on_response);
  ~WatchSession() override;

  // On the member's strand.
  void Open(mvcc::WatchHub* hub);
  void Create(const etcdserverpb::WatchCreateRequest& request);
  void RequestProgress();
  void Cancel(int64_t watch_id);

  // The connection is gone, in both directions: nothing more is delivered.
  void Close();
  bool closed() const { return closed_; }

 private:
  bool Send(std::string head, base::Bytes events) override;
  void Deliver(const std::string& bytes);
  void OnAcknowledged();

  Scheduler* const scheduler_;
  SimStrand* const member_strand_;
  SimStrand* const world_;
  const Options options_;
  const std::function<void(const etcdserverpb::WatchResponse&)> on_response_;
  std::unique_ptr<mvcc::WatchStream> stream_;
  absl::Duration last_arrival_;  // of what was sent so far
  int in_flight_ = 0;
  bool blocked_ = false;
  bool closed_ = false;
};

}  // namespace etcdd::sim
