// Each check and status code of the peer protocol, request by request, without a connection.

#include "server/transport/peer_http.h"

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "raft/codec.h"
#include "server/base/coding.h"
#include "tests/transport/fake_exchange.h"
#include "tests/transport/transport_fixture.h"

namespace etcdd::transport {
namespace {

using ::testing::Contains;
using ::testing::Pair;

std::string Encoded(const raft::Message& message) {
  std::string bytes;
  raft::AppendEncoded(message, &bytes);
  return bytes;
}

// Member 1 answers; member 2 is its peer and speaks.
class PeerHttpTest : public ::testing::Test {
 protected:
  void SetUp() override {
    Identity self;
    self.id = 1;
    self.cluster_id = kClusterId;
    self.server_version = "3.7.1";
    transport_ = std::make_unique<Transport>(
        TransportParts{&dialer_, blocking_.get(), &metrics_}, self);
    http_ = std::make_unique<PeerHttp>(transport_.get(), &others_);
    transport_->Start(&events_);
    transport_->AddPeer(2, {"http://127.0.0.1:1"});
  }
  void TearDown() override {
    http_.reset();
    transport_.reset();
    blocking_.reset();
    loop_.RunTurn(absl::ZeroDuration());
  }

  static net::Http1Headers Headers(std::string_view from = "2") {
    Identity sender;
    sender.id = 2;
    sender.cluster_id = kClusterId;
    sender.server_version = "3.5.9";
    sender.peer_urls = {"http://127.0.0.1:1"};
    net::Http1Headers headers = RequestHeaders(sender, 1);
    headers[0].second = std::string(from);
    return headers;
  }
  static net::Http1Headers With(std::string_view name, std::string_view value) {
    net::Http1Headers headers = Headers();
    for (auto& [field, old] : headers) {
      if (field == name) old = std::string(value);
    }
    return headers;
  }
  std::shared_ptr<FakeExchange> Ask(std::string method, std::string target,
                                    net::Http1Headers headers, std::string body = "") {
    auto exchange = std::make_shared<FakeExchange>(std::move(method), std::move(target),
                                                   std::move(headers), std::move(body));
    (*http_->handler())(exchange);
    return exchange;
  }
  void ExpectRefused(const FakeExchange& exchange, int status, std::string_view text) {
    EXPECT_EQ(exchange.answers, 1);
    EXPECT_FALSE(exchange.started);
    EXPECT_EQ(exchange.answer.status, status);
    EXPECT_EQ(exchange.answer.body, std::string(text) + "\n");
    EXPECT_THAT(exchange.answer.headers, Contains(Pair("X-Etcd-Cluster-ID", "c1")));
    EXPECT_TRUE(events_.messages.empty());
  }
  bool Await(const std::function<bool()>& done) {
    const absl::Duration end = clock_->Monotonic() + absl::Seconds(20);
    while (!done() && clock_->Monotonic() < end) loop_.RunTurn(absl::Milliseconds(10));
    return done();
  }
  static std::string Head(const raft::Message& message) {
    std::string bytes;
    base::AppendBigEndian64(Encoded(message).size(), &bytes);
    return bytes + Encoded(message);
  }

