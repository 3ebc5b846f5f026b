// The HTTP/1.1 client against a front door on loopback, and against a server the test plays byte by
// byte.

#include "server/net/http1_client.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "server/base/check.h"
#include "server/base/clock.h"
#include "server/net/front_door.h"

namespace etcdd::net {
namespace {

using ::testing::HasSubstr;
using ::testing::StartsWith;

struct Answer final : Http1AnswerHandler {
  void OnHead(int s, const Http1Headers& h) override {
    status = s;
    headers = h;
  }
  void OnBody(std::string_view piece) override {
    body += piece;
    if (on_body) on_body();
  }
  void OnEnd() override { ended = true; }
  void OnFailed(const absl::Status& s) override { failure = s; }
  void OnWritable() override { ++writable; }
  bool over() const { return ended || !failure.ok(); }

  int status = 0;
  Http1Headers headers;
  std::string body;
  std::function<void()> on_body;
  bool ended = false;
  absl::Status failure;
  int writable = 0;
};

// A listening socket whose connections the test answers by hand.
class HandServer {
 public:
  HandServer() : fd_(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t size = sizeof address;
    auto* const where = reinterpret_cast<sockaddr*>(&address);
    ETCDD_CHECK(::bind(fd_, where, size) == 0 && ::listen(fd_, 8) == 0);
    ETCDD_CHECK(::getsockname(fd_, where, &size) == 0);
    port_ = ntohs(address.sin_port);
  }
  ~HandServer() {
    ::close(fd_);
    Hang();
  }
  std::string url() const { return absl::StrCat("http://127.0.0.1:", port_); }
  void Accept() { connection_ = ::accept4(fd_, nullptr, nullptr, SOCK_CLOEXEC); }
  void Write(std::string_view bytes) {
    ETCDD_CHECK(::send(connection_, bytes.data(), bytes.size(), MSG_NOSIGNAL) ==
                static_cast<ssize_t>(bytes.size()));
  }
  // In good order: closing with unread bytes would be a reset.
  void Hang() {
    if (connection_ < 0) return;
    char unread[4096];
    while (::recv(connection_, unread, sizeof unread, MSG_DONTWAIT) > 0) {
    }
    ::close(std::exchange(connection_, -1));
  }

 private:
  const int fd_;
  int port_ = 0;
  int connection_ = -1;
};

class Http1ClientTest : public ::testing::Test {
 protected:
  std::shared_ptr<Http1Client> Client(const std::string& url) {
    Http1Client::Options options;
    options.dialer = &dialer_;
    const auto target = ParseDialUrl(url);
    EXPECT_TRUE(target.ok()) << target.status();
    if (target.ok()) options.target = *target;
    options.idle_wait_max = idle_wait_max_;
    return Http1Client::New(std::move(options));
  }
  static Http1ClientRequest Get(std::string target) {
    Http1ClientRequest request;
    request.target = std::move(target);
    return request;
  }
  bool Await(const std::function<bool()>& done) {
    const absl::Duration end = clock_->Monotonic() + absl::Seconds(20);
    while (!done() && clock_->Monotonic() < end) loop_.RunTurn(absl::Milliseconds(10));
    return done();
  }
  void StartDoor() {
    FrontDoorOptions options;
    options.http1.handler = &handler_;
    door_ = std::make_unique<FrontDoor>(&loop_, std::move(options));
    ETCDD_CHECK(door_->Listen("http://127.0.0.1:0").ok());
  }
  std::string url() const { return "http://" + door_->addresses().at(0); }

