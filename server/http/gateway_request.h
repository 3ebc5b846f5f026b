#pragma once

// What an HTTP/1.1 request to the gateway says besides its message: metadata, deadline, peer.
//
// Values and free functions; confined to their user.

#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "server/net/http1.h"

namespace etcdd::http {

struct GatewayRequest {
  std::vector<std::pair<std::string, std::string>> metadata;  // names in lower case
  absl::Duration timeout = absl::InfiniteDuration();
  std::string peer;

  // First value, if any.
  std::optional<std::string_view> Find(std::string_view name) const;
};

// Headers become metadata: Grpc-Metadata-X is `x` (of "-bin" ones the base64 is undone),
// Authorization is `authorization`, standard headers are `grpcgateway-...`, and the client is added
// to x-forwarded-for. Errors: InvalidArgument for a Grpc-Timeout that is none.
absl::StatusOr<GatewayRequest> ReadGatewayHeaders(const net::Http1Request& request);

}  // namespace etcdd::http
