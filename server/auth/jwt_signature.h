#pragma once

// The signature of a JSON Web Token (RFC 7518, RFC 8037) by one method and one key.
//
// Thread-safe once loaded.

#include <memory>
#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace etcdd::auth {

// Key files' content. For HS256, HS384 and HS512 the private one is the secret itself, byte for
// byte; all others are PEM, the public one may be a certificate.
struct JwtKeys {
  std::string public_key;
  std::string private_key;
};

class JwtSignature {
 public:
  virtual ~JwtSignature() = default;

  // `method` is RS256, RS384, RS512, PS..., ES..., HS... or EdDSA. Without a private key it
  // verifies only. Errors, in etcd's words: invalid auth signature method, missing key data, public
  // and private keys don't match; or why a key cannot be used.
  static absl::StatusOr<std::unique_ptr<JwtSignature>> Load(std::string_view method,
                                                            const JwtKeys& keys);

  virtual bool can_sign() const = 0;
  // Requires: can_sign().
  virtual std::string Sign(std::string_view message) const = 0;
  virtual bool Verify(std::string_view message, std::string_view signature) const = 0;
};

}  // namespace etcdd::auth
