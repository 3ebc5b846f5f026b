#include "tests/raft/simulation_probes.h"

namespace etcdd::raft {
namespace {

// Parts of log lines, of raft/ itself.
constexpr const char* kTexts[] = {
    "became pre-candidate",
    "lease is not expired",
    "stepped down to follower since quorum is not active",
    "is unpromotable and can not campaign",
    "still pending configuration changes to apply",
    "received MsgTimeoutNow",
    "abort previous transferring leadership",
    "ignores request to same node",
    "sent MsgTimeoutNow to",
    "forgetting leader",
    "transfer leadership to",
    "would exceed uncommitted entry size limit",
    "possible unapplied conf change",
    "must transition out of joint config first",
    "initiating automatic transition out of joint configuration",
    "rejected MsgApp ",
    "decreased progress of",
    "found conflict at index",
    "replace the unstable entries",
    "truncate the unstable entries",
    "ignored entry appends from a MsgStorageAppendResp",
    "missing from unstable log; ignoring",
    "mismatched with entry",
    "sent snapshot[",
    "since it is not recently active",
    "snapshot is temporarily unavailable",
    "recovered from needing snapshot",
    "snapshot succeeded",
    "snapshot failed",
    "starts to restore snapshot",
    "fast-forwarded commit to snapshot",
    "ignored snapshot",
    "because it is unreachable",
};

}  // namespace

Probes::Probes() {
  for (const char* text : kTexts) counts_[text] = 0;
}

void Probes::Log(base::LogLevel, std::string_view line) {
  for (auto& [text, count] : counts_) {
    if (line.find(text) != std::string_view::npos) ++count;
  }
}

}  // namespace etcdd::raft
