#include "server/transport/peer_metrics.h"

#include "server/base/log.h"

namespace etcdd::transport {
namespace {

std::vector<double> SnapshotBuckets() { return base::ExponentialBuckets(0.1, 2, 10); }

constexpr char kReceiveFailures[] = "etcd_network_peer_received_failures_total";
constexpr char kReceiveFailuresHelp[] = "The total number of receive failures from peers.";

}  // namespace

PeerMetrics::PeerMetrics(base::Metrics* metrics, raft::NodeId self)
    : metrics_(metrics), self_(base::LogId(self)) {}

void PeerMetrics::CountUndecodable(const std::string& remote) {
  // Without the port, which differs for each connection and would make a new series for each.
  const std::string host = remote.substr(0, remote.rfind(':'));
  metrics_->AddCounter(kReceiveFailures, kReceiveFailuresHelp, {{"From", host}}).Add();
}

const PeerMetrics::OfPeer& PeerMetrics::of(raft::NodeId id) {
  if (const auto found = peers_.find(id); found != peers_.end()) return found->second;
  const std::string name = base::LogId(id);
  const base::Metrics::Labels both = {{"Local", self_}, {"Remote", name}};
  const base::Metrics::Labels from = {{"From", name}};
  const base::Metrics::Labels to = {{"To", name}};
  base::Metrics& m = *metrics_;
  OfPeer peer{};
  peer.active = &m.AddGauge("etcd_network_active_peers",
                            "The current number of active peer connections.", both);
  peer.disconnected = &m.AddCounter("etcd_network_disconnected_peers_total",
                                    "The total number of disconnected peers.", both);
  peer.received_bytes = &m.AddCounter("etcd_network_peer_received_bytes_total",
                                      "The total number of bytes received from peers.", from);
  peer.received_failures = &m.AddCounter(kReceiveFailures, kReceiveFailuresHelp, from);
  peer.sent_bytes = &m.AddCounter("etcd_network_peer_sent_bytes_total",
                                  "The total number of bytes sent to peers.", to);
  peer.sent_failures = &m.AddCounter("etcd_network_peer_sent_failures_total",
                                     "The total number of send failures from peers.", to);
  peer.round_trip_seconds =
      &m.AddHistogram("etcd_network_peer_round_trip_time_seconds",
                      "Round-Trip-Time histogram between peers",
                      base::ExponentialBuckets(0.0001, 2, 16), to);
  peer.snapshots_sent = &m.AddCounter("etcd_network_snapshot_send_success",
                                      "Total number of successful snapshot sends", to);
  peer.snapshot_send_failures =
      &m.AddCounter("etcd_network_snapshot_send_failures",
                    "Total number of snapshot send failures", to);
  peer.snapshots_sending = &m.AddGauge("etcd_network_snapshot_send_inflights_total",
                                       "Total number of inflight snapshot sends", to);
  peer.snapshot_send_seconds =
      &m.AddHistogram("etcd_network_snapshot_send_total_duration_seconds",
                      "Total latency distributions of v3 snapshot sends", SnapshotBuckets(), to);
  peer.snapshots_received = &m.AddCounter("etcd_network_snapshot_receive_success",
                                          "Total number of successful snapshot receives", from);
  peer.snapshot_receive_failures =
      &m.AddCounter("etcd_network_snapshot_receive_failures",
                    "Total number of snapshot receive failures", from);
  peer.snapshots_receiving = &m.AddGauge("etcd_network_snapshot_receive_inflights_total",
                                         "Total number of inflight snapshot receives", from);
  peer.snapshot_receive_seconds = &m.AddHistogram(
      "etcd_network_snapshot_receive_total_duration_seconds",
      "Total latency distributions of v3 snapshot receives", SnapshotBuckets(), from);
  return peers_.emplace(id, peer).first->second;
}

}  // namespace etcdd::transport
