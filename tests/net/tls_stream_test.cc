// TLS between two ends in memory: who is let in and who is not, and why; then bytes.

#include "server/net/tls_stream.h"

#include <openssl/err.h>
#include <sys/socket.h>
#include <unistd.h>

#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/net/tls_fixture.h"

namespace etcdd::net {
namespace {

using ::testing::HasSubstr;
using ::testing::StartsWith;

constexpr char kUnknownAuthority[] =
    "tls: failed to verify certificate: x509: certificate signed by unknown authority";
constexpr char kExpired[] =
    "tls: failed to verify certificate: x509: certificate has expired or is not yet valid";

TEST_F(TlsTest, BytesBothWays) {
  MakeContexts();
  TlsPair pair = Connect();
  ASSERT_TRUE(pair.both_ready()) << pair.server->error_text() << pair.client->error_text();
  EXPECT_EQ(pair.client->peer_common_name(), "server");
  EXPECT_EQ(pair.server->peer_common_name(), "");
  pair.ClientSays("ping");
  pair.ServerSays("pong");
  pair.Run();
  EXPECT_EQ(pair.at_server, "ping");
  EXPECT_EQ(pair.at_client, "pong");
}

// What the client shows when the server asks, and what comes of it.
class ClientCertificateTest : public TlsTest {
 protected:
  ClientCertificateTest() { server_config_.trusted_ca_file = File("ca.pem", ca_.certificate()); }

