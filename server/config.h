#pragma once

// Everything a member is told at its start: a plain struct, filled by cmd/etcdd/flags from flags
// and variables, or by a test or an embedder directly. Defaults are etcd's. Values are effective
// ones: "0 means the default" is resolved by whoever fills the struct, save for the quota.
//
// Not thread-safe; fixed once the member runs.

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "server/base/log.h"
#include "server/url.h"

namespace etcdd::server {

// One entry of --initial-cluster.
struct InitialMember {
  std::string name;
  std::vector<Url> peer_urls;
};

// TLS of one side, towards clients or towards peers. Names of files as given; nothing is read here.
struct TlsSettings {
  std::string cert_file;
  std::string key_file;
  std::string client_cert_file;  // shown when dialing instead of cert_file (peers only)
  std::string client_key_file;
  std::string trusted_ca_file;
  std::string crl_file;
  bool client_cert_auth = false;
  bool auto_tls = false;  // a self-signed certificate, when none is named
  std::vector<std::string> allowed_cns;
  std::vector<std::string> allowed_hostnames;
  bool skip_client_san_verification = false;

  bool HasCertificate() const { return !cert_file.empty() && !key_file.empty(); }
};

enum class CompactionMode { kPeriodic, kRevision };

// etcd's feature gates. Those that say "not yet" are known but refused when on.
struct FeatureGates {
  bool fast_lease_keep_alive = true;
  bool lease_checkpoint = false;
  bool lease_checkpoint_persist = false;
  bool txn_mode_write_with_shared_buffer = true;
  bool stop_grpc_service_on_defrag = false;  // not yet
  bool initial_corrupt_check = false;        // not yet
  bool compact_hash_check = false;           // not yet
  bool set_member_local_addr = false;        // not yet
  bool priority_request = false;             // not yet
};

// Where a member without a WAL finds its cluster, when --initial-cluster does not say it: in the
// registry of another etcd cluster (v3 discovery), or in the DNS. See server/discovery.
struct DiscoveryConfig {
  std::vector<std::string> endpoints;  // of the registry: "http://host:port", "host:port"
  std::string token;
  absl::Duration dial_timeout = absl::Seconds(2);
  absl::Duration request_timeout = absl::Seconds(5);
  bool insecure_transport = true;
  bool insecure_skip_tls_verify = false;
  std::string cert_file;
  std::string key_file;
  std::string ca_file;
  std::string user;
  std::string password;

  std::string srv_domain;
  std::string srv_name;  // suffix of the service's name

  bool UsesRegistry() const { return !endpoints.empty(); }
  bool UsesDns() const { return !srv_domain.empty(); }
};

struct Config {
  // --- the member
  std::string name = "default";
  std::string data_dir = "default.etcd";
  std::string wal_dir;  // empty: inside data_dir
  uint64_t snapshot_count_entries = 10000;
  uint64_t snapshot_catchup_entries = 5000;
  uint64_t snapshot_files_max = 5;  // 0: keep all
  uint64_t wal_files_max = 5;       // 0: keep all
  uint64_t heartbeat_interval_ms = 100;  // one raft tick
  uint64_t election_timeout_ms = 1000;
  bool initial_election_tick_advance = true;
  bool pre_vote = true;
  bool strict_reconfig_check = true;
  uint64_t learners_max = 1;
  bool unsafe_no_fsync = false;
  bool force_new_cluster = false;

  // --- listeners
  std::vector<Url> listen_peer_urls = {DefaultUrl(2380)};
  std::vector<Url> listen_client_urls = {DefaultUrl(2379)};
  std::vector<Url> listen_metrics_urls;

  // --- TLS, for the URLs above whose scheme asks for it
  TlsSettings client_tls;
  TlsSettings peer_tls;
  uint64_t self_signed_cert_validity_years = 1;
  std::vector<std::string> cipher_suites;   // IANA names; empty: the library's choice
  std::string tls_min_version = "TLS1.2";
  std::string tls_max_version;  // empty: the library's

  // --- what clients get over HTTP/1.1
  bool grpc_gateway = true;  // the JSON gateway, /v3/
  std::vector<std::string> cors_origins = {"*"};    // "*", or none: all
  std::vector<std::string> host_whitelist = {"*"};  // likewise, on plain text URLs

  // --- limits towards clients
  int64_t quota_backend_bytes = 0;  // 0: kDefaultQuotaBytes; negative: no limit
  uint64_t txn_ops_max = 128;
  uint64_t request_bytes_max = 1572864;
  uint32_t concurrent_streams_max = UINT32_MAX;  // per connection
  absl::Duration grpc_keepalive_min_time = absl::Seconds(5);
  absl::Duration grpc_keepalive_interval = absl::Hours(2);   // 0: off
  absl::Duration grpc_keepalive_timeout = absl::Seconds(20);  // 0: off

  // --- the cluster
  std::vector<Url> initial_advertise_peer_urls = {DefaultUrl(2380)};
  std::vector<Url> advertise_client_urls = {DefaultUrl(2379)};
  std::vector<InitialMember> initial_cluster = {{"default", {DefaultUrl(2380)}}};  // by name
  std::string initial_cluster_state = "new";
  std::string initial_cluster_token = "etcd-cluster";
  DiscoveryConfig discovery;

  // --- history
  CompactionMode auto_compaction_mode = CompactionMode::kPeriodic;
  absl::Duration auto_compaction_period;   // periodic mode; 0: off
  int64_t auto_compaction_revisions = 0;   // revision mode: how many to keep; 0: off
  int64_t compaction_batch_revisions = 1000;
  absl::Duration compaction_sleep_interval = absl::Milliseconds(10);
  absl::Duration watch_progress_notify_interval = absl::Minutes(10);  // plus up to 10 % of jitter

  // --- observation
  base::LogLevel log_level = base::LogLevel::kInfo;
  absl::Duration warning_apply_duration = absl::Milliseconds(100);
  absl::Duration warning_unary_request_duration = absl::Milliseconds(300);

  FeatureGates features;

  // The backend size that raises NOSPACE; INT64_MAX without a limit.
  int64_t QuotaBytes() const;
  // Raft ticks (heartbeats) until an election starts, at least 5 in a valid config.
  int ElectionTicks() const;
  // The shortest lease: ceil(3 * election ticks / 2 * heartbeat), so that a lease outlives the
  // choice of a new leader.
  int64_t MinLeaseTtlSeconds() const;

  // OK when a member can start from this. Errors are etcd's texts, or say what this version of
  // etcdd does not support yet. Reads no file and asks no network.
  absl::Status Validate() const;

  static Url DefaultUrl(uint16_t port);
};

inline constexpr int64_t kDefaultQuotaBytes = int64_t{2} << 30;
inline constexpr uint64_t kElectionTimeoutMaxMs = 50000;

// "name=url,name=url": members sorted by name, URLs of one name collected.
absl::StatusOr<std::vector<InitialMember>> ParseInitialCluster(const std::string& text);

// The rules for a member that starts without a WAL, on top of Validate: it is listed under its own
// name, with exactly the peer URLs it advertises, and no URL is listed twice. A restart must not
// ask: it ignores --initial-cluster (behaviour BOOT-001, BOOT-002). URLs are compared as texts.
absl::Status CheckInitialCluster(const Config& config);

// What one says about something that etcd can do and this version of etcdd cannot.
absl::Status NotSupportedYet(const std::string& what);

}  // namespace etcdd::server
