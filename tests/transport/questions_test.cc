// PeerClient over HTTP, the prober, and a stream reader in front of a server the test plays.

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "server/transport/http_peer_client.h"
#include "server/transport/prober.h"
#include "tests/transport/transport_fixture.h"

namespace etcdd::transport {
namespace {

using ::testing::HasSubstr;

// A front door whose answers the test gives.
class QuestionsTest : public ::testing::Test {
 protected:
  QuestionsTest() {
    net::FrontDoorOptions options;
    options.http1.handler = &handler_;
    door_ = std::make_unique<net::FrontDoor>(&net_.loop, std::move(options));
    EXPECT_TRUE(door_->Listen("http://127.0.0.1:0").ok());
  }
  std::string url() const { return "http://" + door_->addresses().at(0); }

  // Asks and waits for the end.
  absl::StatusOr<server::PeerReply> Ask(std::vector<std::string> urls,
                                        server::PeerRequest request,
                                        absl::Duration timeout = absl::Seconds(10)) {
    bool told = false;
    absl::StatusOr<server::PeerReply> result = absl::UnknownError("not told");
    client_.Ask(std::move(urls), std::move(request), timeout,
                [&](absl::StatusOr<server::PeerReply> reply) {
                  told = true;
                  result = std::move(reply);
                });
    EXPECT_FALSE(told) << "never from within Ask";
    EXPECT_TRUE(net_.Await([&] { return told; }));
    return result;
  }

  Network net_;
  HttpPeerClient client_{&net_.dialer};
  std::vector<std::shared_ptr<net::Http1Exchange>> held_;
  std::string stream_version_ = "3.7.1";
  net::Http1Handler handler_ = [this](std::shared_ptr<net::Http1Exchange> exchange) {
    const net::Http1Request& request = exchange->request();
    if (request.target.starts_with("/raft/stream/")) {
      exchange->StartStream({200, "", {{"X-Server-Version", stream_version_}}, ""});
      held_.push_back(exchange);
    } else if (request.target == "/hold") {
      held_.push_back(exchange);
    } else if (request.target == "/raft/probing") {
      exchange->Respond({200, "", {}, ProbeBody(net_.clock->Wall() - absl::Seconds(100))});
    } else {
      exchange->Respond({request.target == "/404" ? 404 : 200, "text/plain",
                         {{"X-Etcd-Cluster-ID", "c1"}},
                         absl::StrCat(request.method, " ", std::string(request.header("x-a")), " ",
                                      std::string(request.header("content-type")), " ",
                                      request.body)});
    }
  };
  std::unique_ptr<net::FrontDoor> door_;
};

TEST_F(QuestionsTest, APeerIsAsked) {
  server::PeerRequest request;
  request.method = "POST";
  request.path = "/leases";
  request.content_type = "application/protobuf";
  request.headers = {{"X-A", "b"}};
  request.body = "body";
  const auto reply = Ask({url()}, request);
  ASSERT_TRUE(reply.ok()) << reply.status();
  EXPECT_EQ(reply->status, 200);
  EXPECT_EQ(reply->body, "POST b application/protobuf body");
  EXPECT_EQ(reply->cluster_id, "c1");
}

TEST_F(QuestionsTest, TheNextUrlIsAskedOnlyWhenOneDoesNotAnswer) {
  server::PeerRequest request;
  request.path = "/404";
  const auto reply = Ask({"http://127.0.0.1:1", "nonsense", url()}, request);
  ASSERT_TRUE(reply.ok()) << reply.status();
  EXPECT_EQ(reply->status, 404) << "any status is an answer";
}

TEST_F(QuestionsTest, NobodyAnswers) {
  const auto refused = Ask({"http://127.0.0.1:1"}, {});
  EXPECT_TRUE(absl::IsUnavailable(refused.status()));
  EXPECT_THAT(std::string(refused.status().message()), HasSubstr("connection refused"));
  EXPECT_TRUE(absl::IsUnavailable(Ask({}, {}).status()));
}

TEST_F(QuestionsTest, ASilentUrlLeavesTimeForTheOthers) {
  server::PeerRequest request;
  request.path = "/hold";
  const auto silent = Ask({url()}, request, absl::Milliseconds(100));
  EXPECT_TRUE(absl::IsUnavailable(silent.status()));
  EXPECT_THAT(std::string(silent.status().message()), HasSubstr("i/o timeout"));
}

TEST_F(QuestionsTest, ProbeBodies) {
  const absl::Time now = absl::FromUnixMillis(1'700'000'000'123);
  EXPECT_EQ(ParseProbeBody(ProbeBody(now)), now);
  // As etcd writes it, in some time zone.
  EXPECT_EQ(ParseProbeBody("{\"OK\":true,\"Now\":\"2023-11-14T23:13:20.123+01:00\"}\n"), now);
  for (const char* bad : {"", "{}", "{\"OK\":false,\"Now\":\"2023-11-14T22:13:20Z\"}",
                          "{\"OK\":true,\"Now\":\"yesterday\"}", "{\"OK\":true,\"Now\":",
                          "{\"OK\":true}"}) {
    EXPECT_FALSE(ParseProbeBody(bad).has_value()) << bad;
  }
}

// A peer as its parts see it.
class PlainHost final : public PeerHost {
 public:
  PlainHost(std::string url, const PeerMetrics::OfPeer& metrics)
      : url_(std::move(url)), metrics_(metrics) {}
  raft::NodeId id() const override { return 2; }
  const PeerMetrics::OfPeer& metrics() const override { return metrics_; }
  std::string PickUrl() const override { return url_; }
  void OnUrlFailed(const std::string&) override { ++url_failures; }
  void OnActive() override { ++active; }
  void OnInactive(const absl::Status& why) override { inactive.emplace_back(why.message()); }
  void OnLost() override {}
  bool OnReceived(raft::Message message) override {
    messages.push_back(std::move(message));
    return true;
  }

