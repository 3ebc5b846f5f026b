// From files to contexts: what is refused at the start, what is read again later.

#include "server/net/tls_context.h"

#include <sys/stat.h>

#include <string>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "server/base/clock.h"
#include "server/net/self_signed.h"
#include "server/net/tls_config.h"
#include "tests/net/tls_fixture.h"

namespace etcdd::net {
namespace {

using ::testing::HasSubstr;

class TlsContextTest : public TlsTest {
 protected:
  std::string ErrorOf(const TlsConfig& config) {
    return std::string(TlsServerContext::Create(fs_.get(), config).status().message());
  }
};

TEST_F(TlsContextTest, WhatIsWrongAtTheStartIsSaid) {
  EXPECT_EQ(ErrorOf(TlsConfig()), "KeyFile and CertFile must both be present[key: , cert: ]");
  TlsConfig config = server_config_;
  config.client_key_file = "k";
  EXPECT_THAT(ErrorOf(config), HasSubstr("must both be present or both absent"));
  config = server_config_;
  config.allowed_cns = {"a"};
  config.allowed_hostnames = {"b", "c"};
  EXPECT_EQ(ErrorOf(config),
            "AllowedCNs and AllowedHostnames are mutually exclusive (cns=[\"a\"], "
            "hostnames=[\"b\" \"c\"])");
  config = server_config_;
  config.cipher_suites = {"TLS_NULL"};
  EXPECT_EQ(ErrorOf(config), "unexpected TLS cipher suite \"TLS_NULL\"");
}

TEST_F(TlsContextTest, FilesThatCannotBeUsed) {
  const std::string empty = File("empty", "");
  const std::string garbage = File("garbage", "-----BEGIN CERTIFICATE-----\nAAAA\n");
  const std::string absent = PathOf("absent");
  const PemPair other = ca_.Issue(CertificateRequest());
  const std::string other_key = File("other.key", other.key);
  const auto with = [this](std::string TlsConfig::*field, const std::string& path) {
    TlsConfig config = server_config_;
    config.*field = path;
    return ErrorOf(config);
  };
  EXPECT_THAT(with(&TlsConfig::cert_file, absent), HasSubstr("absent: No such file or directory"));
  EXPECT_THAT(with(&TlsConfig::key_file, absent), HasSubstr("absent: No such file or directory"));
  EXPECT_EQ(with(&TlsConfig::cert_file, empty),
            empty + ": tls: failed to find any PEM data in certificate input");
  EXPECT_EQ(with(&TlsConfig::cert_file, garbage), garbage + ": tls: malformed PEM data");
  EXPECT_EQ(with(&TlsConfig::key_file, empty),
            empty + ": tls: failed to find any PEM data in key input");
  EXPECT_EQ(with(&TlsConfig::key_file, other_key),
            absl::StrCat(other_key, ": tls: private key does not match public key of ",
                         server_config_.cert_file));
  EXPECT_EQ(with(&TlsConfig::trusted_ca_file, empty),
            empty + ": tls: failed to find any PEM data in certificate input");
  EXPECT_EQ(with(&TlsConfig::crl_file, garbage), garbage + ": tls: malformed PEM data");
  EXPECT_EQ(with(&TlsConfig::crl_file, empty), empty + ": holds no certificate revocation list");
}

TEST_F(TlsContextTest, ANewCertificateIsShownToTheNextClient) {
  MakeContexts();
  TlsPair before = Connect();
  EXPECT_EQ(before.client->peer_common_name(), "server");
  CertificateRequest request;
  request.common_name = "renewed";
  request.alt_names = "DNS:localhost";
  Use(ca_.Issue(request), "server", &server_config_);
  EXPECT_EQ(Connect().client->peer_common_name(), "renewed");
  // The connection from before goes on.
  before.ClientSays("still here");
  before.Run();
  EXPECT_EQ(before.at_server, "still here");
}

// Key and certificate are replaced one after the other: in between, the old pair is shown.
TEST_F(TlsContextTest, ABadOrMissingFileChangesNothing) {
  MakeContexts();
  CertificateRequest request;
  request.common_name = "renewed";
  request.alt_names = "DNS:localhost";
  const PemPair renewed = ca_.Issue(request);
  File("server.pem", renewed.certificate);
  EXPECT_EQ(Connect().client->peer_common_name(), "server");
  ASSERT_TRUE(fs_->RemoveFile(server_config_.key_file).ok());
  EXPECT_EQ(Connect().client->peer_common_name(), "server");
  File("server.key", "garbage");
  EXPECT_EQ(Connect().client->peer_common_name(), "server");
  File("server.key", renewed.key);
  EXPECT_EQ(Connect().client->peer_common_name(), "renewed");
}

TEST_F(TlsContextTest, ANewAuthorityIsTrustedAndTheOldOneIsNot) {
  server_config_.trusted_ca_file = File("clients.pem", ca_.certificate());
  Use(ca_.Issue(CertificateRequest().Name("old")), "client", &client_config_);
  MakeContexts();
  TlsPair before = Connect();
  EXPECT_EQ(before.server->peer_common_name(), "old");
  const TestAuthority next("next CA");
  File("clients.pem", next.certificate());
  EXPECT_FALSE(Connect().server->ready());
  // The client's own certificate is read again as well.
  Use(next.Issue(CertificateRequest().Name("new")), "client", &client_config_);
  EXPECT_EQ(Connect().server->peer_common_name(), "new");
  File("clients.pem", "");
  EXPECT_EQ(Connect().server->peer_common_name(), "new");
  before.ClientSays("still here");
  before.Run();
  EXPECT_EQ(before.at_server, "still here");
}

TEST_F(TlsContextTest, ANewCrlTakesEffectThoughTheCertificateIsBroken) {
  server_config_.trusted_ca_file = File("ca.pem", ca_.certificate());
  server_config_.crl_file = File("crl.pem", ca_.Revoke({}));
  Use(ca_.Issue(CertificateRequest().Name("alice").Serial(9)), "client", &client_config_);
  MakeContexts();
  EXPECT_EQ(Connect().server->peer_common_name(), "alice");
  File("server.pem", "garbage");
  File("crl.pem", ca_.Revoke({8, 9}));
  TlsPair pair = Connect();
  EXPECT_EQ(ServerErrorOf(&pair), "transport: certificate serial 09 revoked");
  // A list that is gone still counts.
  ASSERT_TRUE(fs_->RemoveFile(server_config_.crl_file).ok());
  EXPECT_FALSE(Connect().server->ready());
  File("crl.pem", ca_.Revoke({8}));
  EXPECT_EQ(Connect().server->peer_common_name(), "alice");
}

TEST(TlsConfigTest, CipherSuitesByTheirNames) {
  EXPECT_EQ(*CipherList({}), "");
  EXPECT_EQ(*CipherList({"TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384",
                         "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305", "TLS_AES_256_GCM_SHA384"}),
            "ECDHE-RSA-AES256-GCM-SHA384:ECDHE-RSA-CHACHA20-POLY1305");
  EXPECT_EQ(CipherList({"ECDHE-RSA-AES256-GCM-SHA384"}).status().message(),
            "unexpected TLS cipher suite \"ECDHE-RSA-AES256-GCM-SHA384\"");
}

class SelfSignedTest : public TlsTest {
 protected:
  absl::StatusOr<SelfSignedFiles> Make(uint64_t years = 1) {
    return EnsureSelfSigned(*fs_, PathOf("fixtures/client"), {"localhost:2379", "[::1]:2379"},
                            years, base::NewSystemClock()->Wall());
  }
};

TEST_F(SelfSignedTest, AreMadeOnceAndServeBothRoles) {
  const auto made = Make();
  ASSERT_TRUE(made.ok()) << made.status();
  struct stat info {};
  ASSERT_EQ(::stat(made->key_file.c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 0777, 0600u);
  const std::string certificate = *base::ReadFile(*fs_, made->cert_file);
  ASSERT_TRUE(Make().ok());
  EXPECT_EQ(*base::ReadFile(*fs_, made->cert_file), certificate);

  server_config_ = TlsConfig();
  server_config_.cert_file = made->cert_file;
  server_config_.key_file = made->key_file;
  client_config_.trusted_ca_file = made->cert_file;
  MakeContexts();
  EXPECT_TRUE(Connect("localhost").both_ready());
  EXPECT_TRUE(Connect("::1").both_ready());
  EXPECT_FALSE(Connect("127.0.0.1").both_ready());
}

TEST_F(SelfSignedTest, AHalfMadePairIsMadeAnew) {
  const auto made = Make();
  ASSERT_TRUE(made.ok());
  const std::string key = *base::ReadFile(*fs_, made->key_file);
  ASSERT_TRUE(fs_->RemoveFile(made->cert_file).ok());
  ASSERT_TRUE(Make().ok());
  EXPECT_NE(*base::ReadFile(*fs_, made->key_file), key);
  server_config_.cert_file = made->cert_file;
  server_config_.key_file = made->key_file;
  EXPECT_TRUE(TlsServerContext::Create(fs_.get(), server_config_).ok());
}

TEST_F(SelfSignedTest, NeedsAValidity) {
  EXPECT_EQ(Make(0).status().message(),
            "selfSignedCertValidity is invalid,it should be greater than 0");
  EXPECT_FALSE(Make(100'000).ok());
}

}  // namespace
}  // namespace etcdd::net
