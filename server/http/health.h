#pragma once

// /health, /livez and /readyz: may this member be sent requests (SRV-050..052)?
//
// Confined to the server strand.

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "server/http/target.h"
#include "server/net/http1.h"

namespace etcdd::server {
class EtcdServer;
}

namespace etcdd::http {

// The answer to GET /health: alarms, then the leader, then a read. Parameters `exclude` (an alarm
// to overlook, repeatable) and `serializable=true` (a local read, whoever leads).
// `server` must outlive the exchange.
void ServeHealth(server::EtcdServer* server, const Target& target,
                 std::shared_ptr<net::Http1Exchange> exchange);

// The checks of a page in etcd's order, all of them or one named by the sub-path: empty when
// `path` is neither "/livez", "/readyz" nor one of their checks.
std::vector<std::string_view> ChecksOf(std::string_view path);

// The answer to GET on one of these paths. Parameters `verbose`, and for the pages themselves
// `exclude` (repeatable). Requires: ChecksOf(target.path) is not empty.
void ServeChecks(server::EtcdServer* server, const Target& target,
                 std::shared_ptr<net::Http1Exchange> exchange);

}  // namespace etcdd::http
