#pragma once

// etcd's peer protocol behind consensus::Transport (peer-protocol.md): each message to the peer it
// is for, each peer with its own connections, all on one event loop. Inbound messages are handed
// over on the loop within the turn in which they arrived.
//
//   Dialer dialer({&loop, resolver.get()});
//   Transport transport(parts, identity);
//   PeerHttp peer_http(&transport, &pages);   // what a front door for peer URLs serves
//   ... server made with &transport ...
//   transport.Start(&server);
//
// Confined to the loop. Destroy it in a turn of its own (or after the loop has ended), before the
// dialer; the blocking strand must have ended its work before the loop is destroyed.

#include <memory>
#include <optional>
#include <string>
#include <unordered_map>
#include <vector>

#include "raft/types.h"
#include "server/base/metrics.h"
#include "server/base/strand.h"
#include "server/consensus/transport.h"
#include "server/net/dialer.h"
#include "server/net/http1.h"
#include "server/transport/context.h"
#include "server/transport/peer.h"
#include "server/transport/snapshot_inbox.h"

namespace etcdd::transport {

struct TransportParts {
  net::Dialer* dialer = nullptr;      // brings the loop
  base::Strand* blocking = nullptr;   // images are read and written there
  base::Metrics* metrics = nullptr;
};

class Transport final : public consensus::Transport {
 public:
  // The parts must outlive the transport. Until Start peers are only remembered, and requests of
  // others answered with 503.
  Transport(TransportParts parts, Identity self);
  ~Transport() override;

  // `events` must outlive the transport.
  void Start(consensus::TransportEvents* events);
  // Ends all connections to and from peers; the events are not called any more, and requests are
  // answered with 503 again. A front door that is to be drained does not wait for streams then.
  void Stop();

  void Send(raft::Message message) override;
  void SendSnapshot(raft::Message message,
                    std::unique_ptr<consensus::ImageSource> image) override;
  void AddPeer(raft::NodeId id, std::vector<std::string> urls) override;
  void UpdatePeer(raft::NodeId id, std::vector<std::string> urls) override;
  void RemovePeer(raft::NodeId id) override;
  void AddRemote(raft::NodeId id, std::vector<std::string> urls) override;
  std::optional<absl::Duration> ActiveSince(raft::NodeId id) const override;

  // --- for the HTTP side ---
  bool started() const { return context_.events != nullptr; }
  const Identity& self() const { return context_.self; }
  net::EventLoop& loop() const { return *context_.loop; }
  consensus::TransportEvents& events() { return *context_.events; }
  PeerMetrics& metrics() { return metrics_; }
  SnapshotInbox& inbox() { return inbox_; }
  // Null: no peer.
  Peer* FindPeer(raft::NodeId id);
  // A sender that is no peer said where it is.
  void LearnRemote(raft::NodeId id, std::vector<std::string> urls);

 private:
  using Peers = std::unordered_map<raft::NodeId, std::unique_ptr<Peer>>;

  // Peer or remote; null: unknown.
  Peer* Find(raft::NodeId id);
  void Retire(Peers* peers, raft::NodeId id);
  // An image nobody gets.
  void Discard(std::unique_ptr<consensus::ImageSource> image);

  PeerMetrics metrics_;
  Context context_;
  Peers peers_;
  Peers remotes_;
  std::vector<std::unique_ptr<Peer>> retired_;  // destroyed in a turn of their own
  SnapshotInbox inbox_;
};

}  // namespace etcdd::transport
