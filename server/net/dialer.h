#pragma once

// Outbound TCP connections of an event loop: names are looked up on a strand that may block, their
// addresses tried one after the other without blocking, and TLS is put on top where the URL says
// https.
//
// Confined to the loop.

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "absl/functional/any_invocable.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "server/base/strand.h"
#include "server/net/byte_stream.h"
#include "server/net/event_loop.h"

namespace etcdd::net {

// Where an http:// or https:// URL leads; nothing behind the address counts.
struct DialTarget {
  bool tls = false;
  std::string host;  // name or address, without brackets
  uint16_t port = 0;
  std::string authority;  // "host:port" as written: the Host header
};

// InvalidArgument with the URL in the text.
absl::StatusOr<DialTarget> ParseDialUrl(std::string_view url);

// Puts TLS on a connected non-blocking socket, which it owns from then on. The handshake happens
// inside the stream's Read and Write.
using ClientTlsFactory =
    std::function<std::unique_ptr<ByteStream>(int fd, const DialTarget& target)>;

class Dialer {
 public:
  struct Options {
    EventLoop* loop = nullptr;
    // Looks names up; may block. Must have ended its work before the loop is destroyed. Null: only
    // numeric addresses can be dialled.
    base::Strand* resolver = nullptr;
    ClientTlsFactory tls;  // null: https is refused
  };

  using Result = absl::StatusOr<std::unique_ptr<ByteStream>>;
  using Done = absl::AnyInvocable<void(Result)>;

  // One attempt; destroying it gives up. It must not outlive the dialer.
  class Attempt {
   public:
    virtual ~Attempt() = default;
  };

  explicit Dialer(Options options);

  // Connects within `wait_max`, which the addresses of a name share. `done` is called once, not
  // from within Dial; it may destroy the attempt. Errors (Unavailable) read like
  // `dial tcp 127.0.0.1:2380: connect: connection refused`.
  std::unique_ptr<Attempt> Dial(DialTarget target, absl::Duration wait_max, Done done);

  EventLoop& loop() const { return *options_.loop; }
  // Scratch of the loop's clients, used within one call only.
  std::vector<char>& receive_buffer() { return receive_buffer_; }

 private:
  class Connecting;

  const Options options_;
  std::vector<char> receive_buffer_;
};

}  // namespace etcdd::net
