#pragma once

// One blocking call after another on a connection of its own: set-up, compaction, probing.

#include <memory>
#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "cmd/etcdd-bench/event_loop.h"

namespace etcdd::bench {

class Caller : private ConnectionListener {
 public:
  static absl::StatusOr<std::unique_ptr<Caller>> Connect(const std::string& endpoint);

  // Sends `message` (gRPC-framed) and waits for the reply message, returned without its prefix.
  // The server's status is returned as it is; DeadlineExceeded when nothing came in time.
  absl::StatusOr<std::string> Call(uint32_t method, std::string_view message, double timeout_s);

 private:
  Caller() = default;
  void OnData(Connection& connection, uint64_t tag, std::string_view data) override;
  void OnEnd(Connection& connection, uint64_t tag, const CallEnd& end) override;
  void OnRoom(Connection&) override {}

  EventLoop loop_;
  Connection* connection_ = nullptr;
  std::string reply_;  // with its gRPC prefix
  bool ended_ = false;
  absl::Status status_;
};

}  // namespace etcdd::bench
