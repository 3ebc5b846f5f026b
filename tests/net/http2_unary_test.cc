// Unary calls over an in-memory HTTP/2 connection.

#include <zlib.h>

#include <string>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "server/net/limits.h"
#include "tests/net/http2_fixture.h"

namespace etcdd::net {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

std::string Gzip(std::string_view text) {
  z_stream stream{};
  EXPECT_EQ(deflateInit2(&stream, 6, Z_DEFLATED, 16 + MAX_WBITS, 8, Z_DEFAULT_STRATEGY), Z_OK);
  std::string out(deflateBound(&stream, text.size()) + 64, '\0');
  stream.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(text.data()));
  stream.avail_in = static_cast<uInt>(text.size());
  stream.next_out = reinterpret_cast<Bytef*>(out.data());
  stream.avail_out = static_cast<uInt>(out.size());
  EXPECT_EQ(deflate(&stream, Z_FINISH), Z_STREAM_END);
  out.resize(stream.total_out);
  deflateEnd(&stream);
  return out;
}

TEST(Http2UnaryTest, RepliesWithHeadersMessageAndTrailers) {
  Http2Pair pair;
  const int32_t id = pair.client.Call("/test.Echo/Unary", "hello");
  pair.Exchange();
  const auto& stream = pair.client.stream(id);
  EXPECT_EQ(stream.headers.at(":status"), "200");
  EXPECT_EQ(stream.headers.at("content-type"), "application/grpc");
  EXPECT_THAT(stream.messages(), ElementsAre("hello"));
  EXPECT_EQ(stream.trailers, (HeaderMap{{"grpc-status", "0"}}));
  EXPECT_TRUE(stream.closed);
  EXPECT_EQ(pair.server.session()->open_streams(), 0u);
  EXPECT_EQ(pair.server.session()->held_bytes(), 0u);
}

TEST(Http2UnaryTest, AnswersAnEmptyMessageWithAnEmptyMessage) {
  Http2Pair pair;
  const int32_t id = pair.client.Call("/test.Echo/Unary", "");
  pair.Exchange();
  EXPECT_THAT(pair.client.stream(id).messages(), ElementsAre(""));
  EXPECT_EQ(pair.client.stream(id).grpc_status(), 0);
}

TEST(Http2UnaryTest, TakesARequestSplitAtEveryByte) {
  // The whole conversation of the client in one string, fed in two parts cut at each place.
  const std::string conversation = [] {
    TestClient client;
    client.Call("/test.Echo/Unary", "split me");
    return client.TakeOutput();
  }();
  for (size_t cut = 0; cut <= conversation.size(); ++cut) {
    TestServer server;
    server.Receive(std::string_view(conversation).substr(0, cut));
    server.Receive(std::string_view(conversation).substr(cut));
    TestClient client;
    const int32_t id = client.Call("/test.Echo/Unary", "split me");
    client.TakeOutput();
    ASSERT_TRUE(client.Feed(server.TakeOutput())) << cut;
    ASSERT_THAT(client.stream(id).messages(), ElementsAre("split me")) << cut;
    ASSERT_EQ(client.stream(id).grpc_status(), 0) << cut;
  }
}

TEST(Http2UnaryTest, TakesAMessageSplitIntoDataFramesAtEveryByte) {
  const std::string framed = Framed("a message in two frames");
  for (size_t cut = 0; cut <= framed.size(); ++cut) {
    Http2Pair pair;
    const int32_t id = pair.client.Request(TestClient::GrpcHeaders("/test.Echo/Unary"),
                                           framed.substr(0, cut), false);
    pair.Exchange();
    pair.client.Send(id, std::string_view(framed).substr(cut), true);
    pair.Exchange();
    ASSERT_THAT(pair.client.stream(id).messages(), ElementsAre("a message in two frames")) << cut;
  }
}

TEST(Http2UnaryTest, ManyCallsOfATurnLeaveInOneFlush) {
  Http2Pair pair;
  pair.Exchange();
  for (int i = 0; i < 100; ++i) pair.client.Call("/test.Echo/Unary", absl::StrCat("call ", i));
  const int before = pair.server.flushes();
  pair.server.Receive(pair.client.TakeOutput());
  EXPECT_EQ(pair.server.flushes(), before + 1);
  ASSERT_TRUE(pair.client.Feed(pair.server.TakeOutput()));
  for (int i = 0; i < 100; ++i) {
    EXPECT_THAT(pair.client.stream(1 + 2 * i).messages(), ElementsAre(absl::StrCat("call ", i)));
  }
}

