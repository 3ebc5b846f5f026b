#include "server/discovery/grpc_connection.h"

#include <nghttp2/nghttp2.h>

#include <algorithm>
#include <cstring>
#include <optional>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "server/base/check.h"
#include "server/base/status_macros.h"
#include "server/net/grpc_codec.h"

namespace etcdd::discovery {
namespace {

constexpr int64_t kTimeoutMsMax = 99999999;  // eight digits

struct Free {
  void operator()(nghttp2_session* session) const { nghttp2_session_del(session); }
  void operator()(nghttp2_session_callbacks* callbacks) const {
    nghttp2_session_callbacks_del(callbacks);
  }
};

int HexDigit(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

// "grpc-message" to text. What is not a valid escape stays as it is.
std::string PercentDecode(std::string_view text) {
  std::string out;
  for (size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '%' && i + 2 < text.size() && HexDigit(text[i + 1]) >= 0 &&
        HexDigit(text[i + 2]) >= 0) {
      out.push_back(static_cast<char>(HexDigit(text[i + 1]) * 16 + HexDigit(text[i + 2])));
      i += 2;
    } else {
      out.push_back(text[i]);
    }
  }
  return out;
}

// One request and what has come back of its answer.
struct Exchange {
  int32_t stream_id = -1;
  std::string body;  // the request with its prefix
  size_t body_sent = 0;
  std::string http_status;
  std::optional<int> grpc_status;
  std::string grpc_message;
  std::string data;
  bool too_long = false;
  bool closed = false;
  uint32_t error_code = 0;  // of the close
};

// The answer in `exchange`, which is closed.
GrpcResult ReadAnswer(const Exchange& exchange) {
  GrpcResult result;
  if (exchange.too_long) {
    result.status = absl::UnavailableError(
        absl::StrCat("the reply is longer than ", kReplyBytesMax, " bytes"));
    return result;
  }
  if (!exchange.grpc_status.has_value()) {
    result.status =
        exchange.http_status.empty() || exchange.http_status == "200"
            ? absl::UnavailableError(absl::StrCat(
                  "the request was broken off: ", nghttp2_http2_strerror(exchange.error_code)))
            : absl::UnavailableError(
                  absl::StrCat("the server answered with the HTTP status ", exchange.http_status));
    return result;
  }
  if (*exchange.grpc_status != 0) {
    result.answered = true;
    result.status = absl::Status(static_cast<absl::StatusCode>(*exchange.grpc_status),
                                 exchange.grpc_message);
    return result;
  }
  const std::string& data = exchange.data;
  std::optional<net::MessagePrefix> prefix;
  if (data.size() >= net::kMessagePrefixBytes) prefix = net::ReadMessagePrefix(data.data());
  if (!prefix.has_value() || prefix->compressed ||
      prefix->size != data.size() - net::kMessagePrefixBytes) {
    result.status = absl::UnavailableError("the reply is not one gRPC message");
    return result;
  }
  result.answered = true;
  result.message = data.substr(net::kMessagePrefixBytes);
  return result;
}

class Http2GrpcConnection final : public GrpcConnection {
 public:
  Http2GrpcConnection(std::unique_ptr<ByteStream> stream, bool secure, std::string authority)
      : stream_(std::move(stream)), secure_(secure), authority_(std::move(authority)) {
    nghttp2_session_callbacks* made = nullptr;
    ETCDD_CHECK(nghttp2_session_callbacks_new(&made) == 0);
    const std::unique_ptr<nghttp2_session_callbacks, Free> callbacks(made);
    nghttp2_session_callbacks_set_on_header_callback(made, &OnHeader);
    nghttp2_session_callbacks_set_on_data_chunk_recv_callback(made, &OnData);
    nghttp2_session_callbacks_set_on_stream_close_callback(made, &OnClose);
    nghttp2_session* session = nullptr;
    ETCDD_CHECK(nghttp2_session_client_new(&session, made, this) == 0);
    session_.reset(session);
    const nghttp2_settings_entry no_push = {NGHTTP2_SETTINGS_ENABLE_PUSH, 0};
    ETCDD_CHECK(nghttp2_submit_settings(session, NGHTTP2_FLAG_NONE, &no_push, 1) == 0);
  }

  GrpcResult Call(const GrpcRequest& request, absl::Duration timeout,
                  absl::Duration deadline) override {
    Exchange exchange;
    exchange_ = &exchange;
    const absl::Status status = Run(request, timeout, deadline);
    exchange_ = nullptr;
    if (status.ok()) return ReadAnswer(exchange);
    return {false, status, ""};
  }

 private:
  absl::Status Run(const GrpcRequest& request, absl::Duration timeout, absl::Duration deadline) {
    ETCDD_RETURN_IF_ERROR(Submit(request, timeout));
    for (;;) {
      ETCDD_RETURN_IF_ERROR(Send(deadline));
      if (exchange_->closed) return absl::OkStatus();
      if (nghttp2_session_want_read(session_.get()) == 0) {
        return absl::UnavailableError("the server ended the connection");
      }
      ETCDD_ASSIGN_OR_RETURN(const size_t got, stream_->Read(chunk_, sizeof chunk_, deadline));
      if (got == 0) return absl::UnavailableError("the connection was closed by the server");
      const ssize_t taken = nghttp2_session_mem_recv(
          session_.get(), reinterpret_cast<const uint8_t*>(chunk_), got);
      if (taken < 0) {
        return absl::UnavailableError(
            absl::StrCat("HTTP/2: ", nghttp2_strerror(static_cast<int>(taken))));
      }
    }
  }

