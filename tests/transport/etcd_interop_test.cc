// A fake follower: our transport, with the few answers a follower's raft gives, as a learner of a
// real etcd. Etcd must dial our streams and accept ours, send us its log and go on replicating.

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "server/base/log.h"
#include "server/transport/http_peer_client.h"
#include "tests/support/temp_dir.h"
#include "tests/transport/transport_fixture.h"
#include "tests/wal/etcd_process.h"

namespace etcdd::transport {
namespace {

uint64_t HexAfter(const std::string& text, const std::string& before) {
  const size_t at = text.find(before);
  uint64_t id = 0;
  if (at == std::string::npos) return 0;
  const std::string rest = text.substr(at + before.size());
  EXPECT_TRUE(absl::SimpleHexAtoi(rest.substr(0, rest.find_first_not_of("0123456789abcdef")),
                                  &id))
      << text;
  return id;
}

// Just enough of a follower: it keeps entries in order and says so.
class FakeFollower {
 public:
  FakeFollower(Member* member) : member_(member) {
    member_->events.on_message = [this](const raft::Message& message) { OnMessage(message); };
  }

  bool Has(std::string_view text) const {
    for (const raft::Entry& entry : log_) {
      if (entry.data.view().find(text) != std::string_view::npos) return true;
    }
    return false;
  }
  int heartbeats = 0;
  int appends = 0;

 private:
  void OnMessage(const raft::Message& message) {
    raft::Message answer;
    answer.to = message.from;
    answer.from = message.to;
    answer.term = message.term;
    if (message.type == raft::MessageType::kHeartbeat) {
      ++heartbeats;
      answer.type = raft::MessageType::kHeartbeatResp;
      answer.context = message.context;
    } else if (message.type == raft::MessageType::kApp) {
      ++appends;
      answer.type = raft::MessageType::kAppResp;
      answer.index = message.index;
      if (message.index > log_.size()) {
        answer.reject = true;
        answer.reject_hint = log_.size();
      } else {
        log_.resize(message.index);
        for (const raft::Entry& entry : message.entries) log_.push_back(entry);
        answer.index = log_.size();
      }
    } else {
      return;
    }
    // Not from within a call of the transport's: it calls us, so we may call it.
    member_->transport->Send(std::move(answer));
  }

  Member* const member_;
  std::vector<raft::Entry> log_;  // [i] has index i + 1
};

TEST(EtcdInterop, AFakeFollowerIsFedOverStreams) {
  testing::TempDir dir;
  wal::EtcdProcess etcd(dir.path() + "/etcd");
  const absl::Status started = etcd.Start();
  ASSERT_TRUE(started.ok()) << started;
  EXPECT_THAT(etcd.Ctl("put before-joining 1"), ::testing::HasSubstr("OK"));

  Network net;
  // The address must be known to etcd before our id is known to us.
  auto door = std::make_unique<net::FrontDoor>(&net.loop, net::FrontDoorOptions());
  net::Http1Handler none = [](std::shared_ptr<net::Http1Exchange> exchange) {
    exchange->Respond({503, "", {}, ""});
  };
  net::ListenOptions options;
  options.http1_handler = &none;
  ASSERT_TRUE(door->Listen("http://127.0.0.1:0", options).ok());
  const std::string url = "http://" + door->addresses().at(0);
  const std::string added =
      etcd.Ctl(absl::StrCat("member add fake --learner --peer-urls=", url));
  const uint64_t id = HexAfter(added, "Member ");
  const uint64_t cluster = HexAfter(added, "added to cluster ");
  ASSERT_TRUE(id != 0 && cluster != 0) << added;

  // Who etcd is, asked the way members ask.
  HttpPeerClient client(&net.dialer);
  absl::StatusOr<server::PeerReply> members = absl::UnknownError("no answer yet");
  server::PeerRequest request;
  request.path = "/members";
  client.Ask({"http://127.0.0.1:1", etcd.peer_url()}, request, absl::Seconds(10),
             [&](absl::StatusOr<server::PeerReply> reply) { members = std::move(reply); });
  ASSERT_TRUE(net.Await([&] { return members.ok(); })) << members.status();
  EXPECT_EQ(members->status, 200);
  EXPECT_EQ(members->cluster_id, base::LogId(cluster));
  EXPECT_THAT(members->body, ::testing::HasSubstr(url));
  const std::string list = etcd.Ctl("member list");
  uint64_t leader = 0;
  for (absl::string_view line : absl::StrSplit(list, '\n')) {
    if (!absl::StrContains(line, "default")) continue;
    ASSERT_TRUE(absl::SimpleHexAtoi(line.substr(0, line.find(',')), &leader)) << list;
  }
  ASSERT_NE(leader, 0u) << list;

  door.reset();
  Member& fake = net.Add(id, cluster, "3.4.23", url);
  FakeFollower follower(&fake);
  fake.transport->AddPeer(leader, {etcd.peer_url()});

  ASSERT_TRUE(net.Await([&] { return fake.streams_attached(leader); })) << "etcd dials us";
  ASSERT_TRUE(net.Await([&] { return fake.transport->ActiveSince(leader).has_value(); }));
  ASSERT_TRUE(net.Await([&] { return follower.Has("before-joining"); })) << "the log is sent";
  ASSERT_TRUE(net.Await([&] { return follower.heartbeats > 3; }));

  // Long and short entries, one after the other: the msgapp stream with and without its common
  // fields. Our answers must have reached etcd, or it would still probe.
  for (int i = 0; i < 5; ++i) {
    etcd.Ctl(absl::StrCat("put key-", i, " ", std::string(1 + 20'000 * (i % 2), 'v')));
    ASSERT_TRUE(net.Await([&] { return follower.Has(absl::StrCat("key-", i)); }));
  }
  // A linearizable read and a new stream after a break.
  fake.StopListening();
  net.RunFor(absl::Milliseconds(200));
  fake.Listen(url);
  ASSERT_TRUE(net.Await([&] { return fake.streams_attached(leader); }));
  etcd.Ctl("put after-the-break 1");
  ASSERT_TRUE(net.Await([&] { return follower.Has("after-the-break"); }));
  EXPECT_EQ(fake.events.removed_by_others, 0);

  // Removed: etcd says 410 to our streams.
  EXPECT_THAT(etcd.Ctl(absl::StrCat("member remove ", base::LogId(id))),
              ::testing::HasSubstr("removed"));
  ASSERT_TRUE(net.Await([&] { return fake.events.removed_by_others == 1; }));
}

}  // namespace
}  // namespace etcdd::transport
