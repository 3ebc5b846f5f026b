#include "raft/types.h"

#include <algorithm>

namespace etcdd::raft {
namespace {

size_t VarintSize(uint64_t value) {
  size_t size = 1;
  while (value >= 0x80) {
    value >>= 7;
    ++size;
  }
  return size;
}

bool SameIds(std::vector<NodeId> a, std::vector<NodeId> b) {
  std::sort(a.begin(), a.end());
  std::sort(b.begin(), b.end());
  return a == b;
}

}  // namespace

size_t EncodedSize(const Entry& entry) {
  // Tag and value of type, term and index are always written; data only if there is any.
  size_t size = 2 + 1 + VarintSize(entry.term) + 1 + VarintSize(entry.index);
  if (!entry.data.empty()) size += 1 + VarintSize(entry.data.size()) + entry.data.size();
  return size;
}

bool Equivalent(const ConfState& a, const ConfState& b) {
  return SameIds(a.voters, b.voters) && SameIds(a.learners, b.learners) &&
         SameIds(a.voters_outgoing, b.voters_outgoing) &&
         SameIds(a.learners_next, b.learners_next) && a.auto_leave == b.auto_leave;
}

bool IsLocalMessage(MessageType type) {
  switch (type) {
    case MessageType::kHup:
    case MessageType::kBeat:
    case MessageType::kUnreachable:
    case MessageType::kSnapStatus:
    case MessageType::kCheckQuorum:
    case MessageType::kStorageAppend:
    case MessageType::kStorageAppendResp:
    case MessageType::kStorageApply:
    case MessageType::kStorageApplyResp:
      return true;
    default:
      return false;
  }
}

bool IsResponseMessage(MessageType type) {
  switch (type) {
    case MessageType::kAppResp:
    case MessageType::kVoteResp:
    case MessageType::kHeartbeatResp:
    case MessageType::kUnreachable:
    case MessageType::kReadIndexResp:
    case MessageType::kPreVoteResp:
    case MessageType::kStorageAppendResp:
    case MessageType::kStorageApplyResp:
      return true;
    default:
      return false;
  }
}

}  // namespace etcdd::raft
