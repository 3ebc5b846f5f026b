// Rules between flags, and the way from checked texts to a Config.

#include <algorithm>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "cmd/etcdd/flags.h"
#include "server/base/status_macros.h"

namespace etcdd::cmd {
namespace {

using server::Config;
using server::NotSupportedYet;
using server::Url;

constexpr uint64_t kDefaultSnapshotCount = 10000;
constexpr uint64_t kDefaultCatchupEntries = 5000;
constexpr absl::Duration kWatchProgressMin = absl::Milliseconds(100);

absl::Status Invalid(const std::string& text) { return absl::InvalidArgumentError(text); }

bool HasTls(const std::vector<Url>& urls) {
  return std::any_of(urls.begin(), urls.end(), [](const Url& url) { return url.IsTls(); });
}

absl::Status CheckBootstrapFlags(const FlagValues& values) {
  if (values.Text("discovery-fallback") == "proxy") {
    return Invalid(
        "v2 proxy is deprecated, and --discovery-fallback can't be configured as \"proxy\"");
  }
  const bool token = !values.Text("discovery-token").empty();
  const bool endpoints = !values.Text("discovery-endpoints").empty();
  const int ways = (values.Given("initial-cluster") ? 1 : 0) + (token || endpoints ? 1 : 0) +
                   (values.Text("discovery-srv").empty() ? 0 : 1);
  if (ways > 1) {
    return Invalid(
        "multiple discovery or bootstrap flags are set. Choose one of \"initial-cluster\", "
        "\"discovery-endpoints\" or \"discovery-srv\"");
  }
  if (token != endpoints) {
    return Invalid("both --discovery-token and --discovery-endpoints must be set");
  }
  return absl::OkStatus();
}

absl::Status CheckTlsFlags(const FlagValues& values) {
  const std::string min = values.Text("tls-min-version");
  const std::string max = values.Text("tls-max-version");
  for (const std::string& version : {min, max}) {
    if (version.empty() || version == "TLS1.2" || version == "TLS1.3") continue;
    return Invalid(absl::StrCat("unexpected TLS version \"", version,
                                "\", must be one of: TLS1.2, TLS1.3"));
  }
  if (!max.empty() && min > max) {
    return Invalid(
        absl::StrCat("min version (", min, ") is greater than max version (", max, ")"));
  }
  if (min == "TLS1.3" && !values.Text("cipher-suites").empty()) {
    return Invalid("cipher suites cannot be configured when only TLS1.3 is enabled");
  }
  const bool certificate = (!values.Text("cert-file").empty() &&
                            !values.Text("key-file").empty()) || values.Bool("auto-tls");
  if (certificate) return absl::OkStatus();
  for (const char* flag : {"listen-client-urls", "listen-client-http-urls"}) {
    for (const Url& url : values.Urls(flag)) {
      if (!url.IsTls()) continue;
      return Invalid(absl::StrCat("TLS key/cert (--cert-file, --key-file) must be provided for "
                                  "client url ",
                                  url.ToString(), " with HTTPS scheme"));
    }
  }
  if (HasTls(values.Urls("listen-metrics-urls"))) {
    return Invalid(
        "client TLS key/cert (--cert-file, --key-file) must be provided for metrics secure url");
  }
  return absl::OkStatus();
}

absl::Status CheckListenerFlags(const FlagValues& values) {
  const std::vector<Url> client_urls = values.Urls("listen-client-urls");
  for (const Url& url : values.Urls("listen-client-http-urls")) {
    if (std::find(client_urls.begin(), client_urls.end(), url) != client_urls.end()) {
      return Invalid(absl::StrCat("cannot bind both --listen-client-urls and "
                                  "--listen-client-http-urls on the same url ",
                                  url.ToString()));
    }
  }
  if (values.Given("listen-client-urls") && !values.Given("advertise-client-urls")) {
    return Invalid("--advertise-client-urls is required when --listen-client-urls is set "
                   "explicitly");
  }
  return absl::OkStatus();
}

// The flags that work, but only for some of the values that etcd takes.
absl::Status CheckPartlySupported(const FlagValues& values) {
  const std::string logger = values.Text("logger");
  if (logger != "zap") return Invalid(absl::StrCat("unknown logger option \"", logger, "\""));
  const std::string format = values.Text("log-format");
  if (format != "json" && format != "console") {
    return Invalid(absl::StrCat("unknown log format: ", format,
                                ", supported values json, console"));
  }
  if (format == "console") return NotSupportedYet("--log-format console");
  const std::string outputs = values.Text("log-outputs");
  if (outputs != "default" && outputs != "stderr") {
    return NotSupportedYet("--log-outputs " + outputs);
  }
  const std::string metrics = values.Text("metrics");
  if (metrics != "basic") return NotSupportedYet("--metrics " + metrics);
  return absl::OkStatus();
}

absl::StatusOr<base::LogLevel> ParseLogLevel(const std::string& text) {
  const std::pair<const char*, base::LogLevel> levels[] = {
      {"debug", base::LogLevel::kDebug}, {"info", base::LogLevel::kInfo},
      {"warn", base::LogLevel::kWarn},   {"error", base::LogLevel::kError},
      {"panic", base::LogLevel::kPanic}, {"fatal", base::LogLevel::kFatal},
  };
  for (const auto& [name, level] : levels) {
    if (text == name) return level;
  }
  return Invalid(absl::StrCat("unrecognized level: \"", text, "\""));
}

// --auto-compaction-mode and -retention. A bare number means hours, or revisions.
absl::Status FillCompaction(const FlagValues& values, Config* config) {
  const std::string mode = values.Text("auto-compaction-mode");
  const std::string retention = values.Text("auto-compaction-retention");
  if (mode.empty()) return Invalid("undefined auto-compaction-mode");
  if (mode != "periodic" && mode != "revision") {
    return Invalid(absl::StrCat("unknown auto-compaction-mode \"", mode, "\""));
  }
  config->auto_compaction_mode = mode == "revision" ? server::CompactionMode::kRevision
                                                    : server::CompactionMode::kPeriodic;
  int64_t number = 0;
  const bool bare = absl::SimpleAtoi(retention, &number) && number >= 0;
  const std::string unreadable = absl::StrCat(
      "error parsing CompactionRetention: time: invalid duration \"", retention, "\"");
  if (mode == "revision") {
    if (!bare) return Invalid(unreadable);
    config->auto_compaction_revisions = number;
    return absl::OkStatus();
  }
  absl::StatusOr<absl::Duration> period =
      bare ? absl::StatusOr<absl::Duration>(absl::Hours(number)) : ParseDuration(retention);
  if (!period.ok()) return Invalid(unreadable);
  config->auto_compaction_period = *period;
  return absl::OkStatus();
}

// A value where etcd takes zero for "the default".
template <typename T>
T OrDefault(T value, T when_zero) {
  return value == T() ? when_zero : value;
}

void FillMember(const FlagValues& values, Config* config) {
  config->name = values.Text("name");
  config->data_dir = values.Text("data-dir");
  if (config->data_dir.empty()) config->data_dir = config->name + ".etcd";
  config->wal_dir = values.Text("wal-dir");
  config->snapshot_count_entries =
      OrDefault(values.Uint("snapshot-count"), kDefaultSnapshotCount);
  config->snapshot_catchup_entries =
      OrDefault(values.Uint("snapshot-catchup-entries"), kDefaultCatchupEntries);
  config->snapshot_files_max = values.Uint("max-snapshots");
  config->wal_files_max = values.Uint("max-wals");
  config->heartbeat_interval_ms = values.Uint("heartbeat-interval");
  config->election_timeout_ms = values.Uint("election-timeout");
  config->initial_election_tick_advance = values.Bool("initial-election-tick-advance");
  config->pre_vote = values.Bool("pre-vote");
  config->strict_reconfig_check = values.Bool("strict-reconfig-check");
  config->learners_max = values.Uint("max-learners");
  config->unsafe_no_fsync = values.Bool("unsafe-no-fsync");
  config->force_new_cluster = values.Bool("force-new-cluster");
  config->listen_peer_urls = values.Urls("listen-peer-urls");
  config->listen_client_urls = values.Urls("listen-client-urls");
  config->listen_metrics_urls = values.Urls("listen-metrics-urls");
}

// A comma separated list; empty items are dropped.
std::vector<std::string> List(const std::string& text) {
  std::vector<std::string> items;
  for (const auto& item : absl::StrSplit(text, ',')) {
    const auto stripped = absl::StripAsciiWhitespace(item);
    if (!stripped.empty()) items.emplace_back(stripped);
  }
  return items;
}

void FillTls(const FlagValues& values, Config* config) {
  server::TlsSettings& client = config->client_tls;
  client.cert_file = values.Text("cert-file");
  client.key_file = values.Text("key-file");
  client.trusted_ca_file = values.Text("trusted-ca-file");
  client.crl_file = values.Text("client-crl-file");
  client.client_cert_auth = values.Bool("client-cert-auth");
  client.auto_tls = values.Bool("auto-tls");
  client.allowed_hostnames = List(values.Text("client-cert-allowed-hostname"));
  server::TlsSettings& peer = config->peer_tls;
  peer.cert_file = values.Text("peer-cert-file");
  peer.key_file = values.Text("peer-key-file");
  peer.client_cert_file = values.Text("peer-client-cert-file");
  peer.client_key_file = values.Text("peer-client-key-file");
  peer.trusted_ca_file = values.Text("peer-trusted-ca-file");
  peer.crl_file = values.Text("peer-crl-file");
  peer.client_cert_auth = values.Bool("peer-client-cert-auth");
  peer.auto_tls = values.Bool("peer-auto-tls");
  peer.allowed_cns = List(values.Text("peer-cert-allowed-cn"));
  peer.allowed_hostnames = List(values.Text("peer-cert-allowed-hostname"));
  peer.skip_client_san_verification = values.Bool("peer-skip-client-san-verification");
  config->self_signed_cert_validity_years = values.Uint("self-signed-cert-validity");
  config->cipher_suites = List(values.Text("cipher-suites"));
  config->tls_min_version = values.Text("tls-min-version");
  config->tls_max_version = values.Text("tls-max-version");
}

// --cors and --host-whitelist: lists in which "*" means all.
absl::Status FillHttp(const FlagValues& values, Config* config) {
  config->grpc_gateway = values.Bool("enable-grpc-gateway");
  config->host_whitelist = List(values.Text("host-whitelist"));
  const std::string origins = values.Text("cors");
  config->cors_origins.clear();
  if (origins == "*") return absl::OkStatus();
  const absl::StatusOr<std::vector<Url>> urls = server::ParseUrlList(origins);
  if (!urls.ok()) {
    return Invalid(absl::StrCat("invalid value \"", origins, "\" for flag -cors: ",
                                urls.status().message()));
  }
  config->cors_origins = UrlTexts(*urls);
  return absl::OkStatus();
}

void FillLimits(const FlagValues& values, Config* config) {
  config->quota_backend_bytes = values.Int("quota-backend-bytes");
  config->txn_ops_max = values.Uint("max-txn-ops");
  config->request_bytes_max = values.Uint("max-request-bytes");
  config->concurrent_streams_max = static_cast<uint32_t>(values.Uint("max-concurrent-streams"));
  config->grpc_keepalive_min_time = values.Duration("grpc-keepalive-min-time");
  config->grpc_keepalive_interval = values.Duration("grpc-keepalive-interval");
  config->grpc_keepalive_timeout = values.Duration("grpc-keepalive-timeout");
  config->compaction_batch_revisions =
      OrDefault(values.Int("compaction-batch-limit"), config->compaction_batch_revisions);
  config->compaction_sleep_interval =
      OrDefault(values.Duration("compaction-sleep-interval"), config->compaction_sleep_interval);
  config->watch_progress_notify_interval =
      std::max(kWatchProgressMin, OrDefault(values.Duration("watch-progress-notify-interval"),
                                            config->watch_progress_notify_interval));
  config->warning_apply_duration = values.Duration("warning-apply-duration");
  config->warning_unary_request_duration =
      OrDefault(values.Duration("warning-unary-request-duration"),
                config->warning_unary_request_duration);
}

// The password may be part of --discovery-user, behind a colon.
void FillDiscovery(const FlagValues& values, server::DiscoveryConfig* discovery) {
  for (const auto& item :
       absl::StrSplit(values.Text("discovery-endpoints"), ',', absl::SkipWhitespace())) {
    discovery->endpoints.emplace_back(absl::StripAsciiWhitespace(item));
  }
  discovery->token = values.Text("discovery-token");
  discovery->dial_timeout = values.Duration("discovery-dial-timeout");
  discovery->request_timeout = values.Duration("discovery-request-timeout");
  discovery->insecure_transport = values.Bool("discovery-insecure-transport");
  discovery->insecure_skip_tls_verify = values.Bool("discovery-insecure-skip-tls-verify");
  discovery->cert_file = values.Text("discovery-cert");
  discovery->key_file = values.Text("discovery-key");
  discovery->ca_file = values.Text("discovery-cacert");
  discovery->user = values.Text("discovery-user");
  discovery->password = values.Text("discovery-password");
  if (discovery->password.empty()) {
    const std::vector<std::string> parts =
        absl::StrSplit(discovery->user, absl::MaxSplits(':', 1));
    discovery->user = parts[0];
    if (parts.size() > 1) discovery->password = parts[1];
  }
  discovery->srv_domain = values.Text("discovery-srv");
  discovery->srv_name = values.Text("discovery-srv-name");
}

absl::Status FillCluster(const FlagValues& values, Config* config) {
  config->initial_advertise_peer_urls = values.Urls("initial-advertise-peer-urls");
  config->advertise_client_urls = values.Urls("advertise-client-urls");
  config->initial_cluster_state = values.Text("initial-cluster-state");
  config->initial_cluster_token = values.Text("initial-cluster-token");
  FillDiscovery(values, &config->discovery);
  if (!values.Given("initial-cluster")) {
    config->initial_cluster = {{config->name, config->initial_advertise_peer_urls}};
    return absl::OkStatus();
  }
  ETCDD_ASSIGN_OR_RETURN(config->initial_cluster,
                         server::ParseInitialCluster(values.Text("initial-cluster")));
  return absl::OkStatus();
}

}  // namespace

absl::Status CheckFlagRules(const FlagValues& values) {
  ETCDD_RETURN_IF_ERROR(CheckBootstrapFlags(values));
  ETCDD_RETURN_IF_ERROR(CheckListenerFlags(values));
  ETCDD_RETURN_IF_ERROR(CheckTlsFlags(values));
  const absl::Duration hash_check = values.Duration("compact-hash-check-time");
  if (hash_check <= absl::ZeroDuration()) {
    return Invalid(absl::StrCat("--compact-hash-check-time must be >0 (set to ",
                                base::LogDuration(hash_check), ")"));
  }
  return absl::OkStatus();
}

absl::Status CheckFlagSupport(const FlagValues& values) {
  for (const FlagRow& row : AllFlags()) {
    if (row.support != FlagSupport::kNotYet || !values.Given(row.name)) continue;
    if (MeansDefault(row, values.Text(row.name))) continue;
    return NotSupportedYet(absl::StrCat("--", std::string(row.name)));
  }
  return CheckPartlySupported(values);
}

absl::StatusOr<Config> MakeConfig(const FlagValues& values) {
  Config config;
  FillMember(values, &config);
  FillTls(values, &config);
  FillLimits(values, &config);
  ETCDD_RETURN_IF_ERROR(FillHttp(values, &config));
  ETCDD_RETURN_IF_ERROR(FillCluster(values, &config));
  ETCDD_RETURN_IF_ERROR(FillCompaction(values, &config));
  ETCDD_ASSIGN_OR_RETURN(config.log_level, ParseLogLevel(values.Text("log-level")));
  ETCDD_ASSIGN_OR_RETURN(config.features, ParseFeatureGates(values.Text("feature-gates")));
  ETCDD_RETURN_IF_ERROR(config.Validate());
  return config;
}

}  // namespace etcdd::cmd
