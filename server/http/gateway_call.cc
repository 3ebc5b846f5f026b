#include "server/http/gateway_call.h"

#include <utility>

#include "server/http/gateway_answer.h"

namespace etcdd::http {

GatewayCall::GatewayCall(const GatewayParts& parts, const GatewayRoute& route,
                         GatewayRequest request, std::string message,
                         std::shared_ptr<net::Http1Exchange> exchange)
    : parts_(parts), route_(route), request_(std::move(request)), message_(std::move(message)),
      exchange_(std::move(exchange)) {
  if (request_.timeout != absl::InfiniteDuration()) {
    deadline_ = parts_.clock->Monotonic() + request_.timeout;
  }
}

GatewayCall::~GatewayCall() {
  if (timer_ != 0) parts_.strand->Cancel(timer_);
}

void GatewayCall::Start() {
  exchange_->OnCancel([self = shared_from_this()] { self->OnClientGone(); });
  if (request_.timeout == absl::InfiniteDuration()) return;
  timer_ = parts_.strand->PostAfter(request_.timeout, [weak = weak_from_this()] {
    if (const auto self = weak.lock()) self->OnDeadline();
  });
}

void GatewayCall::OnCancel(absl::AnyInvocable<void()> callback) {
  on_cancel_ = std::move(callback);
}

std::shared_ptr<net::Http1Exchange> GatewayCall::TakeExchange() {
  if (timer_ != 0) parts_.strand->Cancel(std::exchange(timer_, 0));
  return std::exchange(exchange_, nullptr);
}

void GatewayCall::Abandon(absl::StatusCode code) {
  cancelled_ = true;
  CountAbandoned(code);
  if (auto on_cancel = std::exchange(on_cancel_, nullptr)) on_cancel();
}

void GatewayCall::OnClientGone() {
  if (TakeExchange() != nullptr) Abandon(absl::StatusCode::kCancelled);
}

void GatewayCall::OnDeadline() {
  timer_ = 0;
  const auto exchange = TakeExchange();
  if (exchange == nullptr) return;
  const absl::Status status = absl::DeadlineExceededError("context deadline exceeded");
  exchange->Respond(ErrorAnswer(status));
  Abandon(status.code());
}

void GatewayCall::Finish(absl::Status status, std::string reply) {
  CountEnd(status.code());
  on_cancel_ = nullptr;
  const auto exchange = TakeExchange();
  if (exchange == nullptr) return;
  std::string body;
  if (status.ok()) {
    CountSent(reply.size());
    status = AppendJsonOfWire(reply, *route_.reply, &body);
  }
  exchange->Respond(status.ok() ? OkAnswer(std::move(body)) : ErrorAnswer(status));
}

}  // namespace etcdd::http
