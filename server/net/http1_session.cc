#include "server/net/http1_session.h"

#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "absl/time/clock.h"
#include "boost/asio/buffer.hpp"
#include "boost/beast/http/error.hpp"
#include "boost/beast/http/rfc7230.hpp"
#include "boost/beast/http/status.hpp"

namespace etcdd::net {
namespace {

namespace http = boost::beast::http;

std::string Text(boost::beast::string_view text) { return {text.data(), text.size()}; }

}  // namespace

class Http1Session::Exchange final : public Http1Exchange {
 public:
  Exchange(Http1Session* session, Http1Request request)
      : session_(session), request_(std::move(request)) {}

  const Http1Request& request() const override { return request_; }

  void Respond(Http1Response response) override {
    if (session_ == nullptr || started_) return;
    session_->SendHead(response, false);
    if (!session_->head_only_) session_->AppendText(std::move(response.body));
    Done();
  }

  void StartStream(Http1Response head) override {
    if (session_ == nullptr || started_) return;
    started_ = true;
    session_->SendHead(head, true);
    session_->host_->WantFlush();
  }

  bool Write(std::string chunk) override {
    if (session_ == nullptr || !started_) return false;
    if (BeginChunk(chunk.size())) {
      session_->AppendText(std::move(chunk));
      EndChunk();
    }
    return Written();
  }

  bool WriteChunk(OutputBuffer* chunk) override {
    if (session_ != nullptr && started_ && BeginChunk(chunk->size())) {
      session_->output_.AppendAll(chunk);
      EndChunk();
    }
    chunk->Clear();
    return session_ != nullptr && started_ && Written();
  }

  void End() override {
    if (session_ == nullptr || !started_) return;
    if (!session_->http_1_0_ && !session_->head_only_) session_->output_.Append("0\r\n\r\n");
    Done();
  }

  void OnWritable(absl::AnyInvocable<void()> callback) override {
    if (session_ != nullptr) on_writable_ = std::move(callback);
  }

  void OnCancel(absl::AnyInvocable<void()> callback) override {
    if (session_ != nullptr) on_cancel_ = std::move(callback);
  }

  void ReadBody(BodySink sink) override {
    if (session_ == nullptr || !session_->in_pieces_) return;
    sink_ = std::move(sink);
    session_->SendContinue();
    session_->ScheduleTimeout();
    session_->host_->loop().NextTurn(session_);
  }

  void HoldBody(bool hold) override {
    if (session_ == nullptr || session_->body_held_ == hold) return;
    session_->body_held_ = hold;
    if (hold) {
      session_->request_timer_.Cancel();
    } else {
      session_->ScheduleTimeout();
      session_->host_->loop().NextTurn(session_);
    }
  }

  bool started() const { return started_; }
  bool reads_body() const { return static_cast<bool>(sink_); }
  // Callbacks are out of their places while they run, since they may end the exchange.
  void Deliver(std::string_view piece) {
    BodySink sink = std::exchange(sink_, nullptr);
    sink(piece);
    if (session_ != nullptr) sink_ = std::move(sink);
  }
  void TellWritable() {
    if (!on_writable_) return;
    auto callback = std::exchange(on_writable_, nullptr);
    callback();
    if (session_ != nullptr && !on_writable_) on_writable_ = std::move(callback);
  }

  // The session goes before the answer was complete.
  void Abandon() {
    session_ = nullptr;
    auto on_cancel = std::exchange(on_cancel_, nullptr);
    if (on_cancel) on_cancel();
    on_writable_ = nullptr;
    sink_ = nullptr;
  }

 private:
  // False when nothing is to be sent.
  bool BeginChunk(size_t size) {
    if (size == 0 || session_->head_only_) return false;
    if (session_->http_1_0_) return true;
    session_->output_.Append(std::string_view(absl::StrCat(absl::Hex(size), "\r\n")));
    return true;
  }
  void EndChunk() {
    if (!session_->http_1_0_) session_->output_.Append("\r\n");
  }
  bool Written() {
    session_->host_->WantFlush();
    if (session_->output_.size() <= kHttp1QueueBytesHigh) return true;
    session_->write_refused_ = true;
    return false;
  }
  void Done() {
    Http1Session* session = std::exchange(session_, nullptr);
    on_cancel_ = nullptr;
    on_writable_ = nullptr;
    sink_ = nullptr;
    session->OnAnswered();
  }

