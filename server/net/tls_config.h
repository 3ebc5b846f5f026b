#pragma once

// What an operator says about TLS on one side of the server (towards clients, or towards peers):
// names of files and rules, not yet read. One TlsConfig makes the contexts of both directions,
// accepting and dialing; see tls_context.h.
//
// Thread-safe: plain data and functions without state.

#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace etcdd::net {

enum class TlsVersion { kDefault, k12, k13 };

struct TlsConfig {
  // --- files (PEM); an empty name: none
  std::string cert_file;  // what this side shows, its intermediates behind it
  std::string key_file;
  std::string client_cert_file;  // shown when dialing, instead of the two above
  std::string client_key_file;
  std::string trusted_ca_file;  // who may sign the other side; none: the system's authorities
  std::string crl_file;         // PEM or DER; serials which are refused, whoever signed the list

  // --- who is let in
  bool client_cert_auth = false;  // trusted_ca_file alone switches it on too, as in etcd
  std::vector<std::string> allowed_cns;        // not empty: the other side's CN is one of them
  std::vector<std::string> allowed_hostnames;  // not empty: its SAN holds one of them
  // Accepting: the SAN of the caller's certificate, if it has one, must fit its address; see
  // AddressRefusal.
  bool check_client_address = false;
  // Dialing: any certificate will do (self-signed ones of --auto-tls).
  bool skip_server_verification = false;

  // --- protocol
  std::vector<std::string> cipher_suites;  // IANA names; empty: OpenSSL's choice. TLS 1.2 only
  TlsVersion min_version = TlsVersion::k12;
  TlsVersion max_version = TlsVersion::kDefault;
  // By preference. A client that names protocols but none of these is refused.
  std::vector<std::string> alpn_protocols;

  bool for_peers = false;  // the wording of log lines

  bool RequiresClientCert() const { return client_cert_auth || !trusted_ca_file.empty(); }
};

// Mistakes that show without reading a file. `accepting`: a certificate is needed.
absl::Status CheckTlsConfig(const TlsConfig& config, bool accepting);

// "", "TLS1.2", "TLS1.3".
absl::StatusOr<TlsVersion> ParseTlsVersion(const std::string& text);

// OpenSSL's names of the TLS 1.2 suites in `names` (IANA's, or Go's two short ones), joined by ':'.
// TLS 1.3's suites are known but cannot be chosen, as in Go; they add nothing.
// InvalidArgument: `unexpected TLS cipher suite "X"`.
absl::StatusOr<std::string> CipherList(const std::vector<std::string>& names);

}  // namespace etcdd::net
