#pragma once

// A unary request that came as JSON over HTTP/1.1, as the handlers see it.
//
// Confined to the loop that owns the connection. Whoever holds it keeps it alive; so does its
// exchange until the answer.

#include <memory>
#include <string>
#include <string_view>

#include "server/base/clock.h"
#include "server/base/strand.h"
#include "server/http/gateway_request.h"
#include "server/http/gateway_routes.h"
#include "server/net/http1.h"
#include "server/rpc/call.h"

namespace etcdd::http {

// All must outlive the requests.
struct GatewayParts {
  rpc::Dispatcher* dispatcher = nullptr;
  base::Strand* strand = nullptr;  // the loop's
  const base::Clock* clock = nullptr;
};

class GatewayCall final : public rpc::Call, public std::enable_shared_from_this<GatewayCall> {
 public:
  // `message` is the serialized request.
  GatewayCall(const GatewayParts& parts, const GatewayRoute& route, GatewayRequest request,
              std::string message, std::shared_ptr<net::Http1Exchange> exchange);
  ~GatewayCall() override;
  // Begins to listen to the client and the clock. Once, before the call is dispatched.
  void Start();

  std::string_view method() const override { return route_.method; }
  std::optional<std::string_view> metadata(std::string_view name) const override {
    return request_.Find(name);
  }
  std::string_view peer() const override { return request_.peer; }
  absl::Duration deadline() const override { return deadline_; }
  std::string_view request() const override { return message_; }
  bool cancelled() const override { return cancelled_; }
  void OnCancel(absl::AnyInvocable<void()> callback) override;
  void Finish(absl::Status status, std::string reply) override;

 private:
  void OnClientGone();
  void OnDeadline();
  // Tells the handler; its answer will be dropped.
  void Abandon(absl::StatusCode code);
  // Ends the deadline's timer; returns the exchange to answer on, null when there is no need.
  std::shared_ptr<net::Http1Exchange> TakeExchange();

  const GatewayParts parts_;
  const GatewayRoute& route_;
  const GatewayRequest request_;
  const std::string message_;
  absl::Duration deadline_ = absl::InfiniteDuration();
  std::shared_ptr<net::Http1Exchange> exchange_;  // null once answered or gone
  base::TimerId timer_ = 0;
  bool cancelled_ = false;
  absl::AnyInvocable<void()> on_cancel_;
};

}  // namespace etcdd::http
