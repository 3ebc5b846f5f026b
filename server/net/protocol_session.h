#pragma once

// What a connection and the protocol spoken on it want of each other. A connection moves bytes and
// owns the socket; a session turns bytes into requests and replies into bytes. Sessions know no
// socket, so tests drive them in memory.
//
// Confined to one loop.

#include <memory>
#include <string>
#include <string_view>

#include "server/net/event_loop.h"
#include "server/net/output_buffer.h"
#include "server/net/remote_peer.h"

namespace etcdd::net {

// The connection as its session sees it.
class SessionHost {
 public:
  virtual EventLoop& loop() = 0;
  // Asks for a call of Produce at the end of this turn.
  virtual void WantFlush() = 0;
  // The session's wants_input() turned true again.
  virtual void WantInput() = 0;
  virtual const std::shared_ptr<const RemotePeer>& peer() const = 0;

 protected:
  ~SessionHost() = default;
};

class ProtocolSession {
 public:
  virtual ~ProtocolSession() = default;
  // Takes received bytes. The session says through finished() when it has had enough.
  virtual void Receive(std::string_view bytes) = 0;
  // Appends bytes to send, about kWriteBytesMax at most; nothing appended means nothing to send.
  virtual void Produce(OutputBuffer* out) = 0;
  // Tells whether the last output is stuck in the socket, that is, whether the client reads.
  virtual void SetOutputBlocked(bool blocked) = 0;
  // False while more input would only grow memory.
  virtual bool wants_input() const = 0;
  // True when the connection is to be closed once everything produced has been written.
  virtual bool finished() const = 0;
  // The connection has gone; ends all requests. Nothing else is called afterwards.
  virtual void OnConnectionLost() = 0;
  // Finishes what runs, takes nothing new; then finished().
  virtual void Drain() = 0;
};

}  // namespace etcdd::net
