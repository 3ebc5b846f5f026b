#include "server/daemon_peers.h"

#include <utility>

#include "server/base/status_macros.h"
#include "server/daemon_tls.h"
#include "server/etcd_server.h"
#include "server/http/response.h"
#include "server/net/tls_stream.h"

namespace etcdd::server {
namespace {

// How long one turn of the loop waits while an answer is awaited.
constexpr absl::Duration kTurnMax = absl::Milliseconds(100);

}  // namespace

DaemonPeers::DaemonPeers(Parts parts)
    : parts_(std::move(parts)),
      dialer_({parts_.loop, parts_.resolver,
               [this](int fd, const net::DialTarget& target) {
                 return net::NewTlsClientStream(fd, dial_tls_.get(), target.host);
               }}),
      client_(&dialer_),
      handler_([this](std::shared_ptr<net::Http1Exchange> exchange) {
        if (raft_pages_.has_value()) return (*raft_pages_->handler())(std::move(exchange));
        exchange->Respond(http::ErrorText(503, "this member is starting"));
      }),
      body_policy_([this](const net::Http1Request& request) {
        if (raft_pages_.has_value()) return (*raft_pages_->body_policy())(request);
        return net::Http1BodyRule();
      }) {
  net::FrontDoorOptions options;
  options.http1.handler = &handler_;
  options.http1.body_policy = &body_policy_;
  door_.emplace(parts_.loop, options);
}

absl::Status DaemonPeers::Listen(base::FileSystem* fs, const Config& config, absl::Time now) {
  ETCDD_ASSIGN_OR_RETURN(listen_tls_, NewPeerListenerTls(fs, config, now));
  ETCDD_ASSIGN_OR_RETURN(dial_tls_, NewPeerDialerTls(fs, config, now));
  if (dial_tls_ == nullptr) {
    // Others may have https URLs all the same: they are held to the system's authorities.
    net::TlsConfig plain;
    plain.for_peers = true;
    plain.alpn_protocols = {"http/1.1"};
    ETCDD_ASSIGN_OR_RETURN(dial_tls_, net::TlsClientContext::Create(fs, std::move(plain)));
  }
  net::ListenOptions options;
  options.grpc = false;
  options.tls = listen_tls_.get();
  for (const Url& url : config.listen_peer_urls) {
    ETCDD_RETURN_IF_ERROR(door_->Listen(url.ToString(), options));
  }
  return absl::OkStatus();
}

absl::StatusOr<PeerReply> DaemonPeers::AskNow(std::vector<std::string> urls, PeerRequest request,
                                              absl::Duration timeout) {
  std::optional<absl::StatusOr<PeerReply>> answer;
  client_.Ask(std::move(urls), std::move(request), timeout,
              [&answer](absl::StatusOr<PeerReply> reply) { answer = std::move(reply); });
  while (!answer.has_value()) parts_.loop->RunTurn(kTurnMax);
  return *std::move(answer);
}

void DaemonPeers::Open(transport::Identity self) {
  transport_.emplace(transport::TransportParts{&dialer_, parts_.blocking, parts_.metrics},
                     std::move(self));
  raft_pages_.emplace(&*transport_, &pages_handler_);
}

void DaemonPeers::Start(EtcdServer* server) {
  pages_.emplace(server);
  transport_->Start(server);
}

void DaemonPeers::Close() {
  door_.reset();
  pages_.reset();
  raft_pages_.reset();
  transport_.reset();
}

void DaemonPeers::ServePages(std::shared_ptr<net::Http1Exchange> exchange) {
  if (pages_.has_value()) return pages_->Serve(std::move(exchange));
  exchange->Respond(http::ErrorText(503, "this member is starting"));
}

}  // namespace etcdd::server
