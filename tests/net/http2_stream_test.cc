// Streaming requests over an in-memory HTTP/2 connection.

#include <string>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "server/net/limits.h"
#include "tests/net/http2_fixture.h"

namespace etcdd::net {
namespace {

using ::testing::ElementsAre;

TEST(Http2StreamTest, EachMessageComesBackAndHalfCloseEndsTheStream) {
  Http2Pair pair;
  const int32_t id =
      pair.client.Request(TestClient::GrpcHeaders("/test.Echo/Stream"), Framed("one"), false);
  pair.Exchange();
  EXPECT_THAT(pair.client.stream(id).messages(), ElementsAre("one"));
  EXPECT_FALSE(pair.client.stream(id).ended);
  pair.client.Send(id, Framed("two") + Framed("") + Framed("four"), false);
  pair.Exchange();
  EXPECT_THAT(pair.client.stream(id).messages(), ElementsAre("one", "two", "", "four"));
  pair.client.Send(id, "", true);
  pair.Exchange();
  EXPECT_EQ(pair.client.stream(id).grpc_status(), 0);
  EXPECT_TRUE(pair.client.stream(id).closed);
  EXPECT_EQ(pair.server.echo.streams_done, 1);
}

TEST(Http2StreamTest, MessagesSplitAtEveryByteAndSeveralInAFrame) {
  const std::string bytes = Framed("first") + Framed("") + Framed("a third one");
  for (size_t cut = 0; cut <= bytes.size(); ++cut) {
    Http2Pair pair;
    const int32_t id = pair.client.Request(TestClient::GrpcHeaders("/test.Echo/Stream"),
                                           bytes.substr(0, cut), false);
    pair.Exchange();
    pair.client.Send(id, std::string_view(bytes).substr(cut), true);
    pair.Exchange();
    ASSERT_THAT(pair.client.stream(id).messages(), ElementsAre("first", "", "a third one")) << cut;
    ASSERT_EQ(pair.client.stream(id).grpc_status(), 0) << cut;
  }
}

TEST(Http2StreamTest, LargeMessagesPassBothWays) {
  Http2Pair pair({}, INT32_MAX);
  const std::string large(1'500'000, 'm');
  const int32_t id =
      pair.client.Request(TestClient::GrpcHeaders("/test.Echo/Stream"), Framed(large), false);
  pair.Exchange();
  pair.client.Send(id, Framed(large), true);
  pair.Exchange();
  EXPECT_THAT(pair.client.stream(id).messages(), ElementsAre(large, large));
  EXPECT_EQ(pair.client.stream(id).grpc_status(), 0);
}

TEST(Http2StreamTest, AStreamEndedByTheServerLetsTheClientStop) {
  Http2Pair pair({}, INT32_MAX);
  const int32_t id =
      pair.client.Request(TestClient::GrpcHeaders("/test.Echo/Flood"), Framed("3"), false);
  pair.Exchange();
  EXPECT_EQ(pair.client.stream(id).messages().size(), 3u);
  EXPECT_EQ(pair.client.stream(id).grpc_status(), 0);
  // The client has not half-closed: RST_STREAM(NO_ERROR) tells it that nobody listens.
  EXPECT_TRUE(pair.client.stream(id).closed);
  EXPECT_EQ(pair.client.stream(id).error_code, static_cast<uint32_t>(NGHTTP2_NO_ERROR));
  EXPECT_EQ(pair.server.echo.streams_done, 1);
  EXPECT_EQ(pair.server.session()->open_streams(), 0u);
}

TEST(Http2StreamTest, ASlowReaderStopsTheSenderAndStartsItAgain) {
  Http2Pair pair;  // 65535 bytes of window
  const int32_t id =
      pair.client.Request(TestClient::GrpcHeaders("/test.Echo/Flood"), Framed("10000"), false);
  pair.Exchange();
  const int64_t sent = pair.server.echo.flood_sent;
  EXPECT_LT(sent * 1024, static_cast<int64_t>(kStreamQueueBytesHigh) + 70'000);
  EXPECT_FALSE(pair.server.echo.last_stream->writable());
  // Not a byte more while the client does not read.
  for (int i = 0; i < 10; ++i) pair.Exchange();
  EXPECT_EQ(pair.server.echo.flood_sent, sent);
  // Reading a little does not wake the sender: the low mark is a quarter of the high one.
  pair.client.Grant(0, 100'000);
  pair.client.Grant(id, 100'000);
  pair.Exchange();
  EXPECT_EQ(pair.server.echo.flood_sent, sent);
  while (!pair.client.stream(id).ended) {
    pair.client.Grant(0, 1'000'000);
    pair.client.Grant(id, 1'000'000);
    const size_t before = pair.client.stream(id).data.size();
    pair.Exchange();
    ASSERT_GT(pair.client.stream(id).data.size(), before);
  }
  EXPECT_EQ(pair.client.stream(id).messages().size(), 10'000u);
  EXPECT_EQ(pair.client.stream(id).grpc_status(), 0);
}

TEST(Http2StreamTest, AClientThatReadsNothingIsNotReadEither) {
  Http2Pair pair;
  const int32_t id =
      pair.client.Request(TestClient::GrpcHeaders("/test.Echo/Stream"), "", false);
  pair.Exchange();
  const std::string message = Framed(std::string(10'000, 'e'));
  for (int i = 0; i < 1000; ++i) pair.client.Send(id, message, false);
  pair.Exchange();
  const int echoed = pair.server.echo.messages;
  EXPECT_LT(echoed * 10'000, static_cast<int>(kStreamQueueBytesHigh) + 100'000);
  // Everything arrives in order once it reads.
  while (pair.client.stream(id).messages().size() < 1000) {
    const size_t before = pair.client.stream(id).data.size();
    pair.client.Grant(0, 1'000'000);
    pair.client.Grant(id, 1'000'000);
    pair.Exchange();
    ASSERT_GT(pair.client.stream(id).data.size(), before);
  }
  pair.client.Send(id, "", true);
  pair.Exchange();
  EXPECT_EQ(pair.client.stream(id).grpc_status(), 0);
  EXPECT_EQ(pair.server.echo.messages, 1000);
}

TEST(Http2StreamTest, HalfCloseBehindBlockedInputIsToldLast) {
  Http2Pair pair;
  const int32_t id =
      pair.client.Request(TestClient::GrpcHeaders("/test.Echo/Stream"), "", false);
  pair.Exchange();
  const std::string message = Framed(std::string(300'000, 'e'));
  for (int i = 0; i < 6; ++i) pair.client.Send(id, message, i == 5);
  pair.Exchange();
  EXPECT_LT(pair.server.echo.messages, 6);
  EXPECT_EQ(pair.client.stream(id).grpc_status(), -1);
  for (int i = 0; i < 8; ++i) {
    pair.client.Grant(0, 300'000);
    pair.client.Grant(id, 300'000);
    pair.Exchange();
  }
  EXPECT_EQ(pair.client.stream(id).messages().size(), 6u);
  EXPECT_EQ(pair.client.stream(id).grpc_status(), 0);
}

TEST(Http2StreamTest, ManySlowStreamsOfAConnectionGetSmallQueues) {
  Http2Pair pair({}, 1000);
  constexpr int kStreams = 100;
  for (int i = 0; i < kStreams; ++i) {
    pair.client.Request(TestClient::GrpcHeaders("/test.Echo/Flood"), Framed("100000"), false);
  }
  pair.Exchange();
  const int64_t bytes = pair.server.echo.flood_sent * 1029;
  EXPECT_LT(bytes, static_cast<int64_t>(kConnectionQueueBytesHigh + kStreamQueueBytesHigh +
                                        kStreams * (kStreamQueueBytesHighCrowded + 2048)));
  EXPECT_GT(bytes, static_cast<int64_t>(kConnectionQueueBytesHigh));
}

TEST(Http2StreamTest, ResetEndsTheStreamOnce) {
  Http2Pair pair;
  const int32_t id =
      pair.client.Request(TestClient::GrpcHeaders("/test.Echo/Stream"), Framed("x"), false);
  pair.Exchange();
  pair.client.Reset(id);
  pair.Exchange();
  EXPECT_EQ(pair.server.echo.streams_done, 1);
  EXPECT_FALSE(pair.server.echo.last_stream->writable());
  EXPECT_FALSE(pair.server.echo.last_stream->Send("late", base::Bytes()));
  pair.server.echo.last_stream->Finish(absl::OkStatus());
  pair.Exchange();
  EXPECT_EQ(pair.server.echo.streams_done, 1);
}

TEST(Http2StreamTest, ConnectionLossEndsAllStreams) {
  TestClient client;
  TestServer server;
  for (int i = 0; i < 5; ++i) {
    client.Request(TestClient::GrpcHeaders("/test.Echo/Stream"), Framed("x"), false);
  }
  server.Receive(client.TakeOutput());
  server.LoseConnection();
  EXPECT_EQ(server.echo.streams_done, 5);
  EXPECT_FALSE(server.echo.last_stream->Send("late", base::Bytes()));
}

TEST(Http2StreamTest, TheDeadlineEndsAStream) {
  Http2Pair pair;
  auto headers = TestClient::GrpcHeaders("/test.Echo/Stream");
  headers.push_back({"grpc-timeout", "2S"});
  const int32_t id = pair.client.Request(headers, Framed("x"), false);
  pair.Exchange();
  pair.server.Advance(absl::Seconds(2));
  pair.Exchange();
  EXPECT_EQ(pair.client.stream(id).grpc_status(), 4);
  EXPECT_EQ(pair.client.stream(id).grpc_message(), "context deadline exceeded");
  EXPECT_EQ(pair.server.echo.streams_done, 1);
  EXPECT_EQ(pair.server.session()->open_streams(), 0u);
}

TEST(Http2StreamTest, AMalformedMessageEndsTheStreamAfterTheGoodOnes) {
  Http2Pair pair;
  const int32_t id = pair.client.Request(TestClient::GrpcHeaders("/test.Echo/Stream"),
                                         Framed("good") + "\x09garbage", false);
  pair.Exchange();
  EXPECT_THAT(pair.client.stream(id).messages(), ElementsAre("good"));
  EXPECT_EQ(pair.client.stream(id).grpc_status(), 13);
  EXPECT_EQ(pair.server.echo.streams_done, 1);
}

TEST(Http2StreamTest, ARequestThatEndsWithinAMessageIsAnError) {
  Http2Pair pair;
  const int32_t id = pair.client.Request(TestClient::GrpcHeaders("/test.Echo/Stream"),
                                         Framed("good") + Framed("cut off").substr(0, 7), true);
  pair.Exchange();
  EXPECT_EQ(pair.client.stream(id).grpc_status(), 13);
}

}  // namespace
}  // namespace etcdd::net
