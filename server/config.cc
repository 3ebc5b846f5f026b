#include "server/config.h"

#include <algorithm>
#include <limits>
#include <map>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "server/base/status_macros.h"

namespace etcdd::server {
namespace {

template <typename... Args>
absl::Status Invalid(const Args&... args) {
  return absl::InvalidArgumentError(absl::StrCat(args...));
}

std::string Joined(const std::vector<Url>& urls) { return absl::StrJoin(UrlTexts(urls), ","); }

absl::Status CheckUrls(const Config& config) {
  for (const auto* urls :
       {&config.listen_peer_urls, &config.listen_client_urls, &config.listen_metrics_urls}) {
    for (const Url& url : *urls) ETCDD_RETURN_IF_ERROR(CheckBindable(url));
  }
  for (const Url& url : config.initial_advertise_peer_urls) {
    if (absl::Status status = CheckAdvertisable(url); !status.ok()) {
      return Invalid("--initial-advertise-peer-urls \"", Joined(config.initial_advertise_peer_urls),
                     "\" must be \"host:port\" (", status.message(), ")");
    }
  }
  for (const Url& url : config.advertise_client_urls) {
    if (absl::Status status = CheckAdvertisable(url); !status.ok()) {
      return Invalid("--advertise-client-urls \"", Joined(config.advertise_client_urls),
                     "\" must be in the format \"scheme://host:port\" (",
                     status.message(), ")");
    }
  }
  if (config.listen_peer_urls.empty()) return Invalid("--listen-peer-urls must not be empty");
  if (config.listen_client_urls.empty()) return Invalid("--listen-client-urls must not be empty");
  if (config.initial_advertise_peer_urls.empty()) {
    return Invalid("--initial-advertise-peer-urls must not be empty");
  }
  if (config.advertise_client_urls.empty()) {
    return Invalid("--advertise-client-urls must not be empty");
  }
  return absl::OkStatus();
}

absl::Status CheckTimes(const Config& config) {
  const uint64_t heartbeat = config.heartbeat_interval_ms;
  const uint64_t election = config.election_timeout_ms;
  if (heartbeat == 0) return Invalid("--heartbeat-interval must be >0 (set to 0ms)");
  if (election == 0) return Invalid("--election-timeout must be >0 (set to 0ms)");
  // Divided rather than multiplied: the product may overflow.
  if (election / 5 < heartbeat) {
    return Invalid("--election-timeout[", election,
                   "ms] should be at least as 5 times as --heartbeat-interval[", heartbeat, "ms]");
  }
  if (election > kElectionTimeoutMaxMs) {
    return Invalid("--election-timeout[", election, "ms] is too long, and should be set less than ",
                   kElectionTimeoutMaxMs, "ms");
  }
  return absl::OkStatus();
}

absl::Status CheckDiscovery(const Config& config) {
  const DiscoveryConfig& discovery = config.discovery;
  if (discovery.UsesRegistry() && discovery.UsesDns()) {
    return Invalid(
        "multiple discovery or bootstrap flags are set. Choose one of \"initial-cluster\", "
        "\"discovery-endpoints\" or \"discovery-srv\"");
  }
  if (discovery.UsesRegistry() == discovery.token.empty()) {
    return Invalid("both --discovery-token and --discovery-endpoints must be set");
  }
  if (discovery.dial_timeout <= absl::ZeroDuration()) {
    return Invalid("--discovery-dial-timeout must be >0 (set to ",
                   base::LogDuration(discovery.dial_timeout), ")");
  }
  if (discovery.request_timeout <= absl::ZeroDuration()) {
    return Invalid("--discovery-request-timeout must be >0 (set to ",
                   base::LogDuration(discovery.request_timeout), ")");
  }
  return absl::OkStatus();
}

absl::Status CheckLimits(const Config& config) {
  if (config.compaction_batch_revisions <= 0) {
    return Invalid("--compaction-batch-limit must be >0 (set to ",
                   config.compaction_batch_revisions, ")");
  }
  if (config.auto_compaction_revisions < 0 ||
      config.auto_compaction_period < absl::ZeroDuration()) {
    return Invalid("--auto-compaction-retention must not be negative");
  }
  if (config.features.lease_checkpoint_persist && !config.features.lease_checkpoint) {
    return Invalid("enabling feature gate LeaseCheckpointPersist requires enabling feature gate ",
                   "LeaseCheckpoint");
  }
  return absl::OkStatus();
}

absl::Status CheckFeaturesSupported(const FeatureGates& features) {
  const std::pair<bool, const char*> not_yet[] = {
      {features.stop_grpc_service_on_defrag, "StopGRPCServiceOnDefrag"},
      {features.initial_corrupt_check, "InitialCorruptCheck"},
      {features.compact_hash_check, "CompactHashCheck"},
      {features.set_member_local_addr, "SetMemberLocalAddr"},
      {features.priority_request, "PriorityRequest"},
  };
  for (const auto& [on, name] : not_yet) {
    if (on) return NotSupportedYet(absl::StrCat("--feature-gates ", name, "=true"));
  }
  return absl::OkStatus();
}

absl::Status CheckSupported(const Config& config) {
  const std::pair<const char*, const std::vector<Url>*> lists[] = {
      {"--listen-client-urls", &config.listen_client_urls},
      {"--listen-metrics-urls", &config.listen_metrics_urls},
      {"--listen-peer-urls", &config.listen_peer_urls},
  };
  for (const auto& [flag, urls] : lists) {
    const bool unix_works = urls == &config.listen_client_urls;
    for (const Url& url : *urls) {
      if (url.IsUnix() && !unix_works) {
        return NotSupportedYet(absl::StrCat(flag, " with the scheme ", url.scheme));
      }
    }
  }
  return CheckFeaturesSupported(config.features);
}

}  // namespace

absl::Status NotSupportedYet(const std::string& what) {
  return absl::UnimplementedError(what + " is not supported yet by this version of etcdd");
}

Url Config::DefaultUrl(uint16_t port) {
  Url url;
  url.scheme = "http";
  url.address = absl::StrCat("localhost:", port);
  url.host = "localhost";
  url.port = port;
  return url;
}

int64_t Config::QuotaBytes() const {
  if (quota_backend_bytes < 0) return std::numeric_limits<int64_t>::max();
  return quota_backend_bytes == 0 ? kDefaultQuotaBytes : quota_backend_bytes;
}

int Config::ElectionTicks() const {
  return static_cast<int>(election_timeout_ms / heartbeat_interval_ms);
}

int64_t Config::MinLeaseTtlSeconds() const {
  const int64_t ticks = (3 * ElectionTicks()) / 2;
  const int64_t shortest_ms = ticks * static_cast<int64_t>(heartbeat_interval_ms);
  return (shortest_ms + 999) / 1000;
}

absl::Status Config::Validate() const {
  ETCDD_RETURN_IF_ERROR(CheckUrls(*this));
  if (initial_cluster_state != "new" && initial_cluster_state != "existing") {
    return Invalid("unexpected clusterState \"", initial_cluster_state, "\"");
  }
  ETCDD_RETURN_IF_ERROR(CheckDiscovery(*this));
  ETCDD_RETURN_IF_ERROR(CheckTimes(*this));
  ETCDD_RETURN_IF_ERROR(CheckLimits(*this));
  if (name.empty()) return Invalid("--name must not be empty");
  if (data_dir.empty()) return Invalid("--data-dir must not be empty");
  return CheckSupported(*this);
}

absl::StatusOr<std::vector<InitialMember>> ParseInitialCluster(const std::string& text) {
  // Duplicates stay, for CheckInitialCluster to find.
  std::map<std::string, std::vector<Url>> urls_by_name;
  for (const auto& item : absl::StrSplit(text, ',', absl::SkipWhitespace())) {
    const std::vector<std::string> parts =
        absl::StrSplit(absl::StripAsciiWhitespace(item), absl::MaxSplits('=', 1));
    if (parts.size() != 2 || parts[1].empty()) {
      return Invalid("--initial-cluster: empty URL given for \"", parts[0], "\"");
    }
    absl::StatusOr<Url> url = ParseUrl(parts[1]);
    if (!url.ok()) return Invalid("--initial-cluster: ", url.status().message());
    urls_by_name[parts[0]].push_back(*std::move(url));
  }
  std::vector<InitialMember> members;
  for (auto& [name, urls] : urls_by_name) {
    std::sort(urls.begin(), urls.end(),
              [](const Url& a, const Url& b) { return a.ToString() < b.ToString(); });
    members.push_back({name, std::move(urls)});
  }
  return members;
}

absl::Status CheckInitialCluster(const Config& config) {
  std::map<std::string, int> uses;
  std::string listed;
  const InitialMember* own = nullptr;
  for (const InitialMember& member : config.initial_cluster) {
    if (member.name == config.name) own = &member;
    for (const Url& url : member.peer_urls) {
      ++uses[url.ToString()];
      absl::StrAppend(&listed, listed.empty() ? "" : ",", member.name, "=", url.ToString());
    }
  }
  if (own == nullptr) {
    return Invalid("couldn't find local name \"", config.name,
                   "\" in the initial cluster configuration");
  }
  for (const auto& [url, count] : uses) {
    if (count > 1) return Invalid("initial cluster ", listed, " has duplicate url");
  }
  const std::vector<Url>& advertised = config.initial_advertise_peer_urls;
  for (const Url& url : own->peer_urls) {
    if (std::find(advertised.begin(), advertised.end(), url) == advertised.end()) {
      return Invalid("--initial-cluster has ", own->name, "=", url.ToString(),
                     " but missing from --initial-advertise-peer-urls=", Joined(advertised));
    }
  }
  for (const Url& url : advertised) {
    if (std::find(own->peer_urls.begin(), own->peer_urls.end(), url) == own->peer_urls.end()) {
      return Invalid("--initial-advertise-peer-urls has ", url.ToString(),
                     " but missing from --initial-cluster=", listed);
    }
  }
  return absl::OkStatus();
}

}  // namespace etcdd::server
