#pragma once

// The data-driven quorum and confchange files: pure arithmetic, no nodes.

#include <cstdint>
#include <string>

#include "raft/tracker.h"
#include "tests/raft/datadriven.h"

namespace etcdd::raft {

// "committed" and "vote". Stateless.
std::string RunQuorumCase(const ScriptCase& one);

// One configuration changer per file.
class ConfChangeEnv {
 public:
  std::string Run(const ScriptCase& one);

 private:
  std::string Change(const ScriptCase& one);

  Tracker tracker_{/*inflight_messages_max=*/10, /*inflight_bytes_max=*/0};
  uint64_t last_index_ = 0;
};

}  // namespace etcdd::raft
