#pragma once

// One other member: two streams to it which it dials, two from it which we dial, a pipeline of
// POSTs for when there are none, snapshots, and whether it can be reached. A remote is a peer
// without streams and probes: a member that the applied configuration does not name (yet).
//
// Confined to the loop.

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "raft/types.h"
#include "server/net/http1.h"
#include "server/transport/context.h"
#include "server/transport/pipeline.h"
#include "server/transport/prober.h"
#include "server/transport/snapshot_sender.h"
#include "server/transport/stream_reader.h"
#include "server/transport/stream_writer.h"

namespace etcdd::transport {

class Peer final : private PeerHost {
 public:
  enum class Role { kPeer, kRemote };

  // `context` must outlive the peer.
  Peer(Context* context, raft::NodeId id, std::vector<std::string> urls, Role role);
  ~Peer();
  Peer(const Peer&) = delete;
  Peer& operator=(const Peer&) = delete;

  // Begins to dial.
  void Start();
  // Ends all connections; nothing is delivered any more. The peer may then be destroyed, but not
  // within one of its own calls to the outside.
  void Stop();

  void Update(std::vector<std::string> urls);
  void Send(raft::Message message);
  void SendSnapshot(raft::Message message, std::unique_ptr<consensus::ImageSource> image);
  // The peer asks for its stream.
  void Attach(StreamKind kind, std::shared_ptr<net::Http1Exchange> exchange);

  // Since when (Clock::Monotonic) it has been reachable without a break.
  std::optional<absl::Duration> active_since() const { return active_since_; }
  bool attached(StreamKind kind) const { return writer(kind).attached(); }

 private:
  raft::NodeId id() const override { return id_; }
  const PeerMetrics::OfPeer& metrics() const override { return metrics_; }
  std::string PickUrl() const override;
  void OnUrlFailed(const std::string& url) override;
  void OnActive() override;
  void OnInactive(const absl::Status& why) override;
  void OnLost() override;
  bool OnReceived(raft::Message message) override;

  const StreamWriter& writer(StreamKind kind) const {
    return kind == StreamKind::kMessage ? message_writer_ : msgapp_writer_;
  }
  // Hands the message to the channel it belongs to; false: dropped.
  bool Route(raft::Message message);
  void OnSnapshotDone(SnapshotSender* sender, bool ok);

  Context* const context_;
  const raft::NodeId id_;
  const Role role_;
  const PeerMetrics::OfPeer& metrics_;
  std::vector<std::string> urls_;
  size_t picked_ = 0;  // index into urls_
  std::optional<absl::Duration> active_since_;
  bool started_ = false;
  bool stopped_ = false;
  bool loss_reported_ = false;   // a report to raft is on its way
  bool drop_logged_ = false;     // since messages were last taken
  StreamWriter message_writer_;
  StreamWriter msgapp_writer_;
  StreamReader message_reader_;
  StreamReader msgapp_reader_;
  Pipeline pipeline_;
  Prober prober_;
  std::vector<std::unique_ptr<SnapshotSender>> snapshots_;
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

}  // namespace etcdd::transport
