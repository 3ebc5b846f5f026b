#pragma once

// Drives one raft node: Ready -> WAL -> send -> apply, and back. The only caller of raft and wal.
//
// Proposals that arrive in one turn of the strand go into raft together and share one WAL write.
// While a sync runs on the WAL strand new proposals keep entering raft and all share the next sync
// (group commit). A lone proposal is synced inline instead: handing it to another thread costs more
// than the sync saves (speed.md; ADR 0002).
//
// Confined to `strand`. The Application's methods are called on it.

#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/functional/any_invocable.h"
#include "absl/status/status.h"
#include "absl/time/time.h"
#include "absl/types/span.h"
#include "raft/memory_storage.h"
#include "raft/raw_node.h"
#include "server/base/bytes.h"
#include "server/base/clock.h"
#include "server/base/metrics.h"
#include "server/base/strand.h"
#include "server/consensus/transport.h"
#include "wal/wal.h"

namespace etcdd::consensus {

// Up to this many entries a batch is written and synced on the strand itself.
inline constexpr size_t kInlineSyncEntriesMax = 3;
// A tick that fires later than this many intervals after it was due is reported (contention).
inline constexpr int kLateTickIntervals = 2;

// Encoded raftpb.ConfState, as .snap files and the WAL hold it.
std::string EncodeConfState(const raft::ConfState& state);

class Application {
 public:
  virtual ~Application() = default;
  // Committed entries, each exactly once, in index order.
  virtual void Apply(absl::Span<const raft::Entry> entries) = 0;
  // Raft wants `message.to` to have a snapshot; the application sends one of its own present state
  // and reports what became of it (ReportSnapshot).
  virtual void SendSnapshot(raft::Message message) = 0;
  // This snapshot of another member's is durable in the log; its state takes the place of the
  // application's. `done` once that has happened; until then nothing is applied.
  virtual void InstallSnapshot(std::shared_ptr<const raft::Snapshot> snapshot,
                               absl::AnyInvocable<void()> done) = 0;
  // Answers to ReadIndex.
  virtual void OnReadStates(absl::Span<const raft::ReadState> states) = 0;
  // Role or leader changed.
  virtual void OnSoftState(const raft::SoftState& state) = 0;
  // The WAL failed, or raft found that the log lost entries: this member must stop at once.
  virtual void OnFatal(const absl::Status& status) = 0;
};

struct RaftLoopOptions {
  absl::Duration tick_interval = absl::Milliseconds(100);
};

class RaftLoop {
 public:
  // All pointers are borrowed and outlive the loop. `wal_strand` null: every write is inline.
  struct Parts {
    base::Strand* strand = nullptr;
    base::Strand* wal_strand = nullptr;
    const base::Clock* clock = nullptr;
    Application* application = nullptr;
    // Makes the .snap file of a received snapshot durable, before its mark is put into the WAL. On
    // the thread that writes the WAL.
    std::function<absl::Status(const raft::Snapshot&)> save_snapshot;
    // Metrics, either may be null: ticks that came late, and the time of each WAL batch.
    base::Counter* late_ticks = nullptr;
    base::Histogram* wal_write_seconds = nullptr;
  };
  RaftLoop(Parts parts, RaftLoopOptions options, std::unique_ptr<raft::RawNode> node,
           std::unique_ptr<raft::MemoryStorage> storage, std::unique_ptr<wal::Wal> wal);
  ~RaftLoop();

  // Where messages to other members go; null: dropped. Set before Start, outlives the loop.
  void SetTransport(Transport* transport) { transport_ = transport; }
  // Starts ticking; a lone voter campaigns as soon as it may (CONS-018). The node's clock begins
  // `ticks` ahead: a member that has waited for others need not wait out a whole election timeout
  // again (--initial-election-tick-advance).
  void Start();
  void AdvanceTicks(int ticks);
  // Ends ticking and waits for nothing: an unfinished WAL write is abandoned to its strand, whose
  // owner joins it before this object goes. Afterwards no Application method is called.
  void Stop();

