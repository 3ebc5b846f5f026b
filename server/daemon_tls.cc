#include "server/daemon_tls.h"

#include <algorithm>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "server/base/log.h"
#include "server/base/status_macros.h"
#include "server/net/self_signed.h"

namespace etcdd::server {
namespace {

bool AnyTls(const std::vector<Url>& urls) {
  return std::any_of(urls.begin(), urls.end(), [](const Url& url) { return url.IsTls(); });
}

// What one side's settings become.
struct Side {
  const TlsSettings& settings;
  const char* name;  // "client", "peer": the directory of its self-signed certificate
  std::vector<Url> urls;
};

Side ClientSide(const Config& config) {
  Side side = {config.client_tls, "client", config.listen_client_urls};
  side.urls.insert(side.urls.end(), config.listen_metrics_urls.begin(),
                   config.listen_metrics_urls.end());
  return side;
}

Side PeerSide(const Config& config) { return {config.peer_tls, "peer", config.listen_peer_urls}; }

absl::Status FillFiles(base::FileSystem* fs, const Config& config, const Side& side,
                       absl::Time now, net::TlsConfig* tls) {
  const TlsSettings& settings = side.settings;
  const bool no_certificate = settings.cert_file.empty() && settings.key_file.empty();
  if (settings.auto_tls && !no_certificate) {
    ETCDD_LOG(kWarn, absl::StrCat("ignoring ", side.name, " auto TLS since certs given"));
  }
  if (settings.auto_tls && no_certificate) {
    std::vector<std::string> hosts;
    for (const Url& url : side.urls) {
      if (!url.IsUnix()) hosts.push_back(url.address);
    }
    ETCDD_ASSIGN_OR_RETURN(
        const net::SelfSignedFiles files,
        net::EnsureSelfSigned(*fs, absl::StrCat(config.data_dir, "/fixtures/", side.name), hosts,
                              config.self_signed_cert_validity_years, now));
    tls->cert_file = files.cert_file;
    tls->key_file = files.key_file;
    // Such certificates can be told from no others: nobody is asked for one.
    tls->skip_server_verification = true;
    return absl::OkStatus();
  }
  tls->cert_file = settings.cert_file;
  tls->key_file = settings.key_file;
  tls->client_cert_file = settings.client_cert_file;
  tls->client_key_file = settings.client_key_file;
  tls->trusted_ca_file = settings.trusted_ca_file;
  tls->crl_file = settings.crl_file;
  tls->client_cert_auth = settings.client_cert_auth;
  tls->allowed_cns = settings.allowed_cns;
  tls->allowed_hostnames = settings.allowed_hostnames;
  return absl::OkStatus();
}

absl::StatusOr<net::TlsConfig> MakeTlsConfig(base::FileSystem* fs, const Config& config,
                                             const Side& side, absl::Time now) {
  net::TlsConfig tls;
  ETCDD_RETURN_IF_ERROR(FillFiles(fs, config, side, now, &tls));
  tls.cipher_suites = config.cipher_suites;
  ETCDD_ASSIGN_OR_RETURN(tls.min_version, net::ParseTlsVersion(config.tls_min_version));
  ETCDD_ASSIGN_OR_RETURN(tls.max_version, net::ParseTlsVersion(config.tls_max_version));
  return tls;
}

void LogStart(const char* message, const net::TlsConfig& tls) {
  ETCDD_LOG(kInfo, message,
            {{"tls-info",
              absl::StrCat("cert = ", tls.cert_file, ", key = ", tls.key_file,
                           ", client-cert=", tls.client_cert_file,
                           ", client-key=", tls.client_key_file,
                           ", trusted-ca = ", tls.trusted_ca_file,
                           ", client-cert-auth = ", tls.client_cert_auth ? "true" : "false",
                           ", crl-file = ", tls.crl_file)},
             {"cipher-suites", tls.cipher_suites}});
}

// A certificate that protects nothing on this URL, which its owner may not know.
void WarnOfPlainUrls(const Side& side) {
  for (const Url& url : side.urls) {
    if (url.IsTls()) continue;
    const std::string key = absl::StrCat(side.name, "-url");
    if (side.settings.HasCertificate()) {
      ETCDD_LOG(kWarn,
                "scheme is http or unix while key and cert files are present; ignoring key and "
                "cert files",
                {{key, url.ToString()}});
    }
    if (side.settings.client_cert_auth) {
      ETCDD_LOG(kWarn,
                "scheme is http or unix while client cert auth is enabled; ignoring client cert "
                "auth for this URL",
                {{key, url.ToString()}});
    }
  }
}

}  // namespace

absl::StatusOr<std::unique_ptr<net::TlsServerContext>> NewClientListenerTls(
    base::FileSystem* fs, const Config& config, absl::Time now) {
  const Side side = ClientSide(config);
  WarnOfPlainUrls(side);
  if (!AnyTls(side.urls)) return nullptr;
  ETCDD_ASSIGN_OR_RETURN(net::TlsConfig tls, MakeTlsConfig(fs, config, side, now));
  // A client that offers both is a browser or curl; those that speak gRPC offer h2 alone.
  tls.alpn_protocols = {"http/1.1", "h2"};
  LogStart("starting with client TLS", tls);
  return net::TlsServerContext::Create(fs, std::move(tls));
}

absl::StatusOr<std::unique_ptr<net::TlsServerContext>> NewPeerListenerTls(base::FileSystem* fs,
                                                                          const Config& config,
                                                                          absl::Time now) {
  const Side side = PeerSide(config);
  WarnOfPlainUrls(side);
  if (!AnyTls(side.urls)) return nullptr;
  ETCDD_ASSIGN_OR_RETURN(net::TlsConfig tls, MakeTlsConfig(fs, config, side, now));
  tls.for_peers = true;
  tls.check_client_address = !config.peer_tls.skip_client_san_verification;
  tls.alpn_protocols = {"http/1.1"};
  LogStart("starting with peer TLS", tls);
  return net::TlsServerContext::Create(fs, std::move(tls));
}

absl::StatusOr<std::unique_ptr<net::TlsClientContext>> NewPeerDialerTls(base::FileSystem* fs,
                                                                        const Config& config,
                                                                        absl::Time now) {
  const Side side = PeerSide(config);
  bool wanted = AnyTls(side.urls) || AnyTls(config.initial_advertise_peer_urls) ||
                side.settings.HasCertificate() || !side.settings.trusted_ca_file.empty();
  for (const InitialMember& member : config.initial_cluster) wanted |= AnyTls(member.peer_urls);
  if (!wanted) return nullptr;
  ETCDD_ASSIGN_OR_RETURN(net::TlsConfig tls, MakeTlsConfig(fs, config, side, now));
  tls.for_peers = true;
  tls.alpn_protocols = {"http/1.1"};
  return net::TlsClientContext::Create(fs, std::move(tls));
}

}  // namespace etcdd::server