  std::unique_ptr<base::Clock> clock_ = base::NewSystemClock();
  net::EventLoop loop_{clock_.get()};
  net::Dialer dialer_{{&loop_, nullptr, nullptr}};
  base::Metrics metrics_;
  std::unique_ptr<base::Strand> blocking_ = base::NewThreadStrand("blocking");
  RecordingEvents events_;
  std::vector<std::string> other_paths_;
  net::Http1Handler others_ = [this](std::shared_ptr<net::Http1Exchange> exchange) {
    other_paths_.push_back(exchange->request().target);
  };
  std::unique_ptr<Transport> transport_;
  std::unique_ptr<PeerHttp> http_;
};

TEST_F(PeerHttpTest, WrongMethods) {
  for (const char* path : {"/raft", "/raft/snapshot"}) {
    const auto exchange = Ask("GET", path, Headers());
    ExpectRefused(*exchange, 405, "Method Not Allowed");
    EXPECT_THAT(exchange->answer.headers, Contains(Pair("Allow", "POST")));
  }
  const auto stream = Ask("POST", "/raft/stream/msgapp/2", Headers());
  ExpectRefused(*stream, 405, "Method Not Allowed");
  EXPECT_THAT(stream->answer.headers, Contains(Pair("Allow", "GET")));
}

TEST_F(PeerHttpTest, VersionsAndCluster) {
  const std::vector<std::pair<std::string, std::string>> paths = {
      {"POST", "/raft"}, {"POST", "/raft/snapshot"}, {"GET", "/raft/stream/message/2"}};
  for (const auto& [method, path] : paths) {
    ExpectRefused(*Ask(method, path, With("X-Server-Version", "2.3.8")), 412,
                  "incompatible version");
    ExpectRefused(*Ask(method, path, With("X-Min-Cluster-Version", "3.8.0")), 412,
                  "incompatible version");
    ExpectRefused(*Ask(method, path, With("X-Server-Version", "etcdd")), 412,
                  "incompatible version");
    ExpectRefused(*Ask(method, path, {}), 412, "incompatible version");
    ExpectRefused(*Ask(method, path, With("X-Etcd-Cluster-ID", "c2")), 412,
                  "cluster ID mismatch");
  }
  const std::string body = Encoded(Heartbeat(2, 1, 1));
  EXPECT_EQ(Ask("POST", "/raft", With("X-Server-Version", "3.7.0+etcdd.1"), body)->answer.status,
            204);
}

TEST_F(PeerHttpTest, PostedMessages) {
  const auto good = Ask("POST", "/raft", Headers(), Encoded(Heartbeat(2, 1, 4)));
  EXPECT_EQ(good->answer.status, 204);
  ASSERT_EQ(events_.messages.size(), 1u);
  EXPECT_TRUE(Same(events_.messages[0], Heartbeat(2, 1, 4)));
  events_.messages.clear();

  ExpectRefused(*Ask("POST", "/raft", Headers(), "no message"), 400,
                "error unmarshalling raft message");
  ExpectRefused(*Ask("POST", "/raft", Headers(), Encoded(SnapshotMessage(2, 1, 7))), 400,
                "error unmarshalling raft message");
  raft::Message local;
  local.type = raft::MessageType::kHup;
  local.to = 1;
  ExpectRefused(*Ask("POST", "/raft", Headers(), Encoded(local)), 400,
                "error unmarshalling raft message");
  ExpectRefused(*Ask("POST", "/raft", Headers(), Encoded(Heartbeat(2, 9, 4))), 412,
                "to field mismatch");
  events_.removed[2] = true;
  ExpectRefused(*Ask("POST", "/raft", Headers(), Encoded(Heartbeat(2, 1, 4))), 403,
                "cannot process message from removed member");
}

TEST_F(PeerHttpTest, Streams) {
  ExpectRefused(*Ask("GET", "/raft/stream/other/2", Headers()), 404, "invalid path");
  ExpectRefused(*Ask("GET", "/raft/stream/msgapp", Headers()), 404, "invalid path");
  ExpectRefused(*Ask("GET", "/raft/stream/msgapp/zz", Headers()), 404, "invalid from");
  ExpectRefused(*Ask("GET", "/raft/stream/msgapp/", Headers()), 404, "invalid from");
  ExpectRefused(*Ask("GET", "/raft/stream/msgapp/3", Headers("3")), 404,
                "error sender not found");
  ExpectRefused(*Ask("GET", "/raft/stream/msgapp/2", With("X-Raft-To", "5")), 412,
                "to field mismatch");
  events_.removed[4] = true;
  ExpectRefused(*Ask("GET", "/raft/stream/message/4", Headers("4")), 410, "removed member");

  const auto stream = Ask("GET", "/raft/stream/msgapp/2", Headers());
  EXPECT_TRUE(stream->started);
  EXPECT_EQ(stream->answer.status, 200);
  EXPECT_THAT(stream->answer.headers, Contains(Pair("X-Server-Version", "3.7.1")));
  EXPECT_THAT(stream->answer.headers, Contains(Pair("X-Etcd-Cluster-ID", "c1")));
  const auto newer = Ask("GET", "/raft/stream/msgapp/2", Headers());
  EXPECT_TRUE(newer->started);
  EXPECT_TRUE(stream->ended) << "a newer one replaces an older one";
  EXPECT_FALSE(newer->ended);
}

TEST_F(PeerHttpTest, ProbesAndOtherPages) {
  const auto probe = Ask("GET", "/raft/probing", {});
  EXPECT_EQ(probe->answer.status, 200);
  const auto time = ParseProbeBody(probe->answer.body);
  ASSERT_TRUE(time.has_value()) << probe->answer.body;
  EXPECT_LT(absl::AbsDuration(*time - clock_->Wall()), absl::Minutes(1));
  Ask("GET", "/members?x=1", {});
  Ask("GET", "/rafting", {});
  EXPECT_THAT(other_paths_, ::testing::ElementsAre("/members?x=1", "/rafting"));
}

TEST_F(PeerHttpTest, BodiesOfImagesComeInPieces) {
  net::Http1Request head;
  head.method = "POST";
  head.target = "/raft/snapshot";
  EXPECT_TRUE((*http_->body_policy())(head).in_pieces);
  head.target = "/raft";
  EXPECT_FALSE((*http_->body_policy())(head).in_pieces);
  EXPECT_EQ((*http_->body_policy())(head).bytes_max, size_t{64} << 20);
}

TEST_F(PeerHttpTest, ImagesThatAreNone) {
  const auto ask = [&](const std::string& body) {
    auto exchange = Ask("POST", "/raft/snapshot", Headers());
    exchange->Arrive(body);
    if (exchange->answers == 0) exchange->Arrive("");
    return exchange;
  };
  ExpectRefused(*ask(Head(Heartbeat(2, 1, 4))), 400, "wrong raft message type");
  std::string garbage = Head(SnapshotMessage(2, 1, 7));
  garbage[8] = '\xff';
  ExpectRefused(*ask(garbage), 400, "error decoding raft message");
  ExpectRefused(*ask("short"), 400, "unexpected end of the snapshot");
  std::string huge;
  base::AppendBigEndian64(uint64_t{65} << 20, &huge);
  ExpectRefused(*ask(huge), 400, "snapshot message too long");
  ExpectRefused(*ask(Head(SnapshotMessage(2, 9, 7))), 412, "to field mismatch");
  events_.image_result = absl::ResourceExhaustedError("busy");
  ExpectRefused(*ask(Head(SnapshotMessage(2, 1, 7))), 500, "busy");
  EXPECT_EQ(transport_->inbox().size(), 0u);
}

TEST_F(PeerHttpTest, AnImageByteByByte) {
  const auto exchange = Ask("POST", "/raft/snapshot", Headers());
  const std::string body = Head(SnapshotMessage(2, 1, 7)) + std::string(3, '\0');
  for (const char byte : body) exchange->Arrive(std::string_view(&byte, 1));
  exchange->Arrive("");
  ASSERT_TRUE(Await([&] { return exchange->answers == 1; }));
  EXPECT_EQ(exchange->answer.status, 204);
  ASSERT_EQ(events_.landings.size(), 1u);
  EXPECT_TRUE(events_.landings[0]->committed);
  EXPECT_EQ(events_.landings[0]->bytes, 3u);
  ASSERT_EQ(events_.messages.size(), 1u);
}

TEST_F(PeerHttpTest, ASenderIsHeldWhileTheDiskIsSlow) {
  const auto exchange = Ask("POST", "/raft/snapshot", Headers());
  exchange->Arrive(Head(SnapshotMessage(2, 1, 7)));
  const std::string piece(1 << 20, '\0');
  int count = 0;
  for (; !exchange->held && count < 100; ++count) exchange->Arrive(piece);
  EXPECT_EQ(count, 5) << "4 MiB may wait";
  ASSERT_TRUE(Await([&] { return !exchange->held; }));
  exchange->Cancel();
  EXPECT_EQ(transport_->inbox().size(), 0u);
  ASSERT_TRUE(Await([&] { return events_.landings[0]->destroyed; }));
  EXPECT_FALSE(events_.landings[0]->committed);
}

TEST_F(PeerHttpTest, SixteenImagesAtOnce) {
  std::vector<std::shared_ptr<FakeExchange>> exchanges;
  for (int i = 0; i < 16; ++i) exchanges.push_back(Ask("POST", "/raft/snapshot", Headers()));
  EXPECT_EQ(transport_->inbox().size(), 16u);
  ExpectRefused(*Ask("POST", "/raft/snapshot", Headers()), 500,
                "too many snapshots are being received");
  exchanges[3]->Cancel();
  const auto next = Ask("POST", "/raft/snapshot", Headers());
  EXPECT_EQ(next->answers, 0);
}

}  // namespace
}  // namespace etcdd::transport
