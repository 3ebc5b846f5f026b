#include "server/http/gateway.h"

#include <limits>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "server/http/gateway_answer.h"
#include "server/http/gateway_routes.h"

namespace etcdd::http {
namespace {

constexpr std::string_view kPrefix = "/v3/";

// Base64 takes 4/3 of its bytes, the rest of a message less than the same again.
size_t JsonBytesMax(size_t message_bytes_max) {
  return message_bytes_max > std::numeric_limits<size_t>::max() / 2
             ? std::numeric_limits<size_t>::max()
             : 2 * message_bytes_max;
}

}  // namespace

Gateway::Gateway(const GatewayParts& parts, size_t message_bytes_max)
    : parts_(parts), limits_{JsonBytesMax(message_bytes_max), message_bytes_max} {}

bool Gateway::Owns(std::string_view path) { return path.substr(0, kPrefix.size()) == kPrefix; }

net::Http1BodyRule Gateway::BodyRule(std::string_view path) const {
  net::Http1BodyRule rule;
  rule.bytes_max = limits_.json_bytes_max;
  const GatewayRoute* route = FindGatewayRoute(path);
  if (route == nullptr || !route->client_streaming) return rule;
  // Any number of messages, at any time; each one is bounded by itself.
  rule.in_pieces = true;
  rule.bytes_max = std::numeric_limits<size_t>::max();
  rule.pause_max = absl::InfiniteDuration();
  return rule;
}

void Gateway::Serve(std::string_view path, std::shared_ptr<net::Http1Exchange> exchange) const {
  const GatewayRoute* route = FindGatewayRoute(path);
  if (route == nullptr) return exchange->Respond(ErrorAnswer(absl::NotFoundError("Not Found")));
  if (exchange->request().method != "POST") {
    return exchange->Respond(ErrorAnswer(absl::UnimplementedError("Method Not Allowed")));
  }
  absl::StatusOr<GatewayRequest> request = ReadGatewayHeaders(exchange->request());
  if (!request.ok()) return exchange->Respond(ErrorAnswer(request.status()));
  if (!route->streaming()) return ServeUnary(*route, *std::move(request), std::move(exchange));
  std::make_shared<GatewayStream>(parts_, *route, *std::move(request), limits_,
                                  std::move(exchange))->Start();
}

void Gateway::ServeUnary(const GatewayRoute& route, GatewayRequest request,
                         std::shared_ptr<net::Http1Exchange> exchange) const {
  absl::StatusOr<std::string> message = WireFromJson(exchange->request().body, *route.request);
  if (message.ok() && message->size() > limits_.message_bytes_max) {
    message = absl::ResourceExhaustedError(
        absl::StrCat("grpc: received message larger than max (", message->size(), " vs. ",
                     limits_.message_bytes_max, ")"));
  }
  if (!message.ok()) return exchange->Respond(ErrorAnswer(message.status()));
  auto call = std::make_shared<GatewayCall>(parts_, route, std::move(request),
                                            *std::move(message), std::move(exchange));
  call->Start();
  parts_.dispatcher->Dispatch(std::shared_ptr<rpc::Call>(std::move(call)));
}

}  // namespace etcdd::http
