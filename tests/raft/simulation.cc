#include "tests/raft/simulation.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "raft/describe.h"
#include "server/base/check.h"
#include "tests/raft/simulation_node.h"

namespace etcdd::raft {
namespace {

constexpr uint64_t kBootstrapIndex = 10;

}  // namespace

Simulation::Simulation(const SimulationOptions& options)
    : options_(options), random_(options.seed) {
  Snapshot bootstrap;
  bootstrap.index = kBootstrapIndex;
  bootstrap.term = 1;
  for (NodeId id = 1; id <= options.initial_voters; ++id) {
    bootstrap.conf_state.voters.push_back(id);
  }
  const auto shared = std::make_shared<const Snapshot>(bootstrap);
  loss_percent_ = random_.Chance(30) ? 0 : random_.Chance(50) ? 2 : 8;
  // Options of the whole cluster, and limits small enough to matter.
  Config config;
  config.election_ticks = options.restless ? 4 : 10;
  config.heartbeat_ticks = options.restless || random_.Chance(50) ? 1 : 3;
  config.pre_vote = random_.Chance(50);
  config.check_quorum = random_.Chance(50);
  config.step_down_on_removal = random_.Chance(50);
  config.message_bytes_max = random_.Chance(30) ? 0 : random_.Chance(50) ? 40 : 4000;
  config.committed_bytes_max = random_.Chance(50) ? 30 : 4000;
  config.inflight_messages_max = random_.Chance(50) ? 2 : 64;
  config.uncommitted_bytes_max = random_.Chance(30) ? 100 : 0;
  for (NodeId id = 1; id <= options.nodes; ++id) {
    auto node = std::make_unique<Node>(options.seed * 100 + id);
    node->id = id;
    node->config = config;
    node->config.id = id;
    node->config.async_storage_writes = random_.Chance(50);
    node->config.random = &node->random;
    node->config.logger = options.logger;
    if (id <= options.initial_voters) {
      ETCDD_CHECK(node->disk.ApplySnapshot(shared).ok());
      node->disk.durable_conf = bootstrap.conf_state;
      node->durable_applied = kBootstrapIndex;
    }
    node->disk.make_snapshot = [n = node.get()]() { return n->MakeSnapshot(); };
    nodes_.push_back(std::move(node));
    Start(nodes_.back().get());
  }
  floor_ = kBootstrapIndex;
}

Simulation::~Simulation() = default;

void Simulation::Fail(const std::string& what) {
  if (failure_.empty()) failure_ = absl::StrCat("seed ", options_.seed, ": ", what);
}

void Simulation::RunChaos() {
  for (int event = 0; event < options_.events && failure_.empty(); ++event) {
    Event();
    if (event % 500 == 0) CheckLogs();
  }
  CheckLogs();
}

void Simulation::Event() {
  if (!network_.empty() && random_.Chance(40)) {
    DeliverOne();
    return;
  }
  Node* node = RandomNode();
  if (node->raft == nullptr) {
    if (random_.Chance(10)) Start(node);
    return;
  }
  if (random_.Chance(60) && Work(node)) {
    if (node->raft != nullptr) Observe(node);
    return;
  }
  const uint64_t dice = random_.Uniform(1000);
  const uint64_t rare = options_.restless ? 60 : 20;
  if (dice < rare) {
    RareEvent();
  } else if (dice < 100) {
    Propose(node);
  } else if (dice < 150) {
    AskRead(node);
  } else {
    node->raft->Tick();
  }
  if (node->raft != nullptr) Observe(node);
}

bool Simulation::Work(Node* node) {
  std::vector<void (Simulation::*)(Node*)> possible;
  if (node->raft->HasReady()) {
    possible.push_back(&Simulation::TakeReady);
  }
  if (!node->append_work.empty()) possible.push_back(&Simulation::ProcessAppend);
  if (!node->apply_work.empty()) possible.push_back(&Simulation::ProcessApply);
  if (!node->local.empty()) possible.push_back(&Simulation::ProcessLocal);
  if (possible.empty()) return false;
  (this->*possible[random_.Uniform(possible.size())])(node);
  return true;
}

void Simulation::RareEvent() {
  Node* node = RandomNode();
  if (node->raft == nullptr) return;
  switch (random_.Uniform(options_.restless ? 16 : 10)) {
    case 0:
    case 1:
      if (crashes_) Crash(node);
      return;
    case 2:
      Partition();
      return;
    case 3:
      side_.clear();
      return;
    case 4:
      Compact(node);
      return;
    case 5:
      if (Node* leader = LeaderNode(); leader != nullptr) ProposeConfChange(leader);
      return;
    case 6:
      node->raft->TransferLeader(RandomNode()->id);
      Count("transfer");
      return;
    case 7:
      node->raft->ForgetLeader();
      return;
    case 8:
      node->raft->ReportUnreachable(RandomNode()->id);
      return;
    default:
      node->raft->Campaign();
      return;
  }
}

void Simulation::DeliverOne() {
  if (network_.empty()) return;
  // Mostly in order, sometimes far out of it.
  const uint64_t window = random_.Chance(80) ? std::min<uint64_t>(3, network_.size())
                                             : network_.size();
  const uint64_t at = lossy_ ? random_.Uniform(window) : 0;
  Message message = std::move(network_[at]);
  network_.erase(network_.begin() + static_cast<std::ptrdiff_t>(at));
  if (lossy_ && random_.Chance(5)) network_.push_back(message);  // duplicated, and late
  Deliver(std::move(message));
}

void Simulation::Deliver(Message message) {
  Node* from = nodes_[message.from <= nodes_.size() ? message.from - 1 : 0].get();
  Node* to = nodes_[message.to - 1].get();
  const bool snapshot = message.type == MessageType::kSnap;
  const bool cut = side_.size() > 0 && side_[message.from] != side_[message.to];
  const bool lost = cut || (lossy_ && random_.Chance(loss_percent_)) || to->raft == nullptr;
  const NodeId target = message.to;
  if (!lost) {
    const absl::Status status = to->raft->Step(std::move(message));
    if (absl::IsDataLoss(status) || absl::IsInvalidArgument(status)) {
      Fail(absl::StrCat("step: ", status.message()));
    }
    Observe(to);
    if (snapshot) Count("snapshot delivered");
  }
  if (snapshot && from->raft != nullptr) {
    from->raft->ReportSnapshot(target, !lost);
    Observe(from);
  }
}

void Simulation::Send(std::vector<Message> messages, Node* from) {
  for (Message& m : messages) {
    if (m.to == from->id) {
      from->local.push_back(std::move(m));
    } else {
      network_.push_back(std::move(m));
    }
  }
}

void Simulation::TakeReady(Node* node) {
  if (!node->raft->HasReady()) return;
  Ready ready = node->raft->TakeReady();
  for (const ReadState& state : ready.read_states) {
    auto it = reads_.find(std::string(state.context.view()));
    if (it == reads_.end() || it->second.node != node->id) continue;
    if (state.index < it->second.floor) {
      Fail(absl::StrCat("read at ", node->id, " answered ", state.index, " below ",
                        it->second.floor));
    }
    reads_.erase(it);
    Count("read");
  }
  if (node->config.async_storage_writes) {
    Send(std::move(ready.messages), node);
    if (ready.storage_append) node->append_work.push_back(*std::move(ready.storage_append));
    if (ready.storage_apply) node->apply_work.push_back(*std::move(ready.storage_apply));
    return;
  }
  if (!Persist(node, ready.hard_state.value_or(HardState()), ready.snapshot, ready.entries)) {
    return;
  }
  Send(std::move(ready.messages), node);
  if (!Apply(node, ready.committed_entries)) return;
  node->raft->Advance();
}

bool Simulation::Persist(Node* node, const HardState& hard_state,
                         const std::shared_ptr<const Snapshot>& snapshot,
                         absl::Span<const Entry> entries) {
  const auto crash = [this, node] {
    if (!crashes_ || random_.Uniform(400) != 0) return false;
    Crash(node);
    Count("crash between writes");
    return true;
  };
  if (crash()) return false;
  if (snapshot != nullptr) {
    ETCDD_CHECK(node->disk.ApplySnapshot(snapshot).ok());
    const auto known = history_.find(snapshot->index);
    if (known != history_.end() && known->second.entry.term != snapshot->term) {
      Fail("snapshot of something never committed");
    }
    node->applied = snapshot->index;
    node->durable_applied = snapshot->index;
    node->conf = snapshot->conf_state;
    node->disk.durable_conf = snapshot->conf_state;
    Count("snapshot installed");
  }
  if (crash()) return false;
  // Entry by entry, so that a crash may leave any prefix.
  for (const Entry& entry : entries) {
    node->disk.Append(absl::MakeConstSpan(&entry, 1));
    if (entries.size() > 1 && crash()) return false;
  }
  if (crash()) return false;
  if (!hard_state.empty()) {
    const HardState& before = node->disk.hard_state();
    if (hard_state.term < before.term ||
        (hard_state.term == before.term && before.vote != kNoNode &&
         before.vote != hard_state.vote)) {
      Fail(absl::StrCat("hard state of ", node->id, " went from ", Describe(before), " to ",
                        Describe(hard_state)));
    }
    // The commit index alone may be written lazily, that is, be lost.
    node->disk.SetHardState(hard_state);
  }
  return !crash();
}

bool Simulation::Apply(Node* node, absl::Span<const Entry> entries) {
  for (const Entry& entry : entries) {
    if (crashes_ && random_.Chance(1) && random_.Chance(30)) {
      Crash(node);
      return false;
    }
    auto [it, inserted] = history_.insert({entry.index, Committed{entry, HighestTerm()}});
    if (!inserted && it->second.entry != entry) {
      Fail(absl::StrCat(node->id, " applied ", Describe(entry), " where another applied ",
                        Describe(it->second.entry)));
      return false;
    }
    if (entry.index <= node->applied) continue;  // overtaken by a snapshot
    if (entry.index != node->applied + 1) {
      Fail(absl::StrCat(node->id, " applied ", entry.index, " after ", node->applied));
      return false;
    }
    if (entry.type != EntryType::kNormal) {
      // A leader may ask for a snapshot in here; it must not claim this entry with the old conf.
      node->conf = *node->raft->ApplyConfChange(entry);
      node->raft->CheckInvariants();
      Count("conf change applied");
    }
    node->applied = entry.index;
    if (random_.Chance(30)) {
      node->durable_applied = node->applied;
      node->disk.durable_conf = node->conf;
    }
  }
  return true;
}

void Simulation::ProcessAppend(Node* node) {
  if (node->append_work.empty()) return;
  Message work = std::move(node->append_work.front());
  node->append_work.pop_front();
  if (!Persist(node, {work.term, work.vote, work.commit}, work.snapshot, work.entries)) return;
  Send(std::move(work.responses), node);
}

void Simulation::ProcessApply(Node* node) {
  if (node->apply_work.empty()) return;
  Message work = std::move(node->apply_work.front());
  node->apply_work.pop_front();
  if (!Apply(node, work.entries)) return;
  Send(std::move(work.responses), node);
}

void Simulation::ProcessLocal(Node* node) {
  if (node->local.empty()) return;
  Message m = std::move(node->local.front());
  node->local.pop_front();
  const absl::Status status = node->raft->Step(std::move(m));
  if (!status.ok() && status != StepPeerNotFoundError()) {
    Fail(absl::StrCat("own answer: ", status.message()));
  }
}

void Simulation::Propose(Node* node) {
  std::vector<base::Bytes> batch;
  for (uint64_t i = 0; i <= random_.Uniform(3); ++i) {
    batch.push_back(base::Bytes::Copy(absl::StrCat("payload ", next_payload_++)));
  }
  if (node->raft->Propose(std::move(batch)).ok()) Count("proposal accepted");
}

void Simulation::ProposeConfChange(Node* node) {
  if (!options_.membership) return;
  const ConfState conf = node->raft->conf_state();
  ConfChangeV2 change;
  // Sometimes something else is tried, which the leader must refuse.
  if (!conf.voters_outgoing.empty() && random_.Chance(80)) {
    if (!node->raft->ProposeConfChange(change).ok()) return;  // leave joint
    Count("leave joint proposed");
    return;
  }
  size_t voters_left = conf.voters.size();
  const uint64_t operations = 1 + random_.Uniform(2);
  for (uint64_t i = 0; i < operations; ++i) {
    const NodeId id = RandomNode()->id;
    const bool voter = std::count(conf.voters.begin(), conf.voters.end(), id) > 0;
    switch (random_.Uniform(3)) {
      case 0:
        change.changes.push_back({ConfChangeType::kAddNode, id});
        break;
      case 1:
        if (voter && --voters_left == 0) return;
        change.changes.push_back({ConfChangeType::kRemoveNode, id});
        break;
      default:
        if (voter && --voters_left == 0) return;
        change.changes.push_back({ConfChangeType::kAddLearnerNode, id});
    }
  }
  change.transition = static_cast<ConfChangeTransition>(random_.Uniform(3));
  if (node->raft->ProposeConfChange(change).ok()) Count("conf change proposed");
}

void Simulation::AskRead(Node* node) {
  const std::string context = absl::StrCat("read ", next_payload_++);
  if (node->raft->ReadIndex(base::Bytes::Copy(context)).ok()) {
    reads_[context] = {node->id, floor_};
  }
}

void Simulation::Compact(Node* node) {
  node->disk.snapshot_busy = random_.Chance(20);
  const uint64_t index = node->durable_applied;
  if (index <= node->disk.FirstIndex() || index > node->disk.LastIndex()) return;
  if (!node->disk.CreateSnapshot(index, node->disk.durable_conf, base::Bytes()).ok()) return;
  const uint64_t keep = random_.Uniform(4);
  if (index - keep < node->disk.FirstIndex()) return;
  ETCDD_CHECK(node->disk.Compact(index - keep).ok());
  Count("compaction");
}

void Simulation::Crash(Node* node) {
  node->raft = nullptr;
  node->append_work.clear();
  node->apply_work.clear();
  node->local.clear();
  Count("crash");
}

void Simulation::Start(Node* node) {
  if (node->raft != nullptr) return;
  node->disk.snapshot_busy = false;
  node->applied = node->durable_applied;
  node->conf = node->disk.durable_conf;
  node->commit_seen = 0;
  node->config.applied = node->durable_applied;
  auto raft = RawNode::Create(node->config, &node->disk);
  if (!raft.ok()) {
    Fail(absl::StrCat("restart of ", node->id, ": ", raft.status().message()));
    return;
  }
  node->raft = *std::move(raft);
  Observe(node);
}

void Simulation::Partition() {
  side_.clear();
  for (const auto& node : nodes_) side_[node->id] = static_cast<int>(random_.Uniform(2));
  Count("partition");
}

Simulation::Node* Simulation::RandomNode() {
  return nodes_[random_.Uniform(nodes_.size())].get();
}

Simulation::Node* Simulation::LeaderNode() {
  Node* leader = nullptr;
  for (const auto& node : nodes_) {
    if (node->raft == nullptr || node->raft->state() != StateType::kLeader) continue;
    if (leader == nullptr || node->raft->term() > leader->raft->term()) leader = node.get();
  }
  return leader;
}

void Simulation::Quiesce() {
  for (int round = 0; round < 10000 && failure_.empty(); ++round) {
    bool busy = !network_.empty();
    while (!network_.empty() && failure_.empty()) {
      Message m = std::move(network_.front());
      network_.pop_front();
      Deliver(std::move(m));
    }
    for (const auto& node : nodes_) {
      if (node->raft == nullptr) continue;
      busy = busy || node->raft->HasReady() || !node->append_work.empty() ||
             !node->apply_work.empty() || !node->local.empty();
      TakeReady(node.get());
      ProcessAppend(node.get());
      ProcessApply(node.get());
      ProcessLocal(node.get());
      if (node->raft != nullptr) Observe(node.get());
    }
    if (!busy) return;
  }
  Fail("never quiet");
}

void Simulation::Heal() {
  crashes_ = false;
  lossy_ = false;
  side_.clear();
  for (const auto& node : nodes_) {
    Start(node.get());
    node->disk.snapshot_busy = false;
  }
  const std::string last_words = "after healing";
  bool proposed = false;
  for (int round = 0; round < 1000 && failure_.empty(); ++round) {
    for (const auto& node : nodes_) {
      if (node->raft != nullptr) node->raft->Tick();
    }
    Quiesce();
    Node* leader = LeaderNode();
    if (leader == nullptr || round < 50) continue;
    const ConfState conf = leader->raft->conf_state();
    const auto member = [&conf](NodeId id) {
      return std::count(conf.voters.begin(), conf.voters.end(), id) +
                 std::count(conf.voters_outgoing.begin(), conf.voters_outgoing.end(), id) +
                 std::count(conf.learners.begin(), conf.learners.end(), id) >
             0;
    };
    // Members that were removed stop, as a server does; without pre-vote they would disturb. A
    // change still in the log may bring one back.
    for (const auto& node : nodes_) {
      if (!member(node->id)) {
        Crash(node.get());
      } else {
        Start(node.get());
      }
    }
    if (leader->raft == nullptr) continue;
    if (!proposed) {
      proposed = leader->raft->Propose(base::Bytes::Copy(last_words)).ok();
      continue;
    }
    const auto last = history_.rbegin();
    proposed = last != history_.rend() && last->second.entry.data.view() == last_words;
    if (!proposed) continue;
    const bool all_there = std::all_of(nodes_.begin(), nodes_.end(), [&](const auto& node) {
      return !member(node->id) || node->applied == last->first;
    });
    if (all_there) {
      CheckLogs();
      return;
    }
  }
  if (failure_.empty() && LeaderNode() == nullptr && LongestLogCannotCampaign()) {
    Count("known liveness hole");
    return;
  }
  Fail(absl::StrCat("no progress after healing", DescribeAll()));
}

}  // namespace etcdd::raft
