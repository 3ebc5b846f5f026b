#pragma once

// The generator's one thread: epoll over its connections, one receive and one send per connection
// and turn. Owns the connections. Times are nanoseconds of CLOCK_MONOTONIC, taken once per turn
// and connection right after its bytes were received; a latency therefore includes the time the
// generator spends on the other replies of the same turn, alike for every server.

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "cmd/etcdd-bench/connection.h"

namespace etcdd::bench {

inline constexpr uint64_t kSecond = 1'000'000'000;

uint64_t MonotonicNow();

class EventLoop {
 public:
  EventLoop();
  ~EventLoop();
  EventLoop(const EventLoop&) = delete;
  EventLoop& operator=(const EventLoop&) = delete;

  // Connects to "host:port" (IPv4 address or localhost). The connection lives as long as the loop.
  absl::StatusOr<Connection*> Connect(const std::string& endpoint, ConnectionListener* listener);

  // Handles events until `done` returns true; it is asked before every turn and may start calls. A
  // turn waits for input until time `wake_ns()` at most (UINT64_MAX: no timer). Returns the first
  // error of a connection.
  absl::Status RunUntil(const std::function<bool()>& done,
                        const std::function<uint64_t()>& wake_ns);
  // The same with a fixed end.
  absl::Status RunUntil(const std::function<bool()>& done, uint64_t deadline_ns);

  // The time of the bytes being handled.
  uint64_t now() const { return now_; }
  void UpdateNow() { now_ = MonotonicNow(); }

 private:
  absl::Status Turn(uint64_t wake_ns);
  absl::Status Receive(Connection* connection);
  absl::Status FlushAll();

  struct Entry {
    std::unique_ptr<Connection> connection;
    bool waits_for_output = false;
  };

  int epoll_ = -1;
  uint64_t now_ = 0;
  std::vector<Entry> entries_;
  std::vector<char> buffer_;
};

}  // namespace etcdd::bench
