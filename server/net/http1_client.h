#pragma once

// The client side of HTTP/1.1: one connection to one address, dialled when it is first needed, kept
// between requests. A request's body may be sent in pieces, and an answer's body always arrives in
// pieces, so endless ones are nothing special. Output of a turn leaves in one write at its end.
// Redirects are answers like others.
//
// Confined to the dialer's loop. It is held by shared_ptr because a handler may let go of it inside
// a callback; the connection then lives until that has returned.

#include <cstddef>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "server/net/byte_stream.h"
#include "server/net/dialer.h"
#include "server/net/event_loop.h"
#include "server/net/http1.h"
#include "server/net/output_buffer.h"
#include "server/net/timer_queue.h"

namespace etcdd::net {

struct Http1ClientRequest {
  std::string method = "GET";
  std::string target;  // "/raft"
  Http1Headers headers;
  OutputBuffer body;
  // The body follows through WriteBody (in chunks) and EndBody; `body` is empty.
  bool streamed = false;
};

// Gets one answer. After OnEnd or OnFailed nothing more comes for that request.
class Http1AnswerHandler {
 public:
  virtual void OnHead(int status, const Http1Headers& headers) = 0;
  // A piece of the body, valid during the call.
  virtual void OnBody(std::string_view piece) = 0;
  virtual void OnEnd() = 0;
  // Unavailable: the text says what failed.
  virtual void OnFailed(const absl::Status& status) = 0;
  // The queue has drained after WriteBody had said false.
  virtual void OnWritable() {}

 protected:
  ~Http1AnswerHandler() = default;
};

// First value of the field (any case), empty if none.
std::string_view FindHeader(const Http1Headers& headers, std::string_view name);

class Http1Client final : public std::enable_shared_from_this<Http1Client>,
                          private IoHandler {
 public:
  struct Options {
    Dialer* dialer = nullptr;
    DialTarget target;
    absl::Duration dial_wait_max = absl::Seconds(5);
    // While a request is under way: time without a byte in either direction.
    absl::Duration idle_wait_max = absl::Seconds(5);
  };
  static std::shared_ptr<Http1Client> New(Options options);
  ~Http1Client();
  Http1Client(const Http1Client&) = delete;
  Http1Client& operator=(const Http1Client&) = delete;

  // Sends a request. `handler` must live until its last callback or Close; it is not called from
  // within Send. Requires: idle().
  void Send(Http1ClientRequest request, Http1AnswerHandler* handler);
  // Sends all bytes of `*piece`, which is empty afterwards. False when more than the limit is
  // queued (wait for OnWritable) or the request has ended.
  bool WriteBody(OutputBuffer* piece);
  void EndBody();
  void SetIdleWait(absl::Duration wait_max);
  // Ends everything without a further callback.
  void Close();

  bool idle() const { return handler_ == nullptr; }
  size_t queued_bytes() const { return output_.size(); }

 private:
  class Parser;
  struct Hook final : TurnHook {
    Hook(Http1Client* c, void (Http1Client::*m)()) : client(c), method(m) {}
    void OnTurn() override;
    Http1Client* const client;
    void (Http1Client::*const method)();
  };

  explicit Http1Client(Options options);
  EventLoop& loop() const { return options_.dialer->loop(); }
  void OnDialled(Dialer::Result result);
  void OnReady(uint32_t events) override;
  void ReadInput();
  void Parse(std::string_view bytes);
  // The parser has seen a whole answer.
  void OnAnswered();
  void Flush();
  void Progress();
  void Fail(std::string_view text);
  void Disconnect();

  Options options_;
  std::unique_ptr<Dialer::Attempt> dialling_;
  std::unique_ptr<ByteStream> stream_;  // null while not connected
  std::unique_ptr<Parser> parser_;
  Http1AnswerHandler* handler_ = nullptr;
  OutputBuffer output_;
  std::string input_;        // received, not parsed yet: less than a header
  bool body_open_ = false;   // EndBody is still to come
  bool head_only_ = false;   // HEAD: the answer has no body
  bool write_refused_ = false;
  bool hung_up_ = false;
  Hook flush_hook_;
  Hook read_hook_;
  Timer idle_timer_;
};

}  // namespace etcdd::net
