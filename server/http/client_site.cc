#include "server/http/client_site.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "server/http/gateway_routes.h"
#include "server/http/response.h"
#include "server/http/target.h"

namespace etcdd::http {
namespace {

bool Contains(const std::vector<std::string>& list, std::string_view text) {
  return std::find(list.begin(), list.end(), text) != list.end();
}

void AllowAll(std::vector<std::string>* list) {
  if (Contains(*list, "*")) list->clear();
}

// Adds what scripts of another origin need to every answer.
class CorsExchange final : public net::Http1Exchange {
 public:
  CorsExchange(std::shared_ptr<net::Http1Exchange> inner, std::string origin)
      : inner_(std::move(inner)), origin_(std::move(origin)) {}

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
  bool WriteChunk(net::OutputBuffer* chunk) override { return inner_->WriteChunk(chunk); }
  void End() override { inner_->End(); }
  void OnWritable(absl::AnyInvocable<void()> callback) override {
    inner_->OnWritable(std::move(callback));
  }
  void OnCancel(absl::AnyInvocable<void()> callback) override {
    inner_->OnCancel(std::move(callback));
  }
  void ReadBody(BodySink sink) override { inner_->ReadBody(std::move(sink)); }
  void HoldBody(bool hold) override { inner_->HoldBody(hold); }

 private:
  void AddFields(net::Http1Response& response) const {
    response.headers.emplace_back("Access-Control-Allow-Methods",
                                  "POST, GET, OPTIONS, PUT, DELETE");
    response.headers.emplace_back("Access-Control-Allow-Origin", origin_);
    response.headers.emplace_back("Access-Control-Allow-Headers",
                                  "accept, content-type, authorization");
  }

  const std::shared_ptr<net::Http1Exchange> inner_;
  const std::string origin_;
};

// "example.com:2379" -> "example.com", "[::1]:2379" -> "::1".
std::string_view HostOf(std::string_view field) {
  if (!field.empty() && field.front() == '[') {
    return field.substr(1, field.find(']') - 1);
  }
  return field.substr(0, field.rfind(':'));
}

net::Http1Response UnknownHost(std::string_view host) {
  return ErrorText(
      421, absl::StrCat(
               "\netcd received your request, but the Host header was unrecognized.\n\n"
               "To fix this, choose one of the following options:\n"
               "- Enable TLS, then any HTTPS request will be allowed.\n"
               "- Add the hostname you want to use to the whitelist in settings.\n"
               "  - e.g. etcd --host-whitelist \"",
               absl::string_view(host.data(), host.size()),
               "\"\n\nThis requirement has been added to help prevent \"DNS Rebinding\" attacks "
               "(CVE-2018-5702).\n"));
}

net::Http1Response Redirect(std::string_view to) {
  net::Http1Response response;
  response.status = 301;
  response.content_type = "text/html; charset=utf-8";
  response.headers.emplace_back("Location", to);
  response.body = absl::StrCat("<a href=\"", absl::string_view(to.data(), to.size()),
                               "\">Moved Permanently</a>.\n\n");
  return response;
}

}  // namespace

ClientSite::ClientSite(server::EtcdServer* server, const GatewayParts& parts,
                       ClientSiteOptions options)
    : pages_(server, Pages::Audience::kClients), options_(std::move(options)) {
  if (options_.gateway) gateway_.emplace(parts, options_.message_bytes_max);
  AllowAll(&options_.cors_origins);
  AllowAll(&options_.host_whitelist);
}

net::Http1BodyRule ClientSite::BodyRule(const net::Http1Request& head) const {
  const std::string path = ParseTarget(WithoutPathAlias(head.target)).path;
  if (gateway_ && Gateway::Owns(path)) return gateway_->BodyRule(path);
  return {};
}

bool ClientSite::KnowsHost(std::string_view host) const {
  return options_.host_whitelist.empty() || Contains(options_.host_whitelist, host);
}

std::string ClientSite::AllowedOrigin(const net::Http1Request& request) const {
  if (options_.cors_origins.empty()) return "*";
  const std::string_view origin = request.header("Origin");
  return Contains(options_.cors_origins, origin) ? std::string(origin) : std::string();
}

void ClientSite::Serve(std::shared_ptr<net::Http1Exchange> exchange) const {
  const net::Http1Request& request = exchange->request();
  const std::string_view host = HostOf(request.header("Host"));
  if (!request.tls && !KnowsHost(host)) return exchange->Respond(UnknownHost(host));
  if (std::string origin = AllowedOrigin(request); !origin.empty()) {
    exchange = std::make_shared<CorsExchange>(std::move(exchange), std::move(origin));
  }
  if (request.method == "OPTIONS") return exchange->Respond({});
  const std::string path = ParseTarget(WithoutPathAlias(request.target)).path;
  if (!gateway_) return pages_.Serve(std::move(exchange));
  if (path == "/v3") return exchange->Respond(Redirect("/v3/"));
  if (Gateway::Owns(path)) return gateway_->Serve(path, std::move(exchange));
  pages_.Serve(std::move(exchange));
}

}  // namespace etcdd::http
