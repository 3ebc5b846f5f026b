#pragma once

// Renewals on LeaseKeepAlive streams in a closed loop: every lease is renewed again as soon as its
// renewal was confirmed. One renewal of a lease is under way at a time.

#include <cstdint>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/status/status.h"
#include "cmd/etcdd-bench/event_loop.h"
#include "cmd/etcdd-bench/message_assembler.h"
#include "cmd/etcdd-bench/options.h"
#include "cmd/etcdd-bench/report.h"

namespace etcdd::bench {

class KeepAliveLoad : public ConnectionListener {
 public:
  // `loop` and `meter` must outlive the load.
  KeepAliveLoad(EventLoop* loop, Meter* meter) : loop_(loop), meter_(meter) {}

  // Renews `leases` over options.streams streams on options.connections connections.
  // Requires: at least one lease per stream.
  absl::Status Begin(const Options& options, const std::vector<int64_t>& leases);

  void OnData(Connection& connection, uint64_t tag, std::string_view data) override;
  void OnEnd(Connection& connection, uint64_t tag, const CallEnd& end) override;
  void OnRoom(Connection& connection) override;

 private:
  struct Stream {
    Connection* connection = nullptr;
    uint32_t id = 0;  // 0: not started
    MessageAssembler assembler;
    absl::flat_hash_map<int64_t, uint64_t> sent_ns;  // by lease under way
    std::vector<int64_t> waiting;                    // found no room
  };

  void Renew(Stream* stream, int64_t lease);
  void HandleReply(Stream* stream, std::string_view message);

  EventLoop* const loop_;
  Meter* const meter_;
  std::vector<Stream> streams_;
};

}  // namespace etcdd::bench
