// Discovery through a real registry: etcd, or the server that REGISTRY_PROGRAM names.

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <fstream>
#include <memory>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "absl/synchronization/notification.h"
#include "proto/rpc.pb.h"
#include "server/base/check.h"
#include "server/base/clock.h"
#include "server/discovery/discovery.h"
#include "server/discovery/grpc_client.h"
#include "tests/support/temp_dir.h"
#include "tests/wal/etcd_process.h"

namespace etcdd::discovery {
namespace {

using server::Config;

constexpr char kSizeKey[] = "/_etcd/registry/tok/_config/size";

// Waits at most a moment, however long it is told to.
bool ShortWait(absl::Duration pause) {
  absl::Notification never;
  never.WaitForNotificationWithTimeout(std::min(pause, absl::Milliseconds(50)));
  return false;
}

std::string TextOf(const absl::StatusOr<Config>& config) {
  if (!config.ok()) return std::string(config.status().message());
  std::string text = config->initial_cluster_token;
  for (const server::InitialMember& member : config->initial_cluster) {
    for (const server::Url& url : member.peer_urls) {
      absl::StrAppend(&text, " ", member.name, "=", url.ToString());
    }
  }
  return text;
}

// A TCP socket on loopback that accepts connections (the kernel does) and never answers.
class SilentServer {
 public:
  SilentServer() : fd_(socket(AF_INET, SOCK_STREAM, 0)) {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t size = sizeof address;
    ETCDD_CHECK(bind(fd_, reinterpret_cast<sockaddr*>(&address), size) == 0);
    ETCDD_CHECK(listen(fd_, 16) == 0);
    ETCDD_CHECK(getsockname(fd_, reinterpret_cast<sockaddr*>(&address), &size) == 0);
    url_ = absl::StrCat("http://127.0.0.1:", ntohs(address.sin_port));
  }
  ~SilentServer() { Close(); }
  // From now on nobody listens on the port.
  void Close() {
    if (fd_ >= 0) close(std::exchange(fd_, -1));
  }
  const std::string& url() const { return url_; }

 private:
  int fd_;
  std::string url_;
};

std::string Program() {
  const char* const program = std::getenv("REGISTRY_PROGRAM");
  return program == nullptr ? "etcd" : program;
}

class RealRegistry : public ::testing::Test {
 protected:
  void SetUp() override {
    const absl::Status started = etcd_.Start();
    ASSERT_TRUE(started.ok()) << started;
  }

  void SetSize(const std::string& size) {
    ASSERT_EQ(etcd_.Ctl(absl::StrCat("put ", kSizeKey, " ", size)), "OK\n");
  }

  Config ConfigOf(const std::string& name) const {
    Config config;
    config.name = name;
    config.initial_advertise_peer_urls = {
        *server::ParseUrl(absl::StrCat("http://", name, ":2380"))};
    config.discovery.endpoints = {etcd_.client_url()};
    config.discovery.token = "tok";
    return config;
  }

