#pragma once

// A blocking client for unary gRPC requests to any one of several servers. The daemon does not link
// the gRPC library (it would be the largest thing in it, for a few requests at the first start), so
// this is the little that discovery needs.
//
//   ETCDD_ASSIGN_OR_RETURN(auto client, GrpcClient::Make(options, clock));
//   auto reply = client->Call({"/etcdserverpb.KV/Range", bytes, {{"token", token}}});
//
// Confined to one thread at a time.

#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "server/base/clock.h"
#include "server/discovery/grpc_connection.h"
#include "server/discovery/tls.h"

namespace etcdd::discovery {

struct GrpcClientOptions {
  // "http://host:port" is plain, "https://host:port" is TLS; "host:port" is TLS when
  // `insecure_transport` is off or a file is named. What follows the port is ignored.
  std::vector<std::string> endpoints;
  absl::Duration dial_timeout = absl::Seconds(2);     // TCP and TLS together, for one endpoint
  absl::Duration request_timeout = absl::Seconds(5);  // of one attempt
  bool insecure_transport = true;
  TlsOptions tls;
};

class GrpcClient {
 public:
  // Connects to nobody yet. InvalidArgument: an endpoint that cannot be read, or a TLS file.
  // `clock` must outlive the client.
  static absl::StatusOr<std::unique_ptr<GrpcClient>> Make(GrpcClientOptions options,
                                                          const base::Clock& clock);

  // Asks the endpoint that answered last, then the others in the order they were given, each once
  // (and the first one again over a new connection, when the one from before turns out to be
  // broken). An endpoint has answered when it gave a status other than Unavailable. Returns the
  // reply's bytes or that status. Errors when nobody answered: Unavailable or DeadlineExceeded,
  // what was wrong with the last endpoint tried.
  //
  // Requires: the request may be executed twice, even by two servers, without harm.
  absl::StatusOr<std::string> Call(const GrpcRequest& request);

 private:
  struct Endpoint {
    std::string text;  // as given
    std::string host;
    uint16_t port = 0;
    bool secure = false;
    std::string authority;
  };

  GrpcClient(const GrpcClientOptions& options, const base::Clock& clock);

  static absl::StatusOr<Endpoint> ParseEndpoint(const std::string& text, bool secure_by_default);
  absl::StatusOr<std::unique_ptr<GrpcConnection>> Dial(const Endpoint& endpoint);
  GrpcResult Ask(GrpcConnection& connection, const GrpcRequest& request);

  // Fixed after construction.
  const absl::Duration dial_timeout_;
  const absl::Duration request_timeout_;
  const base::Clock& clock_;
  std::vector<Endpoint> endpoints_;  // not empty
  std::unique_ptr<TlsClient> tls_;   // null when no endpoint is secure

  size_t current_ = 0;                          // the endpoint that answered last
  std::unique_ptr<GrpcConnection> connection_;  // to it; null when broken
};

}  // namespace etcdd::discovery
