#include "server/auth/password_hash.h"

#include <string>

#include "gtest/gtest.h"

namespace etcdd::auth {
namespace {

const std::string kSalt = "0123456789abcdef";

std::string Hash(std::string_view password, int cost = kBcryptCostMin) {
  auto hash = HashPassword(password, cost, kSalt);
  return hash.ok() ? *hash : std::string(hash.status().message());
}

TEST(PasswordHash, HasTheFormThatEtcdStores) {  // AUTH-011
  const std::string hash = Hash("secret");
  EXPECT_EQ(hash.size(), 60u);
  EXPECT_EQ(hash.substr(0, 7), "$2a$04$");
  EXPECT_EQ(Hash("secret", 5).substr(0, 7), "$2a$05$");
  EXPECT_EQ(hash.find("secret"), std::string::npos);
}

TEST(PasswordHash, IsMadeOfPasswordCostAndSaltAlone) {
  EXPECT_EQ(Hash("secret"), Hash("secret"));
  EXPECT_NE(Hash("secret"), *HashPassword("secret", kBcryptCostMin, "fedcba9876543210"));
}

TEST(PasswordHash, MatchesThePasswordAlone) {
  for (const std::string password : {"", "p", "pass word", "\xc3\xa4\xff"}) {
    const std::string hash = Hash(password);
    EXPECT_TRUE(PasswordMatches(password, hash)) << password;
    EXPECT_FALSE(PasswordMatches(password + "x", hash)) << password;
    EXPECT_FALSE(PasswordMatches("other", hash)) << password;
  }
}

// Of crypt_blowfish's published test vectors; the second one is a password for which libxcrypt's
// own "$2a$" goes another way.
TEST(PasswordHash, MatchesHashesOfOthers) {
  EXPECT_TRUE(PasswordMatches(
      "U*U", "$2a$05$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW"));
  EXPECT_TRUE(PasswordMatches(
      "\xff\xff\xa3", "$2a$05$/OK.fbVrR/bpIqNJ5ianF.CE5elHaaO4EbggVDjb8P19RukzXSM3e"));
  EXPECT_FALSE(PasswordMatches(
      "U*V", "$2a$05$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW"));
}

TEST(PasswordHash, WhatIsNoHashMatchesNothing) {
  for (const std::string hash : {"", "*0", "secret", "$2a$", "$1$abc$def",
                                 "$2a$99$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW",
                                 "$2a$05$CCCC:CCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW"}) {
    EXPECT_FALSE(PasswordMatches("secret", hash)) << hash;
    EXPECT_FALSE(PasswordMatches("", hash)) << hash;
  }
}

TEST(PasswordHash, RefusesWhatItCannotTellApart) {
  const std::string longest(kPasswordBytesMax, 'a');
  EXPECT_TRUE(PasswordMatches(longest, Hash(longest)));
  EXPECT_EQ(HashPassword(longest + "a", kBcryptCostMin, kSalt).status().code(),
            absl::StatusCode::kInvalidArgument);
  const std::string_view zero("se\0cret", 7);
  EXPECT_EQ(HashPassword(zero, kBcryptCostMin, kSalt).status().code(),
            absl::StatusCode::kInvalidArgument);
  EXPECT_FALSE(PasswordMatches(zero, Hash("se")));
}

TEST(PasswordHash, CostOutOfRangeMeansTheDefault) {  // AUTH-011
  EXPECT_EQ(EffectiveBcryptCost(3), 10);
  EXPECT_EQ(EffectiveBcryptCost(4), 4);
  EXPECT_EQ(EffectiveBcryptCost(31), 31);
  EXPECT_EQ(EffectiveBcryptCost(32), 10);
  EXPECT_EQ(EffectiveBcryptCost(0), 10);
  EXPECT_EQ(EffectiveBcryptCost(uint64_t{1} << 40), 10);
}

}  // namespace
}  // namespace etcdd::auth
