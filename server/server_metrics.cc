#include "server/server_metrics.h"

#include <string>
#include <vector>

#include "server/base/log.h"

namespace etcdd::server {
namespace {

// Buckets shared by etcd's disk and request histograms: 1 ms to 8.192 s.
std::vector<double> DiskBuckets() { return base::ExponentialBuckets(0.001, 2, 14); }

constexpr std::string_view kTimedRequestNames[kTimedRequestCount] = {
    "Put",        "DeleteRange",     "Txn",   "Compaction",        "LeaseGrant",
    "LeaseRevoke", "LeaseCheckpoint", "Alarm", "ClusterVersionSet", "ClusterMemberAttrSet"};

}  // namespace

ServerMetrics::ServerMetrics(base::Metrics* m)
    : registry(*m),
      leader_changes(m->AddCounter("etcd_server_leader_changes_seen_total",
                                   "Leaders this member has seen elected.")),
      late_heartbeats(m->AddCounter("etcd_server_heartbeat_send_failures_total",
                                    "Heartbeats the leader sent too late, likely for a busy "
                                    "machine or a slow disk.")),
      proposals_failed(m->AddCounter("etcd_server_proposals_failed_total",
                                     "Proposals that were dropped or timed out.")),
      read_indexes_failed(m->AddCounter("etcd_server_read_indexes_failed_total",
                                        "Rounds of linearizable reads that failed.")),
      read_indexes_slow(m->AddCounter("etcd_server_slow_read_indexes_total",
                                      "Rounds of linearizable reads that had to be asked again.")),
      slow_applies(m->AddCounter("etcd_server_slow_apply_total",
                                 "Batches of entries whose apply took longer than "
                                 "--warning-apply-duration.")),
      learner_promotions(m->AddCounter("etcd_server_learner_promote_successes",
                                       "Learners promoted while this member was leader.")),
      puts{m->AddCounter("etcd_mvcc_put_total", "Puts executed, those inside a Txn included.")},
      deletes(m->AddCounter("etcd_mvcc_delete_total",
                            "Range deletions executed, those inside a Txn included.")),
      ranges(m->AddCounter("etcd_mvcc_range_total",
                           "Ranges executed, those inside a Txn included.")),
      txns(m->AddCounter("etcd_mvcc_txn_total", "Store transactions of more than one operation.")),
      long_reads(m->AddGauge("etcd_mvcc_db_open_read_transactions",
                             "Long reads now running beside the server's loop.")),
      compacted_keys(m->AddCounter("etcd_debugging_mvcc_db_compaction_keys_total",
                                   "Revisions removed by compactions.")),
      last_compaction_seconds(m->AddGauge("etcd_debugging_mvcc_db_compaction_last",
                                          "Unix time of the end of the last compaction; 0 when "
                                          "there was none since the start.")),
      compaction_step_ms(m->AddHistogram(
          "etcd_debugging_mvcc_db_compaction_pause_duration_milliseconds",
          "Length of one step of a compaction, in milliseconds.",
          base::ExponentialBuckets(1, 2, 13))),
      compaction_ms(m->AddHistogram("etcd_debugging_mvcc_db_compaction_total_duration_milliseconds",
                                    "Length of a whole compaction, in milliseconds.",
                                    base::ExponentialBuckets(100, 2, 14))),
      hash_seconds(m->AddHistogram("etcd_mvcc_hash_duration_seconds", "Time of a Hash request.",
                                   base::ExponentialBuckets(0.01, 2, 15))),
      hash_kv_seconds(m->AddHistogram("etcd_mvcc_hash_rev_duration_seconds",
                                      "Time of a HashKV request.",
                                      base::ExponentialBuckets(0.01, 2, 15))),
      leases_granted(m->AddCounter("etcd_debugging_lease_granted_total", "Leases granted.")),
      leases_revoked(m->AddCounter("etcd_debugging_lease_revoked_total", "Leases revoked.")),
      leases_renewed(m->AddCounter("etcd_debugging_lease_renewed_total",
                                   "Lease renewals this member made as leader.")),
      leases_expired(m->AddCounter("etcd_debugging_server_lease_expired_total",
                                   "Leases that expired while this member was leader.")),
      lease_ttl_seconds(m->AddHistogram("etcd_debugging_lease_ttl_total",
                                        "Granted time to live of leases, in seconds.",
                                        base::ExponentialBuckets(1, 2, 24))),
      wal_sync_seconds(m->AddHistogram("etcd_disk_wal_fsync_duration_seconds",
                                       "Time of a sync of the WAL.", DiskBuckets())),
      wal_write_seconds(m->AddHistogram("etcd_disk_wal_write_duration_seconds",
                                        "Time of a write to the WAL and the sync behind it.",
                                        DiskBuckets())),
      backend_commit_seconds(m->AddHistogram("etcd_disk_backend_commit_duration_seconds",
                                             "Time in which one batch of applied entries was "
                                             "written to the backend.",
                                             DiskBuckets())),
      snap_sync_seconds(m->AddHistogram("etcd_snap_fsync_duration_seconds",
                                        "Time of the sync of a raft snapshot file.",
                                        DiskBuckets())),
      snap_encode_seconds(m->AddHistogram("etcd_debugging_snap_save_marshalling_duration_seconds",
                                          "Time in which a raft snapshot file was encoded.",
                                          DiskBuckets())),
      snap_save_seconds(m->AddHistogram("etcd_debugging_snap_save_total_duration_seconds",
                                        "Whole time in which a raft snapshot file was saved.",
                                        DiskBuckets())),
      snap_db_sync_seconds(m->AddHistogram("etcd_snap_db_fsync_duration_seconds",
                                           "Time of a sync of a received backend image.",
                                           DiskBuckets())),
      snap_db_save_seconds(m->AddHistogram("etcd_snap_db_save_total_duration_seconds",
                                           "Whole time in which a backend image was received and "
                                           "saved.",
                                           base::ExponentialBuckets(0.1, 2, 10))),
      client_received_bytes(m->AddCounter("etcd_network_client_grpc_received_bytes_total",
                                          "Bytes of messages received from gRPC clients.")),
      client_sent_bytes(m->AddCounter("etcd_network_client_grpc_sent_bytes_total",
                                      "Bytes of messages sent to gRPC clients.")),
      health_successes(m->AddCounter("etcd_server_health_success",
                                     "Requests of /health answered with true.")),
      health_failures(m->AddCounter("etcd_server_health_failures",
                                    "Requests of /health answered with false.")) {
  for (int kind = 0; kind < kTimedRequestCount; ++kind) {
    for (int success = 0; success < 2; ++success) {
      request_seconds_[kind][success] = &m->AddHistogram(
          "etcd_server_request_duration_seconds",
          "Time from the receipt of a write to its reply, in the server.", DiskBuckets(),
          {{"type", std::string(kTimedRequestNames[kind])},
           {"success", success != 0 ? "true" : "false"}});
    }
  }
  m->AddGaugeFunction("etcd_debugging_mvcc_total_put_size_in_bytes",
                      "Bytes of the keys and values put since the start.", {},
                      [this] { return static_cast<double>(put_bytes.value()); });
  m->AddGaugeFunction("etcd_disk_wal_write_bytes_total", "Bytes written to the WAL.", {},
                      [this] { return static_cast<double>(wal_write_bytes.value()); });
}

void ServerMetrics::SetClusterVersion(std::string_view former, std::string_view version) {
  const auto set = [this](std::string_view text, double value) {
    // etcd's label has major and minor only.
    const std::string label(text.substr(0, text.rfind('.')));
    registry.AddGauge("etcd_cluster_version", "1 for the version the cluster runs at, else 0.",
                      {{"cluster_version", label}}).Set(value);
  };
  if (!former.empty()) set(former, 0);
  if (!version.empty()) set(version, 1);
}

void ServerMetrics::SetAlarm(uint64_t member_id, std::string_view alarm_type, bool active) {
  registry.AddGauge("etcd_debugging_server_alarms", "1 for an alarm that is in force, else 0.",
                    {{"server_id", base::LogId(member_id)},
                     {"alarm_type", std::string(alarm_type)}}).Set(active ? 1 : 0);
}

void ServerMetrics::CountRefusedPromotion(std::string_view reason) {
  registry.AddCounter("etcd_server_learner_promote_failures",
                      "Promotions refused while this member was leader.",
                      {{"Reason", std::string(reason)}}).Add();
}

void ServerMetrics::SetKnownPeer(uint64_t local_id, uint64_t peer_id, bool known) {
  registry.AddGauge("etcd_network_known_peers", "1 for each other member, 0 once it was removed.",
                    {{"Local", base::LogId(local_id)}, {"Remote", base::LogId(peer_id)}})
      .Set(known ? 1 : 0);
}

void ServerMetrics::CountHealthCheck(std::string_view page, std::string_view check, bool ok) {
  base::Metrics::Labels labels = {{"type", std::string(page)}, {"name", std::string(check)}};
  registry.AddGauge("etcd_server_healthcheck", "The last result of a check: 1 passed, 0 failed.",
                    labels).Set(ok ? 1 : 0);
  labels.emplace_back("status", ok ? "success" : "error");
  registry.AddCounter("etcd_server_healthchecks_total", "Checks run, by their result.",
                      labels).Add();
}

}  // namespace etcdd::server
