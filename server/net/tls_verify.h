#pragma once

// The other side's certificate: who it says it is, and whether this server takes it. Names count by
// Go's rules, which etcd's users know: host names and addresses come from the SAN only, a wildcard
// stands for one whole left-most label.
//
// Thread-safe: no state.

#include <string>
#include <vector>

#include "server/net/openssl.h"
#include "server/net/tls_config.h"
#include "server/net/tls_files.h"

namespace etcdd::net {

// What the verification of one handshake needs and finds. Hung to the SSL object.
struct TlsHandshakeFacts {
  const TlsConfig* config = nullptr;
  std::shared_ptr<const RevokedSerials> revoked;
  std::string refusal;  // why the certificate was refused, in Go's words; empty: it was not
};

// Hangs `facts` to `ssl`, which it must outlive.
void SetHandshakeFacts(SSL* ssl, TlsHandshakeFacts* facts);

// OpenSSL's callback for a whole chain: the chain itself, then the CRL (every certificate shown),
// then the allowed CNs and hostnames.
int VerifyCertificate(X509_STORE_CTX* store, void*);

// Empty when there is none.
std::string CommonName(X509* certificate);
std::vector<std::string> DnsNames(X509* certificate);
std::vector<std::string> IpAddresses(X509* certificate);
// Whether the SAN holds `host`, a name or an IP address (in brackets or not).
bool NamesHost(X509* certificate, const std::string& host);
// Why a caller from `remote` ("192.0.2.1:1234") may not use the certificate; empty: it may. Its SAN
// must hold the address, or hold neither addresses nor names. Names are not looked up: a
// certificate that has names but not the address is refused.
std::string AddressRefusal(X509* certificate, const std::string& remote);
// "[::1]" without brackets when it is an IP address; else as it is.
std::string WithoutBrackets(const std::string& host);
bool IsIpAddress(const std::string& host);

// The error of a failed handshake in Go's words, as far as they are known: logs, alerts and people
// look for those. `verify_refusal` may be empty. Empties the error queue.
std::string HandshakeErrorText(const std::string& verify_refusal);

}  // namespace etcdd::net
