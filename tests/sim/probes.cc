#include "tests/sim/probes.h"

namespace etcdd::sim {
namespace {

constexpr const char* kExpected[] = {
    "a sync will fail",
    "bad weather",
    "calendar jumps",
    "full disk",
    "image broken off",
    "image damaged",
    "image received",
    "image refused by its receiver",
    "image sent",
    "is deaf",
    "is mute",
    "kill",
    "leader crashed",
    "leader elected",
    "leader moved",
    "learner promoted",
    "lease ended by time",
    "lease prolonged by a new leader",
    "member added",
    "member removed",
    "member stopped after its removal",
    "member stopped itself",
    "message doubled",
    "message lost",
    "partition",
    "paused",
    "power off",
    "power will go in a write",
    "recorder overtaken by a compaction",
    "request with an unknown outcome",
    "restart from a snapshot",
    "slow disk",
    "torn WAL tail",
    "watch cancelled by a compaction",
    "write without an answer that happened",
};

}  // namespace

std::vector<std::string> MissingProbes(const std::map<std::string, int64_t>& counts) {
  std::vector<std::string> missing;
  for (const char* name : kExpected) {
    if (!counts.contains(name)) missing.push_back(name);
  }
  return missing;
}

}  // namespace etcdd::sim