TEST(Http2UnaryTest, ErrorsTravelAsTrailersOnlyWithEscapedText) {
  Http2Pair pair;
  const int32_t id = pair.client.Call("/test.Echo/Fail", "5 caf\xC3\xA9 100%\n");
  pair.Exchange();
  const auto& stream = pair.client.stream(id);
  EXPECT_EQ(stream.headers.at(":status"), "200");
  EXPECT_EQ(stream.grpc_status(), 5);
  EXPECT_EQ(stream.grpc_message(), "caf%C3%A9 100%25%0A");
  EXPECT_TRUE(stream.data.empty());
  EXPECT_TRUE(stream.trailers.empty());
}

TEST(Http2UnaryTest, StatusDetailsTravelAsBinaryMetadata) {
  Http2Pair pair;
  auto headers = TestClient::GrpcHeaders("/test.Echo/Fail");
  headers.push_back({"want-details", "1"});
  const int32_t id = pair.client.Request(headers, Framed("9 no"), true);
  pair.Exchange();
  EXPECT_EQ(pair.client.stream(id).grpc_status(), 9);
  EXPECT_EQ(pair.client.stream(id).headers.at("grpc-status-details-bin"), "//4gZGV0YWlscw");
}

TEST(Http2UnaryTest, UnknownServicesAndMethodsAreUnimplemented) {
  Http2Pair pair;
  const int32_t method = pair.client.Call("/test.Echo/Nope", "x");
  const int32_t service = pair.client.Call("/etcdserverpb.KV/Range", "x");
  const int32_t malformed = pair.client.Call("/nothing", "x");
  pair.Exchange();
  EXPECT_EQ(pair.client.stream(method).grpc_status(), 12);
  EXPECT_EQ(pair.client.stream(method).grpc_message(),
            "unknown method Nope for service test.Echo");
  EXPECT_EQ(pair.client.stream(service).grpc_status(), 12);
  EXPECT_EQ(pair.client.stream(service).grpc_message(), "unknown service etcdserverpb.KV");
  EXPECT_EQ(pair.client.stream(malformed).grpc_status(), 12);
  EXPECT_EQ(pair.client.stream(malformed).grpc_message(), "malformed method name: \"/nothing\"");
  EXPECT_EQ(pair.server.echo.calls, 0);
}

TEST(Http2UnaryTest, RefusesARequestWithoutItsPseudoHeaders) {
  Http2Pair pair;
  const int32_t nothing = pair.client.Request({{"content-type", "application/grpc"}}, "", true);
  const int32_t no_path = pair.client.Request(
      {{":method", "POST"}, {"content-type", "application/grpc"}}, Framed("x"), true);
  pair.Exchange();
  EXPECT_EQ(pair.client.stream(nothing).headers.at(":status"), "405");
  EXPECT_EQ(pair.client.stream(no_path).grpc_status(), 12);
  EXPECT_EQ(pair.server.echo.calls, 0);
}

TEST(Http2UnaryTest, RefusesWhatIsNoGrpcRequest) {
  Http2Pair pair;
  auto headers = TestClient::GrpcHeaders("/test.Echo/Unary");
  headers[4].second = "application/json";
  const int32_t json = pair.client.Request(headers, Framed("x"), true);
  headers = TestClient::GrpcHeaders("/test.Echo/Unary");
  headers[0].second = "GET";
  const int32_t get = pair.client.Request(headers, "", true);
  headers = TestClient::GrpcHeaders("/test.Echo/Unary");
  headers.push_back({"grpc-timeout", "soon"});
  const int32_t timeout = pair.client.Request(headers, Framed("x"), true);
  headers = TestClient::GrpcHeaders("/test.Echo/Unary");
  headers[4].second = "application/grpc+proto";
  const int32_t proto = pair.client.Request(headers, Framed("x"), true);
  pair.Exchange();
  EXPECT_EQ(pair.client.stream(json).headers.at(":status"), "415");
  EXPECT_THAT(pair.client.stream(json).grpc_message(), HasSubstr("application/json"));
  EXPECT_EQ(pair.client.stream(get).headers.at(":status"), "405");
  EXPECT_EQ(pair.client.stream(timeout).headers.at(":status"), "400");
  EXPECT_EQ(pair.client.stream(timeout).grpc_status(), 13);
  EXPECT_THAT(pair.client.stream(proto).messages(), ElementsAre("x"));
}

