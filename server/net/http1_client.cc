#include "server/net/http1_client.h"

#include <sys/epoll.h>

#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "boost/asio/buffer.hpp"
#include "boost/beast/http/basic_parser.hpp"
#include "boost/beast/http/error.hpp"
#include "boost/optional.hpp"
#include "server/base/check.h"
#include "server/net/limits.h"

namespace etcdd::net {
namespace {

namespace http = boost::beast::http;
using BeastText = boost::beast::string_view;
using ErrorCode = boost::system::error_code;

absl::string_view Abseil(std::string_view text) { return {text.data(), text.size()}; }

bool HasBody(const std::string& method) { return method == "POST" || method == "PUT"; }

}  // namespace

std::string_view FindHeader(const Http1Headers& headers, std::string_view name) {
  for (const auto& [field, value] : headers) {
    if (absl::EqualsIgnoreCase(field, Abseil(name))) return value;
  }
  return {};
}

// Passes a body's bytes on from where they were received.
class Http1Client::Parser final : public http::basic_parser<false> {
 public:
  explicit Parser(Http1Client* client) : client_(client) {
    header_limit(kHttp1HeaderBytesMax);
    body_limit(boost::none);  // handlers have limits of their own
    eager(true);
    skip(client->head_only_);
  }
  bool informational() const { return status_ < 200; }

 private:
  // Stops the parser once the handler has let go of the connection.
  void StopIfClosed(ErrorCode& error) const {
    error = {};
    if (client_->handler_ == nullptr) error = http::error::end_of_stream;
  }
  void GiveBody(BeastText piece, ErrorCode& error) {
    StopIfClosed(error);
    if (error || piece.empty()) return;
    client_->handler_->OnBody({piece.data(), piece.size()});
    StopIfClosed(error);
  }

  void on_request_impl(http::verb, BeastText, BeastText, int, ErrorCode& error) override {
    error = http::error::bad_version;  // never called for answers
  }
  void on_response_impl(int code, BeastText, int, ErrorCode& error) override {
    error = {};
    status_ = code;
  }
  void on_field_impl(http::field, BeastText name, BeastText value, ErrorCode& error) override {
    error = {};
    headers_.emplace_back(std::string(name.data(), name.size()),
                          std::string(value.data(), value.size()));
  }
  void on_header_impl(ErrorCode& error) override {
    StopIfClosed(error);
    if (error || informational()) return;
    client_->handler_->OnHead(status_, headers_);
    StopIfClosed(error);
  }
  void on_body_init_impl(const boost::optional<std::uint64_t>&, ErrorCode& error) override {
    error = {};
  }
  size_t on_body_impl(BeastText body, ErrorCode& error) override {
    GiveBody(body, error);
    return body.size();
  }
  void on_chunk_header_impl(std::uint64_t, BeastText, ErrorCode& error) override { error = {}; }
  size_t on_chunk_body_impl(std::uint64_t, BeastText body, ErrorCode& error) override {
    GiveBody(body, error);
    return body.size();
  }
  void on_finish_impl(ErrorCode& error) override { error = {}; }

