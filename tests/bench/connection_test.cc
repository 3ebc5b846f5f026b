#include "cmd/etcdd-bench/connection.h"

#include <gtest/gtest.h>
#include <sys/socket.h>
#include <unistd.h>

#include <memory>
#include <string>
#include <vector>

#include "cmd/etcdd-bench/frame.h"
#include "cmd/etcdd-bench/messages.h"

namespace etcdd::bench {
namespace {

using std::string_literals::operator""s;

struct Frame {
  FrameHeader header;
  std::string payload;
};

std::string MakeFrame(uint8_t type, uint8_t flags, uint32_t stream_id, std::string_view payload) {
  std::string out;
  AppendFrameHeader({static_cast<uint32_t>(payload.size()), type, flags, stream_id}, &out);
  out.append(payload);
  return out;
}

std::string Setting(uint16_t id, uint32_t value) {
  std::string out = {static_cast<char>(id >> 8), static_cast<char>(id & 0xff)};
  AppendBigEndian32(value, &out);
  return out;
}

std::string WindowUpdate(uint32_t stream_id, uint32_t bytes) {
  std::string payload;
  AppendBigEndian32(bytes, &payload);
  return MakeFrame(kWindowUpdateFrame, 0, stream_id, payload);
}

// Headers with :status 200, trailers with grpc-status as literals that are not indexed.
std::string ReplyHeadersFrame(uint32_t stream_id) {
  return MakeFrame(kHeadersFrame, kEndHeadersFlag, stream_id, "\x88");
}
std::string TrailersFrame(uint32_t stream_id, char status) {
  return MakeFrame(kHeadersFrame, kEndHeadersFlag | kEndStreamFlag, stream_id,
                   "\x00\x0bgrpc-status\x01"s + status);
}

class ConnectionTest : public testing::Test, public ConnectionListener {
 protected:
  ConnectionTest() {
    int fds[2];
    EXPECT_EQ(socketpair(AF_UNIX, SOCK_STREAM, 0, fds), 0);
    peer_fd_ = fds[1];
    connection_ = std::make_unique<Connection>(fds[0], "host:1", this);
    const std::string preface = ReadBytes().substr(0, kClientPreface.size());
    EXPECT_EQ(preface, kClientPreface);
  }
  ~ConnectionTest() override { close(peer_fd_); }

  // What the connection has written since the last call.
  std::string ReadBytes() {
    std::string bytes;
    for (;;) {
      const auto flushed = connection_->Flush();
      EXPECT_TRUE(flushed.ok());
      char buffer[65536];
      const ssize_t n = recv(peer_fd_, buffer, sizeof buffer, MSG_DONTWAIT);
      if (n <= 0) return bytes;
      bytes.append(buffer, static_cast<size_t>(n));
    }
  }
  std::vector<Frame> ReadFrames() {
    const std::string bytes = ReadBytes();
    std::vector<Frame> frames;
    for (size_t at = 0; at < bytes.size();) {
      const FrameHeader header = ParseFrameHeader(bytes.data() + at);
      frames.push_back({header, bytes.substr(at + kFrameHeaderBytes, header.length)});
      at += kFrameHeaderBytes + header.length;
    }
    return frames;
  }
  void Receive(std::string_view bytes) { EXPECT_TRUE(connection_->HandleInput(bytes).ok()); }

  void OnData(Connection&, uint64_t tag, std::string_view data) override {
    data_.append(std::to_string(tag)).append(":").append(data).append(" ");
  }
  void OnEnd(Connection&, uint64_t tag, const CallEnd& end) override {
    ends_.append(std::to_string(tag)).append("=").append(std::to_string(end.grpc_status));
    if (!end.message.empty()) ends_.append("(").append(end.message).append(")");
    ends_.append(" ");
  }
  void OnRoom(Connection&) override { ++rooms_; }

