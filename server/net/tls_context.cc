#include "server/net/tls_context.h"

#include <openssl/err.h>

#include <utility>

#include "absl/strings/str_cat.h"
#include "server/base/check.h"
#include "server/base/log.h"
#include "server/base/status_macros.h"
#include "server/net/tls_verify.h"

namespace etcdd::net {
namespace {

absl::Status OpensslFailure(const char* what) {
  return absl::InvalidArgumentError(absl::StrCat("tls: ", what, ": ", TakeOpensslError()));
}

int VersionNumber(TlsVersion version) {
  switch (version) {
    case TlsVersion::kDefault: return 0;
    case TlsVersion::k12: return TLS1_2_VERSION;
    case TlsVersion::k13: return TLS1_3_VERSION;
  }
  return 0;
}

// ALPN's form of a list: each name behind its length.
std::string AlpnWire(const std::vector<std::string>& protocols) {
  std::string wire;
  for (const std::string& name : protocols) {
    ETCDD_CHECK(!name.empty() && name.size() < 256);
    wire.push_back(static_cast<char>(name.size()));
    wire.append(name);
  }
  return wire;
}

// Takes the first of our protocols that the client offers.
int ChooseProtocol(SSL*, const unsigned char** chosen, unsigned char* chosen_size,
                   const unsigned char* offered, unsigned offered_size, void* our_protocols) {
  const auto& ours = *static_cast<const std::string*>(our_protocols);
  const int outcome = SSL_select_next_proto(
      const_cast<unsigned char**>(chosen), chosen_size,
      reinterpret_cast<const unsigned char*>(ours.data()), static_cast<unsigned>(ours.size()),
      offered, offered_size);
  return outcome == OPENSSL_NPN_NEGOTIATED ? SSL_TLSEXT_ERR_OK : SSL_TLSEXT_ERR_ALERT_FATAL;
}

}  // namespace

bool TlsContext::Watched::TakeChange() {
  if (path.empty()) return false;
  const FileStamp now = StampOf(path);
  if (now == stamp) return false;
  stamp = now;
  return true;
}

TlsContext::TlsContext(base::FileSystem* fs, TlsConfig config, Role role)
    : fs_(fs),
      config_(std::move(config)),
      role_(role),
      ciphers_(CipherList(config_.cipher_suites).value_or(std::string())),
      alpn_(AlpnWire(config_.alpn_protocols)) {
  const bool own_client_cert = role == Role::kClient && !config_.client_cert_file.empty();
  cert_.path = own_client_cert ? config_.client_cert_file : config_.cert_file;
  key_.path = own_client_cert ? config_.client_key_file : config_.key_file;
  ca_.path = config_.trusted_ca_file;
  crl_.path = config_.crl_file;
}

TlsContext::~TlsContext() = default;

absl::Status TlsContext::Open() {
  ETCDD_RETURN_IF_ERROR(CheckTlsConfig(config_, role_ == Role::kServer));
  AnyChange();  // Looked at before they are read: a change in between is found later.
  ETCDD_RETURN_IF_ERROR(ReadKey());
  ETCDD_RETURN_IF_ERROR(ReadCa());
  ETCDD_RETURN_IF_ERROR(ReadCrl());
  ETCDD_ASSIGN_OR_RETURN(state_, Build());
  return absl::OkStatus();
}

bool TlsContext::AnyChange() {
  bool any = false;
  for (Watched* file : {&cert_, &key_, &ca_, &crl_}) any |= file->TakeChange();
  return any;
}

std::shared_ptr<const TlsState> TlsContext::Current() {
  if (!AnyChange()) return state_;
  // Each by itself: a bad certificate must not keep a new CRL out.
  if (const absl::Status status = ReadKey(); !status.ok()) LogKeyError(status);
  if (const absl::Status status = ReadCa(); !status.ok()) {
    ETCDD_LOG(kError, "failed to load trusted CA file; the one read before stays in force",
              {{"trusted-ca-file", ca_.path}, base::LogField(status)});
  }
  if (const absl::Status status = ReadCrl(); !status.ok()) {
    ETCDD_LOG(kError, "failed to load CRL file; the one read before stays in force",
              {{"crl-file", crl_.path}, base::LogField(status)});
  }
  absl::StatusOr<std::shared_ptr<const TlsState>> built = Build();
  if (built.ok()) {
    state_ = *std::move(built);
  } else {
    LogKeyError(built.status());
  }
  return state_;
}

// etcd's two texts: "peer" for what is shown when accepting, "client" when dialing.
void TlsContext::LogKeyError(const absl::Status& status) const {
  const bool server = role_ == Role::kServer;
  if (status.code() == absl::StatusCode::kNotFound) {
    ETCDD_LOG(kWarn,
              server ? "failed to find peer cert files" : "failed to find client cert files",
              {{"cert-file", cert_.path}, {"key-file", key_.path}, base::LogField(status)});
    return;
  }
  ETCDD_LOG(kWarn,
            server ? "failed to create peer certificate" : "failed to create client certificate",
            {{"cert-file", cert_.path}, {"key-file", key_.path}, base::LogField(status)});
}

absl::Status TlsContext::ReadKey() {
  if (cert_.path.empty()) return absl::OkStatus();
  ETCDD_ASSIGN_OR_RETURN(own_, LoadCertificateAndKey(*fs_, cert_.path, key_.path));
  return absl::OkStatus();
}

absl::Status TlsContext::ReadCa() {
  if (ca_.path.empty()) return absl::OkStatus();
  ETCDD_ASSIGN_OR_RETURN(authorities_, LoadCertificates(*fs_, ca_.path));
  return absl::OkStatus();
}

absl::Status TlsContext::ReadCrl() {
  if (crl_.path.empty()) return absl::OkStatus();
  ETCDD_ASSIGN_OR_RETURN(RevokedSerials serials, LoadRevokedSerials(*fs_, crl_.path));
  revoked_ = std::make_shared<const RevokedSerials>(std::move(serials));
  return absl::OkStatus();
}

absl::StatusOr<std::shared_ptr<const TlsState>> TlsContext::Build() const {
  const bool server = role_ == Role::kServer;
  SslContextPtr context(SSL_CTX_new(server ? TLS_server_method() : TLS_client_method()));
  if (context == nullptr) return OpensslFailure("cannot make a context");
  SSL_CTX* const raw = context.get();
  ETCDD_RETURN_IF_ERROR(UseVersions(raw));
  SSL_CTX_set_options(raw, SSL_OP_NO_COMPRESSION | SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_TICKET |
                               SSL_OP_CIPHER_SERVER_PREFERENCE | SSL_OP_PRIORITIZE_CHACHA);
  SSL_CTX_set_session_cache_mode(raw, SSL_SESS_CACHE_OFF);
  SSL_CTX_set_num_tickets(raw, 0);
  // Idle connections keep no buffers; busy ones read several records with one system call.
  SSL_CTX_set_mode(raw, SSL_MODE_RELEASE_BUFFERS);
  SSL_CTX_set_read_ahead(raw, 1);
  ETCDD_RETURN_IF_ERROR(UseKey(raw));
  const bool verifies = server ? config_.RequiresClientCert() : !config_.skip_server_verification;
  if (verifies) ETCDD_RETURN_IF_ERROR(UseCa(raw));
  SSL_CTX_set_cert_verify_callback(raw, VerifyCertificate, nullptr);
  if (server) {
    const int require = SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT;
    SSL_CTX_set_verify(raw, verifies ? require : SSL_VERIFY_NONE, nullptr);
    if (!alpn_.empty()) {
      SSL_CTX_set_alpn_select_cb(raw, ChooseProtocol, const_cast<std::string*>(&alpn_));
    }
  } else {
    SSL_CTX_set_verify(raw, verifies ? SSL_VERIFY_PEER : SSL_VERIFY_NONE, nullptr);
    if (!alpn_.empty() &&
        SSL_CTX_set_alpn_protos(raw, reinterpret_cast<const unsigned char*>(alpn_.data()),
                                static_cast<unsigned>(alpn_.size())) != 0) {
      return OpensslFailure("cannot offer protocols");
    }
  }
  auto state = std::make_shared<TlsState>();
  state->context = std::move(context);
  state->revoked = revoked_;
  return state;
}

absl::Status TlsContext::UseVersions(SSL_CTX* context) const {
  int min = VersionNumber(config_.min_version);
  if (min == 0) min = TLS1_2_VERSION;
  // All chosen suites are TLS 1.3's: nothing is left for 1.2.
  if (ciphers_.empty() && !config_.cipher_suites.empty()) min = TLS1_3_VERSION;
  if (SSL_CTX_set_min_proto_version(context, min) != 1 ||
      SSL_CTX_set_max_proto_version(context, VersionNumber(config_.max_version)) != 1) {
    return OpensslFailure("cannot set the versions");
  }
  if (!ciphers_.empty() && SSL_CTX_set_cipher_list(context, ciphers_.c_str()) != 1) {
    return OpensslFailure("cannot set the cipher suites");
  }
  return absl::OkStatus();
}

absl::Status TlsContext::UseKey(SSL_CTX* context) const {
  if (own_.leaf == nullptr) return absl::OkStatus();
  if (SSL_CTX_use_certificate(context, own_.leaf.get()) != 1 ||
      SSL_CTX_use_PrivateKey(context, own_.key.get()) != 1) {
    return OpensslFailure("cannot use the certificate");
  }
  for (const X509Ptr& each : own_.intermediates) {
    if (SSL_CTX_add1_chain_cert(context, each.get()) != 1) {
      return OpensslFailure("cannot use the intermediate certificates");
    }
  }
  return absl::OkStatus();
}

absl::Status TlsContext::UseCa(SSL_CTX* context) const {
  if (authorities_.empty()) {
    if (SSL_CTX_set_default_verify_paths(context) != 1) {
      return OpensslFailure("cannot use the system's authorities");
    }
    return absl::OkStatus();
  }
  X509_STORE* const store = SSL_CTX_get_cert_store(context);
  for (const X509Ptr& each : authorities_) {
    if (X509_STORE_add_cert(store, each.get()) != 1) return OpensslFailure("cannot use the CA");
    if (role_ == Role::kServer && SSL_CTX_add_client_CA(context, each.get()) != 1) {
      return OpensslFailure("cannot name the CA");
    }
  }
  // Whatever is in the bundle is trusted by itself, a root or not, as in Go.
  X509_STORE_set_flags(store, X509_V_FLAG_PARTIAL_CHAIN);
  return absl::OkStatus();
}

absl::StatusOr<std::unique_ptr<TlsServerContext>> TlsServerContext::Create(base::FileSystem* fs,
                                                                           TlsConfig config) {
  std::unique_ptr<TlsServerContext> context(
      new TlsServerContext(fs, std::move(config), Role::kServer));
  ETCDD_RETURN_IF_ERROR(context->Open());
  return context;
}

absl::StatusOr<std::unique_ptr<TlsClientContext>> TlsClientContext::Create(base::FileSystem* fs,
                                                                           TlsConfig config) {
  std::unique_ptr<TlsClientContext> context(
      new TlsClientContext(fs, std::move(config), Role::kClient));
  ETCDD_RETURN_IF_ERROR(context->Open());
  return context;
}

}  // namespace etcdd::net
