#include "tests/raft/math_scripts.h"

#include <algorithm>
#include <map>
#include <optional>
#include <utility>
#include <vector>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "raft/conf_changer.h"
#include "raft/describe.h"
#include "raft/quorum.h"
#include "tests/raft/script_operations.h"

namespace etcdd::raft {
namespace {

struct QuorumInput {
  std::vector<NodeId> voters;  // of both halves, in order of first appearance
  JointVoters joint;
  bool is_joint = false;
};

QuorumInput ParseQuorum(const ScriptCase& one) {
  QuorumInput input;
  const auto add = [&input](const ScriptArgument* argument, IdSet* half) {
    if (argument == nullptr) return;
    for (const std::string& value : argument->values) {
      uint64_t id = 0;
      if (!absl::SimpleAtoi(value, &id)) continue;  // "zero"
      half->Insert(id);
      if (std::find(input.voters.begin(), input.voters.end(), id) == input.voters.end()) {
        input.voters.push_back(id);
      }
    }
  };
  add(one.Find("cfg"), &input.joint.incoming);
  add(one.Find("cfgj"), &input.joint.outgoing);
  input.is_joint = one.Find("cfgj") != nullptr;
  return input;
}

std::string IndexText(uint64_t index) {
  return index == kNoLimit ? "\xe2\x88\x9e" : absl::StrCat(index);
}

using Acked = std::map<NodeId, uint64_t>;

uint64_t Committed(const JointVoters& voters, const Acked& acked) {
  return voters.Committed([&acked](NodeId id) {
    auto it = acked.find(id);
    return it == acked.end() ? uint64_t{0} : it->second;
  });
}

// Another way to say it: the largest acknowledged index that more than half reached.
uint64_t SlowCommitted(const IdSet& voters, const Acked& acked) {
  if (voters.empty()) return kNoLimit;
  uint64_t best = 0;
  for (NodeId candidate : voters) {
    auto it = acked.find(candidate);
    if (it == acked.end()) continue;
    size_t reached = 0;
    for (NodeId id : voters) {
      auto other = acked.find(id);
      if (other != acked.end() && other->second >= it->second) ++reached;
    }
    if (reached * 2 > voters.size()) best = std::max(best, it->second);
  }
  return best;
}

std::string QuorumTable(const IdSet& voters, const Acked& acked) {
  if (voters.empty()) return "<empty majority quorum>";
  struct Row {
    NodeId id;
    uint64_t index;
    size_t bar;
  };
  std::vector<Row> rows;
  for (NodeId id : voters) {
    auto it = acked.find(id);
    rows.push_back({id, it == acked.end() ? 0 : it->second, 0});
  }
  std::sort(rows.begin(), rows.end(), [](const Row& a, const Row& b) {
    return std::pair(a.index, a.id) < std::pair(b.index, b.id);
  });
  for (size_t i = 1; i < rows.size(); ++i) {
    rows[i].bar = rows[i - 1].index < rows[i].index ? i : rows[i - 1].bar;
  }
  std::sort(rows.begin(), rows.end(), [](const Row& a, const Row& b) { return a.id < b.id; });
  const size_t n = rows.size();
  std::string out = std::string(n, ' ') + "    idx\n";
  for (const Row& row : rows) {
    if (acked.count(row.id) == 0) {
      out += "?" + std::string(n, ' ');
    } else {
      out += std::string(row.bar, 'x') + ">" + std::string(n - row.bar, ' ');
    }
    out += absl::StrFormat(" %5d    (id=%x)\n", row.index, row.id);
  }
  return out;
}

std::string CrossChecks(const QuorumInput& input, const Acked& acked, uint64_t result) {
  std::string out;
  const auto check = [&](uint64_t value, absl::string_view via) {
    if (value != result) absl::StrAppend(&out, IndexText(value), " <-- via ", via, "\n");
  };
  if (input.is_joint) {
    check(Committed({input.joint.outgoing, input.joint.incoming}, acked), "symmetry");
    return out;
  }
  const IdSet& voters = input.joint.incoming;
  check(SlowCommitted(voters, acked), "alternative computation");
  check(Committed({IdSet(), voters}, acked), "zero-joint quorum");
  check(Committed({voters, voters}, acked), "self-joint quorum");
  for (const auto& [id, index] : acked) {
    if (index >= result) continue;
    for (uint64_t lower : {index - 1, uint64_t{0}}) {
      Acked changed = acked;
      changed[id] = lower;
      check(Committed(input.joint, changed), absl::StrCat("overlaying ", id, "->", lower));
    }
  }
  return out;
}

std::string RunCommitted(const std::vector<std::string>& values, const QuorumInput& input) {
  Acked acked;
  for (size_t i = 0; i < values.size(); ++i) {
    uint64_t index = 0;
    if (values[i] != "_" && absl::SimpleAtoi(values[i], &index)) acked[input.voters[i]] = index;
  }
  const uint64_t result = Committed(input.joint, acked);
  return absl::StrCat(QuorumTable(input.joint.All(), acked), CrossChecks(input, acked, result),
                      IndexText(result), "\n");
}

std::string RunVote(const std::vector<std::string>& values, const QuorumInput& input) {
  static constexpr const char* kNames[] = {"VotePending", "VoteLost", "VoteWon"};
  std::map<NodeId, bool> votes;
  for (size_t i = 0; i < values.size(); ++i) {
    if (values[i] != "_") votes[input.voters[i]] = values[i] == "y";
  }
  const auto vote = [&votes](NodeId id) {
    auto it = votes.find(id);
    return it == votes.end() ? std::optional<bool>() : std::optional<bool>(it->second);
  };
  const VoteResult result = input.joint.Result(vote);
  const VoteResult swapped = JointVoters{input.joint.outgoing, input.joint.incoming}.Result(vote);
  std::string out;
  if (input.is_joint && swapped != result) {
    out = absl::StrCat(kNames[static_cast<size_t>(swapped)], " <-- via symmetry\n");
  }
  return absl::StrCat(out, kNames[static_cast<size_t>(result)], "\n");
}

}  // namespace

std::string RunQuorumCase(const ScriptCase& one) {
  const QuorumInput input = ParseQuorum(one);
  const ScriptArgument* values = one.Find(one.command == "vote" ? "votes" : "idx");
  const size_t count = values == nullptr ? 0 : values->values.size();
  if (count != input.voters.size()) {
    return absl::StrCat("error: mismatched input: ", count, " values for ", input.voters.size(),
                        " voters");
  }
  static const std::vector<std::string>* const none = new std::vector<std::string>;
  const std::vector<std::string>& list = values == nullptr ? *none : values->values;
  if (one.command == "committed") return RunCommitted(list, input);
  if (one.command == "vote") return RunVote(list, input);
  return "unknown command";
}

std::string ConfChangeEnv::Run(const ScriptCase& one) {
  std::string out = Change(one);
  ++last_index_;
  return out;
}

std::string ConfChangeEnv::Change(const ScriptCase& one) {
  const absl::StatusOr<std::vector<ConfChangeSingle>> changes = ParseOperations(one.input);
  if (!changes.ok()) return std::string(changes.status().message());
  const ConfChanger changer(tracker_, last_index_);
  absl::StatusOr<ConfChangeResult> result = absl::UnknownError("unknown command");
  if (one.command == "simple") {
    result = changer.Simple(*changes);
  } else if (one.command == "enter-joint") {
    result = changer.EnterJoint(one.Bool("autoleave", false), *changes);
  } else if (one.command == "leave-joint") {
    if (!changes->empty()) return "this command takes no input";
    result = changer.LeaveJoint();
  }
  if (!result.ok()) return std::string(result.status().message());
  tracker_.Switch(std::move(result->configuration), std::move(result->progress));
  tracker_.CheckInvariants();
  return absl::StrCat(Describe(tracker_.configuration()), "\n", Describe(tracker_.progress()));
}

}  // namespace etcdd::raft