  int peer_fd_ = -1;
  std::unique_ptr<Connection> connection_;
  std::string data_;
  std::string ends_;
  int rooms_ = 0;
};

TEST_F(ConnectionTest, ACallIsHeadersAndData) {
  EXPECT_EQ(connection_->Start(kMethodPut, "message", true, 5), 1u);
  EXPECT_EQ(connection_->Start(kMethodWatch, "open", false, 6), 3u);
  const std::vector<Frame> frames = ReadFrames();
  ASSERT_EQ(frames.size(), 4u);
  EXPECT_EQ(frames[0].header.type, kHeadersFrame);
  EXPECT_EQ(frames[0].header.flags, kEndHeadersFlag);
  EXPECT_EQ(frames[1].payload, "message");
  EXPECT_EQ(frames[1].header.flags, kEndStreamFlag);
  EXPECT_EQ(frames[3].payload, "open");
  EXPECT_EQ(frames[3].header.flags, 0);
  EXPECT_EQ(frames[3].header.stream_id, 3u);
}

TEST_F(ConnectionTest, RepliesAreUnderstoodHoweverTheyAreCut) {
  connection_->Start(kMethodPut, "a", true, 5);
  connection_->Start(kMethodPut, "b", true, 6);
  const std::string reply = MakeFrame(kSettingsFrame, 0, 0, Setting(3, 100)) +
                            ReplyHeadersFrame(3) + MakeFrame(kDataFrame, 0, 3, "yes") +
                            TrailersFrame(3, '0') + ReplyHeadersFrame(1) + TrailersFrame(1, '5');
  for (const char byte : reply) Receive({&byte, 1});
  EXPECT_EQ(data_, "6:yes ");
  EXPECT_EQ(ends_, "6=0 5=5 ");
  EXPECT_EQ(connection_->calls(), 0u);
}

TEST_F(ConnectionTest, HeadersMayContinue) {
  connection_->Start(kMethodPut, "a", true, 5);
  Receive(ReplyHeadersFrame(1));
  Receive(MakeFrame(kHeadersFrame, kEndStreamFlag, 1, "\x00\x0bgrpc-"s));
  Receive(MakeFrame(kContinuationFrame, kEndHeadersFlag, 1, "status\x01" "7"));
  EXPECT_EQ(ends_, "5=7 ");
}

TEST_F(ConnectionTest, SettingsAndPingsAreAnswered) {
  ReadFrames();
  Receive(MakeFrame(kSettingsFrame, 0, 0, Setting(4, 1000)) +
          MakeFrame(kPingFrame, 0, 0, "12345678") + MakeFrame(kPingFrame, kAckFlag, 0, "87654321"));
  const std::vector<Frame> frames = ReadFrames();
  ASSERT_EQ(frames.size(), 2u);
  EXPECT_EQ(frames[0].header.type, kSettingsFrame);
  EXPECT_EQ(frames[0].header.flags, kAckFlag);
  EXPECT_EQ(frames[1].header.type, kPingFrame);
  EXPECT_EQ(frames[1].header.flags, kAckFlag);
  EXPECT_EQ(frames[1].payload, "12345678");
}

TEST_F(ConnectionTest, TheConnectionWindowHoldsCallsBack) {
  EXPECT_NE(connection_->Start(kMethodPut, std::string(40000, 'x'), true, 1), 0u);
  EXPECT_EQ(connection_->Start(kMethodPut, std::string(40000, 'x'), true, 2), 0u);
  EXPECT_EQ(rooms_, 0);
  Receive(WindowUpdate(0, 40000));
  EXPECT_EQ(rooms_, 1);
  EXPECT_NE(connection_->Start(kMethodPut, std::string(40000, 'x'), true, 2), 0u);
}

TEST_F(ConnectionTest, AStreamWindowHoldsItsMessagesBack) {
  Receive(MakeFrame(kSettingsFrame, 0, 0, Setting(4, 10)));
  const uint32_t stream = connection_->Start(kMethodWatch, "123456", false, 1);
  ASSERT_NE(stream, 0u);
  EXPECT_FALSE(connection_->Send(stream, "12345"));
  EXPECT_TRUE(connection_->Send(stream, "1234"));
  Receive(WindowUpdate(stream, 5));
  EXPECT_TRUE(connection_->Send(stream, "12345"));
}

TEST_F(ConnectionTest, AChangedInitialWindowMovesOpenStreams) {
  const uint32_t stream = connection_->Start(kMethodWatch, "12345", false, 1);
  Receive(MakeFrame(kSettingsFrame, 0, 0, Setting(4, 7)));
  EXPECT_FALSE(connection_->Send(stream, "123")) << "2 bytes are left of 7";
  EXPECT_TRUE(connection_->Send(stream, "12"));
}

TEST_F(ConnectionTest, TheStreamLimitHoldsCallsBack) {
  Receive(MakeFrame(kSettingsFrame, 0, 0, Setting(3, 1)));
  EXPECT_NE(connection_->Start(kMethodPut, "a", true, 1), 0u);
  EXPECT_EQ(connection_->Start(kMethodPut, "b", true, 2), 0u);
  Receive(ReplyHeadersFrame(1) + TrailersFrame(1, '0'));
  EXPECT_EQ(rooms_, 1);
  EXPECT_NE(connection_->Start(kMethodPut, "b", true, 2), 0u);
}

TEST_F(ConnectionTest, LongMessagesAreCutIntoFrames) {
  ReadFrames();
  connection_->Start(kMethodPut, std::string(40000, 'x'), true, 1);
  const std::vector<Frame> frames = ReadFrames();
  ASSERT_EQ(frames.size(), 4u);
  EXPECT_EQ(frames[1].payload.size(), 16384u);
  EXPECT_EQ(frames[2].header.flags, 0);
  EXPECT_EQ(frames[3].payload.size(), 40000u - 2 * 16384u);
  EXPECT_EQ(frames[3].header.flags, kEndStreamFlag);
}

TEST_F(ConnectionTest, MuchDataOpensTheWindowsAgain) {
  connection_->Start(kMethodWatch, "a", false, 1);
  ReadFrames();
  const std::string frame = MakeFrame(kDataFrame, 0, 1, std::string(16384, 'd'));
  for (int i = 0; i < 1024; ++i) Receive(frame);
  const std::vector<Frame> frames = ReadFrames();
  ASSERT_EQ(frames.size(), 2u);
  for (const Frame& update : frames) {
    EXPECT_EQ(update.header.type, kWindowUpdateFrame);
    EXPECT_EQ(ReadBigEndian32(update.payload.data()), 1u << 24);
  }
  EXPECT_EQ(frames[0].header.stream_id, 0u);
  EXPECT_EQ(frames[1].header.stream_id, 1u);
}

TEST_F(ConnectionTest, AResetEndsItsCall) {
  connection_->Start(kMethodPut, "a", true, 1);
  Receive(MakeFrame(kResetFrame, 0, 1, "\0\0\0\x07"s));
  EXPECT_EQ(ends_, "1=-1(stream was reset, code 7) ");
}

TEST_F(ConnectionTest, AStreamWithoutTrailersHasNoStatus) {
  connection_->Start(kMethodPut, "a", true, 1);
  Receive(ReplyHeadersFrame(1) + MakeFrame(kDataFrame, kEndStreamFlag, 1, "x"));
  EXPECT_EQ(ends_, "1=-1(stream ended without trailers) ");
}

TEST_F(ConnectionTest, AnHttpErrorIsNoGrpcStatus) {
  connection_->Start(kMethodPut, "a", true, 1);
  // static entry 13 is ":status: 404"
  Receive(MakeFrame(kHeadersFrame, kEndHeadersFlag | kEndStreamFlag, 1, "\x8d"));
  EXPECT_EQ(ends_, "1=-1(HTTP status 404) ");
}

TEST_F(ConnectionTest, GoAwayAndGarbageAreErrors) {
  EXPECT_FALSE(connection_->HandleInput(MakeFrame(kGoAwayFrame, 0, 0, std::string(8, '\0'))).ok());
  Connection other(dup(peer_fd_), "host:1", this);
  EXPECT_FALSE(other.HandleInput("HTTP/1.1 400 Bad Request\r\n").ok());
}

TEST_F(ConnectionTest, ABrokenConnectionEndsItsCalls) {
  connection_->Start(kMethodPut, "a", true, 4);
  connection_->Break(absl::UnavailableError("gone"));
  EXPECT_EQ(ends_, "4=-1(gone) ");
  EXPECT_EQ(connection_->Start(kMethodPut, "a", true, 5), 0u);
}

}  // namespace
}  // namespace etcdd::bench
