#pragma once

// One client connection: HTTP/2 without TLS (prior knowledge), gRPC calls as streams on it.
//
// Framing is our own and HPACK nghttp2's, because a session library would cost as much as the
// servers under test. What is left out of HTTP/2: push, priorities, requests of more than one
// flow-control window. Windows, stream limits, PING and SETTINGS are obeyed.
//
// Confined to the thread of its EventLoop. Calls never write to the socket; EventLoop flushes after
// the input of a turn has been handled, so requests that become ready together leave together.

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "absl/container/flat_hash_map.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "cmd/etcdd-bench/frame.h"
#include "cmd/etcdd-bench/hpack.h"

namespace etcdd::bench {

class Connection;

// How a call ended.
struct CallEnd {
  int grpc_status = -1;      // -1: none was sent (reset, or the connection broke)
  std::string_view message;  // grpc-message or the reason; valid during the callback
};

// Told about replies, inside Connection::HandleInput. May start calls on any connection; must not
// destroy connections.
class ConnectionListener {
 public:
  virtual ~ConnectionListener() = default;
  // Reply bytes of the call `tag`: gRPC messages, cut anywhere.
  virtual void OnData(Connection& connection, uint64_t tag, std::string_view data) = 0;
  virtual void OnEnd(Connection& connection, uint64_t tag, const CallEnd& end) = 0;
  // Start or Send may succeed again after they refused.
  virtual void OnRoom(Connection& connection) = 0;
};

class Connection {
 public:
  // Largest message (with its gRPC prefix) Start and Send take: one initial window.
  static constexpr size_t kMessageBytesMax = 65535;

  // Takes the connected, non-blocking socket `fd`. `listener` must outlive the connection.
  Connection(int fd, std::string authority, ConnectionListener* listener);
  ~Connection();
  Connection(const Connection&) = delete;
  Connection& operator=(const Connection&) = delete;

  // Starts a call of `method` (messages.h) with its first message (gRPC-framed); `last` says that
  // no other follows. Returns the stream's id, or 0 when windows or the peer's stream limit do not
  // admit it now; OnRoom then follows. Requires: message.size() <= kMessageBytesMax.
  uint32_t Start(uint32_t method, std::string_view message, bool last, uint64_t tag);
  // Another message on a stream. False when a window does not admit it now; OnRoom then follows.
  bool Send(uint32_t stream_id, std::string_view message);

  // Handles the bytes received so far, keeping an incomplete frame for later. An error means that
  // the connection is of no further use; its calls have been ended.
  absl::Status HandleInput(std::string_view input);
  // Ends all calls, as broken, with this reason.
  void Break(const absl::Status& reason);

  // Writes what is waiting. False: the socket is full, and more is waiting.
  absl::StatusOr<bool> Flush();
  bool has_output() const { return sent_ < output_.size(); }

  int fd() const { return fd_; }
  bool broken() const { return broken_; }
  size_t calls() const { return streams_.size(); }

 private:
  struct Stream {
    uint64_t tag = 0;
    int64_t send_window = 0;
    uint32_t unacknowledged_bytes = 0;
    int http_status = -1;
  };

  absl::Status CompleteFrame(std::string_view* input);
  absl::Status HandleFrame(const FrameHeader& header, std::string_view payload);
  absl::Status HandleData(const FrameHeader& header, std::string_view payload);
  absl::Status HandleHeaders(const FrameHeader& header, std::string_view payload);
  absl::Status HandleHeaderBlock(uint32_t stream_id, bool end_stream, std::string_view block);
  absl::Status HandleSettings(const FrameHeader& header, std::string_view payload);
  absl::Status HandleWindowUpdate(const FrameHeader& header, std::string_view payload);
  absl::Status HandleGoAway(std::string_view payload);
  void AcknowledgeData(const FrameHeader& header, Stream* stream);
  void AppendWindowUpdate(uint32_t stream_id, uint32_t bytes);
  void AppendData(uint32_t stream_id, std::string_view message, bool last);
  void End(uint32_t stream_id, const CallEnd& end);
  void OfferRoom();

  const int fd_;
  ConnectionListener* const listener_;

  RequestHeaderEncoder encoder_;
  ReplyHeaderDecoder decoder_;
  std::string input_;   // an incomplete frame
  std::string output_;  // sent_ bytes of it are written
  size_t sent_ = 0;
  bool broken_ = false;

  absl::flat_hash_map<uint32_t, Stream> streams_;
  uint32_t next_stream_id_ = 1;
  int64_t send_window_ = 65535;
  int64_t stream_send_window_ = 65535;  // SETTINGS_INITIAL_WINDOW_SIZE
  uint64_t streams_max_ = UINT32_MAX;
  uint32_t frame_bytes_max_ = 16384;
  uint64_t unacknowledged_bytes_ = 0;
  bool refused_ = false;  // Start or Send said no since the last OnRoom

  std::string header_block_;  // being collected from HEADERS and CONTINUATION
  uint32_t header_block_stream_ = 0;
  bool header_block_ends_stream_ = false;
};

}  // namespace etcdd::bench
