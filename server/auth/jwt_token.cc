#include "server/auth/jwt_token.h"

#include <nlohmann/json.hpp>

#include <utility>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"

namespace etcdd::auth {
namespace {

using Json = nlohmann::json;

std::string ToPart(const Json& json) {
  return absl::WebSafeBase64Escape(
      json.dump(-1, ' ', /*ensure_ascii=*/false, Json::error_handler_t::replace));
}

// Discarded when `part` is no JSON object in base64.
Json FromPart(std::string_view part) {
  std::string text;
  if (!absl::WebSafeBase64Unescape(absl::string_view(part.data(), part.size()), &text)) {
    return Json(Json::value_t::discarded);
  }
  Json json = Json::parse(text, nullptr, /*allow_exceptions=*/false);
  return json.is_object() ? json : Json(Json::value_t::discarded);
}

// A count in a claim: JSON has only one kind of number, and some writers put a dot into it.
std::optional<uint64_t> ToCount(const Json& value) {
  if (value.is_number_unsigned()) return value.get<uint64_t>();
  constexpr double kExactMax = 9007199254740992;  // 2^53
  if (!value.is_number_float()) return std::nullopt;
  const double number = value.get<double>();
  if (!(number >= 0 && number <= kExactMax)) return std::nullopt;
  return static_cast<uint64_t>(number);
}

// False when there is such a claim and it is no time.
bool TakeTime(const Json& claims, const char* name, absl::Time* time) {
  const auto found = claims.find(name);
  if (found == claims.end()) return true;
  const auto seconds = ToCount(*found);
  if (!seconds || *seconds > static_cast<uint64_t>(INT64_MAX)) return false;
  *time = absl::FromUnixSeconds(static_cast<int64_t>(*seconds));
  return true;
}

}  // namespace

JwtTokens::JwtTokens(const base::Clock& clock, std::string method,
                     std::unique_ptr<JwtSignature> signature, absl::Duration ttl)
    : clock_(clock), method_(std::move(method)), signature_(std::move(signature)), ttl_(ttl) {}

absl::StatusOr<std::string> JwtTokens::Sign(const AuthInfo& info) const {
  if (!signature_->can_sign()) return base::ApiError(base::ErrorId::kVerifyOnly);
  const Json header = {{"alg", method_}, {"typ", "JWT"}};
  const Json claims = {{"username", info.username},
                       {"revision", info.revision},
                       {"exp", absl::ToUnixSeconds(clock_.Wall() + ttl_)}};
  const std::string message = absl::StrCat(ToPart(header), ".", ToPart(claims));
  return absl::StrCat(message, ".", absl::WebSafeBase64Escape(signature_->Sign(message)));
}

std::optional<AuthInfo> JwtTokens::Check(std::string_view token, uint64_t) {
  const absl::string_view key(token.data(), token.size());
  auto known = verified_.find(key);
  if (known == verified_.end()) {
    auto claims = Verify(token);
    if (!claims) return std::nullopt;
    if (verified_.size() >= kVerifiedJwtsMax) verified_.clear();
    known = verified_.emplace(key, *std::move(claims)).first;
  }
  const absl::Time now = clock_.Wall();
  if (now < known->second.not_before) return std::nullopt;
  if (now >= known->second.expires) {
    verified_.erase(known);
    return std::nullopt;
  }
  return known->second.info;
}

std::optional<JwtTokens::Claims> JwtTokens::Verify(std::string_view token) const {
  if (token.size() > kJwtBytesMax) return std::nullopt;
  const size_t first = token.find('.');
  const size_t last = token.rfind('.');
  if (first == std::string_view::npos || first == last) return std::nullopt;
  const std::string_view body = token.substr(first + 1, last - first - 1);
  if (body.find('.') != std::string_view::npos) return std::nullopt;
  const Json header = FromPart(token.substr(0, first));
  if (header.is_discarded()) return std::nullopt;
  // The configured method alone: a token does not choose how it is verified.
  const auto alg = header.find("alg");
  if (alg == header.end() || *alg != method_) return std::nullopt;
  std::string signature;
  const std::string_view signed_by = token.substr(last + 1);
  if (!absl::WebSafeBase64Unescape(absl::string_view(signed_by.data(), signed_by.size()),
                                   &signature) ||
      !signature_->Verify(token.substr(0, last), signature)) {
    return std::nullopt;
  }
  const Json fields = FromPart(body);
  if (fields.is_discarded()) return std::nullopt;
  const auto username = fields.find("username");
  const auto revision = fields.find("revision");
  if (username == fields.end() || !username->is_string() || revision == fields.end()) {
    return std::nullopt;
  }
  const auto count = ToCount(*revision);
  Claims claims;
  if (!count || !TakeTime(fields, "exp", &claims.expires) ||
      !TakeTime(fields, "nbf", &claims.not_before)) {
    return std::nullopt;
  }
  claims.info = {username->get<std::string>(), *count};
  return claims;
}

}  // namespace etcdd::auth
