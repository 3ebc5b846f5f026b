#pragma once

// Passwords as bcrypt hashes in the form that etcd stores: "$2a$10$...", 60 characters. A hash
// costs about 2^cost * 50 us, so these functions run on a blocking strand, never on the server's.
//
// Thread-safe.

#include <cstdint>
#include <string>
#include <string_view>

#include "absl/status/statusor.h"

namespace etcdd::auth {

inline constexpr int kBcryptCostMin = 4;
inline constexpr int kBcryptCostMax = 31;
inline constexpr int kBcryptCostDefault = 10;
// bcrypt looks at no more of a password than this.
inline constexpr size_t kPasswordBytesMax = 72;
inline constexpr size_t kSaltBytes = 16;

// The cost to use for --bcrypt-cost: out of range means the default (AUTH-011).
int EffectiveBcryptCost(uint64_t flag);

// The hash of `password` with a salt of kSaltBytes bytes that nobody else uses.
// Errors: InvalidArgument for a password that bcrypt cannot tell from others: longer than
// kPasswordBytesMax, or with a zero byte inside.
absl::StatusOr<std::string> HashPassword(std::string_view password, int cost,
                                         std::string_view salt);

// Whether `hash` was made of `password`. False for a hash that is none.
bool PasswordMatches(std::string_view password, const std::string& hash);

}  // namespace etcdd::auth
