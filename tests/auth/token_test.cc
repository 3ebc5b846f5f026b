#include <memory>
#include <string>

#include "gtest/gtest.h"
#include "server/auth/simple_token.h"
#include "server/auth/token_options.h"
#include "server/base/api_error.h"
#include "tests/support/fake_clock.h"

namespace etcdd::auth {
namespace {

constexpr absl::Duration kTtl = absl::Seconds(300);

class SimpleTokensTest : public ::testing::Test {
 protected:
  std::string Login(std::string_view user, uint64_t index = 7) {
    return *tokens_.Assign({user, tokens_.NewPrefix(), index});
  }
  bool Known(const std::string& token) { return tokens_.Check(token, 1).has_value(); }

  testing::FakeClock clock_;
  std::unique_ptr<base::Random> random_ = base::NewSeededRandom(1);
  SimpleTokens tokens_{clock_, *random_, kTtl, /*tokens_max=*/3};
};

TEST_F(SimpleTokensTest, AreLettersDotIndex) {  // AUTH-042
  const std::string token = Login("alice", 4711);
  ASSERT_EQ(token.size(), 16u + 1 + 4);
  for (char letter : token.substr(0, 16)) EXPECT_TRUE(isalpha(letter)) << token;
  EXPECT_EQ(token.substr(16), ".4711");
  EXPECT_NE(tokens_.NewPrefix(), tokens_.NewPrefix());
  // A member behind waits for the entry after the index that the token tells.
  EXPECT_EQ(tokens_.IndexToWaitFor(token), 4712u);
}

TEST_F(SimpleTokensTest, OfOneEntryAreTheSameOnEveryMember) {
  SimpleTokens other(clock_, *random_, kTtl);
  const std::string prefix = tokens_.NewPrefix();
  const std::string token = *tokens_.Assign({"alice", prefix, 9});
  EXPECT_EQ(*other.Assign({"alice", prefix, 9}), token);
  EXPECT_EQ(other.Check(token, 5), (AuthInfo{"alice", 5}));
}

TEST_F(SimpleTokensTest, TakeTheRevisionOfTheirUse) {  // AUTH-044
  const std::string token = Login("alice");
  EXPECT_EQ(tokens_.Check(token, 5), (AuthInfo{"alice", 5}));
  EXPECT_EQ(tokens_.Check(token, 6), (AuthInfo{"alice", 6}));
}

TEST_F(SimpleTokensTest, LiveFromUseToUse) {  // AUTH-042
  const std::string used = Login("alice");
  const std::string unused = Login("bob");
  clock_.AdvanceBy(kTtl - absl::Seconds(1));
  EXPECT_TRUE(Known(used));
  clock_.AdvanceBy(absl::Seconds(1));
  EXPECT_FALSE(Known(unused));
  EXPECT_EQ(tokens_.size(), 1u);
  EXPECT_TRUE(Known(used));
  clock_.AdvanceBy(kTtl);
  EXPECT_FALSE(Known(used));
  EXPECT_EQ(tokens_.size(), 0u);
}

TEST_F(SimpleTokensTest, AZeroTtlMeansTheDefault) {
  SimpleTokens tokens(clock_, *random_, absl::ZeroDuration());
  const std::string token = *tokens.Assign({"alice", tokens.NewPrefix(), 1});
  clock_.AdvanceBy(kSimpleTokenTtlDefault - absl::Seconds(1));
  EXPECT_TRUE(tokens.Check(token, 1).has_value());
  clock_.AdvanceBy(kSimpleTokenTtlDefault);
  EXPECT_FALSE(tokens.Check(token, 1).has_value());
}

TEST_F(SimpleTokensTest, AFloodEndsTheOneUnusedForLongest) {
  const std::string first = Login("a", 1);
  const std::string second = Login("b", 2);
  const std::string third = Login("c", 3);
  EXPECT_TRUE(Known(first));
  Login("d", 4);
  EXPECT_EQ(tokens_.size(), 3u);
  EXPECT_FALSE(Known(second));
  EXPECT_TRUE(Known(first));
  EXPECT_TRUE(Known(third));
}

TEST_F(SimpleTokensTest, AreForgottenByUserOrAltogether) {  // AUTH-012, AUTH-042
  const std::string alice = Login("alice", 1);
  const std::string also_alice = Login("alice", 2);
  const std::string bob = Login("bob", 3);
  tokens_.InvalidateUser("alice");
  EXPECT_FALSE(Known(alice));
  EXPECT_FALSE(Known(also_alice));
  EXPECT_TRUE(Known(bob));
  tokens_.InvalidateAll();
  EXPECT_FALSE(Known(bob));
  EXPECT_EQ(tokens_.size(), 0u);
}

TEST_F(SimpleTokensTest, ARepeatedTokenBelongsToTheLast) {
  const std::string token = *tokens_.Assign({"alice", "abcdefghijklmnop", 1});
  EXPECT_EQ(*tokens_.Assign({"bob", "abcdefghijklmnop", 1}), token);
  EXPECT_EQ(tokens_.size(), 1u);
  EXPECT_EQ(tokens_.Check(token, 1), (AuthInfo{"bob", 1}));
}

TEST_F(SimpleTokensTest, NobodyWaitsForWhatIsNoToken) {
  const std::string letters = "abcdefghijklmnop";
  EXPECT_EQ(tokens_.IndexToWaitFor(letters + ".5"), 6u);
  for (const std::string& token :
       {std::string(), letters, letters + ".", letters + ".x", letters + ".-1", letters + ". 1",
        letters + "q.1", std::string(".1"), std::string("abcdefghijklmno1.1"), letters + ".1.2",
        letters + ".99999999999999999999", letters + ".18446744073709551615"}) {
    EXPECT_EQ(tokens_.IndexToWaitFor(token), 0u) << token;
    EXPECT_FALSE(Known(token)) << token;
  }
}

TEST(TokenOptions, ReadsTheFlag) {  // AUTH-043
  EXPECT_EQ(ParseTokenOptions("")->kind, TokenOptions::Kind::kNone);
  EXPECT_EQ(ParseTokenOptions("simple")->kind, TokenOptions::Kind::kSimple);
  const auto jwt = ParseTokenOptions("jwt,sign-method=RS256,pub-key=p.pem,priv-key=k.pem,ttl=10m");
  ASSERT_TRUE(jwt.ok());
  EXPECT_EQ(jwt->kind, TokenOptions::Kind::kJwt);
  EXPECT_EQ(jwt->sign_method, "RS256");
  EXPECT_EQ(jwt->public_key_file, "p.pem");
  EXPECT_EQ(jwt->private_key_file, "k.pem");
  EXPECT_EQ(jwt->jwt_ttl, absl::Minutes(10));
  EXPECT_EQ(ParseTokenOptions("jwt,sign-method=ES256")->jwt_ttl, absl::Minutes(5));
}

TEST(TokenOptions, RefusesWhatIsWrong) {
  for (const char* text : {"simpel", "simple,ttl=5m", ",", "jwt,", "jwt,sign-method",
                           "jwt,sign-method=RS256,sign-method=RS256", "jwt,a=b=c",
                           "jwt,unknown=1", "jwt,ttl=5", "jwt,ttl=0s", "jwt,ttl=-1m"}) {
    const auto options = ParseTokenOptions(text);
    ASSERT_FALSE(options.ok()) << text;
    EXPECT_EQ(options.status().message().substr(0, 26), "auth: invalid auth options") << text;
  }
}

TEST(TokenOptions, NoTokensMeansNoLogin) {
  NoTokens none;
  EXPECT_TRUE(base::IsApiError(none.Assign({"alice", "", 1}).status(),
                               base::ErrorId::kAuthFailed));
  EXPECT_EQ(none.Check("anything", 1), std::nullopt);
}

}  // namespace
}  // namespace etcdd::auth