  Http1Client* const client_;
  int status_ = 0;
  Http1Headers headers_;
};

void Http1Client::Hook::OnTurn() {
  const auto self = client->shared_from_this();
  (client->*method)();
}

std::shared_ptr<Http1Client> Http1Client::New(Options options) {
  return std::shared_ptr<Http1Client>(new Http1Client(std::move(options)));
}

Http1Client::Http1Client(Options options)
    : options_(std::move(options)),
      flush_hook_(this, &Http1Client::Flush),
      read_hook_(this, &Http1Client::ReadInput),
      idle_timer_([this] {
        const auto self = shared_from_this();
        Fail("i/o timeout");
      }) {}

Http1Client::~Http1Client() { Close(); }

void Http1Client::Send(Http1ClientRequest request, Http1AnswerHandler* handler) {
  ETCDD_CHECK(idle() && handler != nullptr);
  handler_ = handler;
  head_only_ = request.method == "HEAD";
  body_open_ = request.streamed;
  parser_ = std::make_unique<Parser>(this);
  std::string head = absl::StrCat(request.method, " ", request.target, " HTTP/1.1\r\nHost: ",
                                  options_.target.authority, "\r\n");
  for (const auto& [name, value] : request.headers) {
    absl::StrAppend(&head, name, ": ", value, "\r\n");
  }
  if (request.streamed) {
    head.append("Transfer-Encoding: chunked\r\n");
  } else if (!request.body.empty() || HasBody(request.method)) {
    absl::StrAppend(&head, "Content-Length: ", request.body.size(), "\r\n");
  }
  head.append("\r\n");
  output_.Append(head);
  output_.AppendAll(&request.body);
  if (stream_ != nullptr) {
    Progress();
    loop().AtEndOfTurn(&flush_hook_);
    return;
  }
  dialling_ = options_.dialer->Dial(
      options_.target, options_.dial_wait_max,
      [this](Dialer::Result result) { OnDialled(std::move(result)); });
}

bool Http1Client::WriteBody(OutputBuffer* piece) {
  if (handler_ == nullptr || !body_open_) {
    piece->Clear();
    return false;
  }
  if (!piece->empty()) {
    output_.Append(std::string_view(absl::StrCat(absl::Hex(piece->size()), "\r\n")));
    output_.AppendAll(piece);
    output_.Append("\r\n");
  }
  if (stream_ != nullptr) loop().AtEndOfTurn(&flush_hook_);
  if (output_.size() <= kHttp1QueueBytesHigh) return true;
  write_refused_ = true;
  return false;
}

void Http1Client::EndBody() {
  if (handler_ == nullptr || !body_open_) return;
  body_open_ = false;
  output_.Append("0\r\n\r\n");
  if (stream_ != nullptr) loop().AtEndOfTurn(&flush_hook_);
}

void Http1Client::SetIdleWait(absl::Duration wait_max) {
  options_.idle_wait_max = wait_max;
  if (stream_ != nullptr && handler_ != nullptr) Progress();
}

void Http1Client::Close() {
  handler_ = nullptr;
  Disconnect();
}

void Http1Client::Disconnect() {
  dialling_.reset();
  idle_timer_.Cancel();
  loop().Forget(&flush_hook_);
  loop().Forget(&read_hook_);
  if (stream_ != nullptr) {
    loop().Unwatch(stream_->fd(), this);
    stream_.reset();
  }
  output_.Clear();
  input_.clear();
  body_open_ = false;
  write_refused_ = false;
  hung_up_ = false;
}

void Http1Client::Fail(std::string_view text) {
  Disconnect();
  Http1AnswerHandler* const handler = std::exchange(handler_, nullptr);
  if (handler == nullptr) return;
  handler->OnFailed(absl::UnavailableError(
      absl::StrCat("tcp ", options_.target.authority, ": ", Abseil(text))));
}

void Http1Client::OnDialled(Dialer::Result result) {
  const auto self = shared_from_this();
  const auto attempt = std::move(dialling_);  // lives until its callback has returned
  if (!result.ok()) {
    Disconnect();
    std::exchange(handler_, nullptr)->OnFailed(result.status());
    return;
  }
  stream_ = *std::move(result);
  loop().Watch(stream_->fd(), this);
  Progress();
  loop().AtEndOfTurn(&flush_hook_);
}

void Http1Client::OnReady(uint32_t events) {
  const auto self = shared_from_this();
  if ((events & (EPOLLRDHUP | EPOLLHUP | EPOLLERR)) != 0) hung_up_ = true;
  // TLS may want to read in order to write, and the other way round.
  const bool tls = options_.target.tls;
  const bool unsent = !output_.empty() || stream_->holds_output();
  if (unsent && (tls || (events & EPOLLOUT) != 0)) loop().AtEndOfTurn(&flush_hook_);
  if (tls || (events & (EPOLLIN | EPOLLRDHUP | EPOLLHUP | EPOLLERR)) != 0) ReadInput();
}

void Http1Client::ReadInput() {
  if (stream_ == nullptr) return;
  char* const buffer = options_.dialer->receive_buffer().data();
  size_t count = 0;
  switch (stream_->Read(buffer, kReceiveBufferBytes, &count)) {
    case IoResult::kOk:
      break;
    case IoResult::kWouldBlock:
      return;
    case IoResult::kClosed: {
      ErrorCode error;
      if (handler_ != nullptr && parser_->got_some() && !parser_->is_done()) {
        parser_->put_eof(error);  // an answer may end with its connection
        if (!error && parser_->is_done()) return OnAnswered();
      }
      return Fail(handler_ != nullptr && parser_->got_some() ? "unexpected EOF" : "EOF");
    }
    case IoResult::kFailed: {
      const std::string why = stream_->error_text();
      return Fail(why.empty() ? "read: connection reset by peer" : why);
    }
  }
  if (handler_ == nullptr) return Fail("");  // nothing was asked
  if (count == kReceiveBufferBytes || hung_up_ || stream_->has_pending()) {
    loop().NextTurn(&read_hook_);
  }
  Progress();
  if (input_.empty()) {
    Parse({buffer, count});
  } else {
    input_.append(buffer, count);
    Parse(std::exchange(input_, std::string()));
  }
}

void Http1Client::Parse(std::string_view bytes) {
  while (handler_ != nullptr && !bytes.empty()) {
    ErrorCode error;
    const size_t taken = parser_->put(boost::asio::buffer(bytes), error);
    bytes.remove_prefix(taken);
    if (handler_ == nullptr) return;  // closed inside a callback
    if (error && error != http::error::need_more) return Fail("malformed HTTP response");
    if (!parser_->is_done()) {
      if (taken == 0) break;
      continue;
    }
    if (parser_->informational()) {
      parser_ = std::make_unique<Parser>(this);
      continue;
    }
    if (!bytes.empty()) hung_up_ = true;  // more than was asked for: not to be used again
    return OnAnswered();
  }
  input_.assign(bytes);
}

void Http1Client::OnAnswered() {
  Http1AnswerHandler* const handler = std::exchange(handler_, nullptr);
  const bool reusable =
      parser_->keep_alive() && !hung_up_ && !body_open_ && output_.empty() && input_.empty();
  idle_timer_.Cancel();
  if (!reusable) Disconnect();
  handler->OnEnd();
}

void Http1Client::Flush() {
  if (stream_ == nullptr || (output_.empty() && !stream_->holds_output())) return;
  const size_t before = output_.size();
  const IoResult result = stream_->Write(&output_);
  if (result != IoResult::kOk && result != IoResult::kWouldBlock) {
    // The other side may have answered before it closed: reading tells.
    return ReadInput();
  }
  if (output_.size() < before && handler_ != nullptr) Progress();
  if (write_refused_ && output_.size() <= kHttp1QueueBytesHigh / 4) {
    write_refused_ = false;
    if (handler_ != nullptr) handler_->OnWritable();
  }
}

void Http1Client::Progress() {
  if (options_.idle_wait_max == absl::InfiniteDuration()) {
    idle_timer_.Cancel();
  } else {
    idle_timer_.Schedule(&loop().timers(), loop().now() + options_.idle_wait_max);
  }
}

}  // namespace etcdd::net
