#pragma once

// Tokens that carry who they belong to under a signature (RFC 7519): claims username, revision (of
// the auth store when it was issued) and exp. No member has to remember any; a member without the
// private key accepts them and issues none (AUTH-043, AUTH-044).

#include <memory>
#include <string>

#include "absl/container/flat_hash_map.h"
#include "absl/time/time.h"
#include "server/auth/jwt_signature.h"
#include "server/auth/token_provider.h"
#include "server/base/clock.h"

namespace etcdd::auth {

inline constexpr absl::Duration kJwtTtlDefault = absl::Minutes(5);
// Longer ones are refused unread.
inline constexpr size_t kJwtBytesMax = 16384;
// Tokens whose signature was found right and need not be verified again with the next request.
inline constexpr size_t kVerifiedJwtsMax = 4096;

class JwtTokens final : public TokenProvider {
 public:
  // `method` as in JwtSignature::Load; `clock` outlives it.
  JwtTokens(const base::Clock& clock, std::string method, std::unique_ptr<JwtSignature> signature,
            absl::Duration ttl);

  std::string NewPrefix() override { return {}; }
  absl::StatusOr<std::string> Assign(const Authentication&) override { return std::string(); }
  absl::StatusOr<std::string> Sign(const AuthInfo& info) const override;
  std::optional<AuthInfo> Check(std::string_view token, uint64_t auth_revision) override;
  uint64_t IndexToWaitFor(std::string_view) const override { return 0; }
  // The revision in a token makes it old.
  void InvalidateUser(std::string_view) override {}
  void InvalidateAll() override {}

 private:
  struct Claims {
    AuthInfo info;
    absl::Time not_before = absl::InfinitePast();
    absl::Time expires = absl::InfiniteFuture();
  };

  std::optional<Claims> Verify(std::string_view token) const;

  const base::Clock& clock_;
  const std::string method_;
  const std::unique_ptr<JwtSignature> signature_;
  const absl::Duration ttl_;
  absl::flat_hash_map<std::string, Claims> verified_;
};

}  // namespace etcdd::auth