  Http1Session* session_;  // nullptr once answered or abandoned
  const Http1Request request_;
  bool started_ = false;
  absl::AnyInvocable<void()> on_writable_;
  absl::AnyInvocable<void()> on_cancel_;
  BodySink sink_;
};

Http1Session::Http1Session(const Http1Options* options, SessionHost* host)
    : options_(options), host_(host), request_timer_([this] { OnTimeout(); }) {
  NextRequest();
}

Http1Session::~Http1Session() { OnConnectionLost(); }

void Http1Session::NextRequest() {
  parser_.emplace();
  parser_->header_limit(kHttp1HeaderBytesMax);
  parser_->body_limit(boost::none);  // OnHeader sets it
  parser_->eager(false);
  in_pieces_ = false;
  body_held_ = false;
  expects_continue_ = false;
  wait_max_ = options_->request_wait_max;
  ScheduleTimeout();
}

void Http1Session::ScheduleTimeout() {
  if (wait_max_ == absl::InfiniteDuration()) return request_timer_.Cancel();
  request_timer_.Schedule(&host_->loop().timers(), host_->loop().now() + wait_max_);
}

void Http1Session::OnTimeout() {
  closing_ = true;
  AbandonExchange();
  host_->WantFlush();
}

void Http1Session::AppendText(std::string text) {
  if (text.size() < kSharedPieceBytesMin) return output_.Append(text);
  PieceOwner owner;
  owner.text = std::make_shared<const std::string>(std::move(text));
  output_.AppendShared(*owner.text, owner);
}

void Http1Session::Receive(std::string_view bytes) {
  if (closing_ && exchange_ == nullptr) return;
  input_.append(bytes);
  Advance();
}

bool Http1Session::MayParse() const {
  if (input_.empty()) return false;
  if (exchange_ != nullptr) return in_pieces_ && !body_held_ && exchange_->reads_body();
  // Answers wait for a client that reads them: Produce goes on with the requests behind.
  return !closing_ && output_.size() <= kHttp1QueueBytesHigh;
}

void Http1Session::Advance() {
  // An answer given inside the handler comes back here; the loop goes on instead of recursing.
  if (std::exchange(advancing_, true)) return;
  while (MayParse()) {
    boost::system::error_code error;
    const bool header_before = parser_->is_header_done();
    const size_t taken = parser_->put(boost::asio::buffer(input_), error);
    input_.erase(0, taken);
    if (error && error != http::error::need_more) {
      OnParseError(error);
    } else if (!OnParsed(taken, header_before)) {
      break;
    }
  }
  advancing_ = false;
}

bool Http1Session::OnParsed(size_t taken, bool header_before) {
  const bool header_now = parser_->is_header_done() && !header_before;
  if (header_now && !OnHeader()) return true;
  if (in_pieces_) {
    if (exchange_ == nullptr) {
      Dispatch();
    } else {
      DeliverBody();
      return taken != 0;
    }
  } else if (parser_->is_done()) {
    Dispatch();
  } else {
    SendContinue();
    return taken != 0;
  }
  return true;
}

void Http1Session::OnParseError(const boost::system::error_code& error) {
  const bool answered = exchange_ != nullptr && exchange_->started();
  AbandonExchange();
  if (answered) {
    closing_ = true;
    input_.clear();
    host_->WantFlush();
  } else if (error == http::error::body_limit) {
    SendError(413, "request body too large");
  } else if (error == http::error::header_limit) {
    SendError(431, "request header too large");
  } else {
    SendError(400, "400 Bad Request");
  }
}

bool Http1Session::OnHeader() {
  Http1BodyRule rule;
  rule.bytes_max = options_->body_bytes_max;
  if (options_->body_policy != nullptr) rule = (*options_->body_policy)(Head());
  const auto length = parser_->content_length();
  if (length && *length > rule.bytes_max) {
    SendError(413, "request body too large");
    return false;
  }
  parser_->body_limit(rule.bytes_max);
  parser_->eager(true);
  in_pieces_ = rule.in_pieces;
  if (in_pieces_) wait_max_ = rule.pause_max.value_or(options_->request_wait_max);
  expects_continue_ = !parser_->is_done() &&
                      absl::EqualsIgnoreCase(Text(parser_->get()[http::field::expect]),
                                             "100-continue");
  return true;
}

void Http1Session::SendContinue() {
  if (!std::exchange(expects_continue_, false)) return;
  output_.Append("HTTP/1.1 100 Continue\r\n\r\n");
  host_->WantFlush();
}

void Http1Session::DeliverBody() {
  const std::shared_ptr<Exchange> exchange = exchange_;
  const std::string piece = std::exchange(parser_->get().body(), std::string());
  const bool done = parser_->is_done();
  if (done) {
    request_timer_.Cancel();
  } else {
    ScheduleTimeout();
  }
  if (!piece.empty()) exchange->Deliver(piece);
  if (!done || exchange_ != exchange) return;
  in_pieces_ = false;
  exchange->Deliver({});
}

Http1Request Http1Session::Head() const {
  const auto& message = parser_->get();
  Http1Request request;
  request.method = Text(message.method_string());
  request.target = Text(message.target());
  for (const auto& field : message) {
    request.headers.emplace_back(Text(field.name_string()), Text(field.value()));
  }
  request.remote = host_->peer()->address;
  request.certificate_common_name = host_->peer()->certificate_common_name;
  request.tls = host_->peer()->tls;
  return request;
}

void Http1Session::Dispatch() {
  request_timer_.Cancel();
  Http1Request request = Head();
  if (!in_pieces_) request.body = std::move(parser_->get().body());
  keep_alive_ = parser_->keep_alive();
  http_1_0_ = parser_->get().version() == 10;
  head_only_ = request.method == "HEAD";
  write_refused_ = false;
  exchange_ = std::make_shared<Exchange>(this, std::move(request));
  const std::shared_ptr<Exchange> exchange = exchange_;
  (*options_->handler)(exchange);
}

void Http1Session::AbandonExchange() {
  in_pieces_ = false;
  if (const auto exchange = std::exchange(exchange_, nullptr)) exchange->Abandon();
}

void Http1Session::SendError(int status, std::string_view text) {
  keep_alive_ = false;
  closing_ = true;
  input_.clear();
  Http1Response response;
  response.status = status;
  response.content_type = "text/plain; charset=utf-8";
  response.body = text;
  http_1_0_ = false;
  SendHead(response, false);
  output_.Append(response.body);
  host_->WantFlush();
}

void Http1Session::SendHead(const Http1Response& head, bool chunked) {
  if (chunked && http_1_0_) keep_alive_ = false;  // the end of the connection ends the body
  if (closing_ || in_pieces_) keep_alive_ = false;  // the rest of the body is not read
  std::string text;
  const auto reason = http::obsolete_reason(static_cast<http::status>(head.status));
  absl::StrAppend(&text, http_1_0_ ? "HTTP/1.0 " : "HTTP/1.1 ", head.status, " ",
                  Text(reason), "\r\n");
  if (!head.content_type.empty()) {
    absl::StrAppend(&text, "Content-Type: ", head.content_type, "\r\n");
  }
  for (const auto& [name, value] : head.headers) {
    absl::StrAppend(&text, name, ": ", value, "\r\n");
  }
  absl::StrAppend(&text, "Date: ",
                  absl::FormatTime("%a, %d %b %Y %H:%M:%S GMT", host_->loop().clock().Wall(),
                                   absl::UTCTimeZone()),
                  "\r\n");
  const bool bodiless = head.status == 204 || head.status == 304;
  if (!chunked && !bodiless) {
    absl::StrAppend(&text, "Content-Length: ", head.body.size(), "\r\n");
  } else if (chunked && !http_1_0_) {
    text.append("Transfer-Encoding: chunked\r\n");
  }
  if (!keep_alive_) {
    text.append("Connection: close\r\n");
  } else if (http_1_0_) {
    text.append("Connection: keep-alive\r\n");
  }
  text.append("\r\n");
  output_.Append(text);
}

void Http1Session::OnAnswered() {
  exchange_.reset();
  if (!keep_alive_) closing_ = true;
  host_->WantFlush();
  if (closing_) {
    in_pieces_ = false;
    input_.clear();
    return;
  }
  NextRequest();
  if (!advancing_) host_->loop().NextTurn(this);
}

void Http1Session::OnTurn() {
  // A body without a byte ends without one.
  if (in_pieces_ && parser_->is_done() && exchange_->reads_body()) DeliverBody();
  Advance();
  host_->WantInput();
}

void Http1Session::Produce(OutputBuffer* out) {
  if (!output_.empty()) {
    if (out->empty()) {
      *out = std::exchange(output_, OutputBuffer());
    } else {
      out->AppendAll(&output_);
    }
    if (exchange_ == nullptr && !closing_ && !input_.empty()) host_->loop().NextTurn(this);
  }
  if (write_refused_ && exchange_ != nullptr) {
    write_refused_ = false;
    const std::shared_ptr<Exchange> exchange = exchange_;
    exchange->TellWritable();
  }
}

bool Http1Session::wants_input() const {
  // While a request is handled the next ones wait in the socket, but for one header's worth: a
  // client that hangs up is only noticed by reading.
  return input_.size() < kHttp1HeaderBytesMax;
}

void Http1Session::OnConnectionLost() {
  closing_ = true;
  request_timer_.Cancel();
  host_->loop().Forget(this);
  input_.clear();
  output_.Clear();
  AbandonExchange();
}

void Http1Session::Drain() {
  closing_ = true;
  // An answer that streams has no end to wait for.
  if (exchange_ != nullptr && exchange_->started()) AbandonExchange();
  if (!in_pieces_) request_timer_.Cancel();
  host_->WantFlush();
}

}  // namespace etcdd::net
