#pragma once

// What a member without a WAL asks the others before it starts: whether it was here before, and,
// when it joins, who they are and whether it can live with them (BOOT-003, BOOT-004, CLUS-013,
// CLUS-043; peer-protocol.md section 7).
//
// Blocks; runs before the server's strand does.

#include <cstdint>
#include <string>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "server/bootstrap.h"
#include "server/config.h"
#include "server/peer_client.h"

namespace etcdd::server {

// Asks at the first of `urls` that answers, and waits for it.
using AskPeer = absl::FunctionRef<absl::StatusOr<PeerReply>(
    std::vector<std::string> urls, PeerRequest request, absl::Duration timeout)>;
// Whether two lists of URLs lead to the same places, once their names are resolved. In any order.
using SameUrls = absl::FunctionRef<bool(const std::vector<std::string>& a,
                                        const std::vector<std::string>& b)>;

// The members listed besides the local one, as config.initial_cluster has them.
std::vector<membership::Member> OtherMembers(const Config& config);

// State `new`: an error when one of the others knows this member, with client URLs, already.
// Others that do not answer know nothing.
absl::Status CheckNotBootstrapped(const Config& config, AskPeer ask);

// State `existing`. The errors are etcd's.
absl::StatusOr<JoinedCluster> JoinCluster(const Config& config, AskPeer ask, SameUrls same);

}  // namespace etcdd::server
