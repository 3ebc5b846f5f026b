#pragma once

// A closed loop of unary calls: every slot sends its next request as soon as its reply has arrived
// and was found to be right. Slot s uses connection s modulo their number.

#include <cstdint>
#include <deque>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "cmd/etcdd-bench/event_loop.h"
#include "cmd/etcdd-bench/messages.h"
#include "cmd/etcdd-bench/options.h"
#include "cmd/etcdd-bench/report.h"

namespace etcdd::bench {

struct Request {
  uint32_t method = 0;
  std::string_view message;  // valid until the next call of the source
  Expectation expected;
};

// Where requests come from.
class RequestSource {
 public:
  virtual ~RequestSource() = default;
  // nullopt: there are no more.
  virtual std::optional<Request> Next() = 0;
};

// put, range, range1000, txn, lease-grant, mixed and echo, with keys uniformly drawn from
// options.keys by options.seed. Error for another op or a key space too small for it.
absl::StatusOr<std::unique_ptr<RequestSource>> NewOpSource(const Options& options);
// Puts every key once, in number order or shuffled.
std::unique_ptr<RequestSource> NewFillSource(const Options& options);

class UnaryLoad : public ConnectionListener {
 public:
  // `loop`, `source` and `meter` must outlive the load.
  UnaryLoad(EventLoop* loop, RequestSource* source, Meter* meter);

  // Connects and sends the first request of every slot.
  absl::Status Begin(const Options& options);
  // No further requests; those under way still count.
  void Stop() { stopping_ = true; }
  // Every slot is idle: the source was empty or Stop was called.
  bool idle() const { return busy_ == 0; }
  uint64_t completed() const { return completed_; }

  void OnData(Connection& connection, uint64_t tag, std::string_view data) override;
  void OnEnd(Connection& connection, uint64_t tag, const CallEnd& end) override;
  void OnRoom(Connection& connection) override;

 private:
  struct Slot {
    uint64_t start_ns = 0;
    Expectation expected;
    ReplyScanner reply;
    std::string waiting;  // a request that found no room
    uint32_t waiting_method = 0;
  };

  void Issue(uint64_t slot);

  EventLoop* const loop_;
  RequestSource* const source_;
  Meter* const meter_;
  std::vector<Slot> slots_;
  std::vector<Connection*> connections_;
  std::vector<std::deque<uint64_t>> without_room_;  // slots by connection, first come first
  uint64_t busy_ = 0;
  uint64_t completed_ = 0;
  bool stopping_ = false;
};

}  // namespace etcdd::bench
