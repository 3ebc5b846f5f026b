#pragma once

// TLS over a socket as a ByteStream. Reads take several records with one system call; writes turn
// all that is to be sent into records first and hand them to the kernel together.
//
// Confined to one loop.

#include <memory>
#include <string>

#include "server/net/byte_stream.h"
#include "server/net/tls_context.h"

namespace etcdd::net {

// Both take ownership of a non-blocking socket; `context` must outlive the stream.

// The accepting side. `remote` is the client's address, for the log: a handshake that fails is
// logged as `rejected connection on client endpoint` (or `on peer endpoint`).
std::unique_ptr<ByteStream> NewTlsServerStream(int fd, TlsServerContext* context,
                                               std::string remote);

// The dialing side. The socket may still be connecting. The server's certificate must name
// `hostname` (a DNS name, or an IP address with or without brackets) in its SAN; a DNS name is also
// sent as SNI.
std::unique_ptr<ByteStream> NewTlsClientStream(int fd, TlsClientContext* context,
                                               const std::string& hostname);

}  // namespace etcdd::net