  std::unique_ptr<base::Clock> clock_ = base::NewSystemClock();
  EventLoop loop_{clock_.get()};
  std::unique_ptr<base::Strand> resolver_ = base::NewThreadStrand("resolver");
  Dialer dialer_{{&loop_, resolver_.get(), nullptr}};
  absl::Duration idle_wait_max_ = absl::Seconds(5);
  Http1Handler handler_ = [](std::shared_ptr<Http1Exchange> exchange) {
    const Http1Request& request = exchange->request();
    if (request.target == "/endless") {
      exchange->StartStream({});
      exchange->Write("one");
      exchange->Write("two");
      return;
    }
    exchange->Respond({200, "text/plain", {{"X-Host", std::string(request.header("host"))}},
                       absl::StrCat(request.method, " ", request.target, " ", request.body)});
  };
  std::unique_ptr<FrontDoor> door_;
};

TEST_F(Http1ClientTest, RequestsOneAfterTheOtherShareAConnection) {
  StartDoor();
  const auto client = Client(url());
  for (int i = 0; i < 3; ++i) {
    Answer answer;
    Http1ClientRequest request = Get("/path");
    request.method = "POST";
    request.body.Append("body");
    client->Send(std::move(request), &answer);
    ASSERT_TRUE(Await([&] { return answer.over(); }));
    EXPECT_EQ(answer.status, 200);
    EXPECT_EQ(answer.body, "POST /path body");
    EXPECT_EQ("http://" + std::string(FindHeader(answer.headers, "x-host")), url());
    EXPECT_EQ(door_->connections(), 1u);
  }
}

TEST_F(Http1ClientTest, ABodyInPieces) {
  StartDoor();
  const auto client = Client(url());
  Answer answer;
  Http1ClientRequest request = Get("/p");
  request.method = "POST";
  request.streamed = true;
  client->Send(std::move(request), &answer);
  for (const char* text : {"a", "bc", ""}) {
    OutputBuffer piece;
    piece.Append(text);
    EXPECT_TRUE(client->WriteBody(&piece));
  }
  client->EndBody();
  ASSERT_TRUE(Await([&] { return answer.over(); }));
  EXPECT_EQ(answer.body, "POST /p abc");
}

TEST_F(Http1ClientTest, NamesAreLookedUp) {
  StartDoor();
  const std::string address = door_->addresses().at(0);
  const auto client = Client("http://localhost" + address.substr(address.rfind(':')));
  Answer answer;
  client->Send(Get("/"), &answer);
  ASSERT_TRUE(Await([&] { return answer.over(); }));
  EXPECT_EQ(answer.body, "GET / ");
}

TEST_F(Http1ClientTest, AnEndlessAnswerComesInPiecesAndMayBeClosedInside) {
  StartDoor();
  auto client = Client(url());
  Answer answer;
  answer.on_body = [&] {
    client->Close();
    client.reset();
  };
  client->Send(Get("/endless"), &answer);
  ASSERT_TRUE(Await([&] { return client == nullptr; }));
  EXPECT_EQ(answer.body, "one") << "nothing after Close";
  ASSERT_TRUE(Await([&] { return door_->connections() == 0; }));
  EXPECT_FALSE(answer.over());
}

TEST_F(Http1ClientTest, ErrorsNameWhatFailed) {
  Answer refused;
  const auto client = Client("http://127.0.0.1:1");
  client->Send(Get("/"), &refused);
  EXPECT_FALSE(refused.over()) << "not from within Send";
  ASSERT_TRUE(Await([&] { return refused.over(); }));
  EXPECT_EQ(refused.failure.message(), "dial tcp 127.0.0.1:1: connect: connection refused");
  EXPECT_TRUE(client->idle());

  Answer tls;
  const auto https = Client("https://127.0.0.1:1");
  https->Send(Get("/"), &tls);
  ASSERT_TRUE(Await([&] { return tls.over(); }));
  EXPECT_EQ(tls.failure.message(), "dial tcp 127.0.0.1:1: no TLS configured");

  Answer unknown;
  const auto nobody = Client("http://no-such-host.invalid:1");
  nobody->Send(Get("/"), &unknown);
  ASSERT_TRUE(Await([&] { return unknown.over(); }));
  EXPECT_THAT(std::string(unknown.failure.message()),
              StartsWith("dial tcp: lookup no-such-host.invalid: "));
}

TEST_F(Http1ClientTest, ASilentServerTimesOut) {
  idle_wait_max_ = absl::Milliseconds(50);
  HandServer server;
  const auto client = Client(server.url());
  Answer answer;
  client->Send(Get("/"), &answer);
  ASSERT_TRUE(Await([&] { return answer.over(); }));
  EXPECT_THAT(std::string(answer.failure.message()), HasSubstr("i/o timeout"));
}

TEST_F(Http1ClientTest, AnswersInOddShapes) {
  struct Case {
    std::string bytes;
    bool hang;
    int status;  // 0: it fails
    std::string body;
  };
  const std::vector<Case> cases = {
      {"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc", false, 200, "abc"},
      {"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 204 No Content\r\n\r\n", false, 204, ""},
      {"HTTP/1.0 200 OK\r\n\r\nuntil the end", true, 200, "until the end"},
      {"HTTP/1.1 200 OK\r\nContent-Length: 30\r\n\r\nabc", true, 0, ""},
      {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n", true, 0, ""},
      {"no HTTP at all\r\n\r\n", false, 0, ""},
      {"", true, 0, ""},
  };
  for (const Case& test : cases) {
    for (const size_t piece : {size_t{1}, size_t{1000}}) {
      HandServer server;
      const auto client = Client(server.url());
      Answer answer;
      client->Send(Get("/"), &answer);
      for (int i = 0; i < 3; ++i) loop_.RunTurn(absl::ZeroDuration());
      server.Accept();
      for (size_t at = 0; at < test.bytes.size(); at += piece) {
        server.Write(std::string_view(test.bytes).substr(at, piece));
        loop_.RunTurn(absl::Milliseconds(1));
      }
      if (test.hang) server.Hang();
      ASSERT_TRUE(Await([&] { return answer.over(); })) << test.bytes;
      EXPECT_EQ(answer.ended, test.status != 0) << test.bytes;
      if (!answer.ended) continue;
      EXPECT_EQ(answer.status, test.status);
      EXPECT_EQ(answer.body, test.body);
    }
  }
}

TEST_F(Http1ClientTest, AConnectionThatWasClosedMeanwhileIsDialledAgain) {
  HandServer server;
  const auto client = Client(server.url());
  const std::string reply = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";
  for (int i = 0; i < 2; ++i) {
    Answer answer;
    client->Send(Get("/"), &answer);
    for (int turn = 0; turn < 3; ++turn) loop_.RunTurn(absl::ZeroDuration());
    server.Accept();
    server.Write(reply);
    ASSERT_TRUE(Await([&] { return answer.over(); }));
    EXPECT_TRUE(answer.ended) << answer.failure;
    server.Hang();
    for (int turn = 0; turn < 3; ++turn) loop_.RunTurn(absl::Milliseconds(5));
  }
}

TEST_F(Http1ClientTest, AServerThatReadsNothingHoldsTheBodyBack) {
  HandServer server;
  const auto client = Client(server.url());
  Answer answer;
  Http1ClientRequest request = Get("/");
  request.method = "POST";
  request.streamed = true;
  client->Send(std::move(request), &answer);
  const auto shared = std::make_shared<const std::string>(100'000, 'x');
  bool more = true;
  for (int i = 0; i < 1000 && more; ++i) {
    PieceOwner owner;
    owner.text = shared;
    OutputBuffer piece;
    piece.AppendShared(*shared, owner);
    more = client->WriteBody(&piece);
    loop_.RunTurn(absl::ZeroDuration());
  }
  EXPECT_FALSE(more) << "100 MB went nowhere";
  EXPECT_LT(client->queued_bytes(), size_t{2} << 20);
  client->Close();
}

TEST(DialUrl, FormsAndErrors) {
  const auto target = ParseDialUrl("http://[::1]:2380/ignored");
  ASSERT_TRUE(target.ok());
  EXPECT_EQ(target->host, "::1");
  EXPECT_EQ(target->port, 2380);
  EXPECT_EQ(target->authority, "[::1]:2380");
  EXPECT_FALSE(target->tls);
  EXPECT_EQ(ParseDialUrl("https://host")->port, 443);
  EXPECT_TRUE(ParseDialUrl("https://host")->tls);
  for (const char* bad : {"", "host:1", "unix:///x", "http://", "http://h:0", "http://h:65536",
                          "http://h:1x", "http://[::1", "http://[::1]x", "http://:1"}) {
    EXPECT_FALSE(ParseDialUrl(bad).ok()) << bad;
  }
}

}  // namespace
}  // namespace etcdd::net
