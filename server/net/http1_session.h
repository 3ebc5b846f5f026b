#pragma once

// The server side of one HTTP/1.1 connection: Boost.Beast parses the requests, answers are written
// in the order of the requests, one request is handled at a time. A handler gets a request when all
// of it has arrived or, if the body policy says so, at its header. Limits: header and body size,
// and the time a request may take to arrive (slow-loris).
//
// Confined to the connection's loop.

#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "absl/time/time.h"
#include "boost/beast/http/parser.hpp"
#include "server/net/http1.h"
#include "server/net/http1_body.h"
#include "server/net/limits.h"
#include "server/net/output_buffer.h"
#include "server/net/protocol_session.h"
#include "server/net/timer_queue.h"

namespace etcdd::net {

// Pointers must outlive the sessions.
struct Http1Options {
  Http1Handler* handler = nullptr;
  // Largest request body, bytes. Where `body_policy` is set that decides instead.
  size_t body_bytes_max = 2 << 20;
  Http1BodyPolicy* body_policy = nullptr;
  // Time for one request to arrive, and for an idle connection to send the next. Of a body in
  // pieces: the time without a byte.
  absl::Duration request_wait_max = kHttp1RequestWaitMax;
};

class Http1Session final : public ProtocolSession, private TurnHook {
 public:
  // All must outlive the session.
  Http1Session(const Http1Options* options, SessionHost* host);
  ~Http1Session() override;

  void Receive(std::string_view bytes) override;
  void Produce(OutputBuffer* out) override;
  void SetOutputBlocked(bool) override {}
  bool wants_input() const override;
  bool finished() const override { return closing_ && exchange_ == nullptr && output_.empty(); }
  void OnConnectionLost() override;
  void Drain() override;

 private:
  class Exchange;
  using Parser = boost::beast::http::request_parser<Http1Body>;

  void OnTurn() override;
  void NextRequest();
  void ScheduleTimeout();
  void OnTimeout();
  bool MayParse() const;
  // Parses what has arrived; dispatches when a request is complete and none is running.
  void Advance();
  // After a step of the parser. False: it needs more input.
  bool OnParsed(size_t taken, bool header_before);
  void OnParseError(const boost::system::error_code& error);
  // The header is complete; false when the request was refused.
  bool OnHeader();
  void DeliverBody();
  void SendContinue();
  Http1Request Head() const;
  void AppendText(std::string text);
  void Dispatch();
  // The client of a request handled right now gets no more answer than what was sent.
  void AbandonExchange();
  void SendError(int status, std::string_view text);
  void SendHead(const Http1Response& head, bool chunked);
  void OnAnswered();

  const Http1Options* const options_;
  SessionHost* const host_;
  std::optional<Parser> parser_;
  std::string input_;   // received, not parsed yet
  OutputBuffer output_;  // to be produced
  std::shared_ptr<Exchange> exchange_;  // the request being handled; handlers hold it too
  bool advancing_ = false;
  bool keep_alive_ = true;   // of the request being handled
  bool head_only_ = false;   // it was a HEAD request
  bool http_1_0_ = false;    // its client knows no chunks
  bool in_pieces_ = false;   // its body is, and has not ended
  bool body_held_ = false;
  absl::Duration wait_max_;    // for more of the request that is arriving
  bool expects_continue_ = false;
  bool write_refused_ = false;  // Write said false
  bool closing_ = false;
  Timer request_timer_;
};

}  // namespace etcdd::net
