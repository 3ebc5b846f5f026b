#pragma once

// SRV records and host names by way of the system's resolver: /etc/resolv.conf, /etc/hosts, its
// timeouts and its retries.
//
// Confined to one thread at a time.

#include <cstdint>
#include <memory>
#include <optional>

#include "server/discovery/srv.h"

namespace etcdd::discovery {

// `dns_port` set: SRV records are asked of a server on that UDP port of 127.0.0.1 instead, for
// tests; hosts are looked up as always.
std::unique_ptr<SrvResolver> NewDnsResolver(std::optional<uint16_t> dns_port = std::nullopt);

}  // namespace etcdd::discovery
