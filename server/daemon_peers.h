#pragma once

// The daemon's side towards other members: the listeners of --listen-peer-urls, the transport, and
// questions over HTTP, before the server runs and while it does.
//
//   DaemonPeers peers(parts);
//   peers.Listen(config.listen_peer_urls);
//   peers.AskNow(...);                       // the loop does not run yet
//   peers.Open(identity);                    // who this member is, is known
//   server->SetNetwork(peers.transport(), peers.client());
//   peers.Start(server);
//
// Confined to the loop, or to its thread before Run.

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "server/base/file_system.h"
#include "server/base/metrics.h"
#include "server/base/strand.h"
#include "server/config.h"
#include "server/http/peer_pages.h"
#include "server/net/dialer.h"
#include "server/net/event_loop.h"
#include "server/net/front_door.h"
#include "server/net/tls_context.h"
#include "server/peer_client.h"
#include "server/transport/http_peer_client.h"
#include "server/transport/peer_http.h"
#include "server/transport/transport.h"

namespace etcdd::server {

class EtcdServer;

class DaemonPeers {
 public:
  // All outlive this object.
  struct Parts {
    net::EventLoop* loop = nullptr;
    base::Strand* resolver = nullptr;  // looks names up
    base::Strand* blocking = nullptr;  // images on their way
    base::Metrics* metrics = nullptr;
  };
  explicit DaemonPeers(Parts parts);

  // Reads what peer URLs need of TLS and binds --listen-peer-urls. `fs` outlives this object.
  absl::Status Listen(base::FileSystem* fs, const Config& config, absl::Time now);
  // Turns the loop until the answer is there.
  absl::StatusOr<PeerReply> AskNow(std::vector<std::string> urls, PeerRequest request,
                                   absl::Duration timeout);

  void Open(transport::Identity self);
  consensus::Transport* transport() { return &*transport_; }
  PeerClient* client() { return &client_; }
  // Serves the others from now on. `server` outlives this object.
  void Start(EtcdServer* server);
  // Ends all connections. Requires: the loop has ended, and so has the blocking strand.
  void Close();

 private:
  void ServePages(std::shared_ptr<net::Http1Exchange> exchange);

  const Parts parts_;
  std::unique_ptr<net::TlsServerContext> listen_tls_;  // null: plain
  std::unique_ptr<net::TlsClientContext> dial_tls_;
  net::Dialer dialer_;
  transport::HttpPeerClient client_;
  std::optional<transport::Transport> transport_;
  std::optional<transport::PeerHttp> raft_pages_;
  std::optional<http::PeerPages> pages_;
  net::Http1Handler pages_handler_ = [this](auto exchange) { ServePages(std::move(exchange)); };
  net::Http1Handler handler_;
  net::Http1BodyPolicy body_policy_;
  std::optional<net::FrontDoor> door_;
};

}  // namespace etcdd::server
