#pragma once

// Membership changes as they are proposed and applied, and their raftpb bytes.
//
// v1 (EntryConfChange) is one operation; it is what etcd writes. v2 is any number of operations and
// a transition: one operation with kAuto is a simple change; more, or another transition, go
// through a joint configuration (Raft thesis 4.3). No operations = leave the joint configuration.

#include <cstdint>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "raft/types.h"

namespace etcdd::raft {

// Values are raftpb's.
enum class ConfChangeType : uint8_t {
  kAddNode = 0,  // a new voter, or a learner promoted
  kRemoveNode = 1,
  kUpdateNode = 2,  // no effect on the configuration
  kAddLearnerNode = 3,
};

enum class ConfChangeTransition : uint8_t {
  kAuto = 0,           // simple if possible, else kJointImplicit
  kJointImplicit = 1,  // joint, left automatically
  kJointExplicit = 2,  // joint until an empty change is proposed
};

struct ConfChange {
  uint64_t id = 0;  // the application's
  ConfChangeType type = ConfChangeType::kAddNode;
  NodeId node_id = kNoNode;  // 0 = no effect
  base::Bytes context;       // the application's

  friend bool operator==(const ConfChange&, const ConfChange&) = default;
};

struct ConfChangeSingle {
  ConfChangeType type = ConfChangeType::kAddNode;
  NodeId node_id = kNoNode;

  friend bool operator==(const ConfChangeSingle&, const ConfChangeSingle&) = default;
};

struct ConfChangeV2 {
  ConfChangeTransition transition = ConfChangeTransition::kAuto;
  std::vector<ConfChangeSingle> changes;
  base::Bytes context;

  // No operations and kAuto; the context may say anything.
  bool LeaveJoint() const {
    return transition == ConfChangeTransition::kAuto && changes.empty();
  }
  // Whether this change goes through a joint configuration.
  bool EnterJoint() const {
    return transition != ConfChangeTransition::kAuto || changes.size() > 1;
  }
  // Whether that joint configuration is left automatically.
  bool AutoLeave() const { return transition != ConfChangeTransition::kJointExplicit; }

  friend bool operator==(const ConfChangeV2&, const ConfChangeV2&) = default;
};

ConfChangeV2 AsV2(const ConfChange& change);

// raftpb bytes. An empty leave-joint V2 is empty bytes.
base::Bytes Encode(const ConfChange& change);
base::Bytes Encode(const ConfChangeV2& change);

// InvalidArgument for bytes that are no such message, or hold an unknown type or transition.
absl::StatusOr<ConfChange> DecodeConfChange(std::string_view bytes);
absl::StatusOr<ConfChangeV2> DecodeConfChangeV2(std::string_view bytes);

// The change in an entry of type kConfChange (as v2) or kConfChangeV2. InvalidArgument also for
// normal entries.
absl::StatusOr<ConfChangeV2> DecodeConfChangeEntry(const Entry& entry);

}  // namespace etcdd::raft
