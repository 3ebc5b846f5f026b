#pragma once

// RawNode: the face of the consensus library. A deterministic state machine: same construction and
// same calls give the same Readies. It does no I/O, reads no clock, starts no thread, takes no
// lock; the application feeds it ticks, messages and proposals and does what each Ready says.
//
//   node->Tick();                            // every tick interval
//   node->Step(std::move(message));          // every message from a peer or a storage thread
//   node->Propose(std::move(payloads));      // everything that waited, in one call
//   while (node->HasReady()) {
//     Ready ready = node->TakeReady();
//     ...persist, send, apply as ready.h says...
//     node->Advance();                       // synchronous mode only
//   }
//
// Confined to the raft strand. Messages and payloads are moved in and out, never copied; payload
// bytes are shared. A broken invariant aborts the process (ETCDD_CHECK).

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "raft/conf_change.h"
#include "raft/config.h"
#include "raft/errors.h"
#include "raft/ready.h"
#include "raft/storage.h"
#include "raft/types.h"

namespace etcdd::raft {

class Raft;

// A leader's view of one member, itself included.
struct PeerStatus {
  NodeId id = kNoNode;
  bool learner = false;
  bool recently_active = false;
  bool paused = false;  // no append may be sent to it just now
  ProgressState state = ProgressState::kProbe;
  uint64_t match = 0;
  uint64_t next = 0;
  uint64_t pending_snapshot = 0;
  uint64_t inflight_messages = 0;
};

struct NodeStatus {
  NodeId id = kNoNode;
  HardState hard_state;
  SoftState soft_state;
  uint64_t applied = 0;
  uint64_t first_index = 0;
  uint64_t last_index = 0;
  NodeId transfer_target = kNoNode;
  ConfState conf_state;           // the active configuration
  std::vector<PeerStatus> peers;  // leader only; ascending ids
};

class RawNode {
 public:
  // Starts a node from what `storage` holds: a follower at the stored term. Committed entries above
  // config.applied come out in the first Ready. Entries up to config.applied, to the snapshot and
  // to the compaction point count as committed, also if a crash lost the commit index. `storage` is
  // borrowed and must outlive the node.
  // Errors: InvalidArgument (configuration); DataLoss (stored commit or applied index beyond the
  // stored log, or a configuration that does not restore); those of the storage.
  static absl::StatusOr<std::unique_ptr<RawNode>> Create(const Config& config, Storage* storage);
  ~RawNode();
  RawNode(const RawNode&) = delete;
  RawNode& operator=(const RawNode&) = delete;

  // Inputs ------------------------------------------------------------------------------------

  // One tick of time passed.
  void Tick();

  // Starts an election now if this node may (no effect otherwise).
  void Campaign();

  // Proposes normal entries: appended if leader, forwarded if follower. All of a vector become
  // neighbours in the log, travel in one message and are accepted or refused together.
  // OK does not mean committed: an accepted proposal may still be lost with its leader.
  // Errors: IsDropped (no leader, transfer pending, not a member, forwarding off, over
  // uncommitted_bytes_max). Requires: the vector is not empty.
  absl::Status Propose(base::Bytes data);
  absl::Status Propose(std::vector<base::Bytes> data);

  // Proposes a configuration change. A change refused by validation is no error here: an empty
  // entry takes its place and the reason is logged.
  absl::Status ProposeConfChange(const ConfChange& change);
  absl::Status ProposeConfChange(const ConfChangeV2& change);

  // Activates a committed change; called when its entry is applied. Returns the configuration that
  // snapshots at or after this entry must carry. Not called for a change the application refuses.
  // Requires: the change is valid in the current configuration (a committed one is, unless
  // validation is off).
  ConfState ApplyConfChange(const ConfChange& change);
  ConfState ApplyConfChange(const ConfChangeV2& change);
  // The same for the change in a committed entry; without effect if a snapshot has overtaken the
  // entry meanwhile, as can happen when applying lags behind the raft strand.
  // Error: InvalidArgument if the entry holds no change.
  absl::StatusOr<ConfState> ApplyConfChange(const Entry& entry);

  // A message from a peer, or a response of a storage thread.
  // Errors: StepLocalMessageError, StepPeerNotFoundError; IsDropped for a forwarded proposal;
  // InvalidArgument for a malformed message (it had no effect); DataLoss if a leader proves that
  // this node's log lost entries it had acknowledged: the application must stop the member.
  absl::Status Step(Message message);

  // Asks for a read index. The answer is a ReadState with this context in a later Ready; when
  // leadership changes meanwhile there is none, so the caller retries with a new context.
  // Many reads that wait together should share one call.
  // Errors: IsDropped (no leader, candidate, pending_reads_max).
  absl::Status ReadIndex(base::Bytes context);

  // Asks the leader to hand over to `target`. Only logs when it cannot.
  void TransferLeader(NodeId target);

  // A follower stops following its leader until it hears of one again; it may then grant votes
  // inside the lease. Refused (logged) with lease-based reads.
  void ForgetLeader();

  // The last message to `id` could not be sent.
  void ReportUnreachable(NodeId id);

  // The fate of a MsgSnap sent to `id`.
  void ReportSnapshot(NodeId id, bool ok);

  // Outputs -----------------------------------------------------------------------------------

  bool HasReady() const;

  // Requires: in synchronous mode, no Ready taken since the last Advance (checked).
  Ready TakeReady();
  // The same, reusing the memory of *ready.
  void TakeReady(Ready* ready);

  // The last Ready's work is done. Requires: synchronous mode, one Ready outstanding (checked).
  void Advance();

  // State -------------------------------------------------------------------------------------

  NodeId id() const;
  uint64_t term() const;
  NodeId leader() const;  // kNoNode if unknown
  StateType state() const;
  uint64_t committed() const;
  uint64_t applied() const;
  uint64_t last_index() const;
  // Term of an entry of the log, stable or not. Errors: CompactedError(), UnavailableError().
  absl::StatusOr<uint64_t> EntryTerm(uint64_t index) const;
  HardState hard_state() const;
  SoftState soft_state() const;
  NodeId transfer_target() const;  // kNoNode if no transfer is pending
  bool IsVoter() const;            // in either half of its own configuration
  bool IsLearner() const;
  ConfState conf_state() const;
  NodeStatus Status() const;

  // One line per tracked member, "ID: <progress>"; empty unless leader.
  std::string DescribeProgress() const;

  // Checks everything that must hold between two calls, aborting with the broken rule. O(members +
  // unstable entries). For tests, the simulator and debug builds.
  void CheckInvariants() const;

  // Overrides the current randomized election timeout, until it is drawn again. For tests.
  void SetRandomizedElectionTimeout(int ticks);

 private:
  explicit RawNode(std::unique_ptr<Raft> raft);

  // Steps a message the node sent to itself, or the application's local input.
  absl::Status StepLocal(Message message);
  void FillStorageAppend(Ready* ready);
  void FillStorageApply(Ready* ready);

  const std::unique_ptr<Raft> raft_;
  HardState previous_hard_state_;  // last handed out
  SoftState previous_soft_state_;  // last handed out
  // Synchronous mode: stepped by Advance, in order.
  std::vector<Message> steps_on_advance_;
  bool ready_outstanding_ = false;
};

}  // namespace etcdd::raft
