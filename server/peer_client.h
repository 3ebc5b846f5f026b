#pragma once

// Questions to another member over its peer URLs, outside of raft: its members, its version, a
// lease renewal that only the leader can do (peer-protocol.md section 1). The daemon's goes over
// HTTP; the simulator's over its own network.
//
// Confined to the server strand.

#include <string>
#include <utility>
#include <vector>

#include "absl/functional/any_invocable.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"

namespace etcdd::server {

struct PeerRequest {
  std::string method = "GET";
  std::string path;  // "/members"
  std::string content_type;
  std::string body;
  std::vector<std::pair<std::string, std::string>> headers;
};

struct PeerReply {
  int status = 0;
  std::string body;
  std::string cluster_id;  // header X-Etcd-Cluster-ID, if there
};

class PeerClient {
 public:
  virtual ~PeerClient() = default;
  // Asks at the first of `urls` that answers with any status. Unavailable: none did in time.
  // `done` is not called from within Ask.
  using Done = absl::AnyInvocable<void(absl::StatusOr<PeerReply>)>;
  virtual void Ask(std::vector<std::string> urls, PeerRequest request, absl::Duration timeout,
                   Done done) = 0;
};

}  // namespace etcdd::server
