#include "tests/raft/script_operations.h"

#include <cstdint>
#include <string>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "tests/raft/datadriven.h"

namespace etcdd::raft {

absl::StatusOr<std::vector<ConfChangeSingle>> ParseOperations(std::string_view text) {
  std::vector<ConfChangeSingle> changes;
  for (const std::string& token : Words(text)) {
    if (token.size() < 2) return absl::InvalidArgumentError(absl::StrCat("unknown token ", token));
    ConfChangeSingle change;
    switch (token[0]) {
      case 'v':
        change.type = ConfChangeType::kAddNode;
        break;
      case 'l':
        change.type = ConfChangeType::kAddLearnerNode;
        break;
      case 'r':
        change.type = ConfChangeType::kRemoveNode;
        break;
      case 'u':
        change.type = ConfChangeType::kUpdateNode;
        break;
      default:
        return absl::InvalidArgumentError(absl::StrCat("unknown input: ", token));
    }
    uint64_t id = 0;
    if (!absl::SimpleAtoi(token.substr(1), &id)) {
      return absl::InvalidArgumentError(absl::StrCat("bad node id in ", token));
    }
    change.node_id = id;
    changes.push_back(change);
  }
  return changes;
}

}  // namespace etcdd::raft
