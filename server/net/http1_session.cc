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

absl::string_view Abseil(std::string_view text) { return {text.data(), text.size()}; }

std::string Text(boost::beast::string_view text) { return {text.data(), text.size()}; }

}  // namespace

std::string_view Http1Request::header(std::string_view name) const {
  for (const auto& [field, value] : headers) {
    if (absl::EqualsIgnoreCase(field, Abseil(name))) return value;
  }
  return {};
}

class Http1Session::Exchange final : public Http1Exchange {
 public:
  Exchange(Http1Session* session, Http1Request request)
      : session_(session), request_(std::move(request)) {}

  const Http1Request& request() const override { return request_; }

  void Respond(Http1Response response) override {
    if (session_ == nullptr || started_) return;
    session_->SendHead(response, false);
    if (!session_->head_only_) session_->output_.append(response.body);
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
    if (!chunk.empty() && !session_->head_only_) {
      if (session_->http_1_0_) {
        session_->output_.append(chunk);
      } else {
        absl::StrAppend(&session_->output_, absl::Hex(chunk.size()), "\r\n", chunk, "\r\n");
      }
    }
    session_->host_->WantFlush();
    if (session_->output_.size() <= kHttp1QueueBytesHigh) return true;
    session_->write_refused_ = true;
    return false;
  }

  void End() override {
    if (session_ == nullptr || !started_) return;
    if (!session_->http_1_0_ && !session_->head_only_) session_->output_.append("0\r\n\r\n");
    Done();
  }

  void OnWritable(absl::AnyInvocable<void()> callback) override {
    if (session_ != nullptr) on_writable_ = std::move(callback);
  }

  void OnCancel(absl::AnyInvocable<void()> callback) override {
    if (session_ != nullptr) on_cancel_ = std::move(callback);
  }

  void TellWritable() {
    if (on_writable_) on_writable_();
  }

  // The session goes before the answer was complete.
  void Abandon() {
    session_ = nullptr;
    auto on_cancel = std::exchange(on_cancel_, nullptr);
    if (on_cancel) on_cancel();
    on_writable_ = nullptr;
  }

 private:
  void Done() {
    Http1Session* session = std::exchange(session_, nullptr);
    on_cancel_ = nullptr;
    session->OnAnswered();
  }

  Http1Session* session_;  // nullptr once answered or abandoned
  const Http1Request request_;
  bool started_ = false;
  absl::AnyInvocable<void()> on_writable_;
  absl::AnyInvocable<void()> on_cancel_;
};

Http1Session::Http1Session(const Http1Options* options, SessionHost* host)
    : options_(options), host_(host), request_timer_([this] {
        closing_ = true;
        host_->WantFlush();
      }) {
  NextRequest();
}

Http1Session::~Http1Session() { OnConnectionLost(); }

void Http1Session::NextRequest() {
  parser_.emplace();
  parser_->header_limit(kHttp1HeaderBytesMax);
  parser_->body_limit(options_->body_bytes_max);
  parser_->eager(true);
  continue_sent_ = false;
  request_timer_.Schedule(&host_->loop().timers(),
                          host_->loop().now() + options_->request_wait_max);
}

void Http1Session::Receive(std::string_view bytes) {
  if (closing_ && exchange_ == nullptr) return;
  input_.append(bytes);
  Advance();
}

void Http1Session::Advance() {
  // An answer given inside the handler comes back here; the loop goes on instead of recursing.
  if (std::exchange(advancing_, true)) return;
  // Answers wait for a client that reads them: Produce goes on with the requests behind.
  while (exchange_ == nullptr && !closing_ && !input_.empty() &&
         output_.size() <= kHttp1QueueBytesHigh) {
    boost::system::error_code error;
    const size_t taken = parser_->put(boost::asio::buffer(input_), error);
    input_.erase(0, taken);
    if (error == http::error::need_more) error = {};
    if (error == http::error::body_limit) {
      SendError(413, "request body too large");
    } else if (error == http::error::header_limit) {
      SendError(431, "request header too large");
    } else if (error) {
      SendError(400, "400 Bad Request");
    } else if (parser_->is_done()) {
      Dispatch();
      continue;
    } else if (parser_->is_header_done() && !continue_sent_ &&
               absl::EqualsIgnoreCase(Text(parser_->get()[http::field::expect]),
                                      "100-continue")) {
      continue_sent_ = true;
      output_.append("HTTP/1.1 100 Continue\r\n\r\n");
      host_->WantFlush();
    }
    if (taken == 0) break;
  }
  advancing_ = false;
}

void Http1Session::Dispatch() {
  request_timer_.Cancel();
  auto message = parser_->release();
  Http1Request request;
  request.method = Text(message.method_string());
  request.target = Text(message.target());
  for (const auto& field : message) {
    request.headers.emplace_back(Text(field.name_string()), Text(field.value()));
  }
  request.body = std::move(message.body());
  request.remote = *host_->peer();
  keep_alive_ = message.keep_alive();
  http_1_0_ = message.version() == 10;
  head_only_ = request.method == "HEAD";
  write_refused_ = false;
  exchange_ = std::make_shared<Exchange>(this, std::move(request));
  const std::shared_ptr<Exchange> exchange = exchange_;
  (*options_->handler)(exchange);
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
  output_.append(response.body);
  host_->WantFlush();
}

void Http1Session::SendHead(const Http1Response& head, bool chunked) {
  if (chunked && http_1_0_) keep_alive_ = false;  // the end of the connection ends the body
  if (closing_) keep_alive_ = false;
  const auto reason = http::obsolete_reason(static_cast<http::status>(head.status));
  absl::StrAppend(&output_, http_1_0_ ? "HTTP/1.0 " : "HTTP/1.1 ", head.status, " ",
                  Text(reason), "\r\n");
  if (!head.content_type.empty()) {
    absl::StrAppend(&output_, "Content-Type: ", head.content_type, "\r\n");
  }
  for (const auto& [name, value] : head.headers) {
    absl::StrAppend(&output_, name, ": ", value, "\r\n");
  }
  absl::StrAppend(&output_, "Date: ",
                  absl::FormatTime("%a, %d %b %Y %H:%M:%S GMT", host_->loop().clock().Wall(),
                                   absl::UTCTimeZone()),
                  "\r\n");
  const bool bodiless = head.status == 204 || head.status == 304;
  if (!chunked && !bodiless) {
    absl::StrAppend(&output_, "Content-Length: ", head.body.size(), "\r\n");
  } else if (chunked && !http_1_0_) {
    output_.append("Transfer-Encoding: chunked\r\n");
  }
  if (!keep_alive_) {
    output_.append("Connection: close\r\n");
  } else if (http_1_0_) {
    output_.append("Connection: keep-alive\r\n");
  }
  output_.append("\r\n");
}

void Http1Session::OnAnswered() {
  exchange_.reset();
  if (!keep_alive_) closing_ = true;
  host_->WantFlush();
  if (closing_) return;
  NextRequest();
  if (!advancing_) host_->loop().NextTurn(this);
}

void Http1Session::OnTurn() {
  Advance();
  host_->WantInput();
}

void Http1Session::Produce(OutputBuffer* out) {
  if (!output_.empty()) {
    PieceOwner owner;
    owner.text = std::make_shared<const std::string>(std::exchange(output_, std::string()));
    out->AppendShared(*owner.text, owner);
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
  output_.clear();
  if (const auto exchange = std::exchange(exchange_, nullptr)) exchange->Abandon();
}

void Http1Session::Drain() {
  closing_ = true;
  request_timer_.Cancel();
  host_->WantFlush();
}

}  // namespace etcdd::net
