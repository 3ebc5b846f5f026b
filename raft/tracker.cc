#include "raft/tracker.h"

#include "server/base/check.h"

namespace etcdd::raft {

ConfState ToConfState(const Configuration& configuration) {
  ConfState state;
  state.voters = configuration.voters.incoming.ids();
  state.voters_outgoing = configuration.voters.outgoing.ids();
  state.learners = configuration.learners.ids();
  state.learners_next = configuration.learners_next.ids();
  state.auto_leave = configuration.auto_leave;
  return state;
}

Progress* Tracker::Find(NodeId id) {
  auto it = progress_.find(id);
  return it == progress_.end() ? nullptr : &it->second;
}

const Progress* Tracker::Find(NodeId id) const {
  auto it = progress_.find(id);
  return it == progress_.end() ? nullptr : &it->second;
}

void Tracker::Switch(Configuration configuration, ProgressMap progress) {
  configuration_ = std::move(configuration);
  progress_ = std::move(progress);
}

uint64_t Tracker::Committed() const {
  return configuration_.voters.Committed([this](NodeId id) {
    const Progress* progress = Find(id);
    return progress == nullptr ? 0 : progress->match();
  });
}

bool Tracker::QuorumActive() const {
  const VoteResult result = configuration_.voters.Result([this](NodeId id) {
    const Progress* progress = Find(id);
    if (progress == nullptr || progress->learner()) return std::optional<bool>();
    return std::optional<bool>(progress->recently_active());
  });
  return result == VoteResult::kWon;
}

void Tracker::RecordVote(NodeId id, bool granted) { votes_.emplace(id, granted); }

Tracker::Tally Tracker::TallyVotes() const {
  Tally tally;
  for (const auto& [id, progress] : progress_) {
    if (progress.learner()) continue;
    auto it = votes_.find(id);
    if (it == votes_.end()) continue;
    ++(it->second ? tally.granted : tally.rejected);
  }
  tally.result = configuration_.voters.Result([this](NodeId id) {
    auto it = votes_.find(id);
    return it == votes_.end() ? std::optional<bool>() : std::optional<bool>(it->second);
  });
  return tally;
}

void Tracker::CheckInvariants() const {
  const Configuration& c = configuration_;
  for (NodeId id : c.voters.All()) {
    ETCDD_CHECK(Find(id) != nullptr);
    ETCDD_CHECK(!c.learners.Contains(id));
    ETCDD_CHECK(!Find(id)->learner());
  }
  for (NodeId id : c.learners) {
    ETCDD_CHECK(Find(id) != nullptr);
    ETCDD_CHECK(Find(id)->learner());
  }
  for (NodeId id : c.learners_next) {
    ETCDD_CHECK(Find(id) != nullptr);
    ETCDD_CHECK(c.voters.outgoing.Contains(id));
  }
  if (!c.joint()) {
    ETCDD_CHECK(c.learners_next.empty());
    ETCDD_CHECK(!c.auto_leave);
  }
  for (const auto& [id, progress] : progress_) {
    ETCDD_CHECK(c.voters.Contains(id) || c.learners.Contains(id));
    progress.CheckInvariants();
  }
}

}  // namespace etcdd::raft
