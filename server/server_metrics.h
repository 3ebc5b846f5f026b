#pragma once

// The handles of everything a member counts, under etcd's metric names so that existing dashboards
// and alerts work. Names, labels and buckets are etcd's; docs/compatibility.md says which of its
// metrics are missing and why.
//
//   base::Metrics metrics;
//   ServerMetrics counts(&metrics);
//   counts.puts.Add();
//
// What the server knows anyway (revision, sizes, indexes) is not counted here but asked for when a
// page is made; see EtcdServer.
//
// Thread-safe: every use of a handle is a relaxed atomic operation.

#include <cstdint>
#include <string_view>

#include "server/base/metrics.h"

namespace etcdd::server {

// Requests whose time from receipt to reply is measured, and their label values.
enum class TimedRequest { kPut, kDeleteRange, kTxn, kCompaction, kLeaseGrant, kLeaseRevoke,
                          kLeaseCheckpoint, kAlarm, kClusterVersionSet, kClusterMemberAttrSet };
inline constexpr int kTimedRequestCount = 10;

struct ServerMetrics {
  // `metrics` must outlive the handles, and these any page that is made.
  explicit ServerMetrics(base::Metrics* metrics);

  base::Metrics& registry;

  // --- consensus
  base::Counter& leader_changes;
  base::Counter& late_heartbeats;
  base::Counter& proposals_failed;
  base::Counter& read_indexes_failed;
  base::Counter& read_indexes_slow;
  base::Counter& slow_applies;
  base::Counter& learner_promotions;
  // A promotion was refused; `reason` is the error's text.
  void CountRefusedPromotion(std::string_view reason);
  void SetKnownPeer(uint64_t local_id, uint64_t peer_id, bool known);
  base::Histogram& request_seconds(TimedRequest kind, bool success) {
    return *request_seconds_[static_cast<int>(kind)][success ? 1 : 0];
  }

  // --- store
  base::Counter& puts;
  base::Counter& deletes;
  base::Counter& ranges;
  base::Counter& txns;
  base::Counter put_bytes;  // shown as a gauge, as in etcd
  base::Gauge& long_reads;
  base::Counter& compacted_keys;
  base::Gauge& last_compaction_seconds;
  base::Histogram& compaction_step_ms;
  base::Histogram& compaction_ms;
  base::Histogram& hash_seconds;
  base::Histogram& hash_kv_seconds;

  // --- leases
  base::Counter& leases_granted;
  base::Counter& leases_revoked;
  base::Counter& leases_renewed;
  base::Counter& leases_expired;
  base::Histogram& lease_ttl_seconds;

  // --- disk
  base::Histogram& wal_sync_seconds;
  base::Histogram& wal_write_seconds;
  base::Counter wal_write_bytes;  // shown as a gauge, as in etcd
  base::Histogram& backend_commit_seconds;
  base::Histogram& snap_sync_seconds;
  base::Histogram& snap_encode_seconds;
  base::Histogram& snap_save_seconds;
  base::Histogram& snap_db_sync_seconds;
  base::Histogram& snap_db_save_seconds;

  // --- clients
  base::Counter& client_received_bytes;
  base::Counter& client_sent_bytes;
  base::Counter& health_successes;
  base::Counter& health_failures;

  // --- facts with labels of their own; rare, and they look the metric up
  // "3.7.0" counts as the present version instead of `former` (empty: none).
  void SetClusterVersion(std::string_view former, std::string_view version);
  void SetAlarm(uint64_t member_id, std::string_view alarm_type, bool active);
  // The outcome of one check of /livez or /readyz.
  void CountHealthCheck(std::string_view page, std::string_view check, bool ok);

 private:
  base::Histogram* request_seconds_[kTimedRequestCount][2];
};

}  // namespace etcdd::server