  int url_failures = 0;
  int active = 0;
  std::vector<std::string> inactive;
  std::vector<raft::Message> messages;

 private:
  const std::string url_;
  const PeerMetrics::OfPeer& metrics_;
};

class PartsTest : public QuestionsTest {
 protected:
  PartsTest() {
    context_.self.id = 1;
    context_.self.cluster_id = kClusterId;
    context_.self.server_version = "3.7.1";
    context_.loop = &net_.loop;
    context_.dialer = &net_.dialer;
    context_.metrics = &peer_metrics_;
  }
  PeerMetrics peer_metrics_{&net_.metrics, 1};
  Context context_;
  PlainHost host_{url(), peer_metrics_.of(2)};
};

TEST_F(PartsTest, TheProberMeasuresClockAndRoundTrip) {
  Prober prober(&context_, &host_);
  prober.Start();
  ASSERT_TRUE(net_.Await([&] { return prober.round_trip() > absl::ZeroDuration(); }));
  EXPECT_GT(prober.clock_drift(), absl::Seconds(90)) << "theirs is 100 s behind";
  EXPECT_LT(prober.clock_drift(), absl::Seconds(110));
  EXPECT_THAT(net_.metrics.TextPage(),
              HasSubstr("etcd_network_peer_round_trip_time_seconds_count{To=\"2\"} 1"));
}

TEST_F(PartsTest, AReaderDropsABrokenStreamAndDialsAgain) {
  StreamReader reader(&context_, &host_, StreamKind::kMsgApp);
  reader.Start();
  ASSERT_TRUE(net_.Await([&] { return held_.size() == 1 && host_.active == 1; }));
  held_[0]->Write("\x07 no frame begins like this");
  ASSERT_TRUE(net_.Await([&] { return held_.size() == 2 && host_.active == 2; }));
  ASSERT_EQ(host_.inactive.size(), 1u);
  EXPECT_EQ(host_.inactive[0], "broken stream: unknown frame type");
  EXPECT_EQ(host_.url_failures, 0);
  net::OutputBuffer out;
  NewStreamEncoder(StreamKind::kMsgApp)->Encode(Append(2, 1, 3, 4, {"x"}), &out);
  held_[1]->WriteChunk(&out);
  ASSERT_TRUE(net_.Await([&] { return host_.messages.size() == 1; }));
  held_[1]->End();
  ASSERT_TRUE(net_.Await([&] { return held_.size() == 3; }));
}

TEST_F(PartsTest, AReaderGivesASilentStreamUpAfterFiveSeconds) {
  StreamReader reader(&context_, &host_, StreamKind::kMessage);
  reader.Start();
  ASSERT_TRUE(net_.Await([&] { return host_.active == 1; }));
  const absl::Duration start = net_.clock->Monotonic();
  ASSERT_TRUE(net_.Await([&] { return !host_.inactive.empty(); }));
  EXPECT_GE(net_.clock->Monotonic() - start, absl::Milliseconds(4900));
  EXPECT_THAT(host_.inactive[0], HasSubstr("i/o timeout"));
}

TEST_F(PartsTest, AnAnswerWithoutAVersionIsNoStream) {
  stream_version_ = "";
  StreamReader reader(&context_, &host_, StreamKind::kMessage);
  reader.Start();
  ASSERT_TRUE(net_.Await([&] { return host_.url_failures > 0; }));
  EXPECT_EQ(host_.active, 0);
}

}  // namespace
}  // namespace etcdd::transport
