#pragma once

// The nouns of the consensus library: entries, hard state, snapshots, configurations and messages,
// as plain structs. They mirror raftpb field by field (names, enum values); the bytes on the wire
// and on disk are made in codec.cc and conf_change.cc only. Value types, no thread rules. Copying
// an Entry, a Snapshot pointer or a Message shares the payloads (base::Bytes is immutable), so what
// was handed out never changes under its holder.

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string_view>
#include <vector>

#include "server/base/bytes.h"

namespace etcdd::raft {

// A member's raft id. 0 = none; the two highest values name the local storage threads.
using NodeId = uint64_t;
inline constexpr NodeId kNoNode = 0;
inline constexpr NodeId kAppendThread = UINT64_MAX;      // target of MsgStorageAppend
inline constexpr NodeId kApplyThread = UINT64_MAX - 1;   // target of MsgStorageApply
inline constexpr uint64_t kNoLimit = UINT64_MAX;

// True for an id a real member can have.
inline bool IsMemberId(NodeId id) {
  return id != kNoNode && id != kAppendThread && id != kApplyThread;
}

enum class EntryType : uint8_t {
  kNormal = 0,
  kConfChange = 1,    // data = raftpb.ConfChange
  kConfChangeV2 = 2,  // data = raftpb.ConfChangeV2; empty data = leave joint
};

struct Entry {
  EntryType type = EntryType::kNormal;
  uint64_t term = 0;
  uint64_t index = 0;
  base::Bytes data;

  friend bool operator==(const Entry&, const Entry&) = default;
};

// Size of the entry as raftpb.Entry, in bytes. The unit of message and apply limits.
size_t EncodedSize(const Entry& entry);

// What must be durable besides entries and snapshot. All zero = "nothing to store".
struct HardState {
  uint64_t term = 0;
  NodeId vote = kNoNode;
  uint64_t commit = 0;

  bool empty() const { return term == 0 && vote == kNoNode && commit == 0; }
  friend bool operator==(const HardState&, const HardState&) = default;
};

enum class StateType : uint8_t { kFollower, kCandidate, kLeader, kPreCandidate };

// How a leader replicates to one member; see progress.h.
enum class ProgressState : uint8_t { kProbe, kReplicate, kSnapshot };

// Volatile facts useful to the application; no need to persist them.
struct SoftState {
  NodeId leader = kNoNode;
  StateType state = StateType::kFollower;

  friend bool operator==(const SoftState&, const SoftState&) = default;
};

// A configuration as stored in snapshots. Lists are in ascending order when made by this library.
struct ConfState {
  std::vector<NodeId> voters;
  std::vector<NodeId> learners;
  std::vector<NodeId> voters_outgoing;  // not empty = joint configuration
  std::vector<NodeId> learners_next;    // outgoing voters that become learners on leaving joint
  bool auto_leave = false;

  friend bool operator==(const ConfState&, const ConfState&) = default;
};

// Equal as configurations: order within the lists does not matter.
bool Equivalent(const ConfState& a, const ConfState& b);

// The state machine's image at `index`. `data` is the application's own.
struct Snapshot {
  ConfState conf_state;
  uint64_t index = 0;  // last entry the image contains; 0 = no snapshot
  uint64_t term = 0;   // that entry's term
  base::Bytes data;

  bool empty() const { return index == 0; }
  friend bool operator==(const Snapshot&, const Snapshot&) = default;
};

// Values are raftpb's.
enum class MessageType : uint8_t {
  kHup = 0,               // local: campaign
  kBeat = 1,              // local: leader sends heartbeats
  kProp = 2,              // proposal; term 0
  kApp = 3,               // append; index/log_term = the entry before the first one sent
  kAppResp = 4,           // index = last matching, or the rejected index with reject + hint
  kVote = 5,              // index/log_term = candidate's last entry
  kVoteResp = 6,
  kSnap = 7,
  kHeartbeat = 8,         // commit = min(match, commit); context = read counter
  kHeartbeatResp = 9,
  kUnreachable = 10,      // local
  kSnapStatus = 11,       // local; reject = sending failed
  kCheckQuorum = 12,      // local
  kTransferLeader = 13,   // from = the node that should become leader
  kTimeoutNow = 14,
  kReadIndex = 15,        // entries[0].data = the caller's context; term 0
  kReadIndexResp = 16,    // index, entries[0].data = the caller's context
  kPreVote = 17,
  kPreVoteResp = 18,
  kStorageAppend = 19,    // to kAppendThread
  kStorageAppendResp = 20,
  kStorageApply = 21,     // to kApplyThread
  kStorageApplyResp = 22,
  kForgetLeader = 23,     // local
};
inline constexpr int kMessageTypeCount = 24;

struct Message {
  MessageType type = MessageType::kHup;
  bool reject = false;
  NodeId to = kNoNode;
  NodeId from = kNoNode;
  uint64_t term = 0;
  uint64_t log_term = 0;
  uint64_t index = 0;
  uint64_t commit = 0;
  NodeId vote = kNoNode;  // kStorageAppend only
  uint64_t reject_hint = 0;
  std::vector<Entry> entries;
  std::shared_ptr<const Snapshot> snapshot;  // null = none
  // Opaque to the transport, which must carry it: read counter, or kCampaignTransfer.
  base::Bytes context;
  // kStorageAppend, kStorageApply: to be delivered, in order, when the work is durable (append) or
  // done (apply). Some are addressed to other nodes, some to the node itself.
  std::vector<Message> responses;
};

// Context of vote requests of a leader transfer; such requests break leases.
inline constexpr std::string_view kCampaignTransfer = "CampaignTransfer";

// Types only the node itself, its storage threads or its application create.
bool IsLocalMessage(MessageType type);
// Types that answer something this node sent; refused from ids it does not track.
bool IsResponseMessage(MessageType type);

// The answer to a ReadIndex of this node: once applied >= index, a read made after the call with
// `context` is linearizable.
struct ReadState {
  uint64_t index = 0;
  base::Bytes context;
};

}  // namespace etcdd::raft
