#pragma once

// The paths of the JSON gateway and the methods behind them (facts: grpc-services.tsv).
//
// Free functions, thread-safe.

#include <string>
#include <string_view>

#include <google/protobuf/message.h>

#include "absl/types/span.h"

namespace etcdd::http {

struct GatewayRoute {
  std::string_view path;    // "/v3/kv/range"
  std::string_view method;  // "/etcdserverpb.KV/Range"
  bool client_streaming = false;
  bool server_streaming = false;
  // Empty messages to make others from.
  const google::protobuf::Message* request = nullptr;
  const google::protobuf::Message* reply = nullptr;

  bool streaming() const { return client_streaming || server_streaming; }
};

absl::Span<const GatewayRoute> GatewayRoutes();

// Null when there is no such route.
const GatewayRoute* FindGatewayRoute(std::string_view path);

// "/v3beta/kv/put" and "/v3alpha/kv/put" as "/v3/kv/put", for clients of older releases; other
// targets are returned as they are.
std::string WithoutPathAlias(std::string_view target);

}  // namespace etcdd::http
