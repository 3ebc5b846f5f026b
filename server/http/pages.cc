#include "server/http/pages.h"

#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "server/etcd_server.h"
#include "server/http/health.h"
#include "server/http/response.h"
#include "server/version.h"

namespace etcdd::http {
void Pages::Serve(std::shared_ptr<net::Http1Exchange> exchange) const {
  const Target target = ParseTarget(exchange->request().target);
  Route(target, std::move(exchange));
}

void Pages::Route(const Target& target, std::shared_ptr<net::Http1Exchange> exchange) const {
  const bool is_health = target.path == "/health";
  const bool is_check = !ChecksOf(target.path).empty();
  const bool is_version = target.path == "/version" && audience_ == Audience::kClients;
  if (target.path == "/metrics") return exchange->Respond(Metrics());
  if (!is_health && !is_check && !is_version) return exchange->Respond(NotFound());
  if (exchange->request().method != "GET") return exchange->Respond(MethodNotAllowed("GET"));
  if (is_health) return ServeHealth(server_, target, std::move(exchange));
  if (is_check) return ServeChecks(server_, target, std::move(exchange));
  exchange->Respond(VersionPage(*server_));
}

net::Http1Response Pages::Metrics() const {
  net::Http1Response response;
  response.content_type = base::Metrics::kTextPageType;
  response.body = server_->metrics().registry.TextPage();
  return response;
}

net::Http1Response VersionPage(const server::EtcdServer& server) {
  const std::string& cluster = server.cluster().version();
  const std::string storage = server.Status().storage_version;
  net::Http1Response response;
  response.content_type = "application/json";
  response.body = absl::StrCat(
      "{\"etcdserver\":\"", absl::string_view(server::kEtcdVersion.data(),
                                              server::kEtcdVersion.size()),
      "\",\"etcdcluster\":\"", cluster.empty() ? "not_decided" : cluster, "\",\"storage\":\"",
      storage.empty() ? "unknown" : storage, "\"}");
  return response;
}

}  // namespace etcdd::http
