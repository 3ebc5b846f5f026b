// The life of an HTTP/2 connection: pings, GOAWAY, draining, floods and garbage.

#include <algorithm>
#include <random>
#include <string>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "server/net/health_service.h"
#include "server/net/limits.h"
#include "tests/net/http2_fixture.h"

namespace etcdd::net {
namespace {

using ::testing::ElementsAre;

TEST(Http2SessionTest, PingsTooOftenEndTheConnection) {
  Http2Pair pair;
  pair.client.Call("/test.Echo/Hold", "x");
  pair.Exchange();
  // The first ping counts from nothing, then three strikes.
  for (int i = 0; i < 3; ++i) {
    pair.client.Ping();
    pair.Exchange();
    pair.server.Advance(absl::Seconds(1));
  }
  EXPECT_TRUE(pair.client.goaways().empty());
  EXPECT_EQ(pair.client.ping_acks(), 3);
  pair.client.Ping();
  pair.Exchange();
  ASSERT_EQ(pair.client.goaways().size(), 1u);
  EXPECT_EQ(pair.client.goaways()[0].error_code,
            static_cast<uint32_t>(NGHTTP2_ENHANCE_YOUR_CALM));
  EXPECT_EQ(pair.client.goaways()[0].debug, "too_many_pings");
  EXPECT_TRUE(pair.server.finished());
}

TEST(Http2SessionTest, PingsThatKeepTheIntervalAreFine) {
  Http2Pair pair;
  pair.client.Call("/test.Echo/Hold", "x");
  pair.Exchange();
  for (int i = 0; i < 50; ++i) {
    pair.client.Ping();
    pair.Exchange();
    pair.server.Advance(absl::Seconds(5));
  }
  EXPECT_EQ(pair.client.ping_acks(), 50);
  EXPECT_TRUE(pair.client.goaways().empty());
}

TEST(Http2SessionTest, PingsWithoutStreamsAreStrikes) {
  Http2Pair pair;
  pair.Exchange();
  for (int i = 0; i < 4; ++i) {
    pair.client.Ping();
    pair.Exchange();
    pair.server.Advance(absl::Seconds(10));
  }
  ASSERT_EQ(pair.client.goaways().size(), 1u);
  EXPECT_EQ(pair.client.goaways()[0].debug, "too_many_pings");
}

TEST(Http2SessionTest, PingsBesideTrafficAreFine) {
  // Clients measure bandwidth with pings while data flows.
  Http2Pair pair;
  for (int i = 0; i < 100; ++i) {
    pair.client.Call("/test.Echo/Unary", "x");
    pair.client.Ping();
    pair.Exchange();
  }
  EXPECT_EQ(pair.client.ping_acks(), 100);
  EXPECT_TRUE(pair.client.goaways().empty());
}

TEST(Http2SessionTest, TheServerPingsAnIdleClientAndGivesUpOnASilentOne) {
  Http2Options options;
  options.keepalive_interval = absl::Seconds(60);
  options.keepalive_timeout = absl::Seconds(20);
  Http2Pair pair(options);
  pair.Exchange();
  pair.server.Advance(absl::Seconds(59));
  pair.Exchange();
  EXPECT_EQ(pair.client.server_pings(), 0);
  pair.server.Advance(absl::Seconds(1));
  pair.Exchange();
  EXPECT_EQ(pair.client.server_pings(), 1);
  pair.server.Advance(absl::Seconds(20));
  EXPECT_FALSE(pair.server.finished());
  pair.client.answer_pings = false;
  pair.server.Advance(absl::Seconds(60));
  pair.Exchange();
  EXPECT_EQ(pair.client.server_pings(), 2);
  pair.server.Advance(absl::Seconds(19));
  EXPECT_FALSE(pair.server.finished());
  pair.server.Advance(absl::Seconds(1));
  EXPECT_TRUE(pair.server.finished());
}

TEST(Http2SessionTest, DrainFinishesUnaryCallsAndEndsStreams) {
  Http2Pair pair;
  const int32_t held = pair.client.Call("/test.Echo/Hold", "held");
  const int32_t stream =
      pair.client.Request(TestClient::GrpcHeaders("/test.Echo/Stream"), Framed("s"), false);
  pair.Exchange();
  pair.server.session()->Drain();
  pair.Exchange();
  // First "no new streams, please", then the last stream that counts.
  ASSERT_EQ(pair.client.goaways().size(), 2u);
  EXPECT_EQ(pair.client.goaways()[0].last_stream_id, INT32_MAX);
  EXPECT_EQ(pair.client.goaways()[1].last_stream_id, stream);
  EXPECT_EQ(pair.client.goaways()[1].error_code, static_cast<uint32_t>(NGHTTP2_NO_ERROR));
  EXPECT_FALSE(pair.server.finished());
  pair.server.echo.ReleaseHeld();
  pair.Exchange();
  EXPECT_THAT(pair.client.stream(held).messages(), ElementsAre("held"));
  EXPECT_EQ(pair.client.stream(held).grpc_status(), 0);
  EXPECT_EQ(pair.client.stream(stream).grpc_status(), 14);
  EXPECT_EQ(pair.client.stream(stream).grpc_message(), "etcdserver: server stopped");
  EXPECT_EQ(pair.server.echo.streams_done, 1);
  EXPECT_TRUE(pair.server.finished());
}

TEST(Http2SessionTest, DrainTakesRequestsThatWereOnTheirWay) {
  Http2Pair pair;
  pair.Exchange();
  const int32_t id = pair.client.Call("/test.Echo/Unary", "crossed");
  const std::string request = pair.client.TakeOutput();
  pair.server.session()->Drain();
  pair.server.Turn();
  pair.server.Receive(request);
  pair.Exchange();
  EXPECT_THAT(pair.client.stream(id).messages(), ElementsAre("crossed"));
  EXPECT_TRUE(pair.server.finished());
}

TEST(Http2SessionTest, DrainDoesNotWaitForAClientThatAnswersNoPing) {
  Http2Pair pair;
  pair.client.answer_pings = false;
  pair.Exchange();
  pair.server.session()->Drain();
  pair.Exchange();
  EXPECT_FALSE(pair.server.finished());
  pair.server.Advance(kDrainNoticeWait);
  pair.Exchange();
  EXPECT_TRUE(pair.server.finished());
}

TEST(Http2SessionTest, TheClientSeesItsLimits) {
  Http2Options options;
  options.streams_max = 7;
  Http2Pair pair(options);
  pair.Exchange();
  nghttp2_session* client = pair.client.session();
  EXPECT_EQ(nghttp2_session_get_remote_settings(client, NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS),
            7u);
  EXPECT_EQ(nghttp2_session_get_remote_settings(client, NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE),
            kStreamWindowBytes);
  EXPECT_EQ(nghttp2_session_get_remote_window_size(client), kConnectionWindowBytes);
  // Excess streams wait at the client, the others are served.
  for (int i = 0; i < 10; ++i) pair.client.Call("/test.Echo/Hold", "x");
  pair.Exchange();
  EXPECT_EQ(pair.server.echo.calls, 7);
  pair.server.echo.ReleaseHeld();
  pair.Exchange();
  EXPECT_EQ(pair.server.echo.calls, 10);
}

TEST(Http2SessionTest, HeadersAboveTheLimitAreRefused) {
  Http2Pair pair;
  auto headers = TestClient::GrpcHeaders("/test.Echo/Unary");
  for (int i = 0; i < 70; ++i) headers.push_back({absl::StrCat("x-", i), std::string(1000, 'h')});
  const int32_t id = pair.client.Request(headers, Framed("x"), true);
  pair.Exchange();
  EXPECT_TRUE(pair.client.stream(id).closed);
  EXPECT_EQ(pair.client.stream(id).headers["grpc-status"], "8");
  EXPECT_EQ(pair.server.echo.calls, 0);
  const int32_t next = pair.client.Call("/test.Echo/Unary", "fine");
  pair.Exchange();
  EXPECT_EQ(pair.client.stream(next).grpc_status(), 0);
}

// One frame as bytes.
std::string Frame(uint8_t type, uint8_t flags, uint32_t stream, std::string_view payload) {
  std::string frame;
  for (const int shift : {16, 8, 0}) frame.push_back(static_cast<char>(payload.size() >> shift));
  frame.push_back(static_cast<char>(type));
  frame.push_back(static_cast<char>(flags));
  for (const int shift : {24, 16, 8, 0}) frame.push_back(static_cast<char>(stream >> shift));
  return frame.append(payload);
}

constexpr std::string_view kPreface = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

TEST(Http2SessionTest, AFloodOfSettingsEndsTheConnectionWithBoundedOutput) {
  TestServer server;
  server.BlockOutput(true);
  server.Receive(std::string(kPreface) + Frame(NGHTTP2_SETTINGS, 0, 0, ""));
  std::string flood;
  for (int i = 0; i < 1000; ++i) flood += Frame(NGHTTP2_SETTINGS, 0, 0, "");
  for (int i = 0; i < 20 && !server.finished(); ++i) server.Receive(flood);
  EXPECT_TRUE(server.finished());
}

TEST(Http2SessionTest, AFloodOfPingsEndsTheConnectionWithBoundedOutput) {
  TestServer server;
  server.BlockOutput(true);
  server.Receive(std::string(kPreface) + Frame(NGHTTP2_SETTINGS, 0, 0, ""));
  std::string flood;
  for (int i = 0; i < 1000; ++i) flood += Frame(NGHTTP2_PING, 0, 0, "12345678");
  for (int i = 0; i < 20 && !server.finished(); ++i) server.Receive(flood);
  server.BlockOutput(false);
  EXPECT_TRUE(server.finished());
  EXPECT_LT(server.output_size(), 1u << 20);
}

TEST(Http2SessionTest, RapidResetIsCutOff) {
  Http2Pair pair;
  pair.Exchange();
  uint64_t opened = 0;
  while (!pair.server.finished() && opened < 2 * kStreamResetBurst + 1000) {
    for (int i = 0; i < 500; ++i, ++opened) {
      const int32_t id = pair.client.Call("/test.Echo/Hold", "x");
      pair.server.Receive(pair.client.TakeOutput());
      pair.client.Reset(id);
      pair.server.Receive(pair.client.TakeOutput());
    }
    pair.server.echo.ForgetHeld();
    pair.client.Feed(pair.server.TakeOutput());
  }
  EXPECT_TRUE(pair.server.finished());
  EXPECT_GE(opened, kStreamResetBurst);
}

TEST(Http2SessionTest, AWrongPrefaceEndsTheConnection) {
  TestServer server;
  server.Receive("PRI * HTTP/2.0\r\n\r\nXX\r\n\r\nwhatever follows");
  EXPECT_TRUE(server.finished());
}

TEST(Http2SessionTest, RandomBytesNeverHarm) {
  std::mt19937 random(20240611);  // NOLINT: one seed, one trace
  for (int round = 0; round < 300; ++round) {
    TestServer server;
    std::string bytes(kPreface);
    bytes += Frame(NGHTTP2_SETTINGS, 0, 0, "");
    for (int i = 0; i < 20; ++i) {
      std::string payload(random() % 60, '\0');
      for (char& c : payload) c = static_cast<char>(random());
      bytes += Frame(static_cast<uint8_t>(random() % 11), static_cast<uint8_t>(random()),
                     random() % 8, payload);
    }
    std::string_view rest = bytes;
    while (!rest.empty() && !server.finished()) {
      const size_t count = std::min<size_t>(rest.size(), 1 + random() % 50);
      server.Receive(rest.substr(0, count));
      rest.remove_prefix(count);
    }
    EXPECT_LT(server.output_size(), 1u << 20);
  }
}

TEST(Http2SessionTest, DamagedConversationsNeverHarm) {
  // A good conversation with unary calls and streams, with a few bytes changed.
  TestClient client;
  for (int i = 0; i < 3; ++i) {
    client.Call("/test.Echo/Unary", "unary");
    client.Call("/test.Echo/Big", "100000");
    client.Call("/test.Echo/Hold", "held");
    client.Request(TestClient::GrpcHeaders("/test.Echo/Stream"), Framed("a") + Framed("b"), true);
    client.Request(TestClient::GrpcHeaders("/test.Echo/Flood"), Framed("2000"), false);
  }
  client.Ping();
  const std::string good = client.TakeOutput();
  std::mt19937 random(77);  // NOLINT: one seed, one trace
  int dispatched = 0;
  for (int round = 0; round < 1000; ++round) {
    TestServer server;
    std::string bytes = good;
    for (size_t changes = 1 + random() % 4; changes > 0; --changes) {
      bytes[random() % bytes.size()] = static_cast<char>(random());
    }
    const size_t cut = random() % bytes.size();
    server.Receive(std::string_view(bytes).substr(0, cut));
    server.Receive(std::string_view(bytes).substr(cut));
    dispatched += server.echo.calls;
    if (round % 2 == 0) server.echo.ReleaseHeld();
    server.Advance(absl::Seconds(1));
    if (round % 3 == 0) server.LoseConnection();
  }
  EXPECT_GT(dispatched, 1000);
}

TEST(Http2SessionTest, HealthAnswersForTheServer) {
  EchoService echo;
  HealthService health(&echo);
  Http2Options options;
  options.dispatcher = &health;
  Http2Pair pair(options);
  const auto check = [&pair](std::string_view request) {
    const int32_t id = pair.client.Call("/grpc.health.v1.Health/Check", request);
    pair.Exchange();
    return pair.client.stream(id);
  };
  EXPECT_THAT(check("").messages(), ElementsAre("\x08\x02"));  // NOT_SERVING
  const int32_t watch = pair.client.Request(
      TestClient::GrpcHeaders("/grpc.health.v1.Health/Watch"), Framed(""), true);
  const int32_t other = pair.client.Request(
      TestClient::GrpcHeaders("/grpc.health.v1.Health/Watch"), Framed("\x0a\x01x"), true);
  pair.Exchange();
  health.SetServing(true);
  pair.Exchange();
  EXPECT_THAT(check("").messages(), ElementsAre("\x08\x01"));  // SERVING
  EXPECT_THAT(check(std::string_view("\x0a\0", 2)).messages(), ElementsAre("\x08\x01"));
  EXPECT_THAT(pair.client.stream(watch).messages(), ElementsAre("\x08\x02", "\x08\x01"));
  EXPECT_THAT(pair.client.stream(other).messages(), ElementsAre("\x08\x03"));  // SERVICE_UNKNOWN
  EXPECT_EQ(check("\x0a\x01x").grpc_status(), 5);
  EXPECT_EQ(check("\x0a\x01x").grpc_message(), "unknown service");
  EXPECT_EQ(check("\xff").grpc_status(), 13);
  const int32_t method = pair.client.Call("/grpc.health.v1.Health/List", "");
  pair.Exchange();
  EXPECT_EQ(pair.client.stream(method).grpc_message(),
            "unknown method List for service grpc.health.v1.Health");
  // Other services are behind it.
  const int32_t id = pair.client.Call("/test.Echo/Unary", "behind");
  pair.Exchange();
  EXPECT_THAT(pair.client.stream(id).messages(), ElementsAre("behind"));
  pair.client.Reset(watch);
  pair.Exchange();
  health.SetServing(false);
  pair.Exchange();
  EXPECT_THAT(pair.client.stream(watch).messages(), ElementsAre("\x08\x02", "\x08\x01"));
  pair.server.LoseConnection();
}

}  // namespace
}  // namespace etcdd::net
