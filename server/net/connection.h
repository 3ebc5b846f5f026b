#pragma once

// One accepted connection: owns the byte stream, finds out from the first bytes which protocol the
// client speaks, then moves bytes between the stream and that protocol's session. Output of a turn
// leaves in one write at its end.
//
// Confined to the loop. Closing may happen at any point of a turn except inside the session's
// Receive and Produce; requests that want it then post it.

#include <cstddef>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "server/net/byte_stream.h"
#include "server/net/event_loop.h"
#include "server/net/http1_session.h"
#include "server/net/http2_session.h"
#include "server/net/limits.h"
#include "server/net/protocol_session.h"
#include "server/net/timer_queue.h"
#include "server/net/unary_call.h"

namespace etcdd::net {

// What the connections of one loop share.
struct LoopShared {
  explicit LoopShared(EventLoop* l) : loop(l), receive_buffer(kReceiveBufferBytes) {}

  EventLoop* const loop;
  std::vector<char> receive_buffer;
  OutputBuffer output;  // empty between flushes
  // Steps of TLS handshakes taken in the turn that began at handshake_turn.
  absl::Duration handshake_turn = -absl::InfiniteDuration();
  int handshake_steps = 0;
  CallPool calls;
  SessionMemory memory;
};

// What a listener serves; a null pointer means that the protocol is refused there.
struct Services {
  const Http2Options* http2 = nullptr;
  const Http1Options* http1 = nullptr;
};

class Connection final : private SessionHost, private IoHandler {
 public:
  class Owner {
   public:
    // The connection is closed; the owner destroys it, but not within this call.
    virtual void OnConnectionClosed(Connection* connection) = 0;

   protected:
    ~Owner() = default;
  };

  // `shared`, `services` and `owner` must outlive the connection.
  Connection(LoopShared* shared, const Services* services, Owner* owner,
             std::unique_ptr<ByteStream> stream, std::string peer);
  ~Connection();
  Connection(const Connection&) = delete;
  Connection& operator=(const Connection&) = delete;

  // Ends it after what runs (see ProtocolSession::Drain).
  void Drain();
  // Ends it now. Requires: not inside the session.
  void Close();

 private:
  struct Hook final : TurnHook {
    Hook(Connection* c, void (Connection::*m)()) : connection(c), method(m) {}
    void OnTurn() override { (connection->*method)(); }
    Connection* const connection;
    void (Connection::*const method)();
  };

  EventLoop& loop() override { return *shared_->loop; }
  void WantFlush() override;
  void WantInput() override;
  const std::shared_ptr<const RemotePeer>& peer() const override { return peer_; }
  void OnReady(uint32_t events) override;

  void ReadInput();
  // Whether this turn has time for another step of a handshake; otherwise the next one will.
  bool MayShakeHands();
  // The handshake is over: from here on the connection is like any other.
  void OnHandshakeDone();
  void OnTimeout();
  void Process(std::string_view bytes);
  // Makes the session as soon as the first bytes tell which; false when the connection was ended.
  bool ChooseProtocol();
  void Flush();
  // The last byte was written: waits a moment for the client to read it.
  void Linger();

  LoopShared* const shared_;
  const Services* const services_;
  Owner* const owner_;
  std::unique_ptr<ByteStream> stream_;  // nullptr once closed
  std::shared_ptr<const RemotePeer> peer_;  // replaced once, when a handshake told the name
  std::unique_ptr<ProtocolSession> session_;
  std::string first_bytes_;  // until the protocol is known
  std::unique_ptr<OutputBuffer> unsent_;  // what the socket did not take
  bool shaking_hands_ = false;  // the stream is not ready
  bool hung_up_ = false;     // the client has shut its side: read on until the end shows
  bool paused_ = false;      // reading waits for the session
  bool lingering_ = false;
  bool draining_ = false;
  Hook flush_hook_;
  Hook read_hook_;
  Timer timer_;  // handshake, protocol choice, then linger
};

}  // namespace etcdd::net
