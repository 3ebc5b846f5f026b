#pragma once

// Members that are nothing but a transport, on one event loop, over loopback ports the kernel
// chooses. What the transport tells its server is written down.

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "raft/types.h"
#include "server/base/clock.h"
#include "server/base/metrics.h"
#include "server/base/strand.h"
#include "server/consensus/transport.h"
#include "server/net/dialer.h"
#include "server/net/event_loop.h"
#include "server/net/front_door.h"
#include "server/transport/peer_http.h"
#include "server/transport/transport.h"

namespace etcdd::transport {

inline constexpr uint64_t kClusterId = 0xc1;

// An image that is made while it is read: `size` bytes of a pattern, then the end or an error.
class PatternSource final : public consensus::ImageSource {
 public:
  PatternSource(uint64_t size, absl::Status end = absl::OkStatus())
      : left_(size), end_(std::move(end)) {}
  absl::StatusOr<std::string> Next() override;

 private:
  uint64_t left_;
  uint64_t position_ = 0;
  const absl::Status end_;
};

// What one arriving image came to. Written by the strand the sink runs on; read once the transfer
// has ended.
struct Landing {
  uint64_t bytes = 0;
  bool intact = true;  // every byte is the pattern's
  bool committed = false;
  bool destroyed = false;
  absl::Status append_result;
  absl::Status commit_result;
};

class RecordingEvents final : public consensus::TransportEvents {
 public:
  void OnMessage(raft::Message message) override;
  absl::StatusOr<std::unique_ptr<consensus::ImageSink>> OnImage(
      const raft::Message& message) override;
  void OnUnreachable(raft::NodeId id) override { ++unreachable[id]; }
  void OnSnapshotSent(raft::NodeId id, bool ok) override { sent.emplace_back(id, ok); }
  void OnRemovedByOthers() override { ++removed_by_others; }
  bool IsRemoved(raft::NodeId id) const override { return removed.contains(id); }

  std::vector<raft::Message> messages;
  std::function<void(const raft::Message&)> on_message;  // may be empty
  std::map<raft::NodeId, int> unreachable;
  std::vector<std::pair<raft::NodeId, bool>> sent;
  int removed_by_others = 0;
  std::map<raft::NodeId, bool> removed;
  // One for each image, in order; OnImage's answer.
  std::vector<std::shared_ptr<Landing>> landings;
  absl::Status image_result;
  Landing next_landing;  // results the next sink gives
};

struct Member;

// The loop and what its members share.
class Network {
 public:
  Network();
  ~Network();

  // A member that listens and is started; it knows nobody.
  Member& Add(raft::NodeId id, uint64_t cluster_id = kClusterId,
              const std::string& version = "3.7.1",
              const std::string& url = "http://127.0.0.1:0");
  // Makes two members each other's peers.
  static void Connect(Member& a, Member& b);
  // Runs turns until `done`; false after 20 s.
  [[nodiscard]] bool Await(const std::function<bool()>& done);
  // Runs turns for a while.
  void RunFor(absl::Duration duration);

  std::unique_ptr<base::Clock> clock = base::NewSystemClock();
  net::EventLoop loop{clock.get()};
  base::Metrics metrics;
  std::unique_ptr<base::Strand> blocking = base::NewThreadStrand("blocking");
  std::unique_ptr<base::Strand> resolver = base::NewThreadStrand("resolver");
  net::Dialer dialer{{&loop, resolver.get(), nullptr}};
  std::vector<std::unique_ptr<Member>> members;
};

struct Member {
  Member(Network* network, Identity identity, const std::string& where);
  ~Member();
  // Closes its port and all connections, as a crash would.
  void StopListening() { door.reset(); }
  void Listen(const std::string& where);
  raft::NodeId id() const { return identity.id; }
  std::string url() const { return "http://" + door->addresses().at(0); }
  bool streams_attached(raft::NodeId peer) {
    Peer* const p = transport->FindPeer(peer);
    return p != nullptr && p->attached(StreamKind::kMessage) && p->attached(StreamKind::kMsgApp);
  }

  Network* const network;
  Identity identity;
  RecordingEvents events;
  std::unique_ptr<Transport> transport;
  std::unique_ptr<PeerHttp> http;
  // The port is known before the identity is made.
  net::Http1Handler handler = [this](std::shared_ptr<net::Http1Exchange> exchange) {
    (*http->handler())(std::move(exchange));
  };
  net::Http1BodyPolicy policy = [this](const net::Http1Request& head) {
    return (*http->body_policy())(head);
  };
  std::unique_ptr<net::FrontDoor> door;
};

// Messages as raft makes them.
raft::Message Heartbeat(raft::NodeId from, raft::NodeId to, uint64_t term);
raft::Message Append(raft::NodeId from, raft::NodeId to, uint64_t term, uint64_t index,
                     const std::vector<std::string>& payloads);
raft::Message SnapshotMessage(raft::NodeId from, raft::NodeId to, uint64_t index);

// Whether two messages are the same in all that travels.
bool Same(const raft::Message& a, const raft::Message& b);

}  // namespace etcdd::transport
