#include "server/etcd_server.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "mvcc/store_history.h"
#include "proto/raft_internal.pb.h"
#include "server/base/api_error.h"
#include "server/base/check.h"
#include "server/base/coding.h"
#include "server/base/log.h"
#include "server/base/status_macros.h"
#include "server/version.h"
#include "snap/membership_json.h"

namespace etcdd::server {
namespace {

using base::ApiError;
using base::ErrorId;

// Append messages to one follower: bytes of one, and how many may be in flight.
constexpr uint64_t kAppendBytesMax = 1 << 20;
constexpr uint64_t kInflightAppendsMax = 512;
// Committed entries handed to apply at one time.
constexpr uint64_t kApplyBytesMax = 64 << 20;
constexpr absl::Duration kPublishRetryInterval = absl::Milliseconds(500);
// In this time connections to the others stand, if they run.
constexpr absl::Duration kPeersAwaited = absl::Seconds(5);

constexpr std::string_view kStorageVersionKey = "storageVersion";
constexpr std::string_view kStorageVersion = "3.7.0";

// Raft's lines go to the server's log under etcd's sub-logger name.
class RaftLogger final : public raft::Logger {
 public:
  bool Enabled(base::LogLevel level) const override { return base::LogEnabled(level); }
  void Log(base::LogLevel level, std::string_view line) override {
    base::Log(level, "raft", __FILE__, __LINE__, line);
  }
};

RaftLogger& GetRaftLogger() {
  static RaftLogger logger;
  return logger;
}

std::string EncodeBigEndian(uint64_t value) {
  std::string bytes;
  base::AppendBigEndian64(value, &bytes);
  return bytes;
}

}  // namespace

absl::StatusOr<std::unique_ptr<EtcdServer>> EtcdServer::Create(Parts parts,
                                                               EtcdServerOptions options,
                                                               Bootstrapped bootstrapped) {
  std::unique_ptr<EtcdServer> server(new EtcdServer(std::move(parts), std::move(options)));
  ETCDD_RETURN_IF_ERROR(server->Restore(std::move(bootstrapped)));
  return server;
}

EtcdServer::EtcdServer(Parts parts, EtcdServerOptions options)
    : parts_(std::move(parts)),
      options_(std::move(options)),
      metrics_(parts_.metrics),
      backend_(std::exchange(parts_.backend, nullptr)) {
  if (metrics_ != nullptr) return;
  own_registry_ = std::make_unique<base::Metrics>();
  own_metrics_ = std::make_unique<ServerMetrics>(own_registry_.get());
  metrics_ = own_metrics_.get();
}

EtcdServer::~EtcdServer() { *alive_ = false; }

absl::Status EtcdServer::Restore(Bootstrapped bootstrapped) {
  identity_ = {bootstrapped.cluster_id, bootstrapped.member_id};
  request_ids_ = RequestIdGenerator(identity_.member_id, parts_.clock->Wall());
  cluster_ = std::make_unique<membership::Cluster>(identity_.cluster_id, identity_.member_id,
                                                   options_.learners_max);
  remotes_ = bootstrapped.remotes;
  // LEASE-003, in whole seconds.
  const absl::Duration min_ttl = (3 * options_.election_ticks / 2) * options_.tick_interval;
  lessor_ = std::make_unique<lease::Lessor>(
      *parts_.clock,
      lease::LessorOptions{absl::ToInt64Seconds(absl::Ceil(min_ttl, absl::Seconds(1))),
                           options_.lease_checkpoint, options_.lease_checkpoint_persist});
  {
    const std::unique_ptr<mvcc::View> view = backend_->NewView();
    ETCDD_RETURN_IF_ERROR(cluster_->Restore(*view));
    if (cluster_->IsRemoved(identity_.member_id)) {
      return absl::FailedPreconditionError(
          "the member has been permanently removed from the cluster; data-dir used by this member "
          "must be removed");
    }
    ETCDD_RETURN_IF_ERROR(CheckOwnVersion());
    ETCDD_RETURN_IF_ERROR(alarms_.Restore(*view));
    ETCDD_RETURN_IF_ERROR(lessor_->Restore(*view));
    auto term = view->Get(mvcc::Bucket::kMeta, kTermKey);
    if (term.ok() && term->size() == 8) applied_term_ = base::ReadBigEndian64(term->data());
  }
  ETCDD_ASSIGN_OR_RETURN(store_, mvcc::Store::Open(backend_, lessor_.get(), options_.store));
  ETCDD_LOG(kInfo, "kvstore restored", {{"current-rev", store_->revision()}});
  MakeWatchHub();
  quota_ = std::make_unique<apply::Quota>(*backend_, options_.quota_bytes);
  applier_ = std::make_unique<apply::Applier>(
      apply::ApplierParts{store_.get(), lessor_.get(), &alarms_, cluster_.get(), quota_.get(),
                          metrics_, identity_});
  batch_ = backend_->NewBatch();
  applied_ = bootstrapped.applied;

  const uint64_t snapshot_index = bootstrapped.snapshot_index;
  ETCDD_RETURN_IF_ERROR(MakeRaft(std::move(bootstrapped)));
  MakePolicies(snapshot_index);
  AddGauges();
  return absl::OkStatus();
}

absl::Status EtcdServer::MakeRaft(Bootstrapped bootstrapped) {
  raft::Config config;
  config.id = identity_.member_id;
  config.election_ticks = options_.election_ticks;
  config.heartbeat_ticks = 1;
  config.applied = bootstrapped.applied;
  config.async_storage_writes = true;
  config.message_bytes_max = kAppendBytesMax;
  config.committed_bytes_max = kApplyBytesMax;
  config.inflight_messages_max = kInflightAppendsMax;
  config.check_quorum = true;
  config.pre_vote = options_.pre_vote;
  config.step_down_on_removal = true;
  config.random = parts_.random;
  config.logger = &GetRaftLogger();
  ETCDD_ASSIGN_OR_RETURN(auto node,
                         raft::RawNode::Create(config, bootstrapped.storage.get()));
  conf_state_ = node->conf_state();
  raft_ = std::make_unique<consensus::RaftLoop>(
      consensus::RaftLoop::Parts{
          parts_.strand, parts_.wal_strand, parts_.clock, this,
          [save = parts_.save_snapshot](const raft::Snapshot& snapshot) {
            return save({snapshot.index, snapshot.term, snapshot.conf_state,
                         std::string(snapshot.data.view()), nullptr});
          },
          &metrics_->late_heartbeats, &metrics_->wal_write_seconds},
      consensus::RaftLoopOptions{options_.tick_interval}, std::move(node),
      std::move(bootstrapped.storage), std::move(bootstrapped.wal));
  return absl::OkStatus();
}

void EtcdServer::MakeWatchHub() {
  history_ = std::make_unique<mvcc::BackendHistory>(mvcc::HistoryOf(*store_));
  mvcc::WatchWorld world;
  world.apply = parts_.strand;
  world.worker = parts_.reader;
  world.random = parts_.random;
  world.history = history_.get();
  world.header = [this](int64_t revision) {
    return apply::EncodeHeader(identity_, revision, applied_term_);
  };
  world.on_failure = [this](absl::Status status) { OnFatal(status); };
  mvcc::WatchHubOptions options;
  options.fragment_bytes = options_.request_bytes_max + (512u << 10);
  options.progress_interval = options_.watch_progress_interval;
  watch_hub_ = std::make_unique<mvcc::WatchHub>(std::move(world), options, store_->revision());
  store_->SetObserver(watch_hub_.get());
}

void EtcdServer::MakePolicies(uint64_t snapshot_index) {
  reader_ = std::make_unique<LinearizableReader>(
      request_ids_.Next(), parts_.strand, parts_.clock, options_.RequestTimeout(), metrics_,
      [this](base::Bytes context) { raft_->ReadIndex(std::move(context)); });
  reader_->OnApplied(applied_);
  snapshots_ = std::make_unique<SnapshotPolicy>(
      SnapshotPolicy::Parts{parts_.strand, parts_.background, parts_.save_snapshot,
                            parts_.purge_files,
                            [this](const absl::Status& status) { OnFatal(status); }},
      options_.snapshot_count, options_.snapshot_catchup_entries, snapshot_index);
  snapshots_->set_raft_loop(raft_.get());
  MakeCompactionRunner();
}

void EtcdServer::MakeCompactionRunner() {
  compactions_ = std::make_unique<CompactionRunner>(
      CompactionRunner::Parts{parts_.strand, parts_.background, parts_.clock, store_.get(),
                              backend_.get(), metrics_,
                              [this](const absl::Status& status) { OnFatal(status); }},
      options_.compaction_pause_max);
}

void EtcdServer::Start(absl::AnyInvocable<void()> on_ready) {
  on_ready_ = std::move(on_ready);
  ETCDD_LOG(kInfo, "starting etcd server",
            {{"local-member-id", base::LogId(identity_.member_id)},
             {"local-server-version", kEtcdVersion},
             {"cluster-id", base::LogId(identity_.cluster_id)},
             {"cluster-version",
              cluster_->version().empty() ? "to_be_decided" : cluster_->version()}});
  raft_->Start();
  compactions_->Kick();
  Housekeeping();
  ExpireLeases();
  MonitorVersions();
  if (!options_.initial_election_tick_advance) return;
  parts_.strand->PostAfter(kPeersAwaited, [this, alive = alive_] {
    if (*alive && !stopped_) FastForwardElection();
  });
}

// A member that has had its time to hear of a leader and has not need not wait out a whole election
// timeout on top (--initial-election-tick-advance).
void EtcdServer::FastForwardElection() {
  if (has_leader() || transport_ == nullptr || options_.election_ticks <= 2) return;
  bool any = false;
  for (uint64_t id : cluster_->Voters()) any |= transport_->ActiveSince(id).has_value();
  if (!any) return;
  const int ticks = options_.election_ticks - 2;
  ETCDD_LOG(kInfo, "initialized peer connections; fast-forwarding election ticks",
            {{"local-member-id", base::LogId(identity_.member_id)},
             {"forward-ticks", ticks},
             {"forward-duration", base::LogDuration(ticks * options_.tick_interval)},
             {"election-ticks", options_.election_ticks},
             {"election-timeout",
              base::LogDuration(options_.election_ticks * options_.tick_interval)}});
  raft_->AdvanceTicks(ticks);
}

void EtcdServer::Stop(const absl::Status& status) {
  if (stopped_) return;
  stopped_ = true;
  parts_.strand->Cancel(housekeeping_timer_);
  parts_.strand->Cancel(lease_timer_);
  parts_.strand->Cancel(version_timer_);
  raft_->Stop();
  compactions_->Stop();
  reader_->Stop(status);
  for (Done& done : waiter_.TakeAll()) done(status, {});
  FinishLeaderMoves();
}

// --- Apply -----------------------------------------------------------------------------------

void EtcdServer::Apply(absl::Span<const raft::Entry> entries) {
  if (entries.empty() || stopped_) return;
  const absl::Duration began = parts_.clock->Monotonic();
  batch_->Clear();
  store_->BeginBatch(batch_.get());
  results_.clear();
  for (const raft::Entry& entry : entries) {
    ETCDD_CHECK_MSG(entry.index == applied_ + 1,
                    absl::StrCat("entry ", entry.index, " follows ", applied_));
    ApplyEntry(entry);
    if (stopped_) return;  // a member failure
    applied_ = entry.index;
  }
  PutProgress(entries.back().index, entries.back().term);
  const absl::Duration applied = parts_.clock->Monotonic();
  const absl::Status written = backend_->Write(*batch_);
  if (!written.ok()) return OnFatal(written);
  store_->FinishBatch();
  const absl::Duration now = parts_.clock->Monotonic();
  MeasureApply(entries, began, applied, now);
  FinishApply(now);
}

void EtcdServer::ApplyEntry(const raft::Entry& entry) {
  if (entry.type == raft::EntryType::kConfChange) return ApplyConfChange(entry);
  if (entry.type != raft::EntryType::kNormal) {
    // Raft has switched to it already, and members of etcd have died of it.
    return OnFatal(absl::UnimplementedError(absl::StrCat(
        "entry ", entry.index, " is a change of several members at once, which etcd's cluster "
        "records cannot hold; whoever proposed it was no member of etcd or etcdd")));
  }
  if (entry.data.empty()) return;  // the empty entry of a new leader
  const auto request = apply::ParseInternalRequest(entry.data.view());
  if (!request) {
    ETCDD_LOG(kError, "skipped a log entry that is no request", {{"index", entry.index}});
    return;
  }
  apply::ApplyResult result = applier_->Apply(*request, entry.term, *batch_);
  if (apply::Applier::IsMemberFailure(result.status)) return OnFatal(result.status);
  if (request->kind == apply::RequestKind::kClusterVersionSet) {
    const absl::Status own = CheckOwnVersion();  // CLUS-042
    if (!own.ok()) return OnFatal(own);
  }
  kick_compaction_ |= result.compaction_scheduled;
  if (waiter_.Contains(request->id)) results_.push_back({request->id, std::move(result)});
}

// CONS-011: progress is part of the batch whose data it describes.
void EtcdServer::PutProgress(uint64_t index, uint64_t term) {
  batch_->Put(mvcc::Bucket::kMeta, kConsistentIndexKey, EncodeBigEndian(index));
  if (term == applied_term_) return;
  applied_term_ = term;
  batch_->Put(mvcc::Bucket::kMeta, kTermKey, EncodeBigEndian(term));
  batch_->Put(mvcc::Bucket::kMeta, kStorageVersionKey, kStorageVersion);
}

void EtcdServer::FinishApply(absl::Duration now) {
  reader_->OnApplied(applied_);
  std::vector<Result> results;
  results.swap(results_);
  for (Result& result : results) FinishRequest(result.id, std::move(result.result), now);
  results.clear();
  if (results_.empty()) results_.swap(results);  // keep the memory
  if (std::exchange(kick_compaction_, false)) compactions_->Kick();
  MaybeSnapshot();
}

void EtcdServer::FinishRequest(uint64_t id, apply::ApplyResult result, absl::Duration now) {
  std::optional<RequestWaiter::Waiter> waiter = waiter_.Take(id);
  if (!waiter) return;
  if (waiter->kind != kNotTimed) {
    metrics_->request_seconds(static_cast<TimedRequest>(waiter->kind), result.status.ok())
        .Observe(absl::ToDoubleSeconds(now - waiter->started));
  }
  Done& done = waiter->done;
  if (result.raise_no_space) {
    RaiseNoSpace([done = std::move(done), status = std::move(result.status)]() mutable {
      done(std::move(status), {});
    });
  } else if (result.wait_for_compaction > 0) {
    compactions_->WhenFinished(
        result.wait_for_compaction,
        [done = std::move(done), result = std::move(result)]() mutable {
          done(std::move(result.status), std::move(result.reply));
        });
  } else {
    done(std::move(result.status), std::move(result.reply));
  }
}

void EtcdServer::MaybeSnapshot() {
  if (!stopped_ && snapshots_->Due(applied_)) {
    snapshots_->Start({applied_, applied_term_, conf_state_, MembershipDocument(), backend_});
  }
}

std::string EtcdServer::MembershipDocument() const {
  snap::Membership document;
  for (const membership::Member& member : cluster_->members()) {
    document.members.push_back({member.id, member.peer_urls, member.is_learner, member.name,
                                member.client_urls});
  }
  document.removed_ids = cluster_->removed_ids();
  document.cluster_version = cluster_->version();
  return snap::MembershipJson(document);
}

void EtcdServer::OnReadStates(absl::Span<const raft::ReadState> states) {
  reader_->OnReadStates(states);
}

void EtcdServer::OnSoftState(const raft::SoftState& state) {
  const bool leads = state.state == raft::StateType::kLeader;
  if (leads && !lessor_->primary()) {
    lessor_->Promote(options_.election_ticks * options_.tick_interval);
  } else if (!leads && lessor_->primary()) {
    lessor_->Demote();
  }
  if (state.leader == leader_) return;
  const bool had_leader = leader_ != raft::kNoNode;
  leader_ = state.leader;
  FinishLeaderMoves();
  if (had_leader) reader_->OnLeaderChanged();
  if (leader_ == raft::kNoNode) return;
  metrics_->leader_changes.Add();
  leader_elected_at_ = parts_.clock->Monotonic();
  base::Log(base::LogLevel::kInfo, "raft", __FILE__, __LINE__,
            absl::StrCat("raft.node: ", base::LogId(identity_.member_id), " elected leader ",
                         base::LogId(leader_), " at term ", raft_->node().term()));
  Publish();
}

void EtcdServer::OnFatal(const absl::Status& status) {
  if (stopped_) return;
  ETCDD_LOG(kFatal, "this member cannot go on and stops", {base::LogField(status)});
  Stop(ApiError(ErrorId::kStopped));
  parts_.on_fatal(status);
}

// --- Becoming ready ----------------------------------------------------------------------------

void EtcdServer::Publish() {
  if (published_ || publishing_ || stopped_) return;
  publishing_ = true;
  membershippb::ClusterMemberAttrSetRequest request;
  request.set_member_id(identity_.member_id);
  request.mutable_member_attributes()->set_name(options_.name);
  for (const std::string& url : options_.client_urls) {
    request.mutable_member_attributes()->add_client_urls(url);
  }
  const std::string attributes =
      absl::StrCat("{Name:", options_.name, " ClientURLs:[",
                   absl::StrJoin(options_.client_urls, " "), "]}");
  Propose(apply::RequestKind::kClusterMemberAttrSet, request.SerializeAsString(),
          [this, attributes](absl::Status status, std::string) {
            if (stopped_) return;
            if (!status.ok()) {
              ETCDD_LOG(kWarn, "failed to publish local member to cluster through raft",
                        {{"local-member-id", base::LogId(identity_.member_id)},
                         {"local-member-attributes", attributes},
                         base::LogField(status)});
              // Later: a proposal can be refused at once, and again and again.
              parts_.strand->PostAfter(kPublishRetryInterval, [this, alive = alive_] {
                if (!*alive) return;
                publishing_ = false;
                Publish();
              });
              return;
            }
            publishing_ = false;
            published_ = true;
            ETCDD_LOG(kInfo, "published local member to cluster through raft",
                      {{"local-member-id", base::LogId(identity_.member_id)},
                       {"local-member-attributes", attributes},
                       {"cluster-id", base::LogId(identity_.cluster_id)},
                       {"publish-timeout", base::LogDuration(options_.RequestTimeout())}});
            AskVersions();
            if (on_ready_) std::exchange(on_ready_, nullptr)();
          });
}

// --- Timers --------------------------------------------------------------------------------------

void EtcdServer::Housekeeping() {
  housekeeping_timer_ =
      parts_.strand->PostAfter(kHousekeepingInterval, [this, alive = alive_] {
        if (!*alive || stopped_) return;
        reader_->OnTick();
        FinishLeaderMoves();
        for (auto& expired : waiter_.TakeExpired(parts_.clock->Monotonic())) {
          metrics_->proposals_failed.Add();
          expired.done(TimeoutStatus(expired.started), {});
        }
        Housekeeping();
      });
}

// SRV-021, SRV-023.
absl::Status EtcdServer::TimeoutStatus(absl::Duration started) const {
  if (!has_leader()) return absl::DeadlineExceededError("context deadline exceeded");
  const absl::Duration election = options_.election_ticks * options_.tick_interval;
  if (started >= leader_elected_at_ - 2 * election && started < leader_elected_at_) {
    return ApiError(ErrorId::kTimeoutDueToLeaderFail);
  }
  if (LostConnectionSince(started)) return ApiError(ErrorId::kTimeoutDueToConnectionLost);
  return ApiError(ErrorId::kTimeout);
}

// Whether the connections this member needs to have its proposals committed have not been there
// since `started`.
bool EtcdServer::LostConnectionSince(absl::Duration started) const {
  if (transport_ == nullptr) return false;
  const auto connected = [&](uint64_t id) {
    const auto since = transport_->ActiveSince(id);
    return since.has_value() && *since < started;
  };
  if (!is_leader()) return !connected(leader_);
  const std::vector<uint64_t> voters = cluster_->Voters();
  const auto count = std::count_if(voters.begin(), voters.end(), [&](uint64_t id) {
    return id == identity_.member_id || connected(id);
  });
  return static_cast<size_t>(count) < voters.size() / 2 + 1;
}

}  // namespace etcdd::server
