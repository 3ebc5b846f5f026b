#pragma once

// What a request is to us, free of any transport (architecture.md D2). The same handlers run behind
// the HTTP/2 front door, the JSON gateway and the simulator.
//
// A front end makes one Call (or Stream) per request and hands it to the Dispatcher. The handler
// may answer at once or later; it must answer exactly once.
//
// Confined to the loop that owns the connection, which in this build is also the server's strand.

#include <array>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "absl/functional/any_invocable.h"
#include "absl/status/status.h"
#include "absl/time/time.h"
#include "server/base/bytes.h"
#include "server/base/metrics.h"

namespace etcdd::rpc {

// Where the requests of one method are counted. Made once; outlives its requests.
struct MethodCounters {
  base::Counter* received = nullptr;
  base::Counter* sent = nullptr;
  base::Counter* received_bytes = nullptr;
  base::Counter* sent_bytes = nullptr;
  std::array<base::Counter*, 17> handled{};  // by status code
};

// Facts about the caller, the same for unary calls and streams.
class CallContext {
 public:
  virtual ~CallContext() = default;

  // Given by the dispatcher; the front end then tells of each message and of the end. Only the
  // first CountEnd of a request counts; nothing is counted without counters.
  void set_counters(const MethodCounters* counters) { counters_ = counters; }
  void CountReceived(size_t bytes) const {
    if (counters_ == nullptr) return;
    counters_->received->Add();
    counters_->received_bytes->Add(bytes);
  }
  void CountSent(size_t bytes) const {
    if (counters_ == nullptr) return;
    counters_->sent->Add();
    counters_->sent_bytes->Add(bytes);
  }
  void CountEnd(absl::StatusCode code) {
    if (counters_ == nullptr) return;
    counters_->handled[static_cast<size_t>(code)]->Add();
    counters_ = nullptr;
  }
  // The end of a request that nobody waits for any more.
  void CountAbandoned(absl::StatusCode code) {
    CountEnd(code == absl::StatusCode::kOk ? absl::StatusCode::kCancelled : code);
  }

  // Full method path, "/etcdserverpb.KV/Put".
  virtual std::string_view method() const = 0;
  // First value of a request header (lower-case name), or nullopt. Binary ("-bin") values are
  // already base64-decoded.
  virtual std::optional<std::string_view> metadata(std::string_view name) const = 0;
  // Remote address as text, "127.0.0.1:41234".
  virtual std::string_view peer() const = 0;
  // Common name of the client's verified TLS certificate; empty without one.
  virtual std::string_view certificate_common_name() const { return {}; }
  // Point on Clock::Monotonic() after which the client no longer waits; InfiniteDuration if none.
  virtual absl::Duration deadline() const = 0;

 private:
  const MethodCounters* counters_ = nullptr;
};

// One unary request.
class Call : public CallContext {
 public:
  // The serialized request message; valid until Finish.
  virtual std::string_view request() const = 0;
  // True once the client has gone or its deadline has passed; the reply will be dropped. Handlers
  // with long work look at it.
  virtual bool cancelled() const = 0;
  // Runs `callback` once if the client goes away or its deadline passes before Finish (not after).
  virtual void OnCancel(absl::AnyInvocable<void()> callback) = 0;
  // Sends the reply. `reply` is the serialized response message, ignored unless `status` is OK.
  // The Call may be destroyed by its owner afterwards.
  virtual void Finish(absl::Status status, std::string reply) = 0;
};

// One streaming request of any kind (server streaming: the handler gets exactly one message and
// then the half-close).
class Stream : public CallContext {
 public:
  // What the handler wants to hear. Callbacks run on the connection's loop, one at a time.
  struct Events {
    // One request message. The view is valid during the callback only. Not called while writable()
    // is false: a client that does not read its replies is not read either.
    absl::AnyInvocable<void(std::string_view message)> on_message;
    // The client sends no more messages.
    absl::AnyInvocable<void()> on_half_close;
    // The bytes queued by Send have shrunk below the low mark after Send had said false.
    absl::AnyInvocable<void()> on_writable;
    // The stream is over (client gone, deadline passed, or Finish done). Last callback.
    absl::AnyInvocable<void()> on_done;
  };
  // Requires: called once, by the handler, before it returns to the dispatcher.
  virtual void SetEvents(Events events) = 0;
  // Queues one message made of `head` followed by `tail`; `tail` is shared, not copied. Returns
  // false when more bytes are queued than the stream's limit: the message is queued all the same,
  // but the handler must send no more until on_writable.
  virtual bool Send(std::string head, base::Bytes tail) = 0;
  bool Send(std::string message) { return Send(std::move(message), base::Bytes()); }
  // True when Send would still say true.
  virtual bool writable() const = 0;
  // Ends the stream with this status after everything queued.
  virtual void Finish(absl::Status status) = 0;
};

// Where front ends deliver requests. Implemented over the service handlers.
class Dispatcher {
 public:
  virtual ~Dispatcher() = default;
  enum class MethodKind { kUnknownService, kUnknownMethod, kUnary, kStream };
  virtual MethodKind Classify(std::string_view method) const = 0;
  // The front end keeps the Call alive until Finish; it hands over ownership here, the handler
  // side drops it after Finish. Requires: Classify(call->method()) == kUnary.
  virtual void Dispatch(std::shared_ptr<Call> call) = 0;
  // Requires: Classify(stream->method()) == kStream.
  virtual void Dispatch(std::shared_ptr<Stream> stream) = 0;
};

}  // namespace etcdd::rpc
