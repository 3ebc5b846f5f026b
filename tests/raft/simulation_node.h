#pragma once

// One member of the simulation: its disk, its state machine, and what a crash takes away.

#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <utility>

#include "tests/raft/simulation.h"

namespace etcdd::raft {

// The stable log, and the configuration the state machine has durably applied. Snapshots are made
// when raft asks, of what is applied then, as etcd does: an older one might not name a new member.
class SimStorage : public MemoryStorage {
 public:
  absl::StatusOr<InitialState> GetInitialState() const override {
    return InitialState{hard_state(), durable_conf};
  }
  absl::StatusOr<std::shared_ptr<const Snapshot>> GetSnapshot() const override {
    if (snapshot_busy) return SnapshotTemporarilyUnavailableError();
    return make_snapshot();
  }

  ConfState durable_conf;
  std::function<absl::StatusOr<std::shared_ptr<const Snapshot>>()> make_snapshot;
  bool snapshot_busy = false;
};

struct Simulation::Node {
  explicit Node(uint64_t seed) : random(seed) {}

  absl::StatusOr<std::shared_ptr<const Snapshot>> MakeSnapshot() {
    durable_applied = applied;
    disk.durable_conf = conf;
    Snapshot snapshot;
    snapshot.index = applied;
    snapshot.conf_state = conf;
    const absl::StatusOr<uint64_t> term = disk.Term(applied);
    if (!term.ok()) return SnapshotTemporarilyUnavailableError();
    snapshot.term = *term;
    return std::make_shared<const Snapshot>(std::move(snapshot));
  }

  NodeId id = kNoNode;
  Config config;
  TestRandom random;
  SimStorage disk;
  uint64_t durable_applied = 0;

  // Lost in a crash.
  std::unique_ptr<RawNode> raft;  // null while down
  std::deque<Message> append_work;
  std::deque<Message> apply_work;
  std::deque<Message> local;  // answers of the storage threads to the node itself, in order
  uint64_t applied = 0;
  ConfState conf;
  uint64_t commit_seen = 0;
};

}  // namespace etcdd::raft