  absl::Status Submit(const GrpcRequest& request, absl::Duration timeout) {
    Exchange& exchange = *exchange_;
    exchange.body.assign(net::kMessagePrefixBytes, '\0');
    net::WriteMessagePrefix(request.message.size(), exchange.body.data());
    exchange.body += request.message;
    const int64_t timeout_ms =
        std::clamp<int64_t>(absl::ToInt64Milliseconds(timeout), 1, kTimeoutMsMax);
    Metadata headers = {{":method", "POST"},
                        {":scheme", secure_ ? "https" : "http"},
                        {":path", request.path},
                        {":authority", authority_},
                        {"te", "trailers"},
                        {"content-type", "application/grpc"},
                        {"user-agent", "etcdd"},
                        {"grpc-timeout", absl::StrCat(timeout_ms, "m")}};
    headers.insert(headers.end(), request.metadata.begin(), request.metadata.end());
    std::vector<nghttp2_nv> fields;
    for (auto& [name, value] : headers) {
      fields.push_back({reinterpret_cast<uint8_t*>(name.data()),
                        reinterpret_cast<uint8_t*>(value.data()), name.size(), value.size(),
                        NGHTTP2_NV_FLAG_NONE});
    }
    nghttp2_data_provider body{};
    body.source.ptr = &exchange;
    body.read_callback = &ReadBody;
    exchange.stream_id = nghttp2_submit_request(session_.get(), nullptr, fields.data(),
                                                fields.size(), &body, nullptr);
    if (exchange.stream_id >= 0) return absl::OkStatus();
    return absl::UnavailableError(
        absl::StrCat("HTTP/2: ", nghttp2_strerror(exchange.stream_id)));
  }

  absl::Status Send(absl::Duration deadline) {
    for (;;) {
      const uint8_t* bytes = nullptr;
      const ssize_t size = nghttp2_session_mem_send(session_.get(), &bytes);
      if (size < 0) {
        return absl::UnavailableError(
            absl::StrCat("HTTP/2: ", nghttp2_strerror(static_cast<int>(size))));
      }
      if (size == 0) return absl::OkStatus();
      ETCDD_RETURN_IF_ERROR(stream_->WriteAll(
          {reinterpret_cast<const char*>(bytes), static_cast<size_t>(size)}, deadline));
    }
  }

  // The exchange that `stream_id` belongs to; null when it is of an earlier one.
  static Exchange* ExchangeOf(void* self, int32_t stream_id) {
    Exchange* const exchange = static_cast<Http2GrpcConnection*>(self)->exchange_;
    return exchange != nullptr && exchange->stream_id == stream_id ? exchange : nullptr;
  }

  static ssize_t ReadBody(nghttp2_session*, int32_t, uint8_t* out, size_t size, uint32_t* flags,
                          nghttp2_data_source* source, void*) {
    Exchange& exchange = *static_cast<Exchange*>(source->ptr);
    const size_t now = std::min(size, exchange.body.size() - exchange.body_sent);
    std::memcpy(out, exchange.body.data() + exchange.body_sent, now);
    exchange.body_sent += now;
    if (exchange.body_sent == exchange.body.size()) *flags |= NGHTTP2_DATA_FLAG_EOF;
    return static_cast<ssize_t>(now);
  }

  static int OnHeader(nghttp2_session*, const nghttp2_frame* frame, const uint8_t* name,
                      size_t name_size, const uint8_t* value, size_t value_size, uint8_t,
                      void* self) {
    Exchange* const exchange = ExchangeOf(self, frame->hd.stream_id);
    if (exchange == nullptr) return 0;
    const std::string_view key(reinterpret_cast<const char*>(name), name_size);
    const std::string text(reinterpret_cast<const char*>(value), value_size);
    if (key == ":status") exchange->http_status = text;
    if (key == "grpc-message") exchange->grpc_message = PercentDecode(text);
    if (key == "grpc-status") {
      int code = 0;
      const bool known = absl::SimpleAtoi(text, &code) && code >= 0 && code <= 16;
      exchange->grpc_status = known ? code : static_cast<int>(absl::StatusCode::kUnknown);
    }
    return 0;
  }

  static int OnData(nghttp2_session* session, uint8_t, int32_t stream_id, const uint8_t* bytes,
                    size_t size, void* self) {
    Exchange* const exchange = ExchangeOf(self, stream_id);
    if (exchange == nullptr || exchange->too_long) return 0;
    if (exchange->data.size() + size > kReplyBytesMax) {
      exchange->too_long = true;
      return nghttp2_submit_rst_stream(session, NGHTTP2_FLAG_NONE, stream_id, NGHTTP2_CANCEL);
    }
    exchange->data.append(reinterpret_cast<const char*>(bytes), size);
    return 0;
  }

  static int OnClose(nghttp2_session*, int32_t stream_id, uint32_t error_code, void* self) {
    Exchange* const exchange = ExchangeOf(self, stream_id);
    if (exchange == nullptr) return 0;
    exchange->closed = true;
    exchange->error_code = error_code;
    return 0;
  }

  const std::unique_ptr<ByteStream> stream_;
  const bool secure_;
  const std::string authority_;
  std::unique_ptr<nghttp2_session, Free> session_;
  Exchange* exchange_ = nullptr;  // during Call
  char chunk_[16 << 10];
};

}  // namespace

std::unique_ptr<GrpcConnection> GrpcConnection::Make(std::unique_ptr<ByteStream> stream,
                                                     bool secure, std::string authority) {
  return std::make_unique<Http2GrpcConnection>(std::move(stream), secure, std::move(authority));
}

}  // namespace etcdd::discovery
