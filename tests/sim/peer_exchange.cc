#include "tests/sim/peer_exchange.h"

#include <memory>
#include <utility>

#include "server/base/check.h"

namespace etcdd::sim {
namespace {

class Exchange final : public net::Http1Exchange {
 public:
  Exchange(net::Http1Request request, absl::AnyInvocable<void(server::PeerReply)> done)
      : request_(std::move(request)), done_(std::move(done)) {}

  const net::Http1Request& request() const override { return request_; }
  void Respond(net::Http1Response response) override {
    server::PeerReply reply;
    reply.status = response.status;
    reply.body = std::move(response.body);
    for (auto& [name, value] : response.headers) {
      if (name == "X-Etcd-Cluster-ID") reply.cluster_id = std::move(value);
    }
    done_(std::move(reply));
  }
  void StartStream(net::Http1Response) override { ETCDD_CHECK_MSG(false, "peers do not stream"); }
  bool Write(std::string) override { return true; }
  void End() override {}
  void OnWritable(absl::AnyInvocable<void()>) override {}
  void OnCancel(absl::AnyInvocable<void()>) override {}

 private:
  const net::Http1Request request_;
  absl::AnyInvocable<void(server::PeerReply)> done_;
};

}  // namespace

void ServePeer(const http::PeerPages& pages, const server::PeerRequest& request,
               absl::AnyInvocable<void(server::PeerReply)> done) {
  net::Http1Request page;
  page.method = request.method;
  page.target = request.path;
  page.headers = request.headers;
  page.body = request.body;
  pages.Serve(std::make_shared<Exchange>(std::move(page), std::move(done)));
}

}  // namespace etcdd::sim
