#include "server/discovery/grpc_client.h"

#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "server/base/status_macros.h"
#include "server/url.h"

namespace etcdd::discovery {
namespace {

absl::Status AtEndpoint(const std::string& endpoint, const absl::Status& status) {
  return absl::Status(status.code(), absl::StrCat(endpoint, ": ", status.message()));
}

// Whether another endpoint cannot give a better answer.
bool IsFinal(const GrpcResult& result) {
  return result.answered && !absl::IsUnavailable(result.status);
}

}  // namespace

GrpcClient::GrpcClient(const GrpcClientOptions& options, const base::Clock& clock)
    : dial_timeout_(options.dial_timeout),
      request_timeout_(options.request_timeout),
      clock_(clock) {}

absl::StatusOr<std::unique_ptr<GrpcClient>> GrpcClient::Make(GrpcClientOptions options,
                                                             const base::Clock& clock) {
  if (options.endpoints.empty()) return absl::InvalidArgumentError("no endpoints are given");
  const TlsOptions& tls = options.tls;
  const bool secure_by_default = !options.insecure_transport || !tls.cert_file.empty() ||
                                 !tls.key_file.empty() || !tls.ca_file.empty();
  std::unique_ptr<GrpcClient> client(new GrpcClient(options, clock));
  bool secure = false;
  for (const std::string& text : options.endpoints) {
    ETCDD_ASSIGN_OR_RETURN(Endpoint endpoint, ParseEndpoint(text, secure_by_default));
    secure = secure || endpoint.secure;
    client->endpoints_.push_back(std::move(endpoint));
  }
  if (secure) {
    ETCDD_ASSIGN_OR_RETURN(client->tls_, TlsClient::Make(tls));
  }
  return client;
}

absl::StatusOr<GrpcClient::Endpoint> GrpcClient::ParseEndpoint(const std::string& text,
                                                               bool secure_by_default) {
  std::string url_text = text;
  if (!absl::StrContains(text, "://")) {
    url_text = absl::StrCat(secure_by_default ? "https://" : "http://", text);
  }
  const size_t path = url_text.find('/', url_text.find("://") + 3);
  absl::StatusOr<server::Url> url = server::ParseUrl(url_text.substr(0, path));
  if (!url.ok()) {
    return absl::InvalidArgumentError(
        absl::StrCat("endpoint \"", text, "\": ", url.status().message()));
  }
  if (url->IsUnix() || url->host.empty() || url->port == 0) {
    return absl::InvalidArgumentError(
        absl::StrCat("endpoint \"", text, "\" must name a host and a port"));
  }
  return Endpoint{text, url->host, url->port, url->IsTls(), url->address};
}

absl::StatusOr<std::unique_ptr<GrpcConnection>> GrpcClient::Dial(const Endpoint& endpoint) {
  const absl::Duration deadline = clock_.Monotonic() + dial_timeout_;
  ETCDD_ASSIGN_OR_RETURN(auto stream, DialTcp(endpoint.host, endpoint.port, clock_, deadline));
  if (endpoint.secure) {
    ETCDD_ASSIGN_OR_RETURN(stream, tls_->Handshake(std::move(stream), endpoint.host, deadline));
  }
  return GrpcConnection::Make(std::move(stream), endpoint.secure, endpoint.authority);
}

GrpcResult GrpcClient::Ask(GrpcConnection& connection, const GrpcRequest& request) {
  return connection.Call(request, request_timeout_, clock_.Monotonic() + request_timeout_);
}

absl::StatusOr<std::string> GrpcClient::Call(const GrpcRequest& request) {
  if (connection_ != nullptr) {
    GrpcResult result = Ask(*connection_, request);
    if (IsFinal(result)) {
      if (!result.status.ok()) return result.status;
      return std::move(result.message);
    }
    connection_.reset();
  }
  absl::Status last;
  const size_t first = current_;
  for (size_t i = 0; i < endpoints_.size(); ++i) {
    const size_t index = (first + i) % endpoints_.size();
    const Endpoint& endpoint = endpoints_[index];
    auto connection = Dial(endpoint);
    if (!connection.ok()) {
      last = AtEndpoint(endpoint.text, connection.status());
      continue;
    }
    GrpcResult result = Ask(**connection, request);
    if (IsFinal(result)) {
      current_ = index;
      connection_ = *std::move(connection);
      if (!result.status.ok()) return result.status;
      return std::move(result.message);
    }
    last = AtEndpoint(endpoint.text, result.status);
  }
  return last;
}

}  // namespace etcdd::discovery
