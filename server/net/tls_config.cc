#include "server/net/tls_config.h"

#include <string_view>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "server/base/status_macros.h"
#include "server/net/openssl.h"

namespace etcdd::net {
namespace {

// Go's texts quote lists like this: ["a" "b"].
std::string Quoted(const std::vector<std::string>& names) {
  return absl::StrCat("[", absl::StrJoin(names, " ",
                                         [](std::string* out, const std::string& name) {
                                           absl::StrAppend(out, "\"", name, "\"");
                                         }),
                      "]");
}

// Names that Go had before IANA's were complete.
std::string IanaName(const std::string& name) {
  if (name == "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305" ||
      name == "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305") {
    return name + "_SHA256";
  }
  return name;
}

}  // namespace

absl::Status CheckTlsConfig(const TlsConfig& config, bool accepting) {
  if ((config.cert_file.empty() || config.key_file.empty()) &&
      (accepting || config.cert_file.empty() != config.key_file.empty())) {
    return absl::InvalidArgumentError(
        absl::StrCat("KeyFile and CertFile must both be present[key: ", config.key_file,
                     ", cert: ", config.cert_file, "]"));
  }
  if (config.client_cert_file.empty() != config.client_key_file.empty()) {
    return absl::InvalidArgumentError(absl::StrCat(
        "ClientKeyFile and ClientCertFile must both be present or both absent: key: ",
        config.client_key_file, ", cert: ", config.client_cert_file, "]"));
  }
  if (!config.allowed_cns.empty() && !config.allowed_hostnames.empty()) {
    return absl::InvalidArgumentError(
        absl::StrCat("AllowedCNs and AllowedHostnames are mutually exclusive (cns=",
                     Quoted(config.allowed_cns), ", hostnames=", Quoted(config.allowed_hostnames),
                     ")"));
  }
  return CipherList(config.cipher_suites).status();
}

absl::StatusOr<TlsVersion> ParseTlsVersion(const std::string& text) {
  if (text.empty()) return TlsVersion::kDefault;
  if (text == "TLS1.2") return TlsVersion::k12;
  if (text == "TLS1.3") return TlsVersion::k13;
  return absl::InvalidArgumentError(
      absl::StrCat("unexpected TLS version \"", text, "\", must be one of: TLS1.2, TLS1.3"));
}

absl::StatusOr<std::string> CipherList(const std::vector<std::string>& names) {
  const SslContextPtr all(SSL_CTX_new(TLS_method()));
  if (all == nullptr || SSL_CTX_set_cipher_list(all.get(), "ALL") != 1) {
    return absl::InternalError(absl::StrCat("TLS: ", TakeOpensslError()));
  }
  const STACK_OF(SSL_CIPHER)* known = SSL_CTX_get_ciphers(all.get());
  std::vector<std::string> chosen;
  for (const std::string& name : names) {
    const std::string iana = IanaName(name);
    bool found = false;
    for (int i = 0; i < sk_SSL_CIPHER_num(known) && !found; ++i) {
      const SSL_CIPHER* cipher = sk_SSL_CIPHER_value(known, i);
      const char* standard = SSL_CIPHER_standard_name(cipher);
      if (standard == nullptr || iana != standard) continue;
      found = true;
      if (std::string_view(SSL_CIPHER_get_version(cipher)) != "TLSv1.3") {
        chosen.emplace_back(SSL_CIPHER_get_name(cipher));
      }
    }
    if (!found) {
      return absl::InvalidArgumentError(absl::StrCat("unexpected TLS cipher suite \"", name, "\""));
    }
  }
  return absl::StrJoin(chosen, ":");
}

}  // namespace etcdd::net
