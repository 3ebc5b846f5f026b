#include "server/http/pages.h"

#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "server/etcd_server.h"
#include "server/http/health.h"
#include "server/http/response.h"
#include "server/version.h"

namespace etcdd::http {
namespace {

// Every answer to a client may be read by scripts of any origin: --cors is at its default here.
class CorsExchange final : public net::Http1Exchange {
 public:
  explicit CorsExchange(std::shared_ptr<net::Http1Exchange> inner) : inner_(std::move(inner)) {}

  const net::Http1Request& request() const override { return inner_->request(); }
  void Respond(net::Http1Response response) override {
    AddFields(response);
    inner_->Respond(std::move(response));
  }
  void StartStream(net::Http1Response head) override {
    AddFields(head);
    inner_->StartStream(std::move(head));
  }
  bool Write(std::string chunk) override { return inner_->Write(std::move(chunk)); }
  void End() override { inner_->End(); }
  void OnWritable(absl::AnyInvocable<void()> callback) override {
    inner_->OnWritable(std::move(callback));
  }
  void OnCancel(absl::AnyInvocable<void()> callback) override {
    inner_->OnCancel(std::move(callback));
  }

 private:
  static void AddFields(net::Http1Response& response) {
    response.headers.emplace_back("Access-Control-Allow-Methods",
                                  "POST, GET, OPTIONS, PUT, DELETE");
    response.headers.emplace_back("Access-Control-Allow-Origin", "*");
    response.headers.emplace_back("Access-Control-Allow-Headers",
                                  "accept, content-type, authorization");
  }

  const std::shared_ptr<net::Http1Exchange> inner_;
};

}  // namespace

void Pages::Serve(std::shared_ptr<net::Http1Exchange> exchange) const {
  if (audience_ == Audience::kClients) {
    exchange = std::make_shared<CorsExchange>(std::move(exchange));
    if (exchange->request().method == "OPTIONS") return exchange->Respond({});
  }
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