  testing::TempDir dir_;
  wal::EtcdProcess etcd_{dir_.Path("etcd"), Program()};
};

TEST_F(RealRegistry, ThreeMembersFindEachOther) {
  SetSize("3");
  std::vector<std::string> found(3);
  std::vector<std::thread> members;
  for (size_t i = 0; i < 3; ++i) {
    members.emplace_back([this, i, &found] {
      found[i] = TextOf(Discover(ConfigOf(absl::StrCat("m", i)), ShortWait));
    });
  }
  for (std::thread& member : members) member.join();
  EXPECT_THAT(found, ::testing::Each("tok m0=http://m0:2380 m1=http://m1:2380 m2=http://m2:2380"));
  // One of them again, as after a crash; and one too many.
  EXPECT_EQ(TextOf(Discover(ConfigOf("m1"), ShortWait)), found[0]);
  EXPECT_EQ(TextOf(Discover(ConfigOf("m3"), ShortWait)),
            "failed to join discovery cluster (discovery: cluster is full)");
  // `printf 'http://m0:2380tok' | sha1sum`
  EXPECT_EQ(etcd_.Ctl("get /_etcd/registry/tok/members/1e5775a84b71e7ce"),
            "/_etcd/registry/tok/members/1e5775a84b71e7ce\nm0=http://m0:2380\n");
}

TEST_F(RealRegistry, WithoutASizeNothingIsRegistered) {
  EXPECT_EQ(TextOf(Discover(ConfigOf("m0"), ShortWait)),
            "failed to join discovery cluster (discovery: size key not found)");
  SetSize("many");
  EXPECT_EQ(TextOf(Discover(ConfigOf("m0"), ShortWait)),
            "failed to join discovery cluster (discovery: size key is bad)");
  EXPECT_EQ(etcd_.Ctl("get --prefix /_etcd/registry/tok/members --keys-only"), "");
}

TEST_F(RealRegistry, EndpointsThatDoNotAnswerArePassedOver) {
  SetSize("1");
  SilentServer silent;
  SilentServer gone;
  gone.Close();
  Config config = ConfigOf("m0");
  config.discovery.endpoints = {gone.url(), silent.url(), etcd_.client_url() + "/ignored"};
  config.discovery.request_timeout = absl::Milliseconds(500);
  EXPECT_EQ(TextOf(Discover(config, ShortWait)), "tok m0=http://m0:2380");
}

TEST_F(RealRegistry, ARegistryThatGoesAwayAndComesBack) {
  SetSize("2");
  absl::Notification waits;
  std::string found;
  std::thread first([&] {
    found = TextOf(Discover(ConfigOf("m0"), [&waits](absl::Duration pause) {
      if (!waits.HasBeenNotified()) waits.Notify();
      return ShortWait(pause);
    }));
  });
  waits.WaitForNotification();
  etcd_.Kill();
  ASSERT_TRUE(etcd_.Start().ok());
  EXPECT_EQ(TextOf(Discover(ConfigOf("m1"), ShortWait)),
            "tok m0=http://m0:2380 m1=http://m1:2380");
  first.join();
  EXPECT_EQ(found, "tok m0=http://m0:2380 m1=http://m1:2380");
}

TEST_F(RealRegistry, StopsWhileItWaits) {
  SetSize("2");
  EXPECT_TRUE(absl::IsCancelled(
      Discover(ConfigOf("m0"), [](absl::Duration) { return true; }).status()));
}

TEST_F(RealRegistry, AMemberOfAnExistingClusterHasNothingToDiscover) {
  Config config = ConfigOf("m0");
  config.initial_cluster_state = "existing";
  EXPECT_EQ(TextOf(Discover(config, ShortWait)),
            "discovery URL should not be set when joining existing initial cluster");
}

// What only etcd can do as yet: users and TLS.
class RealRegistrySecurity : public RealRegistry {
 protected:
  // A key and a certificate for 127.0.0.1, signed by a new authority.
  void MakeCertificate(const std::string& name) {
    std::ofstream(dir_.Path("extensions")) << "subjectAltName=IP:127.0.0.1\n";
    const std::string key = "-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 30 ";
    Shell(absl::StrCat("openssl req -x509 ", key, " -subj /CN=ca -keyout ca-key -out ", name,
                       "-ca.pem"));
    Shell(absl::StrCat("openssl req ", key, " -subj /CN=", name, " -keyout ", name,
                       "-key.pem -out csr"));
    Shell(absl::StrCat("openssl x509 -req -days 30 -in csr -CAcreateserial -CAkey ca-key -CA ",
                       name, "-ca.pem -extfile extensions -out ", name, ".pem"));
  }

  void Shell(const std::string& command) {
    ASSERT_EQ(std::system(
                  absl::StrCat("cd ", dir_.path(), " && ", command, " >/dev/null 2>&1").c_str()),
              0)
        << command;
  }

  void RestartWithTls() {
    MakeCertificate("server");
    etcd_.Stop();
    url_ = absl::StrReplaceAll(etcd_.client_url(), {{"http:", "https:"}});
    const absl::Status started = etcd_.Start({"--listen-client-urls=" + url_,
                                              "--advertise-client-urls=" + url_,
                                              "--cert-file=" + dir_.Path("server.pem"),
                                              "--key-file=" + dir_.Path("server-key.pem"),
                                              "--trusted-ca-file=" + dir_.Path("server-ca.pem"),
                                              "--client-cert-auth"});
    ASSERT_TRUE(started.ok()) << started;
  }

  TlsOptions GoodTls() const {
    return {dir_.Path("server.pem"), dir_.Path("server-key.pem"), dir_.Path("server-ca.pem"),
            false};
  }

  // What a request for the size key comes to: "found", or the error.
  std::string Ask(const std::string& endpoint, const TlsOptions& tls) {
    const auto clock = base::NewSystemClock();
    GrpcClientOptions options;
    options.endpoints = {endpoint};
    options.insecure_transport = false;
    options.tls = tls;
    auto client = GrpcClient::Make(options, *clock);
    if (!client.ok()) return std::string(client.status().message());
    etcdserverpb::RangeRequest request;
    request.set_key(kSizeKey);
    const auto reply =
        (*client)->Call({"/etcdserverpb.KV/Range", request.SerializeAsString(), {}});
    if (!reply.ok()) return reply.status().ToString();
    etcdserverpb::RangeResponse response;
    ETCDD_CHECK(response.ParseFromString(*reply));
    return response.count() == 1 ? "found" : "nothing";
  }

