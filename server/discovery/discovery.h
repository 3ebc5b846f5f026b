#pragma once

// How a member finds the cluster that --initial-cluster does not name: through a registry
// (--discovery-token, --discovery-endpoints) or through the DNS (--discovery-srv).
//
//   if (!wal_exists && discovery::Wanted(config)) {
//     ETCDD_ASSIGN_OR_RETURN(config, discovery::Discover(config, WaitForStop));
//   }
//
// Thread-safe: no state.

#include "absl/status/statusor.h"
#include "server/config.h"
#include "server/discovery/cluster_join.h"

namespace etcdd::discovery {

// Whether the configuration asks for it.
bool Wanted(const server::Config& config);

// The same configuration as though --initial-cluster said what was found: `initial_cluster` is
// replaced; with a registry also `initial_cluster_token`, by the discovery token; with the DNS also
// `initial_advertise_peer_urls`, by the URLs which the records have for this member, because the
// others derive this member's id from those.
//
// For a member without a WAL, before its loop runs: blocks, with a registry until the last member
// has registered or `wait` returns true; look-ups, connections and requests are not cut short.
// Reads TLS files and uses the network.
// Requires: Wanted(config), config.Validate() is OK.
//
// Errors are etcd's texts and have been logged with their hints (BOOT-005, BOOT-022 to 024):
//   "discovery URL should not be set when joining existing initial cluster"
//   "failed to join discovery cluster (...)", with the errors of JoinCluster and GrpcClient::Make
//   "error setting up initial cluster: ...", with the errors of MembersFromSrv
// Cancelled, without a line in the log, when `wait` returned true.
absl::StatusOr<server::Config> Discover(const server::Config& config, const Wait& wait);

}  // namespace etcdd::discovery