  void ClientShows(const CertificateRequest& request) {
    Use(ca_.Issue(request), "client", &client_config_);
  }
  // Both sides of a refusal.
  void ExpectRefused(const std::string& at_server, const std::string& at_client) {
    MakeContexts();
    TlsPair pair = Connect();
    EXPECT_FALSE(pair.server->ready());
    EXPECT_EQ(pair.server->error_text(), at_server);
    EXPECT_EQ(pair.client_end, IoResult::kFailed);
    EXPECT_EQ(pair.client->error_text(), at_client);
  }
  void ExpectTaken(const std::string& common_name) {
    MakeContexts();
    TlsPair pair = Connect();
    ASSERT_TRUE(pair.both_ready()) << pair.server->error_text() << pair.client->error_text();
    EXPECT_EQ(pair.server->peer_common_name(), common_name);
  }
};

TEST_F(ClientCertificateTest, TellsItsCommonName) {
  ClientShows(CertificateRequest().Name("alice"));
  ExpectTaken("alice");
}

TEST_F(ClientCertificateTest, OfAnAuthorityBelowTheKnownOne) {
  const TestAuthority below = ca_.IssueAuthority("below", 77);
  Use(below.Issue(CertificateRequest().Name("bob")), "client", &client_config_);
  ExpectTaken("bob");
}

// As in Go: what the bundle names is trusted, be it a root or not.
TEST_F(ClientCertificateTest, TheBundleMayHoldAnIntermediateAlone) {
  const TestAuthority below = ca_.IssueAuthority("below", 77);
  Use(below.Issue(CertificateRequest().Name("bob")), "client", &client_config_);
  server_config_.trusted_ca_file = File("below.pem", below.certificate());
  ExpectTaken("bob");
}

TEST_F(ClientCertificateTest, None) {
  ExpectRefused("tls: client didn't provide a certificate",
                "remote error: tls: certificate required");
}

TEST_F(ClientCertificateTest, OfAnotherAuthority) {
  const TestAuthority other("another CA");
  Use(other.Issue(CertificateRequest().Name("mallory")), "client", &client_config_);
  ExpectRefused(kUnknownAuthority, "remote error: tls: unknown certificate authority");
}

TEST_F(ClientCertificateTest, Expired) {
  ClientShows(CertificateRequest().Ends(-absl::Hours(1)));
  ExpectRefused(kExpired, "remote error: tls: certificate expired");
}

TEST_F(ClientCertificateTest, NotYetValid) {
  ClientShows(CertificateRequest().Begins(absl::Hours(1)));
  MakeContexts();
  TlsPair pair = Connect();
  EXPECT_EQ(ServerErrorOf(&pair), kExpired);
}

TEST_F(ClientCertificateTest, ForServersOnly) {
  ClientShows(CertificateRequest().Usage("serverAuth"));
  MakeContexts();
  TlsPair pair = Connect();
  EXPECT_EQ(ServerErrorOf(&pair),
            "tls: failed to verify certificate: x509: certificate specifies an incompatible key "
            "usage");
}

TEST_F(ClientCertificateTest, Revoked) {
  server_config_.crl_file = File("crl.pem", ca_.Revoke({4660}));
  ClientShows(CertificateRequest().Serial(4660));
  ExpectRefused("transport: certificate serial 1234 revoked",
                "remote error: tls: certificate revoked");
}

TEST_F(ClientCertificateTest, AnotherSerialIsRevoked) {
  // The list is long overdue for an update: like etcd, we go by what it says.
  server_config_.crl_file = File("crl.pem", ca_.Revoke({4661}, -absl::Hours(1)));
  ClientShows(CertificateRequest().Name("alice").Serial(4660));
  ExpectTaken("alice");
}

TEST_F(ClientCertificateTest, ARevokedIntermediateRefusesWhatItSigned) {
  const TestAuthority below = ca_.IssueAuthority("below", 77);
  Use(below.Issue(CertificateRequest().Name("bob")), "client", &client_config_);
  server_config_.crl_file = File("crl.pem", ca_.Revoke({77}));
  MakeContexts();
  TlsPair pair = Connect();
  EXPECT_EQ(ServerErrorOf(&pair), "transport: certificate serial 4d revoked");
}

TEST_F(ClientCertificateTest, AllowedCommonNames) {
  server_config_.allowed_cns = {"alice", "bob"};
  ClientShows(CertificateRequest().Name("bob"));
  ExpectTaken("bob");
  ClientShows(CertificateRequest().Name("mallory"));
  ExpectRefused("client certificate authentication failed", "remote error: tls: bad certificate");
  // A SAN is no CN.
  ClientShows(CertificateRequest().Name("").AltNames("DNS:alice"));
  ExpectRefused("client certificate authentication failed", "remote error: tls: bad certificate");
}

TEST_F(ClientCertificateTest, AllowedHostnames) {
  server_config_.allowed_hostnames = {"a.example.com", "192.0.2.7"};
  ClientShows(CertificateRequest().Name("any").AltNames("DNS:*.example.com"));
  ExpectTaken("any");
  ClientShows(CertificateRequest().Name("any").AltNames("IP:192.0.2.7"));
  ExpectTaken("any");
  for (const char* names : {"DNS:example.com", "DNS:b.a.example.com", "IP:192.0.2.8", ""}) {
    // A CN is no SAN.
    ClientShows(CertificateRequest().Name("a.example.com").AltNames(names));
    ExpectRefused("client certificate authentication failed",
                  "remote error: tls: bad certificate");
  }
}

// The caller is 192.0.2.1.
TEST_F(ClientCertificateTest, TheCallersAddress) {
  server_config_.check_client_address = true;
  const CertificateRequest request = CertificateRequest().Name("peer");
  for (const char* good : {"", "IP:192.0.2.1", "IP:198.51.100.1,IP:192.0.2.1",
                           "DNS:a.example,IP:192.0.2.1"}) {
    ClientShows(request.AltNames(good));
    ExpectTaken("peer");
  }
  const auto refusal = [&](const char* names) {
    ClientShows(request.AltNames(names));
    MakeContexts();
    TlsPair pair = Connect();
    EXPECT_FALSE(pair.server->ready());
    // No alert says this: the owner of the stream closes.
    pair.server->ShutdownWrite();
    pair.Run();
    EXPECT_EQ(pair.client_end, IoResult::kFailed);
    return ServerErrorOf(&pair);
  };
  EXPECT_EQ(refusal("IP:192.0.2.2,IP:2001:db8::1"),
            "x509: certificate is valid for 192.0.2.2, 2001:db8::1, not 192.0.2.1");
  EXPECT_THAT(refusal("DNS:a.example,DNS:*.b.example,IP:192.0.2.2"),
              StartsWith("tls: \"192.0.2.1\" does not match any of DNSNames [\"a.example\" "
                         "\"*.b.example\"]"));
}

TEST_F(TlsTest, TheServersNameCounts) {
  CertificateRequest request;
  request.common_name = "only.example.com";  // names no host
  request.alt_names = "DNS:a.example.com,DNS:*.b.example.com,IP:192.0.2.1,IP:2001:db8::1";
  Use(ca_.Issue(request), "server", &server_config_);
  MakeContexts();
  for (const char* good : {"a.example.com", "x.b.example.com", "192.0.2.1", "2001:db8::1",
                           "[2001:db8::1]"}) {
    EXPECT_TRUE(Connect(good).both_ready()) << good;
  }
  for (const char* bad : {"b.example.com", "x.y.b.example.com", "only.example.com", "192.0.2.2",
                          "localhost", "2001:db8::2"}) {
    TlsPair pair = Connect(bad);
    EXPECT_FALSE(pair.client->ready()) << bad;
    EXPECT_EQ(pair.client->error_text(),
              "tls: failed to verify certificate: x509: certificate is not valid for the name of "
              "the server");
    EXPECT_EQ(pair.server->error_text(), "remote error: tls: bad certificate");
  }
}

TEST_F(TlsTest, AClientTrustsNobodyElse) {
  client_config_.trusted_ca_file = File("other.pem", TestAuthority("other").certificate());
  MakeContexts();
  TlsPair pair = Connect();
  EXPECT_EQ(pair.client->error_text(), kUnknownAuthority);
  EXPECT_EQ(pair.server->error_text(), "remote error: tls: unknown certificate authority");
  client_config_.skip_server_verification = true;
  MakeContexts();
  EXPECT_TRUE(Connect("any.name").both_ready());
}

TEST_F(TlsTest, Versions) {
  server_config_.min_version = TlsVersion::k13;
  client_config_.max_version = TlsVersion::k12;
  MakeContexts();
  TlsPair pair = Connect();
  EXPECT_EQ(ServerErrorOf(&pair), "tls: client offered only unsupported versions");
  EXPECT_EQ(pair.client->error_text(), "remote error: tls: protocol version");
  server_config_.min_version = TlsVersion::k12;
  MakeContexts();
  EXPECT_TRUE(Connect().both_ready());
}

TEST_F(TlsTest, CipherSuites) {
  client_config_.max_version = TlsVersion::k12;
  server_config_.cipher_suites = {"TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256"};
  client_config_.cipher_suites = {"TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305"};
  MakeContexts();
  TlsPair pair = Connect();
  EXPECT_EQ(ServerErrorOf(&pair), "tls: no cipher suite supported by both client and server");
  server_config_.cipher_suites.push_back("TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256");
  MakeContexts();
  EXPECT_TRUE(Connect().both_ready());
  // Nothing for TLS 1.2 is chosen, so TLS 1.2 is not spoken.
  server_config_.cipher_suites = {"TLS_AES_128_GCM_SHA256"};
  MakeContexts();
  EXPECT_FALSE(Connect().server->ready());
  client_config_.max_version = TlsVersion::kDefault;
  MakeContexts();
  EXPECT_TRUE(Connect().both_ready());
}

TEST_F(TlsTest, Protocols) {
  server_config_.alpn_protocols = {"http/1.1"};
  client_config_.alpn_protocols = {"h2"};
  MakeContexts();
  TlsPair pair = Connect();
  EXPECT_EQ(ServerErrorOf(&pair), "tls: client requested unsupported application protocols");
  client_config_.alpn_protocols = {"h2", "http/1.1"};
  MakeContexts();
  EXPECT_TRUE(Connect().both_ready());
  client_config_.alpn_protocols = {};
  MakeContexts();
  EXPECT_TRUE(Connect().both_ready());
}

TEST_F(TlsTest, PlainTextToATlsServer) {
  MakeContexts();
  for (const char* text : {"GET / HTTP/1.1\r\n\r\n", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
                           "\x01\x02\x03\x04\x05\x06\x07\x08\x09\x0a\x0b"}) {
    const auto [server_fd, client_fd] = Sockets();
    TlsPair pair(NewTlsServerStream(server_fd, server_.get(), "192.0.2.1:1"),
                 NewSocketStream(client_fd));
    pair.ClientSays(text);
    pair.Run();
    EXPECT_FALSE(pair.server->ready());
    EXPECT_EQ(pair.server->error_text(), "tls: first record does not look like a TLS handshake");
  }
}

TEST_F(TlsTest, TlsToAPlainServer) {
  MakeContexts();
  const auto [server_fd, client_fd] = Sockets();
  TlsPair pair(NewSocketStream(server_fd),
               NewTlsClientStream(client_fd, client_.get(), "localhost"));
  pair.ServerSays("HTTP/1.1 400 Bad Request\r\n\r\n");
  pair.Run();
  EXPECT_EQ(pair.client_end, IoResult::kFailed);
  EXPECT_EQ(pair.client->error_text(), "tls: first record does not look like a TLS handshake");
}

TEST_F(TlsTest, AClientThatGoesDuringTheHandshake) {
  MakeContexts();
  const auto [server_fd, client_fd] = Sockets();
  TlsPair pair(NewTlsServerStream(server_fd, server_.get(), "192.0.2.1:1"), nullptr);
  ASSERT_EQ(::send(client_fd, "\x16\x03\x01", 3, 0), 3);
  pair.Run();
  EXPECT_EQ(pair.server_end, IoResult::kOk);
  ::close(client_fd);
  pair.Run();
  EXPECT_EQ(pair.server_end, IoResult::kFailed);
  EXPECT_EQ(pair.server->error_text(), "EOF");
}

// Bytes of one side reach the other one by one.
TEST_F(TlsTest, RecordsInFragments) {
  MakeContexts();
  const auto [server_fd, server_far] = Sockets();
  const auto [client_far, client_fd] = Sockets();
  TlsPair pair(NewTlsServerStream(server_fd, server_.get(), "192.0.2.1:1"),
               NewTlsClientStream(client_fd, client_.get(), "localhost"));
  pair.ClientSays("in fragments");
  const auto carry = [](int from, int to) {
    char byte = 0;
    return ::recv(from, &byte, 1, 0) == 1 && ::send(to, &byte, 1, MSG_NOSIGNAL) == 1;
  };
  do {
    pair.Run();
  } while (carry(server_far, client_far) | carry(client_far, server_far));
  EXPECT_EQ(pair.at_server, "in fragments");
  ::close(server_far);
  ::close(client_far);
}

std::string Pattern(size_t size) {
  std::string text(size, '\0');
  for (size_t i = 0; i < size; ++i) text[i] = static_cast<char>((i * 31 + i / 1000) & 0xff);
  return text;
}

TEST_F(TlsTest, LargeOutputInPiecesOfAllSizes) {
  MakeContexts();
  TlsPair pair = Connect();
  const std::string all = Pattern(3'000'000);
  const auto owner = std::make_shared<const std::string>(all);
  PieceOwner piece;
  piece.text = owner;
  size_t at = 0;
  const std::vector<size_t> sizes = {1,      9,       5000, 16384,  16385,
                                     20'000, 300'000, 4096, 70'000, 16383};
  for (size_t i = 0; at < all.size(); ++i) {
    const size_t count = std::min(sizes[i % sizes.size()], all.size() - at);
    pair.server_output.AppendShared(std::string_view(*owner).substr(at, count), piece);
    at += count;
  }
  pair.Run();
  EXPECT_TRUE(pair.at_client == all);
}

// The kernel takes what it can; the rest stays in the stream, and nothing is lost or sent twice.
TEST_F(TlsTest, OutputThatTheKernelDoesNotTakeStays) {
  MakeContexts();
  TlsPair pair = Connect();
  const std::string all = Pattern(2'000'000);
  OutputBuffer output;
  output.Append(all);
  EXPECT_EQ(pair.server->Write(&output), IoResult::kWouldBlock);
  EXPECT_TRUE(pair.server->holds_output());
  EXPECT_LT(output.size(), all.size());
  EXPECT_EQ(pair.server->Write(&output), IoResult::kWouldBlock);
  pair.server_output = std::move(output);
  pair.Run();
  EXPECT_FALSE(pair.server->holds_output());
  EXPECT_TRUE(pair.at_client == all);
}

TEST_F(TlsTest, TheEndOfOneSide) {
  MakeContexts();
  TlsPair pair = Connect();
  // The last bytes and the end arrive together: both are told, without another event.
  OutputBuffer last;
  last.Append("last words");
  ASSERT_EQ(pair.client->Write(&last), IoResult::kOk);
  pair.client->ShutdownWrite();
  char buffer[100];
  size_t count = 0;
  ASSERT_EQ(pair.server->Read(buffer, sizeof buffer, &count), IoResult::kOk);
  EXPECT_EQ(std::string_view(buffer, count), "last words");
  EXPECT_TRUE(pair.server->has_pending());
  EXPECT_EQ(pair.server->Read(buffer, sizeof buffer, &count), IoResult::kClosed);
  // The other direction is still open.
  OutputBuffer answer;
  answer.Append("answer");
  EXPECT_EQ(pair.server->Write(&answer), IoResult::kOk);
  ASSERT_EQ(pair.client->Read(buffer, sizeof buffer, &count), IoResult::kOk);
  EXPECT_EQ(std::string_view(buffer, count), "answer");
}

TEST_F(TlsTest, AConnectionCutWithoutGoodbyeIsNotAnEnd) {
  MakeContexts();
  TlsPair pair = Connect();
  ::shutdown(pair.client->fd(), SHUT_WR);
  pair.Run();
  EXPECT_EQ(pair.server_end, IoResult::kFailed);
}

TEST_F(TlsTest, DamagedRecordsBreakTheConnection) {
  MakeContexts();
  TlsPair pair = Connect();
  ASSERT_EQ(::send(pair.client->fd(), "\x17\x03\x03\x00\x20 this is not what was encrypted ", 37,
                   0), 37);
  pair.Run();
  EXPECT_EQ(pair.server_end, IoResult::kFailed);
  EXPECT_EQ(pair.at_server, "");
}

TEST_F(TlsTest, ARefusedClientIsReadUntilItGoes) {
  server_config_.trusted_ca_file = File("ca.pem", ca_.certificate());
  MakeContexts();
  const auto [server_fd, client_fd] = Sockets();
  TlsPair pair(NewTlsServerStream(server_fd, server_.get(), "192.0.2.1:1"),
               NewTlsClientStream(client_fd, client_.get(), "localhost"));
  pair.ClientSays("a request that comes with the end of the handshake");
  char buffer[1000];
  size_t count = 0;
  IoResult at_server = IoResult::kWouldBlock;
  for (int i = 0; i < 10 && at_server == IoResult::kWouldBlock; ++i) {
    pair.client->Write(&pair.client_output);
    at_server = pair.server->Read(buffer, sizeof buffer, &count);
  }
  EXPECT_EQ(at_server, IoResult::kFailed);
  OutputBuffer nothing;
  EXPECT_EQ(pair.server->Write(&nothing), IoResult::kFailed);
  pair.server->ShutdownWrite();
  EXPECT_NE(pair.server->Read(buffer, sizeof buffer, &count), IoResult::kFailed);
  pair.server_end = IoResult::kFailed;
  pair.Run();
  EXPECT_EQ(pair.client->error_text(), "remote error: tls: certificate required");
  pair.client.reset();
  EXPECT_EQ(pair.server->Read(buffer, sizeof buffer, &count), IoResult::kClosed);
}

}  // namespace
}  // namespace etcdd::net
