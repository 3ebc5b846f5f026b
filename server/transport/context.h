#pragma once

// What all parts of one transport share, and the parts' view of the peer they belong to.
//
// Confined to the loop.

#include <memory>
#include <string>
#include <utility>

#include "absl/functional/any_invocable.h"
#include "absl/status/status.h"
#include "raft/types.h"
#include "server/base/strand.h"
#include "server/consensus/transport.h"
#include "server/net/dialer.h"
#include "server/net/event_loop.h"
#include "server/transport/identity.h"
#include "server/transport/peer_metrics.h"
#include "server/transport/stream_codec.h"

namespace etcdd::transport {

struct Context {
  ~Context() { *alive = false; }
  // Runs `task` on the loop, later, unless the transport has gone by then.
  void Post(absl::AnyInvocable<void()> task) {
    loop->Post([token = alive, work = std::move(task)]() mutable {
      if (*token) work();
    });
  }
  // Another member says that we were removed: told to the server once.
  void ReportRemoved() {
    if (std::exchange(removed_reported, true)) return;
    Post([this] { events->OnRemovedByOthers(); });
  }

  Identity self;
  net::EventLoop* loop = nullptr;
  net::Dialer* dialer = nullptr;
  base::Strand* blocking = nullptr;
  consensus::TransportEvents* events = nullptr;  // null until the transport is started
  PeerMetrics* metrics = nullptr;
  bool removed_reported = false;
  std::shared_ptr<bool> alive = std::make_shared<bool>(true);
};

// One peer as its streams, pipeline and snapshots see it.
class PeerHost {
 public:
  virtual raft::NodeId id() const = 0;
  virtual const PeerMetrics::OfPeer& metrics() const = 0;
  // The URL to try now. Another one is picked after a failure at this one.
  virtual std::string PickUrl() const = 0;
  virtual void OnUrlFailed(const std::string& url) = 0;
  // Something reached the peer, or did not.
  virtual void OnActive() = 0;
  virtual void OnInactive(const absl::Status& why) = 0;
  // Raft is to be told that messages to this peer were lost.
  virtual void OnLost() = 0;
  // A message from the peer. False: the peer has been stopped meanwhile.
  virtual bool OnReceived(raft::Message message) = 0;

 protected:
  ~PeerHost() = default;
};

}  // namespace etcdd::transport
