#include <openssl/evp.h>
#include <openssl/pem.h>

#include <memory>
#include <string>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "gtest/gtest.h"
#include "server/auth/jwt_signature.h"
#include "server/auth/jwt_token.h"
#include "server/auth/token_options.h"
#include "server/base/api_error.h"
#include "tests/support/fake_clock.h"
#include "tests/support/temp_dir.h"

namespace etcdd::auth {
namespace {

std::string Read(BIO* bio) {
  char* data = nullptr;
  const long size = BIO_get_mem_data(bio, &data);
  std::string text(data, static_cast<size_t>(size));
  BIO_free(bio);
  return text;
}

JwtKeys ToPem(EVP_PKEY* key) {
  BIO* public_pem = BIO_new(BIO_s_mem());
  BIO* private_pem = BIO_new(BIO_s_mem());
  EXPECT_EQ(PEM_write_bio_PUBKEY(public_pem, key), 1);
  EXPECT_EQ(
      PEM_write_bio_PrivateKey(private_pem, key, nullptr, nullptr, 0, nullptr, nullptr), 1);
  EVP_PKEY_free(key);
  return {Read(public_pem), Read(private_pem)};
}

// A pair of keys for a method, made once.
const JwtKeys& KeysFor(const std::string& method) {
  static const JwtKeys rsa = ToPem(EVP_PKEY_Q_keygen(nullptr, nullptr, "RSA", size_t{2048}));
  static const JwtKeys p256 = ToPem(EVP_PKEY_Q_keygen(nullptr, nullptr, "EC", "P-256"));
  static const JwtKeys p384 = ToPem(EVP_PKEY_Q_keygen(nullptr, nullptr, "EC", "P-384"));
  static const JwtKeys p521 = ToPem(EVP_PKEY_Q_keygen(nullptr, nullptr, "EC", "P-521"));
  static const JwtKeys edwards = ToPem(EVP_PKEY_Q_keygen(nullptr, nullptr, "ED25519"));
  static const JwtKeys secret = {"", "a secret of the members\n"};
  if (method[0] == 'H') return secret;
  if (method == "EdDSA") return edwards;
  if (method[0] != 'E') return rsa;
  return method == "ES256" ? p256 : method == "ES384" ? p384 : p521;
}

constexpr const char* kMethods[] = {"RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256",
                                    "ES384", "ES512", "HS256", "HS384", "HS512", "EdDSA"};

std::string Base64(std::string_view part) {
  std::string bytes;
  EXPECT_TRUE(absl::WebSafeBase64Unescape(absl::string_view(part.data(), part.size()), &bytes));
  return bytes;
}

// A public key in PEM form, of the bytes before it in its ASN.1 form and its own.
std::string PublicPem(const std::string& asn1_hex, const std::string& key) {
  return absl::StrCat("-----BEGIN PUBLIC KEY-----\n",
                      absl::Base64Escape(absl::HexStringToBytes(asn1_hex) + key),
                      "\n-----END PUBLIC KEY-----\n");
}

class JwtTest : public ::testing::Test {
 protected:
  std::unique_ptr<JwtTokens> Tokens(const std::string& method, const JwtKeys& keys) {
    auto signature = JwtSignature::Load(method, keys);
    EXPECT_TRUE(signature.ok()) << method << " " << signature.status();
    return std::make_unique<JwtTokens>(clock_, method, *std::move(signature), absl::Minutes(5));
  }
  std::unique_ptr<JwtTokens> Tokens(const std::string& method) {
    return Tokens(method, KeysFor(method));
  }
  // A token of any content under the members' own secret.
  std::string Made(const std::string& header, const std::string& claims) {
    const std::string message =
        absl::WebSafeBase64Escape(header) + "." + absl::WebSafeBase64Escape(claims);
    auto signature = *JwtSignature::Load("HS256", KeysFor("HS256"));
    return message + "." + absl::WebSafeBase64Escape(signature->Sign(message));
  }
  std::string Now(int offset) {
    return std::to_string(absl::ToUnixSeconds(clock_.Wall()) + offset);
  }