TEST(Http2UnaryTest, MessagesUpToTheLimitPassAndLargerOnesAreRefused) {
  Http2Options options;
  options.message_bytes_max = 2'000'000;
  Http2Pair pair(options, INT32_MAX);
  const std::string largest(2'000'000, 'x');
  const int32_t fits = pair.client.Call("/test.Echo/Unary", largest);
  pair.Exchange();
  EXPECT_THAT(pair.client.stream(fits).messages(), ElementsAre(largest));
  const int32_t larger = pair.client.Call("/test.Echo/Unary", largest + "x");
  pair.Exchange();
  EXPECT_EQ(pair.client.stream(larger).grpc_status(), 8);
  EXPECT_EQ(pair.client.stream(larger).grpc_message(),
            "grpc: received message larger than max (2000001 vs. 2000000)");
  EXPECT_TRUE(pair.client.stream(larger).closed);
  EXPECT_EQ(pair.server.echo.calls, 1);
}

TEST(Http2UnaryTest, CompressedRequests) {
  Http2Pair pair;
  auto headers = TestClient::GrpcHeaders("/test.Echo/Unary");
  headers.push_back({"grpc-encoding", "gzip"});
  const std::string text(10'000, 'z');
  const int32_t gzip = pair.client.Request(headers, Framed(Gzip(text), true), true);
  const int32_t plain = pair.client.Request(headers, Framed("plain"), true);
  const int32_t broken = pair.client.Request(headers, Framed("no gzip", true), true);
  headers.back().second = "snappy";
  const int32_t snappy = pair.client.Request(headers, Framed("x", true), true);
  headers.back().second = "identity";
  const int32_t lie = pair.client.Request(headers, Framed("x", true), true);
  pair.Exchange();
  EXPECT_THAT(pair.client.stream(gzip).messages(), ElementsAre(text));
  EXPECT_THAT(pair.client.stream(plain).messages(), ElementsAre("plain"));
  EXPECT_EQ(pair.client.stream(broken).grpc_status(), 13);
  EXPECT_EQ(pair.client.stream(snappy).grpc_status(), 12);
  EXPECT_EQ(pair.client.stream(snappy).grpc_message(),
            "grpc: Decompressor is not installed for grpc-encoding \"snappy\"");
  EXPECT_EQ(pair.client.stream(snappy).headers.at("grpc-accept-encoding"), "identity,gzip");
  EXPECT_EQ(pair.client.stream(lie).grpc_status(), 13);
}

TEST(Http2UnaryTest, ABombOfCompressedBytesIsStopped) {
  Http2Options options;
  options.message_bytes_max = 1 << 20;
  Http2Pair pair(options);
  auto headers = TestClient::GrpcHeaders("/test.Echo/Unary");
  headers.push_back({"grpc-encoding", "gzip"});
  const int32_t id =
      pair.client.Request(headers, Framed(Gzip(std::string(64 << 20, '\0')), true), true);
  pair.Exchange();
  EXPECT_EQ(pair.client.stream(id).grpc_status(), 8);
  EXPECT_THAT(pair.client.stream(id).grpc_message(), HasSubstr("after decompression"));
}

TEST(Http2UnaryTest, MalformedBodiesAreInternalErrors) {
  Http2Pair pair;
  const auto headers = TestClient::GrpcHeaders("/test.Echo/Unary");
  const int32_t none = pair.client.Request(headers, "", true);
  const int32_t two = pair.client.Request(headers, Framed("a") + Framed("b"), true);
  const int32_t cut = pair.client.Request(headers, Framed("abc").substr(0, 6), true);
  const int32_t flag = pair.client.Request(headers, "\x07" + Framed("abc").substr(1), true);
  pair.Exchange();
  for (const int32_t id : {none, two, cut, flag}) {
    EXPECT_EQ(pair.client.stream(id).grpc_status(), 13) << id;
    EXPECT_TRUE(pair.client.stream(id).closed) << id;
  }
  EXPECT_EQ(pair.server.echo.calls, 0);
}

TEST(Http2UnaryTest, HandlersSeeMetadata) {
  Http2Pair pair;
  const auto ask = [&pair](const std::string& name, const TestClient::Fields& extra) {
    auto headers = TestClient::GrpcHeaders("/test.Echo/Meta");
    headers.insert(headers.end(), extra.begin(), extra.end());
    const int32_t id = pair.client.Request(headers, Framed(name), true);
    pair.Exchange();
    return pair.client.stream(id).messages().at(0);
  };
  EXPECT_EQ(ask("token", {{"token", "abc.1"}, {"token", "second"}}), "abc.1");
  EXPECT_EQ(ask("hasleader", {{"hasleader", "true"}}), "true");
  EXPECT_EQ(ask(":authority", {}), "test");
  EXPECT_EQ(ask("absent", {}), "<none>");
  EXPECT_EQ(ask("x-bin", {{"x-bin", "AAEC/w"}}), std::string("\x00\x01\x02\xff", 4));
  EXPECT_EQ(ask("x-bin", {{"x-bin", "AAEC/w==,QQ=="}}), std::string("\x00\x01\x02\xff", 4));
  EXPECT_EQ(ask("x-bin", {{"x-bin", "!!"}}), "<none>");
}

TEST(Http2UnaryTest, TheDeadlineAnswersAndCancels) {
  Http2Pair pair;
  auto headers = TestClient::GrpcHeaders("/test.Echo/Hold");
  headers.push_back({"grpc-timeout", "1500m"});
  const int32_t id = pair.client.Request(headers, Framed("x"), true);
  pair.Exchange();
  ASSERT_EQ(pair.server.echo.held().size(), 1u);
  const auto call = pair.server.echo.held()[0];
  EXPECT_EQ(call->deadline(), absl::Seconds(1000) + absl::Milliseconds(1500));
  pair.server.Advance(absl::Milliseconds(1499));
  pair.Exchange();
  EXPECT_EQ(pair.client.stream(id).grpc_status(), -1);
  EXPECT_FALSE(call->cancelled());
  pair.server.Advance(absl::Milliseconds(1));
  pair.Exchange();
  EXPECT_EQ(pair.client.stream(id).grpc_status(), 4);
  EXPECT_EQ(pair.client.stream(id).grpc_message(), "context deadline exceeded");
  EXPECT_TRUE(call->cancelled());
  EXPECT_EQ(pair.server.echo.cancelled, 1);
  pair.server.echo.ReleaseHeld();  // too late: dropped
  pair.Exchange();
  EXPECT_TRUE(pair.client.stream(id).data.empty());
}

TEST(Http2UnaryTest, AnAnsweredCallHasNoDeadlineAnyMore) {
  Http2Pair pair;
  auto headers = TestClient::GrpcHeaders("/test.Echo/Hold");
  headers.push_back({"grpc-timeout", "1S"});
  const int32_t id = pair.client.Request(headers, Framed("x"), true);
  pair.Exchange();
  pair.server.echo.ReleaseHeld();
  pair.Exchange();
  pair.server.Advance(absl::Seconds(5));
  pair.Exchange();
  EXPECT_EQ(pair.client.stream(id).grpc_status(), 0);
  EXPECT_EQ(pair.server.echo.cancelled, 0);
}

TEST(Http2UnaryTest, ResetCancelsTheCall) {
  Http2Pair pair;
  const int32_t id = pair.client.Call("/test.Echo/Hold", "x");
  pair.Exchange();
  const auto call = pair.server.echo.held().at(0);
  EXPECT_FALSE(call->cancelled());
  EXPECT_GT(pair.server.session()->held_bytes(), 0u);
  pair.client.Reset(id);
  pair.Exchange();
  EXPECT_TRUE(call->cancelled());
  EXPECT_EQ(pair.server.echo.cancelled, 1);
  EXPECT_EQ(pair.server.session()->open_streams(), 0u);
  EXPECT_EQ(pair.server.session()->held_bytes(), 0u);
  pair.server.echo.ReleaseHeld();  // must be harmless
  pair.Exchange();
}

TEST(Http2UnaryTest, ConnectionLossCancelsCallsWhichOutliveIt) {
  TestClient client;
  TestServer server;
  client.Call("/test.Echo/Hold", "x");
  client.Call("/test.Echo/Hold", "y");
  server.Receive(client.TakeOutput());
  ASSERT_EQ(server.echo.held().size(), 2u);
  server.LoseConnection();
  EXPECT_EQ(server.echo.cancelled, 2);
  EXPECT_EQ(server.echo.held()[1]->request(), "y");
  EXPECT_EQ(server.echo.held()[1]->method(), "/test.Echo/Hold");
  EXPECT_EQ(server.echo.held()[1]->peer(), "192.0.2.1:1234");
  EXPECT_EQ(server.echo.held()[1]->certificate_common_name(), "client name");
  server.echo.ReleaseHeld();
}

TEST(Http2UnaryTest, ALargeReplyFollowsTheClientsWindow) {
  Http2Pair pair;  // 65535 bytes of window, none given back
  const int32_t id = pair.client.Call("/test.Echo/Big", "300000");
  pair.Exchange();
  EXPECT_EQ(pair.client.stream(id).data.size(), 65535u);
  EXPECT_GE(pair.server.session()->held_bytes(), 300'000u);
  while (!pair.client.stream(id).ended) {
    const size_t before = pair.client.stream(id).data.size();
    pair.client.Grant(0, 50'000);
    pair.client.Grant(id, 50'000);
    pair.Exchange();
    ASSERT_GT(pair.client.stream(id).data.size(), before);
  }
  EXPECT_THAT(pair.client.stream(id).messages(), ElementsAre(std::string(300'000, 'b')));
  EXPECT_EQ(pair.server.session()->held_bytes(), 0u);
}

TEST(Http2UnaryTest, AShortReplyOvertakesALongOne) {
  Http2Pair pair({}, INT32_MAX);
  pair.Exchange();
  const int32_t long_id = pair.client.Call("/test.Echo/Big", "8000000");
  const int32_t short_id = pair.client.Call("/test.Echo/Unary", "short");
  pair.server.Receive(pair.client.TakeOutput());
  const std::string output = pair.server.TakeOutput();
  // The short answer is complete within the first part of the bytes.
  ASSERT_TRUE(pair.client.Feed(std::string_view(output).substr(0, 400'000)));
  EXPECT_TRUE(pair.client.stream(short_id).ended);
  EXPECT_FALSE(pair.client.stream(long_id).ended);
}

TEST(Http2UnaryTest, AClientThatTakesNoRepliesGetsNoMoreWindow) {
  Http2Pair pair({}, 1000);
  pair.Exchange();
  // Replies of 1 MB that cannot leave; requests of 30 KB that eat the connection's window.
  std::vector<int32_t> ids;
  for (int i = 0; i < 20; ++i) ids.push_back(pair.client.Call("/test.Echo/Big", "1000000"));
  pair.Exchange();
  EXPECT_GT(pair.server.session()->held_bytes(), kHeldBytesHigh);
  const int calls_before = pair.server.echo.calls;
  for (int i = 0; i < 1000; ++i) pair.client.Call("/test.Echo/Hold", std::string(30'000, 'r'));
  pair.Exchange();
  const int taken = pair.server.echo.calls - calls_before;
  EXPECT_LT(taken, 1000);
  EXPECT_LE(taken * 30'000, kConnectionWindowBytes);
  // It reads, and everything flows again.
  for (const int32_t id : ids) pair.client.Reset(id);
  pair.server.echo.ReleaseHeld();
  pair.Exchange();
  while (pair.server.echo.calls - calls_before < 1000) {
    const int before = pair.server.echo.calls;
    for (int i = 0; i < 1020; ++i) pair.client.Grant(1 + 2 * i, 40'000);
    pair.client.Grant(0, 40'000'000);
    pair.Exchange();
    pair.server.echo.ReleaseHeld();
    pair.Exchange();
    ASSERT_GT(pair.server.echo.calls, before);
  }
}

TEST(Http2UnaryTest, ASocketThatTakesNothingIsNotReadForEver) {
  Http2Pair pair({}, INT32_MAX);
  pair.Exchange();
  pair.server.BlockOutput(true);
  EXPECT_TRUE(pair.server.session()->wants_input());
  for (int i = 0; i < 20; ++i) pair.client.Call("/test.Echo/Big", "1000000");
  pair.server.Receive(pair.client.TakeOutput());
  EXPECT_FALSE(pair.server.session()->wants_input());
  pair.server.BlockOutput(false);
  EXPECT_TRUE(pair.server.session()->wants_input());
  EXPECT_GT(pair.server.output_size(), 20'000'000u);
}

}  // namespace
}  // namespace etcdd::net
