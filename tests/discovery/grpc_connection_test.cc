// gRPC requests over one HTTP/2 connection, against a server in memory.

#include "server/discovery/grpc_connection.h"

#include <memory>
#include <string>
#include <utility>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/discovery/fake_grpc_server.h"

namespace etcdd::discovery {
namespace {

class GrpcConnectionTest : public testing::Test {
 protected:
  GrpcConnectionTest() {
    auto server = std::make_unique<FakeGrpcServer>();
    server_ = server.get();
    connection_ = GrpcConnection::Make(std::move(server), false, "h:2379");
  }

  GrpcResult Call(const std::string& message = "question", Metadata metadata = {}) {
    return connection_->Call({"/etcdserverpb.KV/Range", message, std::move(metadata)},
                             absl::Seconds(5), absl::Seconds(1));
  }
  GrpcResult CallWith(FakeReply reply) {
    server_->replies.push_back(std::move(reply));
    return Call();
  }

  FakeGrpcServer* server_;
  std::unique_ptr<GrpcConnection> connection_;
};

MATCHER_P2(Breaks, code, message, "") {
  *result_listener << arg.answered << " " << arg.status << " " << arg.message;
  return !arg.answered && arg.status.code() == code && arg.status.message() == message;
}

TEST_F(GrpcConnectionTest, SendsWhatAGrpcServerWantsToSee) {
  server_->replies.push_back(MessageReply("answer"));
  const GrpcResult result = Call("question", {{"token", "secret"}});
  EXPECT_TRUE(result.answered);
  EXPECT_TRUE(result.status.ok()) << result.status;
  EXPECT_EQ(result.message, "answer");
  ASSERT_EQ(server_->received.size(), 1u);
  const auto& headers = server_->received[0].headers;
  EXPECT_THAT(headers, testing::IsSupersetOf(std::map<std::string, std::string>{
                           {":method", "POST"},
                           {":scheme", "http"},
                           {":path", "/etcdserverpb.KV/Range"},
                           {":authority", "h:2379"},
                           {"te", "trailers"},
                           {"content-type", "application/grpc"},
                           {"grpc-timeout", "5000m"},
                           {"token", "secret"}}));
  EXPECT_EQ(server_->received[0].data, std::string("\0\0\0\0\x08question", 13));
}

TEST_F(GrpcConnectionTest, TheSchemeSaysWhetherItIsTls) {
  auto server = std::make_unique<FakeGrpcServer>();
  FakeGrpcServer* const seen = server.get();
  const auto secure = GrpcConnection::Make(std::move(server), true, "h:2379");
  secure->Call({"/s/m", "", {}}, absl::Seconds(5), absl::Seconds(1));
  EXPECT_EQ(seen->received.at(0).headers.at(":scheme"), "https");
}

TEST_F(GrpcConnectionTest, RequestsFollowEachOther) {
  for (int i = 0; i < 20; ++i) {
    server_->replies.push_back(MessageReply(std::string(static_cast<size_t>(i), 'x')));
    EXPECT_EQ(Call().message.size(), static_cast<size_t>(i));
  }
  EXPECT_EQ(server_->received.size(), 20u);
}

TEST_F(GrpcConnectionTest, LongMessagesBothWays) {
  const std::string question(300000, 'q');
  const std::string answer(kReplyBytesMax - 5, 'a');
  server_->replies.push_back(MessageReply(answer));
  EXPECT_EQ(Call(question).message, answer);
  EXPECT_EQ(server_->received.at(0).data.substr(5), question);
}

TEST_F(GrpcConnectionTest, AnswersInSmallPieces) {
  server_->read_bytes_max = 1;
  server_->replies.push_back(MessageReply("answer"));
  EXPECT_EQ(Call().message, "answer");
}

TEST_F(GrpcConnectionTest, EmptyMessages) {
  server_->replies.push_back(MessageReply(""));
  const GrpcResult result = Call("");
  EXPECT_TRUE(result.answered && result.status.ok());
  EXPECT_EQ(result.message, "");
}

TEST_F(GrpcConnectionTest, StatusAlone) {
  const GrpcResult result = CallWith(StatusReply("7", "etcdserver%3A permission%20denied%"));
  EXPECT_TRUE(result.answered);
  EXPECT_EQ(result.status, absl::PermissionDeniedError("etcdserver: permission denied%"));
}

TEST_F(GrpcConnectionTest, StatusInTrailers) {
  FakeReply reply;
  reply.trailers = {{"grpc-status", "14"}, {"grpc-message", "etcdserver: no leader"}};
  const GrpcResult result = CallWith(reply);
  EXPECT_TRUE(result.answered);
  EXPECT_EQ(result.status, absl::UnavailableError("etcdserver: no leader"));
}

TEST_F(GrpcConnectionTest, AStatusThatNobodyKnows) {
  for (const char* code : {"17", "-1", "x", ""}) {
    const GrpcResult result = CallWith(StatusReply(code, "odd"));
    EXPECT_TRUE(result.answered);
    EXPECT_EQ(result.status, absl::UnknownError("odd")) << code;
  }
}

TEST_F(GrpcConnectionTest, NoGrpcServer) {
  FakeReply reply;
  reply.headers = {{":status", "503"}};
  EXPECT_THAT(CallWith(reply), Breaks(absl::StatusCode::kUnavailable,
                                      "the server answered with the HTTP status 503"));
}

TEST_F(GrpcConnectionTest, NoStatus) {
  FakeReply reply = MessageReply("answer");
  reply.trailers.clear();
  EXPECT_THAT(CallWith(reply),
              Breaks(absl::StatusCode::kUnavailable, "the request was broken off: NO_ERROR"));
}

TEST_F(GrpcConnectionTest, DamagedMessages) {
  const std::string good = MessageReply("answer").data;
  std::string compressed = good;
  compressed[0] = 1;
  std::string odd_flag = good;
  odd_flag[0] = 2;
  for (const std::string& data : {std::string(), good.substr(0, 4), good.substr(0, 10), good + "x",
                                  good + good, compressed, odd_flag}) {
    FakeReply reply;
    reply.data = data;
    reply.trailers = {{"grpc-status", "0"}};
    EXPECT_THAT(CallWith(reply),
                Breaks(absl::StatusCode::kUnavailable, "the reply is not one gRPC message"));
  }
}

TEST_F(GrpcConnectionTest, AReplyThatIsTooLong) {
  EXPECT_THAT(CallWith(MessageReply(std::string(kReplyBytesMax, 'a'))),
              Breaks(absl::StatusCode::kUnavailable, "the reply is longer than 8388608 bytes"));
}

TEST_F(GrpcConnectionTest, TheStreamIsReset) {
  FakeReply reply;
  reply.end = FakeReply::End::kReset;
  EXPECT_THAT(CallWith(reply), Breaks(absl::StatusCode::kUnavailable,
                                      "the request was broken off: REFUSED_STREAM"));
}

TEST_F(GrpcConnectionTest, TheServerGoesAway) {
  FakeReply reply;
  reply.end = FakeReply::End::kGoAway;
  EXPECT_THAT(CallWith(reply), Breaks(absl::StatusCode::kUnavailable,
                                      "the request was broken off: REFUSED_STREAM"));
  EXPECT_FALSE(Call().answered);
}

TEST_F(GrpcConnectionTest, TheConnectionIsClosed) {
  FakeReply reply;
  reply.end = FakeReply::End::kClose;
  EXPECT_THAT(CallWith(reply), Breaks(absl::StatusCode::kUnavailable,
                                      "the connection was closed by the server"));
  EXPECT_THAT(Call(), Breaks(absl::StatusCode::kUnavailable, "write: Broken pipe"));
}

TEST_F(GrpcConnectionTest, NoAnswerInTime) {
  EXPECT_THAT(Call(), Breaks(absl::StatusCode::kDeadlineExceeded, "deadline exceeded"));
}

TEST_F(GrpcConnectionTest, NoHttp2) {
  server_->garbage = "HTTP/1.1 400 Bad Request\r\n\r\n";
  const GrpcResult result = Call();
  EXPECT_FALSE(result.answered);
  EXPECT_EQ(result.status.code(), absl::StatusCode::kUnavailable) << result.status;
}

}  // namespace
}  // namespace etcdd::discovery
