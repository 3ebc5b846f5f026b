#include "server/auth/simple_token.h"

#include <utility>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"

namespace etcdd::auth {
namespace {

constexpr std::string_view kLetters = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ";

}  // namespace

SimpleTokens::SimpleTokens(const base::Clock& clock, base::Random& random, absl::Duration ttl,
                           size_t tokens_max)
    : clock_(clock),
      random_(random),
      ttl_(ttl > absl::ZeroDuration() ? ttl : kSimpleTokenTtlDefault),
      tokens_max_(tokens_max) {}

std::string SimpleTokens::NewPrefix() {
  std::string prefix;
  for (size_t i = 0; i < kSimpleTokenLetters; ++i) {
    prefix.push_back(kLetters[random_.Uniform(kLetters.size())]);
  }
  return prefix;
}

absl::StatusOr<std::string> SimpleTokens::Assign(const Authentication& authentication) {
  DropExpired();
  std::string text = absl::StrCat(
      absl::string_view(authentication.prefix.data(), authentication.prefix.size()), ".",
      authentication.index);
  // Letters and index are unique together; a log that says otherwise is not to break this member.
  if (auto found = by_text_.find(text); found != by_text_.end()) Erase(found->second);
  if (by_use_.size() >= tokens_max_) Erase(by_use_.begin());
  by_use_.push_back({text, std::string(authentication.username), clock_.Monotonic()});
  by_text_.emplace(by_use_.back().text, std::prev(by_use_.end()));
  return text;
}

absl::StatusOr<std::string> SimpleTokens::Sign(const AuthInfo&) const {
  return absl::UnimplementedError("etcdserver: simple tokens are not signed");
}

std::optional<AuthInfo> SimpleTokens::Check(std::string_view token, uint64_t auth_revision) {
  DropExpired();
  auto found = by_text_.find({token.data(), token.size()});
  if (found == by_text_.end()) return std::nullopt;
  found->second->last_use = clock_.Monotonic();
  by_use_.splice(by_use_.end(), by_use_, found->second);
  return AuthInfo{found->second->username, auth_revision};
}

uint64_t SimpleTokens::IndexToWaitFor(std::string_view token) const {
  if (token.size() <= kSimpleTokenLetters + 1 || token[kSimpleTokenLetters] != '.') return 0;
  if (token.find_first_not_of(kLetters) != kSimpleTokenLetters) return 0;
  token.remove_prefix(kSimpleTokenLetters + 1);
  if (token.find_first_not_of("0123456789") != std::string_view::npos) return 0;
  uint64_t index = 0;
  if (!absl::SimpleAtoi(absl::string_view(token.data(), token.size()), &index)) return 0;
  return index + 1;  // that of the authenticate entry; it wraps to 0 for an index that is none
}

void SimpleTokens::InvalidateUser(std::string_view username) {
  for (auto token = by_use_.begin(); token != by_use_.end();) {
    const auto next = std::next(token);
    if (token->username == username) Erase(token);
    token = next;
  }
}

void SimpleTokens::InvalidateAll() {
  by_text_.clear();
  by_use_.clear();
}

void SimpleTokens::Erase(Tokens::iterator token) {
  by_text_.erase(token->text);
  by_use_.erase(token);
}

void SimpleTokens::DropExpired() {
  const absl::Duration now = clock_.Monotonic();
  while (!by_use_.empty() && by_use_.front().last_use + ttl_ <= now) Erase(by_use_.begin());
}

}  // namespace etcdd::auth
