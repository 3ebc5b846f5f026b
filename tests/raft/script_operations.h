#pragma once

// The operations of configuration changes in scripts: "v1 l2 r3 u4".

#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "raft/conf_change.h"

namespace etcdd::raft {

// Errors: "unknown token X", "unknown input: X".
absl::StatusOr<std::vector<ConfChangeSingle>> ParseOperations(std::string_view text);

}  // namespace etcdd::raft
