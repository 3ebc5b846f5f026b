#pragma once

// Majorities, and pairs of them (joint consensus, Raft thesis 4.3): how far a quorum has
// acknowledged, and how a vote stands. Pure functions over sorted id sets.

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <vector>

#include "absl/container/inlined_vector.h"
#include "raft/types.h"

namespace etcdd::raft {

// Ids in ascending order, each once.
class IdSet {
 public:
  IdSet() = default;
  explicit IdSet(const std::vector<NodeId>& ids) {
    for (NodeId id : ids) Insert(id);
  }

  bool Contains(NodeId id) const { return std::binary_search(ids_.begin(), ids_.end(), id); }
  void Insert(NodeId id) {
    auto it = std::lower_bound(ids_.begin(), ids_.end(), id);
    if (it == ids_.end() || *it != id) ids_.insert(it, id);
  }
  void Erase(NodeId id) {
    auto it = std::lower_bound(ids_.begin(), ids_.end(), id);
    if (it != ids_.end() && *it == id) ids_.erase(it);
  }
  void Clear() { ids_.clear(); }
  size_t size() const { return ids_.size(); }
  bool empty() const { return ids_.empty(); }
  auto begin() const { return ids_.begin(); }
  auto end() const { return ids_.end(); }
  const std::vector<NodeId>& ids() const { return ids_; }

  friend bool operator==(const IdSet&, const IdSet&) = default;

 private:
  std::vector<NodeId> ids_;
};

enum class VoteResult : uint8_t { kPending, kLost, kWon };

// The largest index that a majority of `voters` acknowledged. `acked(id)` answers the index `id`
// acknowledged, 0 if unknown. No voters: kNoLimit, so that an absent half of a joint
// configuration decides nothing.
template <typename Acked>
uint64_t CommittedIndex(const IdSet& voters, Acked&& acked) {
  if (voters.empty()) return kNoLimit;
  absl::InlinedVector<uint64_t, 8> indexes;
  for (NodeId id : voters) indexes.push_back(acked(id));
  // Descending, the value at position n/2 is held by n/2 + 1 voters.
  const auto middle = indexes.begin() + static_cast<std::ptrdiff_t>(indexes.size() / 2);
  std::nth_element(indexes.begin(), middle, indexes.end(), std::greater<>());
  return *middle;
}

// How a vote among `voters` stands. `vote(id)` answers std::optional<bool>. No voters: won.
template <typename Vote>
VoteResult MajorityVote(const IdSet& voters, Vote&& vote) {
  if (voters.empty()) return VoteResult::kWon;
  const size_t quorum = voters.size() / 2 + 1;
  size_t yes = 0;
  size_t unknown = 0;
  for (NodeId id : voters) {
    const std::optional<bool> v = vote(id);
    if (!v.has_value()) {
      ++unknown;
    } else if (*v) {
      ++yes;
    }
  }
  if (yes >= quorum) return VoteResult::kWon;
  return yes + unknown >= quorum ? VoteResult::kPending : VoteResult::kLost;
}

// Voters of a configuration: both halves must agree. outgoing is empty unless joint.
struct JointVoters {
  IdSet incoming;
  IdSet outgoing;

  bool Contains(NodeId id) const { return incoming.Contains(id) || outgoing.Contains(id); }
  // Voters of either half, ascending.
  IdSet All() const {
    IdSet all = incoming;
    for (NodeId id : outgoing) all.Insert(id);
    return all;
  }
  // One voter that decides alone.
  bool IsSingleton() const { return incoming.size() == 1 && outgoing.empty(); }

  template <typename Acked>
  uint64_t Committed(Acked&& acked) const {
    return std::min(CommittedIndex(incoming, acked), CommittedIndex(outgoing, acked));
  }

  template <typename Vote>
  VoteResult Result(Vote&& vote) const {
    const VoteResult a = MajorityVote(incoming, vote);
    const VoteResult b = MajorityVote(outgoing, vote);
    if (a == b) return a;
    if (a == VoteResult::kLost || b == VoteResult::kLost) return VoteResult::kLost;
    return VoteResult::kPending;
  }

  friend bool operator==(const JointVoters&, const JointVoters&) = default;
};

}  // namespace etcdd::raft
