#include "server/discovery/discovery.h"

#include <algorithm>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "server/base/check.h"
#include "server/base/clock.h"
#include "server/base/log.h"
#include "server/base/status_macros.h"
#include "server/discovery/dns_resolver.h"
#include "server/discovery/etcd_registry.h"
#include "server/discovery/grpc_client.h"
#include "server/discovery/srv.h"

namespace etcdd::discovery {
namespace {

using server::Config;
using server::DiscoveryConfig;
using server::InitialMember;

absl::Status WithText(const absl::Status& status, const std::string& text) {
  return absl::Status(status.code(), text);
}

absl::StatusOr<std::vector<InitialMember>> Join(const Config& config, const Wait& wait) {
  const DiscoveryConfig& flags = config.discovery;
  GrpcClientOptions client_options;
  client_options.endpoints = flags.endpoints;
  client_options.dial_timeout = flags.dial_timeout;
  client_options.request_timeout = flags.request_timeout;
  client_options.insecure_transport = flags.insecure_transport;
  client_options.tls = {flags.cert_file, flags.key_file, flags.ca_file,
                        flags.insecure_skip_tls_verify};
  const std::unique_ptr<base::Clock> clock = base::NewSystemClock();
  ETCDD_ASSIGN_OR_RETURN(auto client, GrpcClient::Make(std::move(client_options), *clock));
  const auto registry = NewEtcdRegistry(std::move(client),
                                        {flags.token, flags.user, flags.password});
  JoinOptions join;
  join.self = {config.name, config.initial_advertise_peer_urls};
  join.cluster_token = flags.token;
  join.wait = wait;
  return JoinCluster(*registry, join);
}

absl::StatusOr<Config> DiscoverByRegistry(const Config& config, const Wait& wait) {
  const DiscoveryConfig& flags = config.discovery;
  ETCDD_LOG(kInfo, "Bootstrapping cluster using v3 discovery.",
            {{"discovery-token", flags.token}, {"discovery-endpoints", flags.endpoints}});
  auto members = Join(config, wait);
  if (absl::IsCancelled(members.status())) return members.status();
  if (!members.ok()) {
    const absl::Status failed = WithText(
        members.status(),
        absl::StrCat("failed to join discovery cluster (", members.status().message(), ")"));
    ETCDD_LOG(kWarn, "failed to bootstrap; discovery token was already used",
              {{"discovery-token", flags.token},
               {"discovery-endpoints", flags.endpoints},
               base::LogField(failed)});
    ETCDD_LOG(kWarn,
              "do not reuse discovery token; generate a new one to bootstrap a cluster");
    return failed;
  }
  Config found = config;
  found.initial_cluster = *std::move(members);
  found.initial_cluster_token = flags.token;
  return found;
}

absl::StatusOr<Config> DiscoverByDns(const Config& config) {
  const auto resolver = NewDnsResolver();
  auto members = MembersFromSrv(*resolver, {config.discovery.srv_domain,
                                            config.discovery.srv_name, config.name,
                                            config.initial_advertise_peer_urls});
  if (!members.ok()) {
    return WithText(members.status(), absl::StrCat("error setting up initial cluster: ",
                                                   members.status().message()));
  }
  Config found = config;
  found.initial_cluster = *std::move(members);
  const auto own = std::find_if(found.initial_cluster.begin(), found.initial_cluster.end(),
                                [&](const auto& member) { return member.name == config.name; });
  ETCDD_CHECK(own != found.initial_cluster.end());
  found.initial_advertise_peer_urls = own->peer_urls;
  return found;
}

}  // namespace

bool Wanted(const Config& config) {
  return config.discovery.UsesRegistry() || config.discovery.UsesDns();
}

absl::StatusOr<Config> Discover(const Config& config, const Wait& wait) {
  ETCDD_CHECK(Wanted(config));
  if (!config.discovery.UsesRegistry()) return DiscoverByDns(config);
  if (config.initial_cluster_state == "existing") {
    return absl::InvalidArgumentError(
        "discovery URL should not be set when joining existing initial cluster");
  }
  return DiscoverByRegistry(config, wait);
}

}  // namespace etcdd::discovery
