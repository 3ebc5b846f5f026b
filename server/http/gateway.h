#pragma once

// etcd's JSON gateway: POST /v3/... with a JSON message becomes a request to the same dispatcher
// that gRPC requests go to; no connection is in between. Facts: http-endpoints.md section 3.
//
//   Gateway gateway(parts, message_bytes_max);
//   if (Gateway::Owns(path)) gateway.Serve(path, exchange);
//
// Confined to the loop that owns the connections.

#include <cstddef>
#include <memory>
#include <string_view>

#include "server/http/gateway_call.h"
#include "server/http/gateway_stream.h"
#include "server/net/http1.h"

namespace etcdd::http {

class Gateway {
 public:
  // Serialized messages longer than `message_bytes_max` are refused.
  Gateway(const GatewayParts& parts, size_t message_bytes_max);

  static bool Owns(std::string_view path);
  // How the body of a request for `path` is to be read. Requires: Owns(path).
  net::Http1BodyRule BodyRule(std::string_view path) const;
  // Requires: Owns(path), and the body was read by BodyRule.
  void Serve(std::string_view path, std::shared_ptr<net::Http1Exchange> exchange) const;

 private:
  void ServeUnary(const GatewayRoute& route, GatewayRequest request,
                  std::shared_ptr<net::Http1Exchange> exchange) const;

  const GatewayParts parts_;
  const GatewayStream::Limits limits_;
};

}  // namespace etcdd::http
