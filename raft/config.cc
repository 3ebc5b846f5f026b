#include "raft/config.h"

namespace etcdd::raft {

absl::Status Config::Validate() const {
  if (!IsMemberId(id)) return absl::InvalidArgumentError("raft: id is reserved");
  if (heartbeat_ticks <= 0) {
    return absl::InvalidArgumentError("raft: heartbeat_ticks must be positive");
  }
  if (election_ticks <= heartbeat_ticks) {
    return absl::InvalidArgumentError("raft: election_ticks must be above heartbeat_ticks");
  }
  if (message_bytes_max == 0 && committed_bytes_max == 0) {
    // One entry per message is legal, but a zero apply limit would never hand out anything.
    return absl::InvalidArgumentError(
        "raft: committed_bytes_max must be set when message_bytes_max is 0");
  }
  if (inflight_messages_max == 0) {
    return absl::InvalidArgumentError("raft: inflight_messages_max must be positive");
  }
  if (inflight_bytes_max != 0 && inflight_bytes_max < message_bytes_max) {
    return absl::InvalidArgumentError(
        "raft: inflight_bytes_max must be at least message_bytes_max");
  }
  if (pending_reads_max == 0) {
    return absl::InvalidArgumentError("raft: pending_reads_max must be positive");
  }
  if (read_only == ReadOnlyOption::kLeaseBased && !check_quorum) {
    return absl::InvalidArgumentError("raft: lease-based reads need check_quorum");
  }
  if (random == nullptr) return absl::InvalidArgumentError("raft: random must be set");
  return absl::OkStatus();
}

}  // namespace etcdd::raft
