#pragma once

// A blocking connection to a server, with deadlines: what the HTTP/2 client in grpc_connection.h
// reads from and writes to. Two kinds: a TCP socket, and TLS on top of one (tls.h).
//
// Deadlines are in the clock's steady time. An error other than DeadlineExceeded is Unavailable and
// says what the system said; after any error the stream is of no more use.
//
// Confined to one thread at a time.

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "server/base/clock.h"

namespace etcdd::discovery {

class ByteStream {
 public:
  virtual ~ByteStream() = default;
  // Waits for bytes and returns how many came; 0 when the other side has closed.
  // Requires: size > 0.
  virtual absl::StatusOr<size_t> Read(char* buffer, size_t size, absl::Duration deadline) = 0;
  virtual absl::Status WriteAll(std::string_view bytes, absl::Duration deadline) = 0;
};

// Connects to the first address of `host` that answers. The look-up of the name itself takes as
// long as the system's resolver takes. `clock` must outlive the stream.
absl::StatusOr<std::unique_ptr<ByteStream>> DialTcp(const std::string& host, uint16_t port,
                                                    const base::Clock& clock,
                                                    absl::Duration deadline);

}  // namespace etcdd::discovery
