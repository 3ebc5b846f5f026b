#pragma once

// All that a client URL serves over HTTP/1.1: the JSON gateway and the pages, behind the filters
// that every request passes (http-endpoints.md section 1): aliases of /v3/, the Host whitelist
// against DNS rebinding, CORS.
//
// Confined to the server strand.

#include <cstddef>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "server/http/gateway.h"
#include "server/http/pages.h"
#include "server/net/http1.h"

namespace etcdd::http {

struct ClientSiteOptions {
  std::vector<std::string> cors_origins = {"*"};    // with "*", or empty: all
  std::vector<std::string> host_whitelist = {"*"};  // likewise; host names without ports
  bool gateway = true;                              // serve /v3/
  size_t message_bytes_max = 2 << 20;               // of one request to the gateway, serialized
};

class ClientSite {
 public:
  // `server` and what `parts` points to must outlive all exchanges served.
  ClientSite(server::EtcdServer* server, const GatewayParts& parts, ClientSiteOptions options);

  // For Http1Options::body_policy.
  net::Http1BodyRule BodyRule(const net::Http1Request& head) const;
  void Serve(std::shared_ptr<net::Http1Exchange> exchange) const;

 private:
  bool KnowsHost(std::string_view host) const;
  // What Access-Control-Allow-Origin says to this request; empty: nothing.
  std::string AllowedOrigin(const net::Http1Request& request) const;

  const Pages pages_;
  std::optional<Gateway> gateway_;
  ClientSiteOptions options_;
};

}  // namespace etcdd::http
