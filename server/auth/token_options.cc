#include "server/auth/token_options.h"

#include <map>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "server/auth/jwt_token.h"
#include "server/auth/simple_token.h"
#include "server/base/log.h"
#include "server/base/status_macros.h"

namespace etcdd::auth {
namespace {

absl::Status InvalidOptions() { return absl::InvalidArgumentError("auth: invalid auth options"); }

}  // namespace

absl::StatusOr<TokenOptions> ParseTokenOptions(std::string_view text) {
  const std::vector<std::string> parts =
      absl::StrSplit(absl::string_view(text.data(), text.size()), ',');
  TokenOptions options;
  std::map<std::string, std::string> given;
  for (size_t i = 1; i < parts.size(); ++i) {
    std::pair<std::string, std::string> option = absl::StrSplit(parts[i], '=');
    const bool one_sign = parts[i].find('=') != std::string::npos &&
                          parts[i].find('=') == parts[i].rfind('=');
    if (!one_sign || !given.insert(std::move(option)).second) return InvalidOptions();
  }
  if (parts[0] != "jwt") {
    if ((parts[0] != "simple" && !parts[0].empty()) || !given.empty()) return InvalidOptions();
    options.kind = parts[0].empty() ? TokenOptions::Kind::kNone : TokenOptions::Kind::kSimple;
    return options;
  }
  options.kind = TokenOptions::Kind::kJwt;
  options.jwt_ttl = kJwtTtlDefault;
  for (const auto& [name, value] : given) {
    if (name == "sign-method") {
      options.sign_method = value;
    } else if (name == "pub-key") {
      options.public_key_file = value;
    } else if (name == "priv-key") {
      options.private_key_file = value;
    } else if (name == "ttl") {
      if (!absl::ParseDuration(value, &options.jwt_ttl) ||
          options.jwt_ttl <= absl::ZeroDuration()) {
        return absl::InvalidArgumentError(
            absl::StrCat("auth: invalid auth options: ttl=", value, " is no duration above 0"));
      }
    } else {
      return InvalidOptions();
    }
  }
  return options;
}

absl::StatusOr<std::unique_ptr<TokenProvider>> MakeTokenProvider(const TokenOptions& options,
                                                                 const TokenParts& parts) {
  switch (options.kind) {
    case TokenOptions::Kind::kNone:
      return std::make_unique<NoTokens>();
    case TokenOptions::Kind::kSimple:
      ETCDD_LOG(kWarn, "simple token is not cryptographically signed");
      return std::make_unique<SimpleTokens>(*parts.clock, *parts.random, parts.simple_ttl);
    case TokenOptions::Kind::kJwt:
      break;
  }
  JwtKeys keys;
  if (!options.public_key_file.empty()) {
    ETCDD_ASSIGN_OR_RETURN(keys.public_key,
                           base::ReadFile(*parts.files, options.public_key_file));
  }
  if (!options.private_key_file.empty()) {
    ETCDD_ASSIGN_OR_RETURN(keys.private_key,
                           base::ReadFile(*parts.files, options.private_key_file));
  }
  ETCDD_ASSIGN_OR_RETURN(auto signature, JwtSignature::Load(options.sign_method, keys));
  return std::make_unique<JwtTokens>(*parts.clock, options.sign_method, std::move(signature),
                                     options.jwt_ttl);
}

}  // namespace etcdd::auth
