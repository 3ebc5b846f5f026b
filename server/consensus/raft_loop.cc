#include "server/consensus/raft_loop.h"

#include <utility>

#include "proto/raft.pb.h"
#include "server/base/check.h"
#include "server/base/log.h"
#include "server/base/status_macros.h"

namespace etcdd::consensus {

std::string EncodeConfState(const raft::ConfState& state) {
  raftpb::ConfState out;
  for (raft::NodeId id : state.voters) out.add_voters(id);
  for (raft::NodeId id : state.learners) out.add_learners(id);
  for (raft::NodeId id : state.voters_outgoing) out.add_voters_outgoing(id);
  for (raft::NodeId id : state.learners_next) out.add_learners_next(id);
  out.set_auto_leave(state.auto_leave);
  return out.SerializeAsString();
}

namespace {

wal::SnapshotRecord ToWalRecord(const raft::Snapshot& snapshot) {
  return {snapshot.index, snapshot.term, EncodeConfState(snapshot.conf_state)};
}

}  // namespace

RaftLoop::RaftLoop(Parts parts, RaftLoopOptions options, std::unique_ptr<raft::RawNode> node,
                   std::unique_ptr<raft::MemoryStorage> storage, std::unique_ptr<wal::Wal> wal)
    : parts_(parts),
      options_(options),
      storage_(std::move(storage)),
      node_(std::move(node)),
      wal_(std::move(wal)) {}

RaftLoop::~RaftLoop() { *alive_ = false; }

void RaftLoop::Start() {
  tick_due_ = parts_.clock->Monotonic() + options_.tick_interval;
  tick_timer_ = parts_.strand->PostAfter(options_.tick_interval, [this] { Tick(); });
  ScheduleDrive();
}

void RaftLoop::Stop() {
  stopped_ = true;
  parts_.strand->Cancel(tick_timer_);
}

void RaftLoop::Propose(base::Bytes data, absl::Duration deadline) {
  proposals_.push_back({std::move(data), deadline, std::nullopt});
  ScheduleDrive();
}

void RaftLoop::ProposeAsLeader(base::Bytes data) {
  proposals_.push_back({std::move(data), parts_.clock->Monotonic(), std::nullopt, true});
  ScheduleDrive();
}

void RaftLoop::ProposeConfChange(raft::ConfChange change, absl::Duration deadline) {
  proposals_.push_back({base::Bytes(), deadline, std::move(change)});
  ScheduleDrive();
}

void RaftLoop::ReadIndex(base::Bytes context) {
  // Dropped without a leader; the reader asks again.
  node_->ReadIndex(std::move(context)).IgnoreError();
  ScheduleDrive();
}

void RaftLoop::Step(raft::Message message) {
  if (stopped_) return;
  StepLocal(std::move(message));
  ScheduleDrive();
}

void RaftLoop::AdvanceTicks(int ticks) {
  for (int i = 0; i < ticks; ++i) node_->Tick();
  ScheduleDrive();
}

void RaftLoop::ReportUnreachable(raft::NodeId id) {
  node_->ReportUnreachable(id);
  ScheduleDrive();
}

void RaftLoop::ReportSnapshot(raft::NodeId id, bool ok) {
  node_->ReportSnapshot(id, ok);
  ScheduleDrive();
}

void RaftLoop::TransferLeader(raft::NodeId target) {
  node_->TransferLeader(target);
  ScheduleDrive();
}

raft::ConfState RaftLoop::ApplyConfChange(const raft::ConfChange& change) {
  return node_->ApplyConfChange(change);
}

void RaftLoop::SaveSnapshotMark(wal::SnapshotRecord record, raft::ConfState conf_state,
                                uint64_t catch_up_entries, absl::AnyInvocable<void()> done) {
  WalJob job;
  job.mark = std::move(record);
  job.mark_conf_state = std::move(conf_state);
  job.catch_up_entries = catch_up_entries;
  job.mark_done = std::move(done);
  waiting_marks_.push_back(std::move(job));
  ScheduleDrive();
}

// The turn's work runs after everything already queued on the strand, so that requests which
// arrived together travel together.
void RaftLoop::ScheduleDrive() {
  if (drive_scheduled_ || driving_ || stopped_) return;
  drive_scheduled_ = true;
  parts_.strand->Post([this, alive = alive_] {
    if (!*alive) return;
    drive_scheduled_ = false;
    Drive();
  });
}

void RaftLoop::Drive() {
  if (stopped_) return;
  driving_ = true;
  do {
    FlushProposals();
    while (!stopped_ && node_->HasReady()) HandleReady();
    StartWalJob();
    CampaignIfAlone();
  } while (!stopped_ && (node_->HasReady() || HasProposals()));
  driving_ = false;
}

// Nobody else can become leader, so there is no reason to wait for a timeout (CONS-018). Raft does
// not campaign while a committed change of membership is unapplied; hence the wait for apply.
void RaftLoop::CampaignIfAlone() {
  if (campaigned_ || stopped_ || node_->applied() < node_->committed()) return;
  if (node_->conf_state().voters != std::vector<raft::NodeId>{node_->id()}) return;
  campaigned_ = true;
  node_->Campaign();
}

bool RaftLoop::HasProposals() const {
  return !proposals_.empty() && node_->leader() != raft::kNoNode;
}

void RaftLoop::FlushProposals() {
  if (proposals_.empty()) return;
  if (node_->leader() == raft::kNoNode) {
    const absl::Duration now = parts_.clock->Monotonic();
    std::erase_if(proposals_, [now](const Proposal& proposal) { return proposal.deadline <= now; });
    return;
  }
  std::vector<base::Bytes> batch;
  batch.reserve(proposals_.size());
  const bool leads = node_->state() == raft::StateType::kLeader;
  for (Proposal& proposal : proposals_) {
    if (proposal.as_leader && !leads) continue;
    if (!proposal.conf_change.has_value()) {
      batch.push_back(std::move(proposal.data));
      continue;
    }
    ProposeBatch(&batch);
    node_->ProposeConfChange(*proposal.conf_change).IgnoreError();
  }
  proposals_.clear();
  ProposeBatch(&batch);
}

// Dropped in rare cases (a transfer in progress): the proposers' timeouts answer.
void RaftLoop::ProposeBatch(std::vector<base::Bytes>* batch) {
  if (!batch->empty()) node_->Propose(std::exchange(*batch, {})).IgnoreError();
}

void RaftLoop::HandleReady() {
  node_->TakeReady(&ready_);
  if (ready_.soft_state.has_value()) parts_.application->OnSoftState(*ready_.soft_state);
  if (!ready_.read_states.empty()) parts_.application->OnReadStates(ready_.read_states);
  if (!ready_.messages.empty()) Deliver(std::exchange(ready_.messages, {}));
  if (ready_.storage_append.has_value()) {
    waiting_appends_.push_back(*std::exchange(ready_.storage_append, std::nullopt));
  }
  // The WAL may start before the apply below: the next sync then runs meanwhile.
  StartWalJob();
  if (ready_.storage_apply.has_value() && !stopped_) {
    raft::Message apply = *std::exchange(ready_.storage_apply, std::nullopt);
    parts_.application->Apply(apply.entries);
    Deliver(std::move(apply.responses));
  }
}

void RaftLoop::StartWalJob() {
  while (!wal_busy_ && !stopped_ && (!waiting_appends_.empty() || !waiting_marks_.empty())) {
    WalJob job;
    if (!waiting_appends_.empty()) {
      job.appends.swap(waiting_appends_);
      for (const auto& append : job.appends) job.entry_count += append.entries.size();
    } else {
      job = std::move(waiting_marks_.front());
      waiting_marks_.pop_front();
      // A received snapshot has overtaken it: the WAL no longer leads from this mark to the end.
      if (job.mark->index < storage_->FirstIndex() - 1) {
        if (job.mark_done) job.mark_done();
        continue;
      }
    }
    auto shared = std::make_shared<WalJob>(std::move(job));
    wal_busy_ = true;
    if (IsInline(*shared)) {
      const absl::Status status = TimeWalJob(parts_, *wal_, *shared);
      if (!status.ok()) return Fail(status);
      FinishWalJob(std::move(shared));
      continue;
    }
    parts_.wal_strand->Post([this, alive = alive_, shared, wal = wal_.get(), parts = parts_] {
      absl::Status status = TimeWalJob(parts, *wal, *shared);
      parts.strand->Post([this, alive, shared, status = std::move(status)] {
        if (!*alive || stopped_) return;
        if (!status.ok()) return Fail(status);
        FinishWalJob(shared);
        Drive();
      });
    });
  }
}

// A leader's own sync runs while the others do theirs, and must not keep its messages from leaving.
bool RaftLoop::IsInline(const WalJob& job) const {
  if (parts_.wal_strand == nullptr) return true;
  if (job.mark.has_value() || job.entry_count > kInlineSyncEntriesMax) return false;
  for (const raft::Message& append : job.appends) {
    if (append.snapshot != nullptr) return false;
  }
  return node_->state() != raft::StateType::kLeader || IsAlone();
}

bool RaftLoop::IsAlone() const {
  const raft::ConfState& state = node_->conf_state();
  return state.voters == std::vector<raft::NodeId>{node_->id()} && state.learners.empty();
}

absl::Status RaftLoop::TimeWalJob(const Parts& parts, wal::Wal& wal, const WalJob& job) {
  if (parts.wal_write_seconds == nullptr) return RunWalJob(parts, wal, job);
  const absl::Duration begin = parts.clock->Monotonic();
  absl::Status status = RunWalJob(parts, wal, job);
  parts.wal_write_seconds->Observe(absl::ToDoubleSeconds(parts.clock->Monotonic() - begin));
  return status;
}

absl::Status RaftLoop::RunWalJob(const Parts& parts, wal::Wal& wal, const WalJob& job) {
  if (job.mark.has_value()) {
    ETCDD_RETURN_IF_ERROR(wal.SaveSnapshot(*job.mark));
    return wal.ReleaseTo(job.mark->index);
  }
  bool needs_sync = false;
  for (const raft::Message& append : job.appends) {
    if (append.snapshot != nullptr) {
      // In this order a crash leaves a file without a mark, never a mark without its file.
      ETCDD_RETURN_IF_ERROR(parts.save_snapshot(*append.snapshot));
      ETCDD_RETURN_IF_ERROR(wal.SaveSnapshot(ToWalRecord(*append.snapshot)));
      ETCDD_RETURN_IF_ERROR(wal.ReleaseTo(append.snapshot->index));
    }
    ETCDD_RETURN_IF_ERROR(SaveAppend(wal, append, &needs_sync));
    // The mark counts only once the commit index behind it is durable, and next the image becomes
    // the backend, which must not be ahead of the log.
    needs_sync |= append.snapshot != nullptr;
  }
  return needs_sync ? wal.Sync() : absl::OkStatus();
}

absl::Status RaftLoop::SaveAppend(wal::Wal& wal, const raft::Message& append, bool* needs_sync) {
  std::vector<wal::EntryView> views;
  views.reserve(append.entries.size());
  for (const raft::Entry& entry : append.entries) {
    views.push_back({static_cast<int32_t>(entry.type), entry.term, entry.index,
                     entry.data.view()});
  }
  ETCDD_ASSIGN_OR_RETURN(const bool sync,
                         wal.Save({append.term, append.vote, append.commit}, views));
  *needs_sync |= sync;
  return absl::OkStatus();
}

void RaftLoop::FinishWalJob(std::shared_ptr<WalJob> job) {
  if (!job->mark.has_value()) return FinishAppends(std::move(job), 0);
  wal_busy_ = false;
  FinishMark(*job);
}

// The WAL counts as busy until the last append is finished: behind a snapshot that is being
// installed nothing may go on.
void RaftLoop::FinishAppends(std::shared_ptr<WalJob> job, size_t at) {
  for (; at < job->appends.size(); ++at) {
    raft::Message& append = job->appends[at];
    if (append.snapshot != nullptr) {
      auto snapshot = std::exchange(append.snapshot, nullptr);
      const absl::Status status = storage_->ApplySnapshot(snapshot);
      ETCDD_CHECK_MSG(status.ok(), std::string(status.message()));
      parts_.application->InstallSnapshot(std::move(snapshot), [this, alive = alive_, job, at] {
        if (!*alive || stopped_) return;
        FinishAppends(job, at);
        ScheduleDrive();
      });
      return;
    }
    const raft::HardState hard_state{append.term, append.vote, append.commit};
    if (!hard_state.empty()) storage_->SetHardState(hard_state);
    if (!append.entries.empty()) storage_->Append(append.entries);
    Deliver(std::move(append.responses));
  }
  wal_busy_ = false;
}

void RaftLoop::FinishMark(WalJob& job) {
  const uint64_t index = job.mark->index;
  auto snapshot = storage_->CreateSnapshot(index, job.mark_conf_state, base::Bytes());
  // Refused only when a newer one is there already, which then serves as well.
  if (!snapshot.ok()) {
    ETCDD_LOG(kDebug, "snapshot mark is older than the newest one",
              {base::LogField(snapshot.status())});
  }
  const uint64_t keep_from = index > job.catch_up_entries ? index - job.catch_up_entries : 1;
  if (!hold_entries_ && keep_from > storage_->FirstIndex()) {
    const absl::Status compacted = storage_->Compact(keep_from - 1);
    ETCDD_CHECK_MSG(compacted.ok(), std::string(compacted.message()));
  }
  if (job.mark_done) job.mark_done();
}

void RaftLoop::Deliver(std::vector<raft::Message> messages) {
  for (raft::Message& message : messages) {
    if (message.to == node_->id()) {
      StepLocal(std::move(message));
    } else if (transport_ == nullptr) {
      continue;
    } else if (message.type == raft::MessageType::kSnap) {
      parts_.application->SendSnapshot(std::move(message));
    } else {
      transport_->Send(std::move(message));
    }
  }
}

void RaftLoop::StepLocal(raft::Message message) {
  const absl::Status status = node_->Step(std::move(message));
  if (absl::IsDataLoss(status)) Fail(status);
}

void RaftLoop::Tick() {
  if (stopped_) return;
  const absl::Duration now = parts_.clock->Monotonic();
  const absl::Duration late = now - tick_due_;
  if (late > kLateTickIntervals * options_.tick_interval) {
    if (parts_.late_ticks != nullptr) parts_.late_ticks->Add();
    ETCDD_LOG(kWarn,
              "leader failed to send out heartbeat on time; took too long, leader is overloaded "
              "likely from slow disk",
              {{"heartbeat-interval", base::LogDuration(options_.tick_interval)},
               {"exceeded-duration", base::LogDuration(late)}});
  }
  node_->Tick();
  // Due times are kept on the grid, but a late tick is not made up for by a burst.
  tick_due_ = std::max(tick_due_ + options_.tick_interval, now);
  tick_timer_ = parts_.strand->PostAfter(tick_due_ - now, [this] { Tick(); });
  ScheduleDrive();
}

void RaftLoop::Fail(const absl::Status& status) {
  if (stopped_) return;
  Stop();
  parts_.application->OnFatal(status);
}

}  // namespace etcdd::consensus
