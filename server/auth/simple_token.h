#pragma once

// Simple tokens: 16 random letters, a dot, a raft index. Every member learns them from the log, so
// a client may use any member; they live in memory only (AUTH-042). Not signed: whoever reads one
// on the wire can use it.

#include <list>

#include "absl/container/flat_hash_map.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "server/auth/token_provider.h"
#include "server/base/clock.h"
#include "server/base/random.h"

namespace etcdd::auth {

inline constexpr absl::Duration kSimpleTokenTtlDefault = absl::Minutes(5);
inline constexpr size_t kSimpleTokenLetters = 16;
// A flood of logins does not fill the memory: beyond this the token unused for longest ends early.
inline constexpr size_t kSimpleTokensMax = 200'000;

class SimpleTokens final : public TokenProvider {
 public:
  // `ttl` is how long a token lives unused; zero means the default. The others outlive it;
  // `random` must be fit for secrets.
  SimpleTokens(const base::Clock& clock, base::Random& random, absl::Duration ttl,
               size_t tokens_max = kSimpleTokensMax);

  std::string NewPrefix() override;
  absl::StatusOr<std::string> Assign(const Authentication& authentication) override;
  absl::StatusOr<std::string> Sign(const AuthInfo& info) const override;
  std::optional<AuthInfo> Check(std::string_view token, uint64_t auth_revision) override;
  uint64_t IndexToWaitFor(std::string_view token) const override;
  void InvalidateUser(std::string_view username) override;
  void InvalidateAll() override;

  size_t size() const { return by_use_.size(); }

 private:
  struct Token {
    std::string text;
    std::string username;
    absl::Duration last_use;  // on Clock::Monotonic()
  };
  using Tokens = std::list<Token>;

  void Erase(Tokens::iterator token);
  void DropExpired();

  const base::Clock& clock_;
  base::Random& random_;
  const absl::Duration ttl_;
  const size_t tokens_max_;
  Tokens by_use_;  // the one unused for longest is first, which is also the first to expire
  absl::flat_hash_map<absl::string_view, Tokens::iterator> by_text_;  // views into by_use_
};

}  // namespace etcdd::auth
