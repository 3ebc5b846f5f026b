#pragma once

// What other members ask of this one over HTTP/1.1: POST /raft, both streams, POST /raft/snapshot
// and the probe, with the checks and status codes of peer-protocol.md section 3. All other paths of
// a peer URL (/members, /version, ...) go to another handler.
//
//   FrontDoorOptions options;
//   options.http1.handler = peer_http.handler();
//   options.http1.body_policy = peer_http.body_policy();
//
// Confined to the loop.

#include <memory>
#include <string_view>

#include "server/net/http1.h"
#include "server/transport/transport.h"

namespace etcdd::transport {

class PeerHttp {
 public:
  // `transport` must outlive this and every connection that serves it. `others` may be null: 404.
  PeerHttp(Transport* transport, net::Http1Handler* others);
  PeerHttp(const PeerHttp&) = delete;
  PeerHttp& operator=(const PeerHttp&) = delete;

  net::Http1Handler* handler() { return &handler_; }
  net::Http1BodyPolicy* body_policy() { return &policy_; }

 private:
  static net::Http1BodyRule BodyRule(const net::Http1Request& head);
  void Serve(std::shared_ptr<net::Http1Exchange> exchange);
  void ServeMessage(net::Http1Exchange& exchange);
  void ServeStream(std::shared_ptr<net::Http1Exchange> exchange, std::string_view path);
  void ServeProbe(net::Http1Exchange& exchange);
  // The sender says where it can be reached; it counts while it is no member.
  void LearnSender(const net::Http1Request& request);

  Transport* const transport_;
  net::Http1Handler* const others_;
  net::Http1Handler handler_;
  net::Http1BodyPolicy policy_;
};

}  // namespace etcdd::transport
