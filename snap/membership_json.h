#pragma once

// The membership document that etcd keeps in a raft snapshot: the JSON dump of its legacy v2 store,
// reduced to what older etcd versions read from it (members, removed members, cluster version). We
// only write it, so that such a version can start from our files; nothing here reads it.

#include <cstdint>
#include <string>
#include <vector>

namespace etcdd::snap {

struct MemberDescription {
  uint64_t id = 0;
  std::vector<std::string> peer_urls;
  bool is_learner = false;
  // Both empty until the member has published itself.
  std::string name;
  std::vector<std::string> client_urls;
};

struct Membership {
  std::vector<MemberDescription> members;  // in any order
  std::vector<uint64_t> removed_ids;       // in any order
  std::string cluster_version;             // "3.6.0"; empty while undecided
};

// Deterministic: equal memberships give equal text, whatever the order of their lists.
std::string MembershipJson(const Membership& membership);

}  // namespace etcdd::snap
