#pragma once

// The front door: listeners on any number of URLs, their connections, and the protocols spoken on
// them. gRPC requests go to the dispatcher, HTTP/1.1 requests to their handler.
//
//   FrontDoor door(&loop, options);
//   ETCDD_RETURN_IF_ERROR(door.Listen("http://127.0.0.1:2379"));
//   ... door.Drain(absl::Seconds(5), [] { ... });
//
// Confined to the loop (or its thread before Run). Destroy it outside of a turn, or from a posted
// task, never from a handler.

#include <cstddef>
#include <memory>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "absl/functional/any_invocable.h"
#include "absl/status/status.h"
#include "absl/time/time.h"
#include "server/net/connection.h"
#include "server/net/event_loop.h"
#include "server/net/limits.h"
#include "server/net/listener.h"
#include "server/net/tls_context.h"

namespace etcdd::net {

struct FrontDoorOptions {
  Http2Options http2;
  // Used where a listener brings no HTTP/1.1 handler of its own; may be null: refused.
  Http1Options http1;
  size_t connections_max = kConnectionsMaxDefault;
};

// What one URL serves.
struct ListenOptions {
  bool grpc = true;
  bool http1 = true;
  Http1Handler* http1_handler = nullptr;  // instead of FrontDoorOptions::http1.handler
  // For https and unixs URLs, which need one; others ignore it. Must outlive the front door.
  TlsServerContext* tls = nullptr;
};

class FrontDoor final : private Listener::Owner, private Connection::Owner, private TurnHook {
 public:
  FrontDoor(EventLoop* loop, FrontDoorOptions options);
  ~FrontDoor();
  FrontDoor(const FrontDoor&) = delete;
  FrontDoor& operator=(const FrontDoor&) = delete;

  // Starts listening. Errors: the URL, TLS without a context, or the bind (text in
  // Listener::Open).
  absl::Status Listen(std::string_view url, const ListenOptions& options = {});
  // While held, connections wait in the kernel's queue and none is accepted: addresses can be bound
  // before the server behind them is ready. Not held at first.
  void HoldConnections(bool hold);
  // Addresses in order of Listen, with the ports the kernel chose.
  std::vector<std::string> addresses() const;
  size_t connections() const { return connections_.size(); }

  // Stops listening, lets running unary calls finish for up to `wait_max`, closes all connections,
  // then calls `done` (not from within Drain).
  void Drain(absl::Duration wait_max, absl::AnyInvocable<void()> done);

 private:
  struct Port {
    Http1Options http1;
    Services services;
    TlsServerContext* tls = nullptr;  // nullptr: plain
    std::unique_ptr<Listener> listener;
  };

  bool MayAccept() override {
    return !holding_ && connections_.size() < options_.connections_max;
  }
  void OnAccepted(Listener* listener, int fd, std::string peer) override;
  void OnConnectionClosed(Connection* connection) override;
  void OnTurn() override;
  void CloseAll();

  EventLoop* const loop_;
  const FrontDoorOptions options_;
  LoopShared shared_;
  bool holding_ = false;
  // Ports stay (connections point to their services); Drain drops only the listeners.
  std::vector<std::unique_ptr<Port>> ports_;
  std::unordered_map<Connection*, std::unique_ptr<Connection>> connections_;
  std::vector<std::unique_ptr<Connection>> closed_;  // destroyed at the next turn
  absl::AnyInvocable<void()> drained_;
  Timer drain_timer_;
};

}  // namespace etcdd::net
