#pragma once

// The client's side of TLS for the registry's endpoints: certificates from files, the server's name
// checked against its certificate.
//
// Thread-safe; the streams it makes are not.

#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "server/discovery/byte_stream.h"

namespace etcdd::discovery {

struct TlsOptions {
  std::string cert_file;  // PEM; both of these or none
  std::string key_file;
  std::string ca_file;    // PEM; empty: the certificates that the system trusts
  bool skip_verify = false;  // neither the server's certificate nor its name is checked
};

class TlsClient {
 public:
  // Reads the files. InvalidArgument with the file's name when one cannot be used.
  static absl::StatusOr<std::unique_ptr<TlsClient>> Make(const TlsOptions& options);
  virtual ~TlsClient() = default;

  // The handshake over `below`, with ALPN "h2". `host` is a name or an IP address. Unavailable when
  // the two sides do not come to terms. The stream may outlive this object.
  virtual absl::StatusOr<std::unique_ptr<ByteStream>> Handshake(std::unique_ptr<ByteStream> below,
                                                                const std::string& host,
                                                                absl::Duration deadline) = 0;
};

}  // namespace etcdd::discovery
