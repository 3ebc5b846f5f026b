#include "server/net/tls_verify.h"

#include <arpa/inet.h>
#include <openssl/err.h>
#include <openssl/sslerr.h>
#include <openssl/x509v3.h>

#include <algorithm>
#include <memory>

#include "absl/strings/ascii.h"
#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "server/base/check.h"

namespace etcdd::net {
namespace {

constexpr unsigned kHostFlags = X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS |
                                X509_CHECK_FLAG_NEVER_CHECK_SUBJECT;

using NamesPtr = std::unique_ptr<GENERAL_NAMES, OpensslFree<GENERAL_NAMES_free>>;

NamesPtr SubjectAltNames(X509* certificate) {
  return NamesPtr(static_cast<GENERAL_NAMES*>(
      X509_get_ext_d2i(certificate, NID_subject_alt_name, nullptr, nullptr)));
}

std::string Bytes(const ASN1_STRING* text) {
  return {reinterpret_cast<const char*>(ASN1_STRING_get0_data(text)),
          static_cast<size_t>(ASN1_STRING_length(text))};
}

// The first certificate of `chain` that is revoked, as the refusal.
std::string FindRevoked(const STACK_OF(X509)* chain, const RevokedSerials& revoked) {
  for (int i = 0; chain != nullptr && i < sk_X509_num(chain); ++i) {
    const std::string serial = SerialBytes(X509_get0_serialNumber(sk_X509_value(chain, i)));
    if (revoked.find(serial) == revoked.end()) continue;
    return absl::StrCat("transport: certificate serial ", absl::BytesToHexString(serial),
                        " revoked");
  }
  return {};
}

bool IsAllowed(X509* leaf, const TlsConfig& config) {
  if (!config.allowed_cns.empty()) {
    const std::string cn = CommonName(leaf);
    return std::find(config.allowed_cns.begin(), config.allowed_cns.end(), cn) !=
           config.allowed_cns.end();
  }
  if (config.allowed_hostnames.empty()) return true;
  return std::any_of(config.allowed_hostnames.begin(), config.allowed_hostnames.end(),
                     [leaf](const std::string& host) { return NamesHost(leaf, host); });
}

std::string ChainErrorText(X509_STORE_CTX* store) {
  const int error = X509_STORE_CTX_get_error(store);
  std::string text = "tls: failed to verify certificate: x509: ";
  switch (error) {
    case X509_V_ERR_CERT_HAS_EXPIRED:
    case X509_V_ERR_CERT_NOT_YET_VALID:
      return text + "certificate has expired or is not yet valid";
    case X509_V_ERR_DEPTH_ZERO_SELF_SIGNED_CERT:
    case X509_V_ERR_SELF_SIGNED_CERT_IN_CHAIN:
    case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT:
    case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY:
    case X509_V_ERR_UNABLE_TO_VERIFY_LEAF_SIGNATURE:
    case X509_V_ERR_CERT_SIGNATURE_FAILURE:
      return text + "certificate signed by unknown authority";
    case X509_V_ERR_INVALID_PURPOSE:
      return text + "certificate specifies an incompatible key usage";
    case X509_V_ERR_HOSTNAME_MISMATCH:
    case X509_V_ERR_IP_ADDRESS_MISMATCH:
      return absl::StrCat(text, "certificate is not valid for the name of the server");
    default: return absl::StrCat(text, X509_verify_cert_error_string(error));
  }
}

// The place of the facts among what is hung to an SSL object.
int FactsIndex() {
  static const int kIndex = SSL_get_ex_new_index(0, nullptr, nullptr, nullptr, nullptr);
  return kIndex;
}

}  // namespace

void SetHandshakeFacts(SSL* ssl, TlsHandshakeFacts* facts) {
  ETCDD_CHECK(SSL_set_ex_data(ssl, FactsIndex(), facts) == 1);
}

int VerifyCertificate(X509_STORE_CTX* store, void*) {
  auto* ssl =
      static_cast<SSL*>(X509_STORE_CTX_get_ex_data(store, SSL_get_ex_data_X509_STORE_CTX_idx()));
  auto* facts = static_cast<TlsHandshakeFacts*>(SSL_get_ex_data(ssl, FactsIndex()));
  ETCDD_CHECK(facts != nullptr);
  if (X509_verify_cert(store) != 1) {
    facts->refusal = ChainErrorText(store);
    return 0;
  }
  if (facts->revoked != nullptr) {
    facts->refusal = FindRevoked(X509_STORE_CTX_get0_chain(store), *facts->revoked);
    if (facts->refusal.empty()) {
      facts->refusal = FindRevoked(X509_STORE_CTX_get0_untrusted(store), *facts->revoked);
    }
    if (!facts->refusal.empty()) {
      X509_STORE_CTX_set_error(store, X509_V_ERR_CERT_REVOKED);
      return 0;
    }
  }
  if (!IsAllowed(X509_STORE_CTX_get0_cert(store), *facts->config)) {
    facts->refusal = "client certificate authentication failed";
    X509_STORE_CTX_set_error(store, X509_V_ERR_CERT_REJECTED);
    return 0;
  }
  return 1;
}

std::string CommonName(X509* certificate) {
  X509_NAME* subject = X509_get_subject_name(certificate);
  // The last one, as Go's parser keeps it.
  std::string result;
  for (int at = X509_NAME_get_index_by_NID(subject, NID_commonName, -1); at >= 0;
       at = X509_NAME_get_index_by_NID(subject, NID_commonName, at)) {
    unsigned char* utf8 = nullptr;
    const int size =
        ASN1_STRING_to_UTF8(&utf8, X509_NAME_ENTRY_get_data(X509_NAME_get_entry(subject, at)));
    if (size < 0) continue;
    result.assign(reinterpret_cast<const char*>(utf8), static_cast<size_t>(size));
    OPENSSL_free(utf8);
  }
  return result;
}

std::vector<std::string> DnsNames(X509* certificate) {
  std::vector<std::string> result;
  const NamesPtr names = SubjectAltNames(certificate);
  for (int i = 0; names != nullptr && i < sk_GENERAL_NAME_num(names.get()); ++i) {
    const GENERAL_NAME* name = sk_GENERAL_NAME_value(names.get(), i);
    if (name->type == GEN_DNS) result.push_back(Bytes(name->d.dNSName));
  }
  return result;
}

std::vector<std::string> IpAddresses(X509* certificate) {
  std::vector<std::string> result;
  const NamesPtr names = SubjectAltNames(certificate);
  for (int i = 0; names != nullptr && i < sk_GENERAL_NAME_num(names.get()); ++i) {
    const GENERAL_NAME* name = sk_GENERAL_NAME_value(names.get(), i);
    if (name->type != GEN_IPADD) continue;
    const std::string bytes = Bytes(name->d.iPAddress);
    const int family = bytes.size() == sizeof(in_addr) ? AF_INET : AF_INET6;
    if (family == AF_INET6 && bytes.size() != sizeof(in6_addr)) continue;
    char text[INET6_ADDRSTRLEN];
    if (::inet_ntop(family, bytes.data(), text, sizeof text) != nullptr) result.emplace_back(text);
  }
  return result;
}

std::string WithoutBrackets(const std::string& host) {
  const bool bracketed = host.size() >= 2 && host.front() == '[' && host.back() == ']';
  return bracketed ? host.substr(1, host.size() - 2) : host;
}

bool IsIpAddress(const std::string& host) {
  in6_addr bytes;
  return ::inet_pton(AF_INET, host.c_str(), &bytes) == 1 ||
         ::inet_pton(AF_INET6, host.c_str(), &bytes) == 1;
}

bool NamesHost(X509* certificate, const std::string& host) {
  const std::string plain = WithoutBrackets(host);
  if (plain.empty()) return false;
  if (IsIpAddress(plain)) return X509_check_ip_asc(certificate, plain.c_str(), 0) == 1;
  return X509_check_host(certificate, plain.data(), plain.size(), kHostFlags, nullptr) == 1;
}

std::string AddressRefusal(X509* certificate, const std::string& remote) {
  const std::vector<std::string> addresses = IpAddresses(certificate);
  const std::vector<std::string> names = DnsNames(certificate);
  if (addresses.empty() && names.empty()) return {};
  const size_t colon = remote.rfind(':');
  const std::string host = WithoutBrackets(remote.substr(0, colon));
  if (NamesHost(certificate, host)) return {};
  if (names.empty()) {
    return absl::StrCat("x509: certificate is valid for ", absl::StrJoin(addresses, ", "),
                        ", not ", host);
  }
  return absl::StrCat("tls: \"", host, "\" does not match any of DNSNames [\"",
                      absl::StrJoin(names, "\" \""),
                      "\"] (names are not looked up by this version of etcdd: see "
                      "--peer-skip-client-san-verification)");
}

std::string HandshakeErrorText(const std::string& verify_refusal) {
  const unsigned long error = ERR_peek_error();
  const std::string text = TakeOpensslError();
  if (!verify_refusal.empty()) return verify_refusal;
  if (ERR_GET_LIB(error) != ERR_LIB_SSL) return absl::StrCat("tls: ", text);
  const int reason = ERR_GET_REASON(error);
  if (reason >= SSL_AD_REASON_OFFSET) {
    const int alert = reason - SSL_AD_REASON_OFFSET;
    // Not in OpenSSL's list of texts.
    if (alert == SSL_AD_CERTIFICATE_REQUIRED) return "remote error: tls: certificate required";
    if (alert == SSL_AD_UNKNOWN_CA) return "remote error: tls: unknown certificate authority";
    return absl::StrCat("remote error: tls: ",
                        absl::AsciiStrToLower(SSL_alert_desc_string_long(alert)));
  }
  switch (reason) {
    case SSL_R_PEER_DID_NOT_RETURN_A_CERTIFICATE:
      return "tls: client didn't provide a certificate";
    case SSL_R_HTTP_REQUEST:
    case SSL_R_HTTPS_PROXY_REQUEST:
    case SSL_R_WRONG_VERSION_NUMBER:
    case SSL_R_PACKET_LENGTH_TOO_LONG:
    case SSL_R_BAD_PACKET_LENGTH:
    case SSL_R_RECORD_TOO_SMALL:
      return "tls: first record does not look like a TLS handshake";
    case SSL_R_UNSUPPORTED_PROTOCOL: return "tls: client offered only unsupported versions";
    case SSL_R_NO_SHARED_CIPHER: return "tls: no cipher suite supported by both client and server";
    case SSL_R_NO_APPLICATION_PROTOCOL:
      return "tls: client requested unsupported application protocols";
    default: return absl::StrCat("tls: ", text);
  }
}

}  // namespace etcdd::net
