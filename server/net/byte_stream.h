#pragma once

// The bytes under a connection: a socket, or TLS over a socket. Connections know only this.
// Non-blocking; readiness comes from the event loop (both kinds wait on the same descriptor).
//
// A TLS stream begins with a handshake, driven by whatever is called: the owner calls Read at each
// readiness event, as always, and Write when it has something to say; nothing else is needed. An
// owner whose Write said kWouldBlock tries again after the next readiness event of either kind,
// once Read has been called: TLS may have to read before it can write.
//
// Confined to one loop.

#include <sys/types.h>

#include <cstddef>
#include <memory>
#include <string>
#include <string_view>

#include "server/net/output_buffer.h"

namespace etcdd::net {

enum class IoResult {
  kOk,
  kWouldBlock,  // try again after the next readiness event
  kClosed,      // end of input (Read only)
  kFailed,      // the connection is broken
};

class ByteStream {
 public:
  virtual ~ByteStream() = default;
  // Reads up to `capacity` bytes. kOk: `*count` > 0 bytes were read; fewer than `capacity` means
  // that no more was there, so the next readiness event will tell of more - unless has_pending().
  virtual IoResult Read(char* into, size_t capacity, size_t* count) = 0;
  // Writes from the front of `output` and consumes what was taken. kOk: all of it has been given
  // to the kernel. kWouldBlock: `output` holds the rest; it may be empty, when the rest is inside
  // the stream already.
  virtual IoResult Write(OutputBuffer* output) = 0;
  // Tells the other side that nothing more follows. Requires: the last Write said kOk.
  virtual void ShutdownWrite() = 0;
  // For the event loop. Closed by the destructor.
  virtual int fd() const = 0;

  // --- what differs between a socket and TLS

  // True when Read has something to tell that no readiness event will announce.
  virtual bool has_pending() const { return false; }
  // True when the stream itself holds bytes the kernel did not take (parts of a handshake, records
  // of a Write). When output space is announced, call Write, with an empty buffer if need be.
  virtual bool holds_output() const { return false; }
  // False until the handshake is over. Once a handshake has failed, Read still takes and drops
  // what comes, so that the owner can linger until the other side has read why.
  virtual bool ready() const { return true; }
  // The common name of the other side's verified certificate; empty without one. Valid once
  // ready(), as long as the stream.
  virtual std::string_view peer_common_name() const { return {}; }
  // Why Read or Write said kFailed, when there is more to tell than that the socket broke.
  virtual std::string error_text() const { return {}; }
  // The owner ends a handshake that takes too long: `reason` is for the log.
  virtual void AbandonHandshake(std::string_view) {}
};

// Takes ownership of a connected non-blocking socket.
std::unique_ptr<ByteStream> NewSocketStream(int fd);

}  // namespace etcdd::net
