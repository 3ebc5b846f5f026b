// A stream writer in front of a connection the test plays: signs of life, a slow reader, a full
// queue, a connection that goes.

#include "server/transport/stream_writer.h"

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "gtest/gtest.h"
#include "server/transport/limits.h"
#include "tests/support/fake_clock.h"
#include "tests/transport/fake_exchange.h"
#include "tests/transport/transport_fixture.h"

namespace etcdd::transport {
namespace {

class StreamWriterTest : public ::testing::Test, private PeerHost {
 protected:
  StreamWriterTest() {
    context_.self.id = 1;
    context_.self.cluster_id = kClusterId;
    context_.self.server_version = "3.7.1";
    context_.loop = &loop_;
    context_.metrics = &peer_metrics_;
    PeerHost* const host = this;
    writer_ = std::make_unique<StreamWriter>(&context_, host, StreamKind::kMsgApp);
  }

  std::shared_ptr<FakeExchange> Attach() {
    auto exchange = std::make_shared<FakeExchange>("GET", "/raft/stream/msgapp/2");
    writer_->Attach(exchange);
    return exchange;
  }
  void Advance(absl::Duration by) {
    clock_.AdvanceBy(by);
    loop_.RunTurn(absl::ZeroDuration());
  }
  static std::vector<raft::Message> Decoded(const FakeExchange& exchange) {
    std::vector<raft::Message> messages;
    const auto decoder = NewStreamDecoder(StreamKind::kMsgApp, 2, 1);
    const absl::Status status = decoder->Feed(exchange.written, [&](raft::Message message) {
      messages.push_back(std::move(message));
      return true;
    });
    EXPECT_TRUE(status.ok()) << status;
    return messages;
  }

  testing::FakeClock clock_;
  net::EventLoop loop_{&clock_};
  base::Metrics metrics_;
  PeerMetrics peer_metrics_{&metrics_, 1};
  Context context_;
  std::unique_ptr<StreamWriter> writer_;
  int inactive_ = 0;
  int lost_ = 0;

 private:
  raft::NodeId id() const override { return 2; }
  const PeerMetrics::OfPeer& metrics() const override { return of_peer_; }
  std::string PickUrl() const override { return ""; }
  void OnUrlFailed(const std::string&) override {}
  void OnActive() override {}
  void OnInactive(const absl::Status&) override { ++inactive_; }
  void OnLost() override { ++lost_; }
  bool OnReceived(raft::Message) override { return true; }

  const PeerMetrics::OfPeer& of_peer_ = peer_metrics_.of(2);
};

TEST_F(StreamWriterTest, SignsOfLifeAtOnceAndThenThreeInFiveSeconds) {
  const auto exchange = Attach();
  EXPECT_EQ(exchange->written.size(), 1u);
  for (int i = 0; i < 50; ++i) Advance(absl::Milliseconds(100));
  EXPECT_GE(exchange->written.size(), 3u);
  EXPECT_LE(exchange->written.size(), 4u);
  EXPECT_EQ(exchange->written, std::string(exchange->written.size(), '\0'));
}

TEST_F(StreamWriterTest, ASlowReaderGetsEverythingInOrder) {
  const auto exchange = Attach();
  exchange->full = true;
  for (uint64_t index = 0; index < 100; ++index) {
    EXPECT_TRUE(writer_->Write(Append(1, 2, 3, index, {"payload"})));
  }
  EXPECT_EQ(Decoded(*exchange).size(), 1u) << "the others wait";
  exchange->Drain();
  const auto messages = Decoded(*exchange);
  ASSERT_EQ(messages.size(), 100u);
  for (uint64_t index = 0; index < 100; ++index) EXPECT_EQ(messages[index].index, index);
}

TEST_F(StreamWriterTest, TheQueueIsBoundedInMessages) {
  const auto exchange = Attach();
  exchange->full = true;
  size_t taken = 0;
  while (writer_->Write(Append(1, 2, 3, taken, {}))) {
    ASSERT_LE(++taken, kStreamQueueMessagesMax + 1);
  }
  EXPECT_EQ(taken, kStreamQueueMessagesMax + 1) << "one was written";
  exchange->Drain();
  EXPECT_TRUE(writer_->Write(Append(1, 2, 3, taken, {})));
}

TEST_F(StreamWriterTest, TheQueueIsBoundedInBytes) {
  const auto exchange = Attach();
  exchange->full = true;
  const std::string payload(8 << 20, 'x');
  size_t taken = 0;
  while (writer_->Write(Append(1, 2, 3, taken, {payload}))) ASSERT_LE(++taken, 9u);
  EXPECT_EQ(taken, 9u) << "one was written, 64 MiB wait";
}

TEST_F(StreamWriterTest, AConnectionThatTakesNothingIsGivenUp) {
  const auto exchange = Attach();
  exchange->full = true;
  writer_->Write(Append(1, 2, 3, 0, {"a"}));
  writer_->Write(Append(1, 2, 3, 1, {"b"}));
  for (int i = 0; i < 49; ++i) Advance(absl::Milliseconds(100));
  EXPECT_TRUE(writer_->attached()) << "not before the limit";
  for (int i = 0; i < 20; ++i) Advance(absl::Milliseconds(100));
  EXPECT_FALSE(writer_->attached());
  EXPECT_TRUE(exchange->ended);
  EXPECT_EQ(inactive_, 1);
  EXPECT_EQ(lost_, 1) << "what waited is lost, and raft must know";
}

TEST_F(StreamWriterTest, AConnectionThatGoes) {
  const auto exchange = Attach();
  exchange->Cancel();
  EXPECT_FALSE(writer_->attached());
  EXPECT_EQ(inactive_, 1);
  EXPECT_EQ(lost_, 0);
}

TEST_F(StreamWriterTest, ANewerConnectionBeginsANewStream) {
  const auto older = Attach();
  writer_->Write(Append(1, 2, 3, 5, {"a"}));
  const auto newer = Attach();
  EXPECT_TRUE(older->ended);
  writer_->Write(Append(1, 2, 3, 6, {"b"}));
  const auto messages = Decoded(*newer);
  ASSERT_EQ(messages.size(), 1u) << "in full: the new reader knows nothing of the old stream";
  EXPECT_TRUE(Same(messages[0], Append(1, 2, 3, 6, {"b"})));
}

}  // namespace
}  // namespace etcdd::transport
