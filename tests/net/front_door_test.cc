// The front door on real sockets: loopback ports the kernel chose, unix sockets, and independent
// clients (Python's gRPC, curl) where they are installed.

#include "server/net/front_door.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <future>
#include <memory>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "server/base/clock.h"
#include "server/net/health_service.h"
#include "tests/net/echo_service.h"
#include "tests/net/http2_fixture.h"

namespace etcdd::net {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::StartsWith;

uint16_t PortOf(const std::string& address) {
  uint32_t port = 0;
  EXPECT_TRUE(absl::SimpleAtoi(address.substr(address.rfind(':') + 1), &port));
  return static_cast<uint16_t>(port);
}

// A plain blocking client socket with a timeout, so that a broken server fails the test.
class PlainSocket {
 public:
  explicit PlainSocket(uint16_t port) : fd_(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(port);
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    Connect(reinterpret_cast<sockaddr*>(&address), sizeof address);
  }
  explicit PlainSocket(const std::string& path)
      : fd_(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    path.copy(address.sun_path, sizeof address.sun_path - 1);
    Connect(reinterpret_cast<sockaddr*>(&address), sizeof address);
  }
  ~PlainSocket() { ::close(fd_); }
  PlainSocket(const PlainSocket&) = delete;
  PlainSocket& operator=(const PlainSocket&) = delete;

  bool connected() const { return connected_; }
  void Write(std::string_view bytes) {
    while (!bytes.empty()) {
      const ssize_t sent = ::send(fd_, bytes.data(), bytes.size(), MSG_NOSIGNAL);
      if (sent <= 0) return;
      bytes.remove_prefix(static_cast<size_t>(sent));
    }
  }
  // Some bytes; "" at the end of the connection.
  std::string ReadSome() {
    std::array<char, 65536> buffer;
    const ssize_t got = ::recv(fd_, buffer.data(), buffer.size(), 0);
    EXPECT_TRUE(got >= 0 || errno == ECONNRESET) << "the server neither answers nor closes";
    return got <= 0 ? std::string() : std::string(buffer.data(), static_cast<size_t>(got));
  }
  std::string ReadUntil(std::string_view end) {
    std::string all;
    while (!absl::StrContains(all, absl::string_view(end.data(), end.size()))) {
      const std::string some = ReadSome();
      if (some.empty()) break;
      all += some;
    }
    return all;
  }
  std::string ReadAll() {
    std::string all;
    for (std::string some = ReadSome(); !some.empty(); some = ReadSome()) all += some;
    return all;
  }

 private:
  void Connect(const sockaddr* address, socklen_t size) {
    const timeval timeout{20, 0};
    ::setsockopt(fd_, SOL_SOCKET, SO_RCVTIMEO, &timeout, sizeof timeout);
    connected_ = ::connect(fd_, address, size) == 0;
  }
  const int fd_;
  bool connected_ = false;
};

// A front door on a loop thread of its own.
class FrontDoorTest : public ::testing::Test {
 protected:
  void Start(FrontDoorOptions options = {},
             std::vector<std::string> urls = {"http://127.0.0.1:0"}) {
    options.http2.dispatcher = &health_;
    options.http1.handler = &http1_;
    health_.SetServing(true);
    door_ = std::make_unique<FrontDoor>(&loop_, std::move(options));
    for (const std::string& url : urls) {
      const absl::Status status = door_->Listen(url);
      ASSERT_TRUE(status.ok()) << status;
    }
    addresses_ = door_->addresses();
    thread_ = std::thread([this] { loop_.Run(); });
  }
  void TearDown() override {
    if (thread_.joinable()) {
      loop_.Stop();
      thread_.join();
    }
    door_.reset();
  }
  // Runs `function` on the loop and returns its result.
  template <typename Function>
  auto OnLoop(Function function) {
    // Shared: set_value may still be running when this thread has the result.
    auto promise = std::make_shared<std::promise<decltype(function())>>();
    auto result = promise->get_future();
    loop_.Post([&function, promise] { promise->set_value(function()); });
    return result.get();
  }
  // Asks the loop again and again until `done` holds; fails the test after 20 s.
  void Await(const std::function<bool()>& done) {
    const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(20);
    while (!OnLoop(done)) {
      ASSERT_LT(std::chrono::steady_clock::now(), end);
      std::this_thread::yield();
    }
  }
  // What a second front door is told that wants to listen on `url`.
  absl::Status ListenAgain(const std::string& url) {
    return OnLoop([&] {
      FrontDoor second(&loop_, FrontDoorOptions());
      return second.Listen(url);
    });
  }
  uint16_t port() const { return PortOf(addresses_.at(0)); }

