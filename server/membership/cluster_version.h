#pragma once

// The version a cluster agrees on: the lowest that all members speak, raised when the last member
// was upgraded and lowered only by a downgrade (CLUS-040..051).
//
// Values; free functions are thread-safe.

#include <compare>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "server/membership/cluster.h"

namespace etcdd::membership {

// Major and minor: what compatibility is about.
struct Version {
  int major = 0;
  int minor = 0;
  friend auto operator<=>(const Version&, const Version&) = default;
};

// The oldest version of a cluster that members of 3.x can be in.
inline constexpr Version kMinClusterVersion{3, 0};

// "3.7", "3.7.1", "3.7.0-rc.1+build"; nullopt for anything else.
std::optional<Version> ParseVersion(std::string_view text);
// "3.7.0", as the cluster's version is written.
std::string ClusterVersionText(Version version);
// "3.7".
std::string ShortText(Version version);

// The version to propose, if it is to change. `server_versions`: of each member, nullopt where it
// is not known. `current` is empty while undecided.
std::optional<std::string> DecideClusterVersion(
    std::string_view current, const Downgrade& downgrade,
    const std::vector<std::optional<Version>>& server_versions);

// Whether all members run the target of the downgrade, so that it is done.
bool DowngradeIsDone(const Downgrade& downgrade,
                     const std::vector<std::optional<Version>>& server_versions);

// The target of a downgrade of `cluster`, checked; etcd's errors (CLUS-050).
absl::StatusOr<Version> CheckDowngradeTarget(const Cluster& cluster, std::string_view target);

}  // namespace etcdd::membership
