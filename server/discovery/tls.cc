#include "server/discovery/tls.h"

#include <arpa/inet.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>

#include <algorithm>
#include <climits>
#include <cstdint>
#include <utility>

#include "absl/strings/str_cat.h"
#include "server/base/check.h"
#include "server/base/status_macros.h"

namespace etcdd::discovery {
namespace {

struct Free {
  void operator()(SSL_CTX* context) const { SSL_CTX_free(context); }
  void operator()(SSL* ssl) const { SSL_free(ssl); }
};

// The oldest error that OpenSSL has queued for this thread; the queue is empty afterwards.
std::string OpenSslError() {
  const unsigned long code = ERR_get_error();
  ERR_clear_error();
  if (code == 0) return "unknown error";
  char text[256];
  ERR_error_string_n(code, text, sizeof text);
  return text;
}

absl::Status BadFile(const char* what, const std::string& file) {
  return absl::InvalidArgumentError(
      absl::StrCat("cannot use the ", what, " ", file, ": ", OpenSslError()));
}

bool IsIpAddress(const std::string& host) {
  unsigned char bytes[sizeof(in6_addr)];
  return inet_pton(AF_INET, host.c_str(), bytes) == 1 ||
         inet_pton(AF_INET6, host.c_str(), bytes) == 1;
}

// TLS between two memory buffers; what comes out of one goes to the stream below, what the stream
// brings goes into the other. So the socket is written in one place, which knows about SIGPIPE.
class TlsStream final : public ByteStream {
 public:
  TlsStream(std::unique_ptr<SSL, Free> ssl, std::unique_ptr<ByteStream> below)
      : ssl_(std::move(ssl)), below_(std::move(below)) {}

  absl::Status Connect(absl::Duration deadline) {
    return Run([this] { return SSL_connect(ssl_.get()); }, deadline).status();
  }

  absl::StatusOr<size_t> Read(char* buffer, size_t size, absl::Duration deadline) override {
    ETCDD_CHECK(size > 0);
    const int limit = static_cast<int>(std::min<size_t>(size, INT_MAX));
    return Run([&] { return SSL_read(ssl_.get(), buffer, limit); }, deadline);
  }

  absl::Status WriteAll(std::string_view bytes, absl::Duration deadline) override {
    while (!bytes.empty()) {
      const int limit = static_cast<int>(std::min<size_t>(bytes.size(), INT_MAX));
      ETCDD_ASSIGN_OR_RETURN(
          const size_t written,
          Run([&] { return SSL_write(ssl_.get(), bytes.data(), limit); }, deadline));
      if (written == 0) return absl::UnavailableError("TLS: closed by the server");
      bytes.remove_prefix(written);
    }
    return absl::OkStatus();
  }

 private:
  // Calls `operation` until it needs no more of the other side. Returns what it returned, 0 when
  // the other side has closed.
  template <typename Operation>
  absl::StatusOr<size_t> Run(Operation operation, absl::Duration deadline) {
    for (;;) {
      ERR_clear_error();
      const int result = operation();
      const int error = SSL_get_error(ssl_.get(), result);
      const std::string why = error == SSL_ERROR_SSL ? Failure() : std::string();
      ETCDD_RETURN_IF_ERROR(SendPending(deadline));  // also the alert that says why
      if (result > 0) return static_cast<size_t>(result);
      if (error == SSL_ERROR_ZERO_RETURN) return size_t{0};
      if (error == SSL_ERROR_SSL) return absl::UnavailableError("TLS: " + why);
      if (error != SSL_ERROR_WANT_READ) return absl::UnavailableError("TLS: broken connection");
      ETCDD_ASSIGN_OR_RETURN(const size_t got, below_->Read(chunk_, sizeof chunk_, deadline));
      if (got == 0) return absl::UnavailableError("TLS: the connection was closed");
      const int taken = BIO_write(SSL_get_rbio(ssl_.get()), chunk_, static_cast<int>(got));
      ETCDD_CHECK(taken == static_cast<int>(got));
    }
  }

