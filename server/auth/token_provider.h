#pragma once

// Tokens: what a client that has shown its password sends with its requests instead.
//
//   proposer:  prefix = NewPrefix()                      travels in the authenticate entry
//   apply:     token = Assign({name, prefix, index})     on every member, drawing nothing
//   proposer:  if (token.empty()) Sign(identity)         on a blocking strand
//   a request: if (IndexToWaitFor(token) > applied) wait for it; Check(token, revision)
//
// Confined to the server strand, but for Sign, which is thread-safe.

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "absl/status/statusor.h"
#include "server/base/api_error.h"

namespace etcdd::auth {

// Who asks, and the auth revision that the asker knows. An empty name: nobody in particular.
struct AuthInfo {
  std::string username;
  uint64_t revision = 0;

  friend bool operator==(const AuthInfo&, const AuthInfo&) = default;
};

// One authenticate entry.
struct Authentication {
  std::string_view username = {};
  std::string_view prefix = {};
  uint64_t index = 0;  // of the entry before it in the raft log: that is what the token tells
};

class TokenProvider {
 public:
  virtual ~TokenProvider() = default;

  // What an authenticate entry is to carry; empty when tokens need nothing of the log.
  virtual std::string NewPrefix() = 0;
  // The user's token, known to this member from now on; empty when Sign makes it.
  // Errors: kAuthFailed when there are no tokens.
  virtual absl::StatusOr<std::string> Assign(const Authentication& authentication) = 0;
  // A token that needs no memory. May take milliseconds.
  // Errors: kVerifyOnly; Unimplemented when Assign makes the tokens.
  virtual absl::StatusOr<std::string> Sign(const AuthInfo& info) const = 0;

  // Whose token it is; nullopt when unknown or expired. `auth_revision` is the store's.
  virtual std::optional<AuthInfo> Check(std::string_view token, uint64_t auth_revision) = 0;
  // An unknown token may become known once this raft index is applied here; 0 = it will not.
  virtual uint64_t IndexToWaitFor(std::string_view token) const = 0;

  // Forgets the user's tokens, where it is known to whom they were given (AUTH-012).
  virtual void InvalidateUser(std::string_view username) = 0;
  // Auth was switched off.
  virtual void InvalidateAll() = 0;
};

// --auth-token= (empty): nobody gets a token; users are known by their certificates.
class NoTokens final : public TokenProvider {
 public:
  std::string NewPrefix() override { return {}; }
  absl::StatusOr<std::string> Assign(const Authentication&) override {
    return base::ApiError(base::ErrorId::kAuthFailed);
  }
  absl::StatusOr<std::string> Sign(const AuthInfo&) const override {
    return base::ApiError(base::ErrorId::kAuthFailed);
  }
  std::optional<AuthInfo> Check(std::string_view, uint64_t) override { return std::nullopt; }
  uint64_t IndexToWaitFor(std::string_view) const override { return 0; }
  void InvalidateUser(std::string_view) override {}
  void InvalidateAll() override {}
};

}  // namespace etcdd::auth