  // Runs a client conversation over a socket until `done`.
  static void Talk(PlainSocket* socket, TestClient* client, const std::function<bool()>& done) {
    while (!done()) {
      socket->Write(client->TakeOutput());
      if (done()) return;
      const std::string bytes = socket->ReadSome();
      ASSERT_FALSE(bytes.empty());
      ASSERT_TRUE(client->Feed(bytes));
    }
  }

  std::unique_ptr<base::Clock> clock_ = base::NewSystemClock();
  EventLoop loop_{clock_.get()};
  EchoService echo_;
  HealthService health_{&echo_};
  std::vector<std::shared_ptr<Http1Exchange>> held_;
  int http1_cancelled_ = 0;
  Http1Handler http1_ = [this](std::shared_ptr<Http1Exchange> exchange) {
    const Http1Request& request = exchange->request();
    Http1Response response;
    response.content_type = "text/plain; charset=utf-8";
    if (request.target == "/hold") {
      exchange->OnCancel([this] { ++http1_cancelled_; });
      held_.push_back(exchange);
    } else if (request.target == "/stream") {
      exchange->StartStream(response);
      exchange->Write("one\n");
      exchange->Write("two\n");
      exchange->End();
    } else {
      response.headers.emplace_back("X-Host", request.header("host"));
      response.body = absl::StrCat(request.method, " ", request.target, " ", request.body);
      exchange->Respond(response);
    }
  };
  std::unique_ptr<FrontDoor> door_;
  std::vector<std::string> addresses_;
  std::thread thread_;
};

TEST_F(FrontDoorTest, ServesGrpcAndHttp1OnOnePort) {
  Start();
  PlainSocket grpc(port());
  TestClient client;
  const int32_t id = client.Call("/test.Echo/Unary", "over tcp");
  Talk(&grpc, &client, [&] { return client.stream(id).closed; });
  EXPECT_THAT(client.stream(id).messages(), ElementsAre("over tcp"));

  PlainSocket http(port());
  http.Write("GET /version HTTP/1.1\r\nHost: me\r\n\r\n");
  const std::string first = http.ReadUntil("GET /version ");
  EXPECT_THAT(first, StartsWith("HTTP/1.1 200 OK\r\n"));
  EXPECT_THAT(first, HasSubstr("X-Host: me\r\n"));
  EXPECT_THAT(first, HasSubstr("Content-Length: 13\r\n"));
  // The connection stays: a body in chunks, then two requests in one packet.
  http.Write(
      "POST /a HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n"
      "3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n");
  EXPECT_THAT(http.ReadUntil("abcde"), HasSubstr("POST /a abcde"));
  http.Write("GET /stream HTTP/1.1\r\n\r\nGET /last HTTP/1.1\r\nConnection: close\r\n\r\n");
  const std::string rest = http.ReadAll();
  EXPECT_THAT(rest, HasSubstr("Transfer-Encoding: chunked\r\n"));
  EXPECT_THAT(rest, HasSubstr("\r\n\r\n4\r\none\n\r\n4\r\ntwo\n\r\n0\r\n\r\nHTTP/1.1 200 OK"));
  EXPECT_THAT(rest, HasSubstr("GET /last "));
}

TEST_F(FrontDoorTest, ProtocolIsFoundByteByByte) {
  Start();
  TestClient client;
  const int32_t id = client.Call("/test.Echo/Unary", "slowly");
  PlainSocket grpc(port());
  for (const char byte : client.TakeOutput()) grpc.Write(std::string_view(&byte, 1));
  Talk(&grpc, &client, [&] { return client.stream(id).closed; });
  EXPECT_THAT(client.stream(id).messages(), ElementsAre("slowly"));
  PlainSocket http(port());
  for (const char byte : std::string("PUT /x HTTP/1.0\r\nContent-Length: 2\r\n\r\nok")) {
    http.Write(std::string_view(&byte, 1));
  }
  EXPECT_THAT(http.ReadAll(), HasSubstr("PUT /x ok"));
}

TEST_F(FrontDoorTest, UnixSockets) {
  const std::string path = absl::StrCat(::testing::TempDir(), "/front_door_", ::getpid(), ".sock");
  Start({}, {absl::StrCat("unix://", path)});
  EXPECT_THAT(addresses_, ElementsAre(path));
  {
    PlainSocket grpc(path);
    TestClient client;
    const int32_t id = client.Call("/test.Echo/Unary", "over a unix socket");
    Talk(&grpc, &client, [&] { return client.stream(id).closed; });
    EXPECT_THAT(client.stream(id).messages(), ElementsAre("over a unix socket"));
    // A second server does not take the socket away.
    const absl::Status status = ListenAgain(absl::StrCat("unix://", path));
    EXPECT_EQ(status.message(),
              absl::StrCat("listen unix ", path, ": bind: address already in use"));
  }
  TearDown();
  EXPECT_NE(::access(path.c_str(), F_OK), 0);
}

TEST_F(FrontDoorTest, AStaleUnixSocketIsReplaced) {
  const std::string path = absl::StrCat(::testing::TempDir(), "/stale_", ::getpid(), ".sock");
  const int fd = ::socket(AF_UNIX, SOCK_STREAM, 0);
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  path.copy(address.sun_path, sizeof address.sun_path - 1);
  ASSERT_EQ(::bind(fd, reinterpret_cast<sockaddr*>(&address), sizeof address), 0);
  ::close(fd);
  Start({}, {absl::StrCat("unix://", path)});
  EXPECT_TRUE(PlainSocket(path).connected());
}

TEST_F(FrontDoorTest, SeveralUrlsAndIpv6) {
  const int probe = ::socket(AF_INET6, SOCK_STREAM, 0);
  sockaddr_in6 address{};
  address.sin6_family = AF_INET6;
  address.sin6_addr = in6addr_loopback;
  const bool ipv6 =
      probe >= 0 && ::bind(probe, reinterpret_cast<sockaddr*>(&address), sizeof address) == 0;
  if (probe >= 0) ::close(probe);
  if (!ipv6) GTEST_SKIP() << "this machine has no IPv6 loopback";
  Start({}, {"http://127.0.0.1:0", "http://[::1]:0", "http://:0"});
  ASSERT_EQ(addresses_.size(), 3u);
  EXPECT_THAT(addresses_[0], StartsWith("127.0.0.1:"));
  EXPECT_THAT(addresses_[1], StartsWith("[::1]:"));
  // The wildcard takes IPv4 as well.
  EXPECT_TRUE(PlainSocket(PortOf(addresses_[2])).connected());
}

TEST_F(FrontDoorTest, BindErrorsReadLikeEtcds) {
  Start();
  const absl::Status status = ListenAgain(absl::StrCat("http://127.0.0.1:", port()));
  EXPECT_EQ(status.message(),
            absl::StrCat("listen tcp 127.0.0.1:", port(), ": bind: address already in use"));
  EXPECT_THAT(std::string(ListenAgain("http://192.0.2.77:1").message()),
              HasSubstr("bind: cannot assign requested address"));
  EXPECT_FALSE(ListenAgain("https://127.0.0.1:0").ok());
}

TEST_F(FrontDoorTest, GarbageClosesTheConnectionAndNothingElse) {
  Start();
  for (const std::string& garbage :
       {std::string("\x16\x03\x01\x02\x00\x01\x00\x01\xfc", 9), std::string("PRIVATE\r\n\r\n"),
        std::string("\0\0\0\0\0\0\0\0", 8), std::string("hello\r\n\r\n"),
        std::string(200'000, 'A'), std::string("GET / HTTP/9.9\r\n\r\n"),
        std::string("GET /\xff\x01 HTTP/1.1\r\nbad header\r\n\r\n")}) {
    PlainSocket socket(port());
    socket.Write(garbage);
    const std::string answer = socket.ReadAll();  // returns only when the server closes
    if (!answer.empty() && answer[0] == 'H') {
      EXPECT_THAT(answer, ::testing::ContainsRegex("^HTTP/1.1 4[0-9][0-9] "));
    }
  }
  PlainSocket after(port());
  after.Write("GET /fine HTTP/1.0\r\n\r\n");
  EXPECT_THAT(after.ReadAll(), HasSubstr("GET /fine "));
}

TEST_F(FrontDoorTest, LimitsOfHttp1Requests) {
  FrontDoorOptions options;
  options.http1.body_bytes_max = 1000;
  Start(options);
  PlainSocket body(port());
  body.Write("POST / HTTP/1.1\r\nContent-Length: 1001\r\n\r\n");
  EXPECT_THAT(body.ReadAll(), StartsWith("HTTP/1.1 413 "));
  PlainSocket header(port());
  header.Write("GET / HTTP/1.1\r\nX: " + std::string(70'000, 'x'));
  EXPECT_THAT(header.ReadAll(), StartsWith("HTTP/1.1 431 "));
  PlainSocket expect(port());
  expect.Write("POST /e HTTP/1.1\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\n");
  EXPECT_THAT(expect.ReadUntil("\r\n\r\n"), StartsWith("HTTP/1.1 100 Continue\r\n"));
  expect.Write("ok");
  EXPECT_THAT(expect.ReadUntil("POST /e ok"), HasSubstr("HTTP/1.1 200 OK"));
  PlainSocket head(port());
  head.Write("HEAD /h HTTP/1.0\r\n\r\n");
  const std::string answer = head.ReadAll();
  EXPECT_THAT(answer, HasSubstr("Content-Length: 8\r\n"));
  EXPECT_THAT(answer, ::testing::EndsWith("\r\n\r\n"));
}

TEST_F(FrontDoorTest, ASlowHttp1RequestIsCutOff) {
  FrontDoorOptions options;
  options.http1.request_wait_max = absl::Milliseconds(50);
  Start(options);
  PlainSocket slow(port());
  slow.Write("GET /slow HTTP/1.1\r\n");
  EXPECT_EQ(slow.ReadAll(), "");
}

TEST_F(FrontDoorTest, AClientThatHangsUpCancelsItsRequests) {
  Start();
  {
    PlainSocket http(port());
    http.Write("GET /hold HTTP/1.1\r\n\r\n");
    PlainSocket grpc(port());
    TestClient client;
    client.Call("/test.Echo/Hold", "x");
    grpc.Write(client.TakeOutput());
    Await([&] { return held_.size() == 1 && echo_.held().size() == 1; });
  }
  Await([&] { return http1_cancelled_ == 1 && echo_.cancelled == 1; });
  Await([&] { return door_->connections() == 0; });
  OnLoop([&] {
    held_[0]->Respond(Http1Response());
    echo_.ReleaseHeld();
    return true;
  });
}

TEST_F(FrontDoorTest, MoreConnectionsThanAllowedWait) {
  FrontDoorOptions options;
  options.connections_max = 2;
  Start(options);
  auto first = std::make_unique<PlainSocket>(port());
  PlainSocket second(port());
  Await([&] { return door_->connections() == 2; });
  PlainSocket third(port());
  third.Write("GET /third HTTP/1.0\r\n\r\n");
  second.Write("GET /second HTTP/1.1\r\n\r\n");
  EXPECT_THAT(second.ReadUntil("GET /second "), HasSubstr("GET /second "));
  EXPECT_EQ(OnLoop([&] { return door_->connections(); }), 2u);
  first.reset();
  EXPECT_THAT(third.ReadAll(), HasSubstr("GET /third "));
}

TEST_F(FrontDoorTest, OutOfFileDescriptorsPausesAndRecovers) {
#ifdef __SANITIZE_ADDRESS__
  GTEST_SKIP() << "UBSan's vptr check opens pipes itself and misreports without descriptors";
#endif
  Start();
  rlimit before{};
  ASSERT_EQ(::getrlimit(RLIMIT_NOFILE, &before), 0);
  PlainSocket waiting(port());  // has its descriptor already
  Await([&] { return door_->connections() == 1; });
  const int client = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  const int highest = ::dup(0);
  rlimit low = before;
  low.rlim_cur = static_cast<rlim_t>(highest) + 1;
  ASSERT_EQ(::setrlimit(RLIMIT_NOFILE, &low), 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(port());
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  ASSERT_EQ(::connect(client, reinterpret_cast<sockaddr*>(&address), sizeof address), 0);
  // The other connection is served meanwhile, and the loop does not spin on the listener.
  waiting.Write("GET /meanwhile HTTP/1.1\r\n\r\n");
  EXPECT_THAT(waiting.ReadUntil("GET /meanwhile "), HasSubstr("GET /meanwhile "));
  EXPECT_EQ(OnLoop([&] { return door_->connections(); }), 1u);
  ASSERT_EQ(::setrlimit(RLIMIT_NOFILE, &before), 0);
  ::close(highest);
  Await([&] { return door_->connections() == 2; });
  ::close(client);
}

TEST_F(FrontDoorTest, ALargeReplyToASlowReaderArrivesWhole) {
  Start();
  PlainSocket grpc(port());
  TestClient client(INT32_MAX);
  const int32_t id = client.Call("/test.Echo/Big", "50000000");
  grpc.Write(client.TakeOutput());
  Await([&] { return echo_.calls == 1; });
  // Nothing was read so far; the reply waits in part in our buffers.
  Talk(&grpc, &client, [&] { return client.stream(id).closed; });
  EXPECT_THAT(client.stream(id).messages(), ElementsAre(std::string(50'000'000, 'b')));
}

TEST_F(FrontDoorTest, DrainWaitsForCallsThenCloses) {
  Start();
  PlainSocket grpc(port());
  TestClient client;
  const int32_t id = client.Call("/test.Echo/Hold", "last words");
  grpc.Write(client.TakeOutput());
  PlainSocket idle(port());
  Await([&] { return echo_.held().size() == 1 && door_->connections() == 2; });
  auto drained = std::make_shared<std::promise<void>>();
  OnLoop([&] {
    door_->Drain(absl::Seconds(30), [drained] { drained->set_value(); });
    return true;
  });
  EXPECT_EQ(idle.ReadAll(), "");
  EXPECT_FALSE(PlainSocket(port()).connected());
  Talk(&grpc, &client, [&] { return client.goaways().size() == 2; });
  OnLoop([&] {
    echo_.ReleaseHeld();
    return true;
  });
  Talk(&grpc, &client, [&] { return client.stream(id).closed; });
  EXPECT_THAT(client.stream(id).messages(), ElementsAre("last words"));
  EXPECT_EQ(grpc.ReadAll(), "");
  drained->get_future().get();
}

TEST_F(FrontDoorTest, DrainEndsAtItsLimit) {
  Start();
  PlainSocket grpc(port());
  TestClient client;
  client.Call("/test.Echo/Hold", "never answered");
  grpc.Write(client.TakeOutput());
  Await([&] { return echo_.held().size() == 1; });
  auto drained = std::make_shared<std::promise<void>>();
  OnLoop([&] {
    door_->Drain(absl::Milliseconds(50), [drained] { drained->set_value(); });
    return true;
  });
  drained->get_future().get();
  EXPECT_EQ(OnLoop([&] { return echo_.cancelled; }), 1);
}

// Output of a shell command, and its exit status.
std::pair<int, std::string> Shell(const std::string& command) {
  FILE* pipe = ::popen((command + " 2>&1").c_str(), "r");
  if (pipe == nullptr) return {-1, ""};
  std::string output;
  std::array<char, 4096> buffer;
  while (const size_t got = std::fread(buffer.data(), 1, buffer.size(), pipe)) {
    output.append(buffer.data(), got);
  }
  return {::pclose(pipe), output};
}

TEST_F(FrontDoorTest, PythonGrpcClient) {
  if (Shell("/usr/bin/python3 -c 'import grpc'").first != 0) {
    GTEST_SKIP() << "python3-grpcio is not installed";
  }
  Start();
  const auto [status, output] =
      Shell(absl::StrCat("/usr/bin/python3 tests/net/grpc_client.py ", addresses_[0]));
  EXPECT_EQ(status, 0) << output;
  EXPECT_THAT(output, HasSubstr("all passed"));
}

TEST_F(FrontDoorTest, Etcdctl) {
  if (Shell("command -v etcdctl").first != 0) GTEST_SKIP() << "etcdctl is not installed";
  Start();
  // The echo service has no KV: what counts is that etcd's own client understands the answer.
  const auto [status, output] =
      Shell(absl::StrCat("ETCDCTL_API=3 etcdctl --endpoints=", addresses_[0], " get key"));
  EXPECT_NE(status, 0);
  EXPECT_THAT(output, HasSubstr("code = Unimplemented desc = unknown service etcdserverpb.KV"));
}

TEST_F(FrontDoorTest, Curl) {
  if (Shell("curl --version | grep -q HTTP2").first != 0) {
    GTEST_SKIP() << "curl with HTTP/2 is not installed";
  }
  Start();
  EXPECT_EQ(Shell(absl::StrCat("curl -sS http://", addresses_[0], "/version")).second,
            "GET /version ");
  EXPECT_EQ(Shell(absl::StrCat("curl -sS -d body http://", addresses_[0], "/p")).second,
            "POST /p body");
  EXPECT_EQ(Shell(absl::StrCat("curl -sS http://", addresses_[0], "/stream")).second,
            "one\ntwo\n");
  const std::string grpc = Shell(absl::StrCat(
      "printf '\\000\\000\\000\\000\\005hello' | curl -sS -i --http2-prior-knowledge -H "
      "'content-type: application/grpc' --data-binary @- http://",
      addresses_[0], "/test.Echo/Unary | tr -d '\\000'")).second;
  EXPECT_THAT(grpc, StartsWith("HTTP/2 200"));
  EXPECT_THAT(grpc, HasSubstr("hello"));
  EXPECT_THAT(grpc, HasSubstr("grpc-status: 0"));
  EXPECT_THAT(Shell(absl::StrCat("curl -sS -i --http2-prior-knowledge http://", addresses_[0],
                                 "/health"))
                  .second,
              StartsWith("HTTP/2 405"));
}

}  // namespace
}  // namespace etcdd::net
