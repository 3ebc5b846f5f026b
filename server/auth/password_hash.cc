#include "server/auth/password_hash.h"

#include <crypt.h>
#include <openssl/crypto.h>

#include <memory>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "server/base/check.h"

namespace etcdd::auth {
namespace {

constexpr size_t kHashBytes = 60;
// libxcrypt's "$2a$" differs from everybody else's for some passwords (it has a guard against a
// bug of its own past); its "$2b$" is what Go calls "$2a$".
constexpr absl::string_view kStoredPrefix = "$2a$";
constexpr absl::string_view kComputedPrefix = "$2b$";

// Empty when libxcrypt does not accept the setting.
std::string Bcrypt(std::string_view password, const std::string& setting) {
  std::string phrase(password);
  auto state = std::make_unique<crypt_data>();
  const char* hash = crypt_r(phrase.c_str(), setting.c_str(), state.get());
  std::string result;
  if (hash != nullptr && hash[0] != '*') result = hash;
  OPENSSL_cleanse(phrase.data(), phrase.size());
  OPENSSL_cleanse(state.get(), sizeof(crypt_data));
  return result.size() == kHashBytes ? result : std::string();
}

}  // namespace

int EffectiveBcryptCost(uint64_t flag) {
  return flag >= kBcryptCostMin && flag <= kBcryptCostMax ? static_cast<int>(flag)
                                                          : kBcryptCostDefault;
}

absl::StatusOr<std::string> HashPassword(std::string_view password, int cost,
                                         std::string_view salt) {
  ETCDD_CHECK(cost >= kBcryptCostMin && cost <= kBcryptCostMax);
  ETCDD_CHECK(salt.size() == kSaltBytes);
  if (password.size() > kPasswordBytesMax) {
    return absl::InvalidArgumentError(
        absl::StrCat("etcdserver: a password has at most ", kPasswordBytesMax, " bytes"));
  }
  if (password.find('\0') != std::string_view::npos) {
    return absl::InvalidArgumentError("etcdserver: a password holds no zero byte");
  }
  char setting[CRYPT_GENSALT_OUTPUT_SIZE];
  const char* made =
      crypt_gensalt_rn(kComputedPrefix.data(), static_cast<unsigned long>(cost), salt.data(),
                       static_cast<int>(salt.size()), setting, sizeof(setting));
  ETCDD_CHECK(made != nullptr);
  const std::string hash = Bcrypt(password, setting);
  ETCDD_CHECK(!hash.empty());
  return absl::StrCat(kStoredPrefix, hash.substr(kStoredPrefix.size()));
}

bool PasswordMatches(std::string_view password, const std::string& hash) {
  if (hash.size() != kHashBytes || !absl::StartsWith(hash, "$2")) return false;
  // Only its first bytes would be looked at.
  if (password.find('\0') != std::string_view::npos) return false;
  std::string setting = hash;
  if (absl::StartsWith(setting, kStoredPrefix)) setting[2] = kComputedPrefix[2];
  const std::string computed = Bcrypt(password, setting);
  return computed.size() == setting.size() &&
         CRYPTO_memcmp(computed.data(), setting.data(), setting.size()) == 0;
}

}  // namespace etcdd::auth
