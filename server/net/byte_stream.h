#pragma once

// The bytes under a connection: a socket now, TLS over a socket beside it. Connections know only
// this. Non-blocking; readiness comes from the event loop (both kinds wait on the same descriptor).
//
// Confined to one loop.

#include <sys/types.h>

#include <cstddef>
#include <memory>

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
  // that no more was there, so the next readiness event will tell of more.
  virtual IoResult Read(char* into, size_t capacity, size_t* count) = 0;
  // Writes from the front of `output` and consumes what was taken. kOk: all of it.
  virtual IoResult Write(OutputBuffer* output) = 0;
  // Tells the other side that nothing more follows.
  virtual void ShutdownWrite() = 0;
  // For the event loop. Closed by the destructor.
  virtual int fd() const = 0;
};

// Takes ownership of a connected non-blocking socket.
std::unique_ptr<ByteStream> NewSocketStream(int fd);

}  // namespace etcdd::net