  // Queues entry data. While no leader is known it waits here, and is dropped at `deadline` (on
  // Clock::Monotonic) without having entered the log (SRV-023); the proposer has its own timeout.
  void Propose(base::Bytes data, absl::Duration deadline);
  // The same, dropped unless this node leads by the time it enters raft: what only a leader may ask
  // for must not be passed on to the next one.
  void ProposeAsLeader(base::Bytes data);
  void ProposeConfChange(raft::ConfChange change, absl::Duration deadline);
  // The answer arrives as a ReadState with this context. False: dropped (no leader).
  void ReadIndex(base::Bytes context);
  void Step(raft::Message message);
  void ReportUnreachable(raft::NodeId id);
  void ReportSnapshot(raft::NodeId id, bool ok);
  void TransferLeader(raft::NodeId target);
  // Called by the application from Apply.
  raft::ConfState ApplyConfChange(const raft::ConfChange& change);

  // Records that everything up to `index` is durable in a snapshot, then gives up WAL segments and
  // keeps `catch_up_entries` entries in memory, or more while HoldEntries says so. `done` runs once
  // the mark is synced. Overtaken by a received snapshot, the mark is left out.
  void SaveSnapshotMark(wal::SnapshotRecord record, raft::ConfState conf_state,
                        uint64_t catch_up_entries, absl::AnyInvocable<void()> done);

  // While held, entries stay in memory: a member that takes in an image needs those behind it.
  void HoldEntries(bool hold) { hold_entries_ = hold; }

  const raft::RawNode& node() const { return *node_; }

 private:
  // One unit of WAL work: a raft append, or a snapshot mark.
  struct WalJob {
    std::vector<raft::Message> appends;
    std::optional<wal::SnapshotRecord> mark;
    raft::ConfState mark_conf_state;
    uint64_t catch_up_entries = 0;
    absl::AnyInvocable<void()> mark_done;
    size_t entry_count = 0;
  };

  void ScheduleDrive();
  void Drive();
  bool HasProposals() const;
  void FlushProposals();
  void CampaignIfAlone();
  void HandleReady();
  void StartWalJob();
  // Measured; on whichever thread.
  static absl::Status TimeWalJob(const Parts& parts, wal::Wal& wal, const WalJob& job);
  static absl::Status RunWalJob(const Parts& parts, wal::Wal& wal, const WalJob& job);
  static absl::Status SaveAppend(wal::Wal& wal, const raft::Message& append, bool* needs_sync);
  bool IsInline(const WalJob& job) const;
  bool IsAlone() const;
  void FinishWalJob(std::shared_ptr<WalJob> job);
  // From append `at` of the job on.
  void FinishAppends(std::shared_ptr<WalJob> job, size_t at);
  void FinishMark(WalJob& job);
  void Deliver(std::vector<raft::Message> responses);
  void StepLocal(raft::Message message);
  void Tick();
  void Fail(const absl::Status& status);

  const Parts parts_;
  const RaftLoopOptions options_;
  const std::unique_ptr<raft::MemoryStorage> storage_;
  const std::unique_ptr<raft::RawNode> node_;
  // Used by whichever thread runs the current job; nobody else touches it meanwhile.
  const std::unique_ptr<wal::Wal> wal_;

  struct Proposal {
    base::Bytes data;
    absl::Duration deadline;
    std::optional<raft::ConfChange> conf_change;  // instead of data
    bool as_leader = false;
  };
  void ProposeBatch(std::vector<base::Bytes>* batch);

  Transport* transport_ = nullptr;
  std::vector<Proposal> proposals_;
  raft::Ready ready_;
  std::vector<raft::Message> waiting_appends_;
  std::deque<WalJob> waiting_marks_;
  bool wal_busy_ = false;
  bool drive_scheduled_ = false;
  bool driving_ = false;
  bool campaigned_ = false;
  bool hold_entries_ = false;
  bool stopped_ = false;
  base::TimerId tick_timer_ = 0;
  absl::Duration tick_due_;
  // False once this object is gone: work that is still on its way back must not touch it.
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

}  // namespace etcdd::consensus
