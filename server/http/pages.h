#pragma once

// What is served over plain HTTP: /health, /livez, /readyz, /metrics and, to clients, /version.
//
//   Pages pages(server, Pages::Audience::kClients);
//   pages.Serve(exchange);     // answers now or later
//
// Confined to the server strand.

#include <memory>

#include "server/http/target.h"
#include "server/net/http1.h"

namespace etcdd::server {
class EtcdServer;
}

namespace etcdd::http {

// GET /version, which peers ask for as well as clients.
net::Http1Response VersionPage(const server::EtcdServer& server);

class Pages {
 public:
  // kMonitoring: --listen-metrics-urls, which lack /version (SRV-054).
  enum class Audience { kClients, kMonitoring };

  // `server` must outlive all exchanges served.
  Pages(server::EtcdServer* server, Audience audience) : server_(server), audience_(audience) {}

  void Serve(std::shared_ptr<net::Http1Exchange> exchange) const;

 private:
  void Route(const Target& target, std::shared_ptr<net::Http1Exchange> exchange) const;
  net::Http1Response Metrics() const;

  server::EtcdServer* const server_;
  const Audience audience_;
};

}  // namespace etcdd::http