  std::string url_;  // with TLS
};

TEST_F(RealRegistrySecurity, TlsBothWays) {
  SetSize("1");
  RestartWithTls();
  Config config = ConfigOf("m0");
  config.discovery.endpoints = {url_};
  config.discovery.insecure_transport = false;
  config.discovery.cert_file = GoodTls().cert_file;
  config.discovery.key_file = GoodTls().key_file;
  config.discovery.ca_file = GoodTls().ca_file;
  EXPECT_EQ(TextOf(Discover(config, ShortWait)), "tok m0=http://m0:2380");
  // Without a scheme the files decide.
  EXPECT_EQ(Ask(url_.substr(8), GoodTls()), "found");
}

TEST_F(RealRegistrySecurity, TlsThatDoesNotFit) {
  SetSize("1");
  RestartWithTls();
  MakeCertificate("other");

  TlsOptions tls = GoodTls();
  tls.ca_file = dir_.Path("other-ca.pem");
  EXPECT_THAT(Ask(url_, tls), ::testing::AllOf(::testing::HasSubstr("UNAVAILABLE: " + url_),
                                             ::testing::HasSubstr("certificate verify failed")));
  tls.skip_verify = true;
  EXPECT_EQ(Ask(url_, tls), "found");

  // The certificate is one for 127.0.0.1.
  const std::string localhost = absl::StrReplaceAll(url_, {{"127.0.0.1", "localhost"}});
  EXPECT_THAT(Ask(localhost, GoodTls()), ::testing::HasSubstr("ostname mismatch"));

  // A client that the server does not know, and one without a certificate.
  tls = GoodTls();
  tls.cert_file = dir_.Path("other.pem");
  tls.key_file = dir_.Path("other-key.pem");
  EXPECT_THAT(Ask(url_, tls), ::testing::HasSubstr("UNAVAILABLE: "));
  EXPECT_THAT(Ask(url_, {"", "", GoodTls().ca_file, false}), ::testing::HasSubstr("UNAVAILABLE: "));

  // Plain requests to a TLS port.
  EXPECT_THAT(Ask(etcd_.client_url(), {}), ::testing::HasSubstr("UNAVAILABLE: "));
}

TEST_F(RealRegistrySecurity, TlsFilesThatCannotBeUsed) {
  const std::string none = dir_.Path("none");
  EXPECT_THAT(Ask("https://h:1", {"", "", none, false}),
              ::testing::StartsWith("cannot use the CA certificates in " + none));
  EXPECT_THAT(Ask("https://h:1", {none, none, "", false}),
              ::testing::StartsWith("cannot use the certificate in " + none));
  EXPECT_EQ(Ask("https://h:1", {none, "", "", false}),
            "KeyFile and CertFile must both be present[key: , cert: " + none + "]");
  MakeCertificate("one");
  MakeCertificate("two");
  EXPECT_THAT(Ask("https://h:1", {dir_.Path("one.pem"), dir_.Path("two-key.pem"), "", false}),
              ::testing::StartsWith("cannot use the key in " + dir_.Path("two-key.pem")));
}

TEST_F(RealRegistrySecurity, EndpointsThatCannotBeRead) {
  EXPECT_THAT(Ask("", {}), ::testing::StartsWith("endpoint \"\": "));
  EXPECT_THAT(Ask("h", {}), ::testing::StartsWith("endpoint \"h\": "));
  EXPECT_EQ(Ask("http://:1", {}), "endpoint \"http://:1\" must name a host and a port");
  EXPECT_EQ(Ask("unix://p", {}), "endpoint \"unix://p\" must name a host and a port");
  EXPECT_THAT(Ask("ftp://h:1", {}), ::testing::StartsWith("endpoint \"ftp://h:1\": "));
}

TEST_F(RealRegistrySecurity, Users) {
  SetSize("1");
  Config config = ConfigOf("m0");
  config.discovery.user = "root";
  config.discovery.password = "secret";
  // Without authentication a user does not matter.
  EXPECT_EQ(TextOf(Discover(config, ShortWait)), "tok m0=http://m0:2380");

  etcd_.Ctl("user add root:secret");
  etcd_.Ctl("user grant-role root root");
  ASSERT_THAT(etcd_.Ctl("auth enable"), ::testing::HasSubstr("Authentication Enabled"));
  EXPECT_EQ(TextOf(Discover(config, ShortWait)), "tok m0=http://m0:2380");

  config.discovery.password = "wrong";
  EXPECT_EQ(TextOf(Discover(config, ShortWait)),
            "failed to join discovery cluster (etcdserver: authentication failed, invalid user ID "
            "or password)");
  config.discovery.user.clear();
  EXPECT_EQ(TextOf(Discover(config, ShortWait)),
            "failed to join discovery cluster (etcdserver: user name is empty)");
}

// A restart forgets the simple tokens that were handed out.
TEST_F(RealRegistrySecurity, ATokenThatIsNoLongerKnownIsReplaced) {
  SetSize("2");
  etcd_.Ctl("user add root:secret");
  etcd_.Ctl("user grant-role root root");
  ASSERT_THAT(etcd_.Ctl("auth enable"), ::testing::HasSubstr("Authentication Enabled"));
  Config config = ConfigOf("m0");
  config.discovery.user = "root";
  config.discovery.password = "secret";
  int pauses = 0;
  EXPECT_EQ(TextOf(Discover(config,
                            [&](absl::Duration) {
                              if (++pauses == 1) {
                                etcd_.Stop();
                                ETCDD_CHECK(etcd_.Start().ok());
                              }
                              if (pauses == 2) {
                                etcd_.Ctl(
                                    "--user root:secret put /_etcd/registry/tok/members/1 "
                                    "m1=http://m1:2380");
                              }
                              return pauses > 20;
                            })),
            "tok m0=http://m0:2380 m1=http://m1:2380");
}

}  // namespace
}  // namespace etcdd::discovery
