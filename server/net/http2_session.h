#pragma once

// The server side of one HTTP/2 connection that carries gRPC, on libnghttp2's session API. nghttp2
// keeps the protocol (frames, HPACK, windows, settings, flood limits); this class maps its streams
// to GrpcStream objects, hands requests to the dispatcher, and answers what is not a gRPC request.
//
// Receiving and sending are separate steps of a loop turn: replies made while bytes are received
// only mark their streams, Produce writes the frames of all of them at once.
//
// Confined to the connection's loop.

#include <nghttp2/nghttp2.h>

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "server/net/grpc_stream.h"
#include "server/net/protocol_session.h"
#include "server/net/request_head.h"
#include "server/net/session_memory.h"
#include "server/net/timer_queue.h"
#include "server/net/unary_call.h"
#include "server/rpc/call.h"

namespace etcdd::net {

// The same for all connections. Pointers must outlive the sessions.
struct Http2Options {
  rpc::Dispatcher* dispatcher = nullptr;
  // Largest request message, bytes (KV-084: max-request-bytes + 512 KiB).
  size_t message_bytes_max = 1536 * 1024 + 512 * 1024;
  // SETTINGS_MAX_CONCURRENT_STREAMS, bounded by kStreamsPerConnectionMax.
  uint32_t streams_max = UINT32_MAX;
  // Shortest interval of client pings (SRV-024).
  absl::Duration ping_interval_min = absl::Seconds(5);
  // Server pings after this long without anything from the client; zero: never.
  absl::Duration keepalive_interval = absl::Hours(2);
  // The connection is closed when a server ping is not answered for this long.
  absl::Duration keepalive_timeout = absl::Seconds(20);
};

class Http2Session final : public ProtocolSession {
 public:
  // All must outlive the session.
  Http2Session(const Http2Options* options, SessionHost* host, CallPool* calls,
               SessionMemory* memory);
  ~Http2Session() override;

  void Receive(std::string_view bytes) override;
  void Produce(OutputBuffer* out) override;
  void SetOutputBlocked(bool blocked) override;
  bool wants_input() const override;
  bool finished() const override;
  void OnConnectionLost() override;
  // GOAWAY; new streams are refused; when the last unary call is answered, open streams end with
  // Unavailable and the connection is finished.
  void Drain() override;

  size_t open_streams() const { return streams_.size(); }
  size_t held_bytes() const { return held_bytes_; }

  // --- for GrpcStream ---
  const Http2Options& options() const { return *options_; }
  EventLoop& loop() { return host_->loop(); }
  const std::shared_ptr<const RemotePeer>& peer() const { return host_->peer(); }
  // Begins the reply; its bytes are the stream's queue, then the trailers.
  void SubmitResponse(GrpcStream* stream);
  // The whole reply is one header block. `name_encodings` adds grpc-accept-encoding.
  void SubmitTrailersOnly(int32_t id, std::string_view http_status, const absl::Status& status,
                          bool name_encodings);
  // The stream's queue has bytes, or its end was set.
  void ResumeData(int32_t id);
  // Gives back window of the stream for request bytes that were dealt with.
  void ConsumeStream(int32_t id, size_t bytes);
  // Bytes of unanswered unary requests and unsent unary replies.
  void CountHeld(int64_t change);
  // Bytes of request messages that are not complete.
  void CountAssembling(int64_t change) { assembling_bytes_ += change; }
  // Bytes in the queues of streaming requests.
  void CountStreamQueue(int64_t change) { stream_queue_bytes_ += change; }
  // Queue size above which a stream's Send says false.
  size_t StreamQueueBytesHigh() const;
  // Calls OnQueueShrunk of the stream once nghttp2 is not running.
  void TellLater(std::shared_ptr<GrpcStream> stream) { shrunk_.push_back(std::move(stream)); }

 private:
  enum class DrainState { kNo, kNoticeSent, kFinal };
  struct Callbacks;  // nghttp2's C functions
  friend struct Callbacks;

  static const nghttp2_session_callbacks* SharedCallbacks();
  static const nghttp2_option* SharedOptions();

  void OnRequestHead(int32_t id, bool end_stream);
  // Answers a request that is no gRPC request; false when it is one.
  bool AnswerBadHead(int32_t id);
  void OnDataChunk(GrpcStream* stream, int32_t id, std::string_view piece);
  void OnPing(const nghttp2_frame& frame);
  void OnFrameSent(const nghttp2_frame& frame);
  void OnStreamClosed(GrpcStream* stream);
  ssize_t ReadQueue(GrpcStream* stream, size_t length, uint32_t* flags);
  // Lets the stream share the connection with others frame by frame.
  void TakeTurns(int32_t id);
  int SubmitTrailers(GrpcStream* stream);
  void ConsumeConnection(size_t bytes);
  void TellShrunk();
  void OnKeepaliveTimer();
  void SendFinalGoaway();
  void FinishDrain();
  void Fail();

  const Http2Options* const options_;
  SessionHost* const host_;
  CallPool* const calls_;
  nghttp2_session* session_ = nullptr;

  RequestHead head_;  // the header block being received, of stream head_stream_
  int32_t head_stream_ = 0;
  OutputBuffer* out_ = nullptr;    // set within Produce
  StreamList streams_;
  size_t unary_open_ = 0;
  std::vector<std::shared_ptr<GrpcStream>> shrunk_;

  size_t held_bytes_ = 0;
  int64_t assembling_bytes_ = 0;
  int64_t stream_queue_bytes_ = 0;
  size_t withheld_window_bytes_ = 0;  // received, but not given back to the client as window
  bool output_blocked_ = false;

  bool failed_ = false;    // close at once
  bool closing_ = false;   // close after what is to be sent
  DrainState drain_ = DrainState::kNo;
  Timer drain_timer_;

  // Client pings (SRV-024) and ours.
  int ping_strikes_ = 0;
  bool sent_since_ping_ = true;
  absl::Duration last_ping_;
  absl::Duration last_input_;
  bool keepalive_ping_open_ = false;
  Timer keepalive_timer_;
};

}  // namespace etcdd::net
