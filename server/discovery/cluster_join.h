#pragma once

// How the first members of a cluster find each other (v3 discovery, behaviour BOOT-020 to 023):
// everybody registers in the same place, and the first N who did are the cluster, N being written
// there beforehand. The order is that of the registry's create revisions, so all of them agree.
//
// Thread-safe: no state.

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "server/config.h"
#include "server/discovery/registry.h"

namespace etcdd::discovery {

// Waits; true: the process was asked to stop meanwhile.
using Wait = std::function<bool(absl::Duration)>;

struct JoinOptions {
  server::InitialMember self;
  std::string cluster_token;  // the member's id derives from it and the peer URLs
  // How often a registry that is not full yet is looked at again.
  absl::Duration poll_interval = absl::Milliseconds(500);
  // Failures in a row until the join gives up; etcd's figure, years of patience.
  uint32_t retries_max = UINT32_MAX;
  Wait wait;  // required
};

// Pause after the n-th failure in a row: 2^n seconds, n <= kRetryExponentMax.
inline constexpr uint32_t kRetryExponentMax = 8;

// The initial cluster, sorted by name. Registers this member unless N others are there already,
// then waits until N members have registered.
//
// Passing failures of the registry are logged and retried. Errors:
//   NotFound            "discovery: size key not found"
//   InvalidArgument     "discovery: size key is bad"
//   FailedPrecondition  "discovery: cluster is full": N others were first
//   InvalidArgument     "discovery: invalid peer URL": what one of the N registered, or this member
//                       would, is not one name with URLs
//   FailedPrecondition  "discovery cluster ... has duplicate url" or "... duplicate name"
//   Unavailable         "discovery: too many retries"
//   Cancelled           `wait` returned true
//   any                 a lasting failure of the registry
absl::StatusOr<std::vector<server::InitialMember>> JoinCluster(Registry& registry,
                                                               const JoinOptions& options);

// True for failures that the same request would meet again: PermissionDenied and the like.
bool IsLasting(const absl::Status& status);

}  // namespace etcdd::discovery
