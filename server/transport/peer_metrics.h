#pragma once

// The etcd_network_* metrics of peers. Handles for one peer's label are made when it first appears.
//
// Confined to one strand.

#include <string>
#include <unordered_map>

#include "raft/types.h"
#include "server/base/metrics.h"

namespace etcdd::transport {

class PeerMetrics {
 public:
  struct OfPeer {
    base::Gauge* active;
    base::Counter* disconnected;
    base::Counter* received_bytes;
    base::Counter* received_failures;
    base::Counter* sent_bytes;
    base::Counter* sent_failures;
    base::Histogram* round_trip_seconds;
    base::Counter* snapshots_sent;
    base::Counter* snapshot_send_failures;
    base::Gauge* snapshots_sending;
    base::Histogram* snapshot_send_seconds;
    base::Counter* snapshots_received;
    base::Counter* snapshot_receive_failures;
    base::Gauge* snapshots_receiving;
    base::Histogram* snapshot_receive_seconds;
  };

  // `metrics` must outlive this.
  PeerMetrics(base::Metrics* metrics, raft::NodeId self);
  // The same object for the same id, for ever.
  const OfPeer& of(raft::NodeId id);
  // A request whose sender cannot be told from its content, by address.
  void CountUndecodable(const std::string& remote);

 private:
  base::Metrics* const metrics_;
  const std::string self_;
  std::unordered_map<raft::NodeId, OfPeer> peers_;
};

}  // namespace etcdd::transport
