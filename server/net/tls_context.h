#pragma once

// From a TlsConfig to what new connections need of OpenSSL, and the files behind it kept fresh:
// every handshake looks whether certificate, key, CA bundle or CRL have changed (one stat each) and
// then reads them anew. Running connections keep what they began with. A new file that is missing
// or wrong changes nothing but the log: what was read before it stays in force.
//
//   ETCDD_ASSIGN_OR_RETURN(auto tls, TlsServerContext::Create(&fs, config));
//   door.Listen("https://127.0.0.1:2379", {.tls = tls.get()});
//
// Sessions are never resumed: each connection shows its certificates again, so that a CRL or a new
// CA bundle is asked about every one.
//
// Confined to one loop.

#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "server/base/file_system.h"
#include "server/net/openssl.h"
#include "server/net/tls_config.h"
#include "server/net/tls_files.h"

namespace etcdd::net {

// What one handshake works with. Fixed after construction, shared by the handshakes that began
// while it was in force.
struct TlsState {
  SslContextPtr context;
  std::shared_ptr<const RevokedSerials> revoked;
};

class TlsContext {
 public:
  TlsContext(const TlsContext&) = delete;
  TlsContext& operator=(const TlsContext&) = delete;
  ~TlsContext();

  // For a new connection. Re-reads what has changed. Never null.
  std::shared_ptr<const TlsState> Current();
  const TlsConfig& config() const { return config_; }

 protected:
  enum class Role { kServer, kClient };
  // `fs` must outlive the context.
  TlsContext(base::FileSystem* fs, TlsConfig config, Role role);
  // The first reading. Errors: CheckTlsConfig's, and those of tls_files.h.
  absl::Status Open();

 private:
  // The name of a file, and what it looked like when it was last read.
  struct Watched {
    std::string path;
    FileStamp stamp;
    // True when the file differs from what was read last; it counts as read from now on.
    bool TakeChange();
  };

  bool AnyChange();
  absl::Status ReadKey();
  absl::Status ReadCa();
  absl::Status ReadCrl();
  absl::StatusOr<std::shared_ptr<const TlsState>> Build() const;
  absl::Status UseKey(SSL_CTX* context) const;
  absl::Status UseCa(SSL_CTX* context) const;
  absl::Status UseVersions(SSL_CTX* context) const;
  void LogKeyError(const absl::Status& status) const;

  base::FileSystem* const fs_;
  const TlsConfig config_;
  const Role role_;
  const std::string ciphers_;  // OpenSSL's names
  std::string alpn_;           // in wire form, by preference

  Watched cert_;
  Watched key_;
  Watched ca_;
  Watched crl_;
  CertificateAndKey own_;
  std::vector<X509Ptr> authorities_;
  std::shared_ptr<const RevokedSerials> revoked_;
  std::shared_ptr<const TlsState> state_;
};

// For accepting.
class TlsServerContext final : public TlsContext {
 public:
  static absl::StatusOr<std::unique_ptr<TlsServerContext>> Create(base::FileSystem* fs,
                                                                  TlsConfig config);

 private:
  using TlsContext::TlsContext;
};

// For dialing. A certificate of our own is optional.
class TlsClientContext final : public TlsContext {
 public:
  static absl::StatusOr<std::unique_ptr<TlsClientContext>> Create(base::FileSystem* fs,
                                                                  TlsConfig config);

 private:
  using TlsContext::TlsContext;
};

}  // namespace etcdd::net
