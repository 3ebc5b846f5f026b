#pragma once

// --auth-token as text, as checked options, and as the provider they ask for:
//   simple
//   jwt,sign-method=RS256,pub-key=FILE,priv-key=FILE,ttl=10m
//   (empty)      no tokens
//
// Thread-safe.

#include <memory>
#include <string>
#include <string_view>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "server/auth/token_provider.h"
#include "server/base/clock.h"
#include "server/base/file_system.h"
#include "server/base/random.h"

namespace etcdd::auth {

struct TokenOptions {
  enum class Kind { kNone, kSimple, kJwt };
  Kind kind = Kind::kSimple;
  // Jwt only.
  std::string sign_method;
  std::string public_key_file;
  std::string private_key_file;
  absl::Duration jwt_ttl;
};

// Error: InvalidArgument with etcd's text "auth: invalid auth options", or why a value is wrong.
absl::StatusOr<TokenOptions> ParseTokenOptions(std::string_view text);

// What a provider works with; all but `files` outlive it.
struct TokenParts {
  const base::Clock* clock = nullptr;
  base::Random* random = nullptr;  // fit for secrets
  base::FileSystem* files = nullptr;
  absl::Duration simple_ttl;  // --auth-token-ttl
};

// Reads the key files. Errors: those of the files and of JwtSignature::Load.
absl::StatusOr<std::unique_ptr<TokenProvider>> MakeTokenProvider(const TokenOptions& options,
                                                                 const TokenParts& parts);

}  // namespace etcdd::auth
