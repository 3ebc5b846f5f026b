#pragma once

// What members ask each other over the peer port outside of raft (peer-protocol.md section 1):
// /members, /version, /downgrade/enabled, /members/promote/ID, /members/hashkv, /leases and
// /leases/internal. The paths below /raft are the transport's.
//
// Confined to the server strand.

#include <memory>

#include "server/http/target.h"
#include "server/net/http1.h"

namespace etcdd::server {
class EtcdServer;
}

namespace etcdd::http {

class PeerPages {
 public:
  // `server` must outlive all exchanges served.
  explicit PeerPages(server::EtcdServer* server) : server_(server) {}

  // Answers now or later; 404 for paths that are not known.
  void Serve(std::shared_ptr<net::Http1Exchange> exchange) const;

 private:
  using Exchange = std::shared_ptr<net::Http1Exchange>;
  net::Http1Response Members() const;
  void ServeDowngradeEnabled(Exchange exchange) const;
  void ServePromote(std::string_view id, Exchange exchange) const;
  void ServeHashKv(Exchange exchange) const;
  void ServeLeaseRenewal(Exchange exchange) const;
  void ServeLeaseInfo(Exchange exchange) const;
  // Runs `then` once this member has applied what it has committed now, or answers 408: a lease
  // granted a moment ago must be known.
  void WhenCaughtUp(Exchange exchange, absl::AnyInvocable<void(Exchange)> then) const;

  server::EtcdServer* const server_;
};

}  // namespace etcdd::http
