#include "server/http/gateway_stream.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "server/http/gateway_answer.h"

namespace etcdd::http {

GatewayStream::GatewayStream(const GatewayParts& parts, const GatewayRoute& route,
                             GatewayRequest request, Limits limits,
                             std::shared_ptr<net::Http1Exchange> exchange)
    : parts_(parts), route_(route), request_(std::move(request)), limits_(limits),
      exchange_(std::move(exchange)), splitter_(limits.json_bytes_max) {
  if (request_.timeout != absl::InfiniteDuration()) {
    deadline_ = parts_.clock->Monotonic() + request_.timeout;
  }
}

GatewayStream::~GatewayStream() {
  if (timer_ != 0) parts_.strand->Cancel(timer_);
}

void GatewayStream::Start() {
  const auto self = shared_from_this();
  const auto exchange = exchange_;
  exchange->OnCancel([self] { self->OnClientGone(); });
  exchange->OnWritable([self] { self->OnWritable(); });
  if (request_.timeout != absl::InfiniteDuration()) {
    timer_ = parts_.strand->PostAfter(request_.timeout, [weak = weak_from_this()] {
      if (const auto stream = weak.lock()) stream->OnDeadline();
    });
  }
  parts_.dispatcher->Dispatch(std::shared_ptr<rpc::Stream>(self));
  if (exchange_ == nullptr) return;  // refused
  if (route_.client_streaming) {
    exchange->ReadBody([self](std::string_view piece) { self->OnBody(piece); });
    return;
  }
  // One message, whole; like etcd, nothing behind it is looked at.
  if (!DeliverMessage(exchange->request().body)) return;
  body_ended_ = true;
  DeliverMessages();
}

void GatewayStream::OnBody(std::string_view piece) {
  if (piece.empty()) {
    body_ended_ = true;
  } else {
    splitter_.Append(piece);
  }
  DeliverMessages();
}

void GatewayStream::DeliverMessages() {
  while (writable() && route_.client_streaming) {
    auto json = splitter_.Next();
    if (!json.ok()) {
      Finish(json.status());
    } else if (!json->has_value()) {
      break;
    } else {
      DeliverMessage(**json);
    }
  }
  if (exchange_ == nullptr) return;
  if (!body_ended_) exchange_->HoldBody(send_blocked_);
  if (!body_ended_ || send_blocked_ || std::exchange(half_close_told_, true)) return;
  if (!splitter_.empty()) return Finish(absl::InvalidArgumentError("unexpected EOF"));
  if (events_.on_half_close) events_.on_half_close();
}

bool GatewayStream::DeliverMessage(std::string_view json) {
  absl::StatusOr<std::string> wire = WireFromJson(json, *route_.request);
  if (wire.ok() && wire->size() > limits_.message_bytes_max) {
    wire = absl::ResourceExhaustedError(
        absl::StrCat("grpc: received message larger than max (", wire->size(), " vs. ",
                     limits_.message_bytes_max, ")"));
  }
  if (!wire.ok()) {
    Finish(wire.status());
    return false;
  }
  CountReceived(wire->size());
  if (events_.on_message) events_.on_message(*wire);
  return exchange_ != nullptr;
}

bool GatewayStream::Send(std::string head, base::Bytes tail) {
  if (exchange_ == nullptr) return false;
  head.append(tail.view());
  std::string line = "{\"result\":";
  if (absl::Status status = AppendJsonOfWire(head, *route_.reply, &line); !status.ok()) {
    Finish(std::move(status));
    return false;
  }
  line.append("}\n");
  CountSent(head.size());
  if (!std::exchange(started_, true)) exchange_->StartStream(OkAnswer({}));
  if (!exchange_->Write(std::move(line))) send_blocked_ = true;
  return !send_blocked_;
}

void GatewayStream::Finish(absl::Status status) {
  CountEnd(status.code());
  const auto exchange = exchange_;
  if (exchange == nullptr) return;
  Close();
  // The handler is what called: it hears of the end later.
  parts_.strand->Post([self = shared_from_this()] { self->TellDone(); });
  if (!started_ && !status.ok()) return exchange->Respond(StreamErrorAnswer(status));
  if (!started_) exchange->StartStream(OkAnswer({}));
  if (!status.ok()) exchange->Write(ErrorLine(status));
  exchange->End();
}

void GatewayStream::OnWritable() {
  if (exchange_ == nullptr || !std::exchange(send_blocked_, false)) return;
  if (events_.on_writable) events_.on_writable();
  DeliverMessages();
}

void GatewayStream::OnClientGone() {
  if (exchange_ == nullptr) return;
  CountAbandoned(absl::StatusCode::kCancelled);
  Close();
  TellDone();  // at once: the server may go right after its connections
}

void GatewayStream::OnDeadline() {
  timer_ = 0;
  Finish(absl::DeadlineExceededError("context deadline exceeded"));
}

void GatewayStream::Close() {
  exchange_ = nullptr;
  if (timer_ != 0) parts_.strand->Cancel(std::exchange(timer_, 0));
}

void GatewayStream::TellDone() {
  // The closures usually own what owns this stream.
  Events events = std::exchange(events_, Events());
  if (events.on_done) events.on_done();
}

}  // namespace etcdd::http
