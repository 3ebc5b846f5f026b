#pragma once

// One gRPC request on an HTTP/2 stream: the common part of unary calls and streams. It cuts request
// bytes into messages, keeps the queue of reply bytes until the peer's windows take them, and knows
// how the request ended. Http2Session drives it; handlers see it as rpc::Call or rpc::Stream.
//
// A stream outlives its HTTP/2 stream while a handler holds it; then it is `closed` and answers are
// dropped. Confined to the connection's loop, including its destruction.

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "server/base/bytes.h"
#include "server/net/message_reader.h"
#include "server/net/output_buffer.h"
#include "server/net/remote_peer.h"
#include "server/net/request_head.h"
#include "server/net/timer_queue.h"
#include "server/rpc/call.h"

namespace etcdd::net {

class Http2Session;

// Reply bytes in order, each piece owned until it was taken.
class SendQueue {
 public:
  void Push(std::string text);
  void Push(base::Bytes bytes);
  // Moves the first `count` bytes to `out`. Requires: count <= size().
  void Take(size_t count, OutputBuffer* out);
  size_t size() const { return size_; }
  void Clear();

 private:
  struct Piece {
    std::string small;  // used when both of `owner` are unset
    PieceOwner owner;
    std::string_view view() const;
  };
  // Most replies are one or two pieces; the vector keeps its memory from call to call.
  std::vector<Piece> pieces_;
  size_t first_ = 0;
  size_t offset_ = 0;  // taken bytes of pieces_[first_]
  size_t size_ = 0;
};

class GrpcStream {
 public:
  virtual ~GrpcStream() = default;
  GrpcStream(const GrpcStream&) = delete;
  GrpcStream& operator=(const GrpcStream&) = delete;

  // --- driven by the session ---
  // Binds the object to a stream; `self` keeps it alive until Close. Takes the head's content by
  // swap. Starts the deadline.
  void Open(Http2Session* session, int32_t id, RequestHead* head, std::shared_ptr<GrpcStream> self);
  // Hands the request to the dispatcher as far as that needs no body.
  virtual void OnHeadDone() = 0;
  virtual void OnData(std::string_view piece) = 0;
  virtual void OnEndOfInput() = 0;
  // After bytes were taken from the queue, outside of nghttp2's callbacks.
  virtual void OnQueueShrunk() {}
  // The HTTP/2 stream is gone. Tells the handler if it does not know yet; may drop the last
  // reference to this.
  void Close();
  // Ends the request with `status` from our side, whatever the handler does later.
  void Abort(const absl::Status& status);

  int32_t id() const { return id_; }
  bool input_ended() const { return input_ended_; }
  bool finish_set() const { return finish_set_; }
  bool unary() const { return unary_; }
  const absl::Status& status() const { return status_; }
  size_t queued() const { return queue_.size(); }
  // Moves the first `count` queued bytes to `out`.
  virtual void Take(size_t count, OutputBuffer* out) { queue_.Take(count, out); }
  bool unknown_encoding() const { return head_.encoding() == MessageEncoding::kUnknown; }

 protected:
  explicit GrpcStream(bool unary);

  // Forgets the last request, keeps memory (pooled calls).
  void Recycle();
  bool closed() const { return session_ == nullptr; }
  // Sends queued bytes when the reply has begun, and begins it otherwise.
  void PushToSession();
  // Sets the final status once; the trailers follow what is queued.
  void SetFinish(const absl::Status& status);
  // Takes complete messages off `piece` and gives each to OnMessage until that says stop.
  void ReadMessages(std::string_view* piece);
  // One request message. False stops ReadMessages.
  virtual bool OnMessage(std::string_view message) = 0;
  // Keeps the session's count of incomplete messages.
  void CountAssembling(size_t bytes);
  // The request is over for the handler: client gone, deadline passed, request malformed, or
  // finished. May be called more than once.
  virtual void TellHandler() = 0;
  // Called once when the HTTP/2 stream goes, while session_ is still there.
  virtual void OnClosing() {}
  const std::shared_ptr<GrpcStream>& self() const { return self_; }

  Http2Session* session_ = nullptr;  // nullptr once closed
  int32_t id_ = 0;
  RequestHead head_;
  MessageReader reader_;
  SendQueue queue_;
  std::shared_ptr<const RemotePeer> peer_;
  absl::Duration deadline_ = absl::InfiniteDuration();
  absl::Status status_;
  size_t counted_assembling_ = 0;
  bool input_ended_ = false;
  bool response_started_ = false;
  bool finish_set_ = false;
  bool cancelled_ = false;

 private:
  friend class StreamList;
  void OnDeadline();

  const bool unary_;
  Timer deadline_timer_;
  std::shared_ptr<GrpcStream> self_;
  // Links of the session's list of open streams.
  GrpcStream* previous_ = nullptr;
  GrpcStream* next_ = nullptr;
};

// The open streams of one session, without allocation.
class StreamList {
 public:
  void Add(GrpcStream* stream);
  void Remove(GrpcStream* stream);
  GrpcStream* first() const { return first_; }
  static GrpcStream* next(GrpcStream* stream) { return stream->next_; }
  size_t size() const { return size_; }

 private:
  GrpcStream* first_ = nullptr;
  size_t size_ = 0;
};

// A streaming request.
class StreamCall final : public GrpcStream, public rpc::Stream {
 public:
  StreamCall() : GrpcStream(false) {}

  std::string_view method() const override { return head_.path(); }
  std::optional<std::string_view> metadata(std::string_view name) const override {
    return head_.Find(name);
  }
  std::string_view peer() const override { return peer_->address; }
  std::string_view certificate_common_name() const override {
    return peer_->certificate_common_name;
  }
  absl::Duration deadline() const override { return deadline_; }
  void SetEvents(Events events) override;
  bool Send(std::string head, base::Bytes tail) override;
  bool writable() const override;
  void Finish(absl::Status status) override;

  void OnHeadDone() override;
  void OnData(std::string_view piece) override;
  void OnEndOfInput() override;
  void OnQueueShrunk() override;
  void Take(size_t count, OutputBuffer* out) override;

 private:
  bool OnMessage(std::string_view message) override;
  void TellHandler() override;
  void OnClosing() override;
  // True while the handler may be given input.
  bool Accepting() const { return !closed() && !finish_set_ && !send_blocked_; }
  void DrainWaitingInput();

  Events events_;
  bool told_ = false;
  bool half_close_told_ = false;
  bool send_blocked_ = false;   // Send said false, on_writable is owed
  std::string waiting_input_;   // arrived while send_blocked_; its window is not given back yet
};

}  // namespace etcdd::net