  absl::Status SendPending(absl::Duration deadline) {
    char pending[4096];
    for (;;) {
      const int size = BIO_read(SSL_get_wbio(ssl_.get()), pending, sizeof pending);
      if (size <= 0) return absl::OkStatus();
      ETCDD_RETURN_IF_ERROR(
          below_->WriteAll({pending, static_cast<size_t>(size)}, deadline));
    }
  }

  std::string Failure() {
    const long verified = SSL_get_verify_result(ssl_.get());
    std::string text = OpenSslError();
    if (verified == X509_V_OK) return text;
    return absl::StrCat(text, " (", X509_verify_cert_error_string(verified), ")");
  }

  const std::unique_ptr<SSL, Free> ssl_;
  const std::unique_ptr<ByteStream> below_;
  char chunk_[16 << 10];
};

class OpenSslClient final : public TlsClient {
 public:
  explicit OpenSslClient(std::unique_ptr<SSL_CTX, Free> context) : context_(std::move(context)) {}

  absl::StatusOr<std::unique_ptr<ByteStream>> Handshake(std::unique_ptr<ByteStream> below,
                                                        const std::string& host,
                                                        absl::Duration deadline) override {
    std::unique_ptr<SSL, Free> ssl(SSL_new(context_.get()));
    ETCDD_CHECK(ssl != nullptr);
    SSL_set_bio(ssl.get(), BIO_new(BIO_s_mem()), BIO_new(BIO_s_mem()));
    SSL_set_connect_state(ssl.get());
    bool named = false;
    if (IsIpAddress(host)) {
      named = X509_VERIFY_PARAM_set1_ip_asc(SSL_get0_param(ssl.get()), host.c_str()) == 1;
    } else {
      named = SSL_set_tlsext_host_name(ssl.get(), host.c_str()) == 1 &&
              SSL_set1_host(ssl.get(), host.c_str()) == 1;
    }
    if (!named) return absl::InvalidArgumentError("TLS: no server can have the name " + host);
    auto stream = std::make_unique<TlsStream>(std::move(ssl), std::move(below));
    ETCDD_RETURN_IF_ERROR(stream->Connect(deadline));
    return stream;
  }

 private:
  const std::unique_ptr<SSL_CTX, Free> context_;
};

}  // namespace

absl::StatusOr<std::unique_ptr<TlsClient>> TlsClient::Make(const TlsOptions& options) {
  if (options.cert_file.empty() != options.key_file.empty()) {
    return absl::InvalidArgumentError(
        absl::StrCat("KeyFile and CertFile must both be present[key: ", options.key_file,
                     ", cert: ", options.cert_file, "]"));
  }
  std::unique_ptr<SSL_CTX, Free> context(SSL_CTX_new(TLS_client_method()));
  ETCDD_CHECK(context != nullptr);
  SSL_CTX* const raw = context.get();
  ETCDD_CHECK(SSL_CTX_set_min_proto_version(raw, TLS1_2_VERSION) == 1);
  static constexpr unsigned char kAlpn[] = {2, 'h', '2'};
  ETCDD_CHECK(SSL_CTX_set_alpn_protos(raw, kAlpn, sizeof kAlpn) == 0);
  SSL_CTX_set_verify(raw, options.skip_verify ? SSL_VERIFY_NONE : SSL_VERIFY_PEER, nullptr);
  ERR_clear_error();
  if (options.ca_file.empty()) {
    if (SSL_CTX_set_default_verify_paths(raw) != 1) return BadFile("certificates of", "the system");
  } else if (SSL_CTX_load_verify_locations(raw, options.ca_file.c_str(), nullptr) != 1) {
    return BadFile("CA certificates in", options.ca_file);
  }
  if (!options.cert_file.empty()) {
    if (SSL_CTX_use_certificate_chain_file(raw, options.cert_file.c_str()) != 1) {
      return BadFile("certificate in", options.cert_file);
    }
    if (SSL_CTX_use_PrivateKey_file(raw, options.key_file.c_str(), SSL_FILETYPE_PEM) != 1 ||
        SSL_CTX_check_private_key(raw) != 1) {
      return BadFile("key in", options.key_file);
    }
  }
  return std::make_unique<OpenSslClient>(std::move(context));
}

}  // namespace etcdd::discovery
