// What the simulation checks, after each step and now and then.

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "raft/describe.h"
#include "server/base/check.h"
#include "tests/raft/simulation.h"
#include "tests/raft/simulation_node.h"

namespace etcdd::raft {

void Simulation::Observe(Node* node) {
  const RawNode& raft = *node->raft;
  raft.CheckInvariants();
  ++steps_;
  if (raft.committed() < node->commit_seen) Fail("commit went back");
  node->commit_seen = raft.committed();
  floor_ = std::max(floor_, raft.committed());
  if (raft.state() == StateType::kLeader) CheckLeader(node);
}

void Simulation::CheckLeader(Node* node) {
  const RawNode& raft = *node->raft;
  const auto [it, inserted] = leaders_.insert({raft.term(), node->id});
  if (it->second != node->id) {
    Fail(absl::StrCat("term ", raft.term(), " has leaders ", it->second, " and ", node->id));
  }
  if (!inserted) return;
  Count("leader elected");
  for (const auto& [index, committed] : history_) {
    if (committed.known_term >= raft.term()) continue;
    const absl::StatusOr<uint64_t> term = raft.EntryTerm(index);
    if (IsCompacted(term.status())) continue;
    if (!term.ok() || *term != committed.entry.term) {
      Fail(absl::StrCat("leader ", node->id, " of term ", raft.term(), " lacks ",
                        Describe(committed.entry)));
      return;
    }
  }
}

void Simulation::CheckLogs() {
  const auto log_of = [](const Node& node) {
    std::map<uint64_t, Entry> log;
    const SimStorage& disk = node.disk;
    std::vector<Entry> entries;
    if (disk.LastIndex() >= disk.FirstIndex()) {
      ETCDD_CHECK(
          disk.Entries(disk.FirstIndex(), disk.LastIndex() + 1, kNoLimit, &entries).ok());
    }
    for (Entry& entry : entries) log[entry.index] = std::move(entry);
    return log;
  };
  for (const auto& a : nodes_) {
    const auto log_a = log_of(*a);
    for (const auto& b : nodes_) {
      if (b->id >= a->id) break;
      bool agree = false;
      const auto log_b = log_of(*b);
      for (auto it = log_a.rbegin(); it != log_a.rend(); ++it) {
        const auto other = log_b.find(it->first);
        if (other == log_b.end()) continue;
        if (agree && other->second != it->second) {
          Fail(absl::StrCat("logs of ", a->id, " and ", b->id, " agree later but not at ",
                            it->first));
          return;
        }
        agree = agree || other->second.term == it->second.term;
        if (agree && other->second != it->second) {
          Fail(absl::StrCat("two entries of one term at ", it->first));
          return;
        }
      }
    }
  }
}

uint64_t Simulation::HighestTerm() const {
  uint64_t term = 0;
  for (const auto& node : nodes_) {
    term = std::max(term, node->disk.hard_state().term);
    if (node->raft != nullptr) term = std::max(term, node->raft->term());
  }
  return term;
}

bool Simulation::LongestLogCannotCampaign() const {
  std::pair<uint64_t, uint64_t> members{0, 0};
  std::pair<uint64_t, uint64_t> others{0, 0};
  for (const auto& node : nodes_) {
    if (node->raft == nullptr) continue;
    const uint64_t last = node->raft->last_index();
    std::pair<uint64_t, uint64_t>& longest = node->raft->IsVoter() ? members : others;
    longest = std::max(longest, {*node->raft->EntryTerm(last), last});
  }
  return others > members;
}

std::string Simulation::DescribeAll() const {
  std::string state;
  for (const auto& node : nodes_) {
    if (node->raft == nullptr) continue;
    absl::StrAppend(&state, "\n", node->id, " ", Describe(node->raft->hard_state()), " ",
                    Describe(node->raft->soft_state()), " applied ", node->applied, " last ",
                    node->raft->last_index(), " ", Describe(node->raft->conf_state()), "\n",
                    node->raft->DescribeProgress());
  }
  return state;
}

}  // namespace etcdd::raft
