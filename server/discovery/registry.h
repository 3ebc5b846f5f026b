#pragma once

// What the joining of a cluster (cluster_join.h) asks of the place where its members meet. The real
// one is another etcd cluster (etcd_registry.h); unit tests have one in memory.
//
// Confined to one thread. Every call may block, and may fail: Unavailable and the like are passing,
// InvalidArgument, PermissionDenied and the like last (IsLasting).

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace etcdd::discovery {

struct Registration {
  std::string member_id;  // the key's last part: hex
  std::string text;       // "name=url,name=url"
  int64_t create_revision = 0;
};

class Registry {
 public:
  virtual ~Registry() = default;
  // The text of the size key; nullopt without such a key.
  virtual absl::StatusOr<std::optional<std::string>> ReadSize() = 0;
  // Everybody who has registered, in any order.
  virtual absl::StatusOr<std::vector<Registration>> ListMembers() = 0;
  // Writes the member's key. To register again changes the text, but not the place in the order.
  virtual absl::Status Register(const std::string& member_id, const std::string& text) = 0;
};

}  // namespace etcdd::discovery
