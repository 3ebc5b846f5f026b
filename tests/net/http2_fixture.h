#pragma once

// An Http2Session and an nghttp2 client facing each other in memory: no sockets, a clock that moves
// only when told. Everything a test does is a word of this fixture.

#include <nghttp2/nghttp2.h>

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/time/time.h"
#include "server/base/clock.h"
#include "server/net/event_loop.h"
#include "server/net/http2_session.h"
#include "tests/net/echo_service.h"

namespace etcdd::net {

class ManualClock final : public base::Clock {
 public:
  absl::Duration Monotonic() const override { return now_; }
  absl::Time Wall() const override { return absl::UnixEpoch() + now_; }
  void Advance(absl::Duration by) { now_ += by; }

 private:
  absl::Duration now_ = absl::Seconds(1000);
};

// "\0" + length + message: one gRPC message on the wire.
std::string Framed(std::string_view message, bool compressed = false);
// The messages of complete frames in `bytes`.
std::vector<std::string> Unframed(std::string_view bytes);

using HeaderMap = std::map<std::string, std::string>;

// The client's end of one HTTP/2 connection.
class TestClient {
 public:
  struct Stream {
    HeaderMap headers;   // of the first block
    HeaderMap trailers;  // of the second
    std::string data;
    bool headers_seen = false;
    bool ended = false;   // END_STREAM came
    bool closed = false;
    uint32_t error_code = 0;
    // The status wherever it came, -1 when it has not.
    int grpc_status() const;
    std::string grpc_message() const;
    std::vector<std::string> messages() const { return Unframed(data); }
  };
  struct Goaway {
    int32_t last_stream_id;
    uint32_t error_code;
    std::string debug;
  };

  // `window` is the initial window of each stream (and of the connection when larger than 65535).
  explicit TestClient(uint32_t window = 65535);
  ~TestClient();

  using Fields = std::vector<std::pair<std::string, std::string>>;
  // The header block of a gRPC request.
  static Fields GrpcHeaders(std::string_view path);

  // Opens a stream. The body goes out as given; `end` closes our side after it.
  int32_t Request(const Fields& headers, std::string body, bool end);
  int32_t Call(std::string_view path, std::string_view message) {
    return Request(GrpcHeaders(path), Framed(message), true);
  }
  // More bytes for an open stream.
  void Send(int32_t id, std::string_view bytes, bool end);
  void Reset(int32_t id, uint32_t error_code = NGHTTP2_CANCEL);
  void Ping();
  // Grants window although the window is otherwise withheld.
  void Grant(int32_t id, int32_t bytes);

  Stream& stream(int32_t id) { return streams_[id]; }
  const std::vector<Goaway>& goaways() const { return goaways_; }
  int ping_acks() const { return ping_acks_; }
  int server_pings() const { return server_pings_; }
  bool answer_pings = true;
  nghttp2_session* session() { return session_; }

  // Bytes for the server, and bytes from it. Feed is false when the client gave up.
  std::string TakeOutput();
  bool Feed(std::string_view bytes);

 private:
  struct Body {
    std::string bytes;
    bool end = false;
    bool deferred = false;
  };
  static nghttp2_session_callbacks* Callbacks();

  nghttp2_session* session_ = nullptr;
  std::map<int32_t, Stream> streams_;
  std::map<int32_t, Body> bodies_;
  std::vector<Goaway> goaways_;
  int ping_acks_ = 0;
  int server_pings_ = 0;
};

// The server's end, with the echo service behind it.
class TestServer final : private SessionHost {
 public:
  explicit TestServer(Http2Options options = {});
  ~TestServer();

  // Bytes of the client, then the end of the turn (timers, output).
  void Receive(std::string_view bytes);
  // One turn without input.
  void Turn() { loop_.RunTurn(absl::ZeroDuration()); }
  void Advance(absl::Duration by);
  std::string TakeOutput() { return std::exchange(output_, std::string()); }
  size_t output_size() const { return output_.size(); }
  // Output stays inside the session from here on, as behind a socket that takes nothing.
  void BlockOutput(bool blocked);
  void LoseConnection();
  // True when the connection would now be closed.
  bool finished() { return session_ == nullptr || session_->finished(); }

  EchoService echo;
  Http2Session* session() { return session_.get(); }
  int flushes() const { return flushes_; }

 private:
  struct Hook final : TurnHook {
    explicit Hook(TestServer* s) : server(s) {}
    void OnTurn() override { server->Flush(); }
    TestServer* const server;
  };
  EventLoop& loop() override { return loop_; }
  void WantFlush() override { loop_.AtEndOfTurn(&hook_); }
  void WantInput() override {}
  const std::shared_ptr<const RemotePeer>& peer() const override { return peer_; }
  void Flush();

  ManualClock clock_;
  EventLoop loop_{&clock_};
  const std::shared_ptr<const RemotePeer> peer_ =
      std::make_shared<const RemotePeer>(RemotePeer{"192.0.2.1:1234", "client name"});
  SessionMemory memory_;
  CallPool calls_;
  Http2Options options_;
  Hook hook_{this};
  std::unique_ptr<Http2Session> session_;
  std::string output_;
  bool blocked_ = false;
  int flushes_ = 0;
};

// A client and a server; Exchange moves bytes both ways until neither has more.
struct Http2Pair {
  explicit Http2Pair(Http2Options options = {}, uint32_t client_window = 65535)
      : client(client_window), server(std::move(options)) {}
  void Exchange();

  TestClient client;
  TestServer server;
};

}  // namespace etcdd::net