  testing::FakeClock clock_;
  const AuthInfo alice_{"alice", 7};
};

TEST_F(JwtTest, EveryMethodSignsAndVerifies) {  // AUTH-043
  for (const char* method : kMethods) {
    auto tokens = Tokens(method);
    const std::string token = *tokens->Sign(alice_);
    EXPECT_EQ(tokens->Check(token, 99), alice_) << method;
    EXPECT_EQ(tokens->Check(token, 99), alice_) << method;  // known by now
    // Every byte counts. (Of the last character some bits are padding.)
    for (size_t at = 0; at + 1 < token.size(); at += 7) {
      std::string forged = token;
      forged[at] = forged[at] == 'x' ? 'y' : 'x';
      EXPECT_EQ(tokens->Check(forged, 99), std::nullopt) << method << " at " << at;
    }
  }
}

TEST_F(JwtTest, ClaimsAreEtcds) {  // AUTH-043
  const std::string token = *Tokens("ES256")->Sign(alice_);
  const size_t dot = token.find('.');
  EXPECT_EQ(Base64(token.substr(0, dot)), R"({"alg":"ES256","typ":"JWT"})");
  EXPECT_EQ(Base64(token.substr(dot + 1, token.rfind('.') - dot - 1)),
            R"({"exp":)" + Now(300) + R"(,"revision":7,"username":"alice"})");
}

TEST_F(JwtTest, OthersKeysAreNotAccepted) {
  const JwtKeys stranger = ToPem(EVP_PKEY_Q_keygen(nullptr, nullptr, "EC", "P-256"));
  EXPECT_EQ(Tokens("ES256")->Check(*Tokens("ES256", stranger)->Sign(alice_), 1), std::nullopt);
}

TEST_F(JwtTest, ATokenDoesNotChooseItsMethod) {
  auto tokens = Tokens("RS256");
  EXPECT_EQ(tokens->Check(*Tokens("RS512")->Sign(alice_), 1), std::nullopt);
  EXPECT_EQ(tokens->Check(*Tokens("PS256")->Sign(alice_), 1), std::nullopt);
  // The public key as a shared secret, and no signature at all.
  const JwtKeys confused = {"", KeysFor("RS256").public_key};
  EXPECT_EQ(tokens->Check(*Tokens("HS256", confused)->Sign(alice_), 1), std::nullopt);
  const std::string claims = R"({"username":"alice","revision":7})";
  EXPECT_EQ(tokens->Check(absl::StrCat(absl::WebSafeBase64Escape(R"({"alg":"none"})"), ".",
                                       absl::WebSafeBase64Escape(claims), "."),
                          1),
            std::nullopt);
}

TEST_F(JwtTest, VerifyOnlyMembersIssueNone) {  // AUTH-043
  for (const char* method : {"RS256", "PS384", "ES512", "EdDSA"}) {
    auto verifier = Tokens(method, {KeysFor(method).public_key, ""});
    EXPECT_TRUE(base::IsApiError(verifier->Sign(alice_).status(), base::ErrorId::kVerifyOnly));
    EXPECT_EQ(verifier->Check(*Tokens(method)->Sign(alice_), 1), alice_) << method;
  }
}

TEST_F(JwtTest, ThePrivateKeyAloneIsEnough) {
  for (const char* method : {"RS256", "PS384", "ES512", "EdDSA"}) {
    auto tokens = Tokens(method, {"", KeysFor(method).private_key});
    EXPECT_EQ(tokens->Check(*tokens->Sign(alice_), 1), alice_) << method;
  }
}

TEST_F(JwtTest, EndAtTheirTime) {  // AUTH-040, AUTH-043
  auto tokens = Tokens("HS256");
  const std::string token = *tokens->Sign(alice_);
  clock_.JumpWall(absl::Minutes(5) - absl::Seconds(1));
  EXPECT_EQ(tokens->Check(token, 1), alice_);
  clock_.JumpWall(absl::Seconds(1));
  EXPECT_EQ(tokens->Check(token, 1), std::nullopt);
  EXPECT_EQ(tokens->Check(token, 1), std::nullopt);
}

TEST_F(JwtTest, OthersMayIssueThem) {
  auto tokens = Tokens("HS256");
  const std::string header = R"({"typ":"JWT","alg":"HS256"})";
  const auto check = [&](const std::string& claims) {
    return tokens->Check(Made(header, claims), 1);
  };
  EXPECT_EQ(check(R"({"username":"alice","revision":7})"), alice_);
  EXPECT_EQ(check(R"({"username":"alice","revision":7.0,"more":[1]})"), alice_);
  EXPECT_EQ(check(R"({"username":"alice","revision":7,"exp":)" + Now(9) + "}"), alice_);
  EXPECT_EQ(check(R"({"username":"alice","revision":7,"exp":)" + Now(0) + "}"), std::nullopt);
  EXPECT_EQ(check(R"({"username":"alice","revision":7,"nbf":)" + Now(9) + "}"), std::nullopt);
  EXPECT_EQ(check(R"({"username":"alice","revision":7,"nbf":)" + Now(0) + "}"), alice_);
  for (const char* claims :
       {"", "[]", "{", R"({"username":"alice"})", R"({"revision":7})",
        R"({"username":7,"revision":7})", R"({"username":"alice","revision":"7"})",
        R"({"username":"alice","revision":-1})", R"({"username":"alice","revision":1e99})",
        R"({"username":"alice","revision":7,"exp":"soon"})",
        R"({"username":"alice","revision":7,"exp":null})"}) {
    EXPECT_EQ(check(claims), std::nullopt) << claims;
  }
}

TEST_F(JwtTest, WhatIsNoTokenIsRefused) {
  auto tokens = Tokens("HS256");
  for (const std::string& token :
       {std::string(), std::string("."), std::string(".."), std::string("..."),
        std::string("a.b.c.d"), std::string("!.!.!"), std::string(kJwtBytesMax + 1, 'a'),
        Made("[]", "{}"), Made("{", "{}"), Made(R"({"alg":1})", "{}"),
        std::string("abcdefghijklmnop.7")}) {
    EXPECT_EQ(tokens->Check(token, 1), std::nullopt) << token.substr(0, 80);
  }
}

TEST_F(JwtTest, NothingWaitsAndNothingIsRemembered) {
  auto tokens = Tokens("HS256");
  EXPECT_EQ(tokens->NewPrefix(), "");
  EXPECT_EQ(*tokens->Assign({"alice", "", 7}), "");
  const std::string token = *tokens->Sign(alice_);
  EXPECT_EQ(tokens->IndexToWaitFor(token), 0u);
  tokens->InvalidateUser("alice");
  EXPECT_EQ(tokens->Check(token, 1), alice_);  // its revision is what makes it old
}

TEST(JwtSignature, AgreesWithTheStandards) {
  const std::string claims =
      "eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0"
      "cnVlfQ";
  // RFC 7515 A.1
  auto secret = JwtSignature::Load(
      "HS256", {"", Base64("AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ-EstJQLr_T-1qS0gZH75aKtMN3Yj0iPS4h"
                           "cgUuTwjAzZr1Z9CAow")});
  EXPECT_EQ(
      absl::WebSafeBase64Escape((*secret)->Sign("eyJ0eXAiOiJKV1QiLA0KICJhbGciOiJIUzI1NiJ9." +
                                                claims)),
      "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk");
  // RFC 7515 A.3
  auto curve = JwtSignature::Load(
      "ES256",
      {PublicPem("3059301306072a8648ce3d020106082a8648ce3d03010703420004",
                 Base64("f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU") +
                     Base64("x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0")),
       ""});
  ASSERT_TRUE(curve.ok()) << curve.status();
  EXPECT_TRUE((*curve)->Verify("eyJhbGciOiJFUzI1NiJ9." + claims,
                               Base64("DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5djxLa8"
                                      "ISlSApmWQxfKTUJqPP3-Kg6NU1Q")));
  // RFC 8037 A.4
  auto edwards = JwtSignature::Load(
      "EdDSA", {PublicPem("302a300506032b6570032100",
                          Base64("11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo")),
                ""});
  ASSERT_TRUE(edwards.ok()) << edwards.status();
  EXPECT_TRUE((*edwards)->Verify("eyJhbGciOiJFZERTQSJ9.RXhhbXBsZSBvZiBFZDI1NTE5IHNpZ25pbmc",
                                 Base64("hgyY0il_MGCjP0JzlnLWG1PPOt7-09PGcvMg3AIbQR6dWbhijcNR4ki4iy"
                                        "lGjg5BhVsPt9g7sVvpAr_MuM0KAg")));
}

TEST(JwtSignature, RefusesKeysThatDoNotFit) {
  const auto error = [](const std::string& method, const JwtKeys& keys) {
    return std::string(JwtSignature::Load(method, keys).status().message());
  };
  EXPECT_EQ(error("none", KeysFor("RS256")), "auth: invalid auth signature method");
  EXPECT_EQ(error("", KeysFor("RS256")), "auth: invalid auth signature method");
  EXPECT_EQ(error("RS256", {}), "auth: missing key data");
  EXPECT_EQ(error("HS256", {"only public", ""}), "auth: missing key data");
  EXPECT_EQ(error("ES256", KeysFor("ES384")), "auth: the key does not fit sign-method ES256");
  EXPECT_EQ(error("RS256", KeysFor("ES256")), "auth: the key does not fit sign-method RS256");
  EXPECT_EQ(error("EdDSA", KeysFor("RS256")), "auth: the key does not fit sign-method EdDSA");
  const JwtKeys other = ToPem(EVP_PKEY_Q_keygen(nullptr, nullptr, "ED25519"));
  EXPECT_EQ(error("EdDSA", {other.public_key, KeysFor("EdDSA").private_key}),
            "auth: public and private keys don't match");
  EXPECT_NE(error("RS256", {"no PEM", ""}), "");
  EXPECT_NE(error("RS256", {"", "no PEM"}), "");
}

TEST(TokenOptions, KeysAreReadFromTheirFiles) {  // AUTH-043
  testing::FakeClock clock;
  auto files = base::NewPosixFileSystem();
  testing::TempDir dir;
  const std::string path = dir.path() + "/key.pem";
  TokenOptions options = *ParseTokenOptions("jwt,sign-method=EdDSA,priv-key=" + path);
  const TokenParts parts{&clock, nullptr, files.get(), absl::ZeroDuration()};
  EXPECT_FALSE(MakeTokenProvider(options, parts).ok());
  auto file = files->Open(path, base::OpenMode::kCreate);
  ASSERT_TRUE((*file)->WriteAt(0, KeysFor("EdDSA").private_key).ok());
  auto provider = MakeTokenProvider(options, parts);
  ASSERT_TRUE(provider.ok()) << provider.status();
  EXPECT_EQ((*provider)->Check(*(*provider)->Sign({"alice", 3}), 9), (AuthInfo{"alice", 3}));
}

}  // namespace
}  // namespace etcdd::auth
