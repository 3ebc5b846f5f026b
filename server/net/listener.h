#pragma once

// A listening socket on an event loop: TCP (IPv4, IPv6) or unix. Accepted sockets are non-blocking,
// close-on-exec and, for TCP, without Nagle's delay.
//
// Confined to the loop.

#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "server/net/event_loop.h"
#include "server/net/listen_url.h"
#include "server/net/timer_queue.h"

namespace etcdd::net {

class Listener final : private IoHandler, private TurnHook {
 public:
  class Owner {
   public:
    // True while another connection may be taken; false pauses the listener until Resume.
    virtual bool MayAccept() = 0;
    // Takes ownership of a connected socket. `peer` is the client's address as text.
    virtual void OnAccepted(Listener* listener, int fd, std::string peer) = 0;

   protected:
    ~Owner() = default;
  };

  // Binds and listens; errors read like `listen tcp 127.0.0.1:2379: bind: address already in use`.
  // A unix socket file nobody listens on is replaced. `loop` and `owner` must outlive the listener.
  static absl::StatusOr<std::unique_ptr<Listener>> Open(EventLoop* loop, Owner* owner,
                                                        const ListenUrl& url);
  ~Listener();
  Listener(const Listener&) = delete;
  Listener& operator=(const Listener&) = delete;

  // Goes on accepting after MayAccept had said false.
  void Resume();
  // "127.0.0.1:2379" with the port the kernel chose, or the path of the unix socket.
  const std::string& address() const { return address_; }
  const ListenUrl& url() const { return url_; }

 private:
  Listener(EventLoop* loop, Owner* owner, ListenUrl url, int fd, std::string address);
  void OnReady(uint32_t events) override;
  void OnTurn() override;
  void Accept();
  void WarnOfPause(const std::string& error);

  EventLoop* const loop_;
  Owner* const owner_;
  const ListenUrl url_;
  const int fd_;
  const std::string address_;
  bool paused_ = false;
  absl::Duration warned_at_ = -absl::InfiniteDuration();
  Timer retry_timer_;
};

}  // namespace etcdd::net
