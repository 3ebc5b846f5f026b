#pragma once

// EtcdServer: the facade over one member. One method per kind of request; it ties raft loop, apply,
// store, lessor, alarms, membership and watches together and owns their order of life.
//
//   auto server = EtcdServer::Create(parts, options, std::move(bootstrapped));   // blocks: restore
//   (*server)->SetNetwork(transport, peer_client);              // a member of a cluster
//   (*server)->Start([] { ...this member is part of a working quorum: serve clients... });
//   (*server)->Put(body, [](absl::Status status, std::string reply) { ... });
//   (*server)->Stop(status);   // answers everybody who waits, with `server stopped`
//
// Requests arrive as serialized messages that passed rpc/validation; replies are serialized too.
// Bytes given to a method must stay valid until it returns, except where said otherwise.
//
// Confined to the server strand (construction and destruction: while no strand runs). It links
// neither a network library nor RocksDB, so the simulator runs this very code.

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "absl/functional/any_invocable.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "mvcc/backend/backend.h"
#include "mvcc/backend_history.h"
#include "mvcc/store.h"
#include "mvcc/watch_hub.h"
#include "server/apply/alarm_store.h"
#include "server/apply/applier.h"
#include "server/apply/quota.h"
#include "server/apply/wire.h"
#include "server/base/clock.h"
#include "server/base/random.h"
#include "server/base/strand.h"
#include "server/bootstrap.h"
#include "server/compaction_runner.h"
#include "server/consensus/raft_loop.h"
#include "server/consensus/transport.h"
#include "server/lease/lessor.h"
#include "server/linearizable_reader.h"
#include "server/membership/cluster.h"
#include "server/membership/cluster_version.h"
#include "server/membership/reconfig_check.h"
#include "server/peer_client.h"
#include "server/request_id.h"
#include "server/request_waiter.h"
#include "server/server_metrics.h"
#include "server/snapshot_policy.h"

namespace etcdserverpb {
class TxnRequest;
}

namespace etcdd::server {

// A proposal is refused with `too many requests` while so many committed entries wait for apply
// (SRV-022).
inline constexpr uint64_t kUnappliedEntriesMax = 5000;
// Requests waiting for consensus at one time, in bytes of entry data.
inline constexpr uint64_t kWaitingProposalBytesMax = uint64_t{512} << 20;
// Ranges that may return more keys than this are read on the reader strand.
inline constexpr int64_t kInlineRangeKeysMax = 2000;
// How often timeouts of waiting requests are looked at.
inline constexpr absl::Duration kHousekeepingInterval = absl::Milliseconds(100);
// How long a member's request about a lease waits for this one to apply what it has committed.
inline constexpr absl::Duration kCatchUpTimeout = absl::Seconds(1);
// A member that has applied its own removal stops after this time, in which its answer still
// leaves (CLUS-030).
inline constexpr absl::Duration kRemovalGrace = absl::Seconds(1);
// After an image has reached a member, the entries behind it are kept for so long (BOOT-052).
inline constexpr absl::Duration kEntriesHeldAfterImage = absl::Seconds(30);
// Images on their way to other members at one time.
inline constexpr int kImagesInFlightMax = 16;

struct EtcdServerOptions {
  std::string name;
  std::vector<std::string> client_urls;
  absl::Duration tick_interval = absl::Milliseconds(100);
  int election_ticks = 10;
  bool pre_vote = true;
  bool initial_election_tick_advance = true;
  size_t learners_max = 1;
  bool strict_reconfig_check = true;
  uint64_t snapshot_count = 10000;
  uint64_t snapshot_catchup_entries = 5000;
  int64_t quota_bytes = 0;
  uint64_t request_bytes_max = 1572864;
  int txn_ops_max = 128;
  absl::Duration compaction_pause_max = absl::Milliseconds(10);
  mvcc::StoreOptions store;
  absl::Duration watch_progress_interval = absl::Minutes(10);
  // Longer applies and long reads are logged and counted (SRV-026).
  absl::Duration warning_apply_duration = absl::Milliseconds(100);
  bool fast_lease_keep_alive = true;
  bool lease_checkpoint = false;
  bool lease_checkpoint_persist = false;

  // SRV-020.
  absl::Duration RequestTimeout() const {
    return absl::Seconds(5) + 2 * election_ticks * tick_interval;
  }
};

// A lease as LeaseTimeToLive tells of it.
struct LeaseInfo {
  int64_t ttl_seconds = -1;  // remaining; -1: no such lease
  int64_t granted_ttl_seconds = 0;
  std::vector<std::string> keys;
};

struct MemberStatus {
  uint64_t leader = 0;
  uint64_t raft_index = 0;  // committed
  uint64_t raft_term = 0;
  uint64_t applied_index = 0;
  uint64_t db_size_bytes = 0;
  uint64_t db_size_in_use_bytes = 0;
  int64_t db_size_quota_bytes = 0;
  bool is_learner = false;
  std::string storage_version;
  std::vector<std::string> errors;
};

class EtcdServer final : private consensus::Application, public consensus::TransportEvents {
 public:
  // Borrowed, outliving the server, unless owned by their type.
  struct Parts {
    base::Strand* strand = nullptr;
    base::Strand* wal_strand = nullptr;    // syncs; null: inline
    base::Strand* background = nullptr;    // flush, snapshots, compaction
    base::Strand* hasher = nullptr;        // hashes of the whole store: nobody waits behind them
    base::Strand* reader = nullptr;        // long ranges
    const base::Clock* clock = nullptr;
    base::Random* random = nullptr;
    std::shared_ptr<mvcc::Backend> backend;
    // Null: the server counts for itself, and nobody sees it.
    ServerMetrics* metrics = nullptr;
    // Makes a .snap file durable. Called on `background` and on `wal_strand`.
    std::function<absl::Status(const SnapshotPoint&)> save_snapshot;
    // Where to put an image that arrives for a snapshot at `index` (image_transfer.h); null for a
    // member without peers, and so is the next one.
    std::function<absl::StatusOr<std::unique_ptr<consensus::ImageSink>>(uint64_t index)> save_image;
    // Makes a received image the member's backend, durably. Called on `background`.
    std::function<absl::StatusOr<std::shared_ptr<mvcc::Backend>>(uint64_t index)> install_image;
    std::function<void()> purge_files;
    // This member cannot go on. Called at most once, on the strand.
    std::function<void(const absl::Status&)> on_fatal;
    // This member was removed from its cluster and has stopped (CLUS-030). As on_fatal.
    std::function<void()> on_removed;
  };

  static absl::StatusOr<std::unique_ptr<EtcdServer>> Create(Parts parts, EtcdServerOptions options,
                                                            Bootstrapped bootstrapped);
  ~EtcdServer() override;

  // The way to other members. Before Start; both outlive the server.
  void SetNetwork(consensus::Transport* transport, PeerClient* peers);
  // `on_ready` runs once this member's attributes are committed (SRV-001).
  void Start(absl::AnyInvocable<void()> on_ready);
  // Answers all waiting requests with `status` and stops. Idempotent. Strands given in Parts are to
  // be joined before the server is destroyed.
  void Stop(const absl::Status& status);

  // --- Writes: through raft. `body` is the serialized request. ---

  void Put(const apply::PutView& put, std::string_view body, Done done);
  void DeleteRange(std::string_view body, Done done);
  // A write Txn.
  void Txn(const etcdserverpb::TxnRequest& request, std::string_view body, Done done);
  void Compact(std::string_view body, Done done);
  // `id` 0 asks for an automatic one (LEASE-001).
  void LeaseGrant(int64_t id, int64_t ttl_seconds, Done done);
  void LeaseRevoke(int64_t id, Done done);
  void Alarm(std::string_view body, Done done);

  // --- Reads ---

  // Views must stay valid until `done` runs.
  void Range(const apply::RangeView& range, Done done);
  // `request` must stay valid until `done` runs.
  void ReadOnlyTxn(const etcdserverpb::TxnRequest& request, bool serializable, Done done);
  // OK once a read of local state is linearizable.
  void LinearizableRead(LinearizableReader::Ready ready) { reader_->Read(std::move(ready)); }

  // --- Leases ---

  // `done(status, ttl)`: ttl 0 = the lease is gone (LEASE-007).
  using RenewDone = absl::AnyInvocable<void(absl::Status, int64_t ttl_seconds)>;
  void LeaseRenew(int64_t id, RenewDone done);
  using LeaseInfoDone = absl::AnyInvocable<void(absl::StatusOr<LeaseInfo>)>;
  void LeaseTimeToLive(int64_t id, bool with_keys, LeaseInfoDone done);
  // The same two for another member that asks this one as the leader: not passed on.
  void LeaseRenewHere(int64_t id, RenewDone done);
  absl::StatusOr<LeaseInfo> LeaseTimeToLiveHere(int64_t id, bool with_keys) const;
  std::vector<int64_t> Leases() const { return lessor_->List(); }

  // --- Members. OK once the change is applied here; the reply is empty. ---

  // The answer is the new member's id, derived from its URLs and the time (CLUS-001).
  using AddDone = absl::AnyInvocable<void(absl::StatusOr<uint64_t> id)>;
  void AddMember(std::vector<std::string> peer_urls, bool is_learner, AddDone done);
  void RemoveMember(uint64_t id, Done done);
  void UpdateMember(uint64_t id, std::vector<std::string> peer_urls, Done done);
  // Decided by the leader: passed on to it (CLUS-014).
  void PromoteMember(uint64_t id, Done done);
  // The same, only if this member leads.
  void PromoteMemberHere(uint64_t id, Done done);
  void MoveLeader(uint64_t target, Done done);
  // For the stop: gives the leadership to the voter that has been connected longest, if this member
  // has it. `done` when that succeeded or took too long.
  void HandOverLeadership(absl::AnyInvocable<void()> done);

  // --- Downgrade (CLUS-050..053). The answer is the cluster's version, "3.7". ---
  using DowngradeDone = absl::AnyInvocable<void(absl::StatusOr<std::string>)>;
  void ValidateDowngrade(std::string target, DowngradeDone done);
  void EnableDowngrade(std::string target, DowngradeDone done);
  void CancelDowngrade(DowngradeDone done);

  // --- Maintenance ---

  MemberStatus Status() const;
  using HashDone = absl::AnyInvocable<void(absl::StatusOr<uint32_t>)>;
  void Hash(HashDone done);
  // Nothing needs to be rewritten here; runs `done` once the space of the compactions so far has
  // been given back, so that a quota is judged by it afterwards.
  void Defragment(absl::AnyInvocable<void()> done);
  using HashKvDone = absl::AnyInvocable<void(absl::StatusOr<mvcc::HashKvResult>)>;
  void HashKv(int64_t revision, HashKvDone done);

  // OK once everything up to `index` is applied; kTimeout when that takes longer than a second.
  void WhenApplied(uint64_t index, LinearizableReader::Ready done);

  // --- Facts ---

  // Appends a reply's header field with the newest visible revision.
  void AppendHeader(std::string* out) const { AppendHeader(store_->revision(), out); }
  void AppendHeader(int64_t revision, std::string* out) const {
    apply::AppendHeader(identity_, revision, applied_term_, out);
  }
  const apply::Identity& identity() const { return identity_; }
  uint64_t applied_term() const { return applied_term_; }
  uint64_t applied_index() const { return applied_; }
  bool has_leader() const { return leader_ != raft::kNoNode; }
  bool is_leader() const { return raft_->node().state() == raft::StateType::kLeader; }
  const membership::Cluster& cluster() const { return *cluster_; }
  const apply::AlarmStore& alarms() const { return alarms_; }
  mvcc::Store& store() { return *store_; }
  mvcc::WatchHub& watch_hub() { return *watch_hub_; }
  const EtcdServerOptions& options() const { return options_; }
  ServerMetrics& metrics() const { return *metrics_; }
  bool stopped() const { return stopped_; }
  base::Strand& strand() const { return *parts_.strand; }
  bool is_learner() const { return raft_->node().IsLearner(); }
  uint64_t leader() const { return leader_; }

  // --- consensus::TransportEvents ---
  void OnMessage(raft::Message message) override;
  absl::StatusOr<std::unique_ptr<consensus::ImageSink>> OnImage(
      const raft::Message& message) override;
  void OnUnreachable(raft::NodeId id) override;
  void OnSnapshotSent(raft::NodeId id, bool ok) override;
  void OnRemovedByOthers() override;
  bool IsRemoved(raft::NodeId id) const override { return cluster_->IsRemoved(id); }

 private:
  EtcdServer(Parts parts, EtcdServerOptions options);

  absl::Status Restore(Bootstrapped bootstrapped);
  // What is asked for when a page of metrics is made, which happens on the strand.
  void AddGauges();
  void ShowAlarms(bool active);
  void MakeWatchHub();
  absl::Status MakeRaft(Bootstrapped bootstrapped);
  void MakePolicies(uint64_t snapshot_index);
  void FastForwardElection();

  // consensus::Application
  void Apply(absl::Span<const raft::Entry> entries) override;
  void SendSnapshot(raft::Message message) override;
  void InstallSnapshot(std::shared_ptr<const raft::Snapshot> snapshot,
                       absl::AnyInvocable<void()> done) override;
  void OnReadStates(absl::Span<const raft::ReadState> states) override;
  void OnSoftState(const raft::SoftState& state) override;
  void OnFatal(const absl::Status& status) override;

  void ApplyEntry(const raft::Entry& entry);
  void ApplyConfChange(const raft::Entry& entry);
  absl::Status ApplyMemberChange(const raft::ConfChange& change);
  absl::Status ApplyMemberAddition(membership::Member member);
  void OnSelfRemoved();

  void RefuseSnapshot(raft::NodeId to);

  // What arrives at InstallSnapshot's end: the image is the backend, and read.
  struct NewContent {
    std::shared_ptr<mvcc::Backend> backend;
    std::shared_ptr<mvcc::StoreContent> content;
  };
  absl::StatusOr<NewContent> ReadImage(uint64_t index) const;
  absl::Status SwitchTo(const raft::Snapshot& snapshot, const NewContent& fresh);
  void MakeCompactionRunner();
  // Tells the transport who the members are now.
  void ConnectMembers(absl::Span<const membership::Member> former);
  void Connect(const membership::Member& member);
  void Disconnect(uint64_t id);

  void ProposeMemberChange(raft::ConfChangeType type, uint64_t id, std::string context, Done done);
  absl::Status CheckReconfiguration(
      absl::FunctionRef<absl::Status(const membership::Connections&)> check) const;
  // Asks the leader over its peer URLs; `done` with its answer. kNoLeader at once without one.
  void AskLeader(PeerRequest request, PeerClient::Done done);
  void FinishLeaderMoves();
  void PutProgress(uint64_t index, uint64_t term);
  // `now` is when the batch was done.
  void FinishApply(absl::Duration now);
  void FinishRequest(uint64_t id, apply::ApplyResult result, absl::Duration now);
  // `began`, `applied` and `now` are the times before and after apply, and after the write.
  void MeasureApply(absl::Span<const raft::Entry> entries, absl::Duration began,
                    absl::Duration applied, absl::Duration now);
  void MaybeSnapshot();
  std::string MembershipDocument() const;

  // What only the leader may decide must not reach the next leader as this member's wish.
  enum class Proposer { kAnyone, kLeaderOnly };
  void Propose(apply::RequestKind kind, std::string_view body, Done done,
               Proposer proposer = Proposer::kAnyone);
  // As Propose; first refuses what the quota does not let in (KV-080, KV-081).
  void ProposeWithinQuota(apply::RequestKind kind, std::string_view body, int64_t cost, Done done);
  void RaiseNoSpace(absl::AnyInvocable<void()> then);

  void DoRange(const apply::RangeView& range, Done done);
  absl::StatusOr<std::string> ReadRange(const apply::RangeView& range, uint64_t raft_term) const;
  bool IsLongRange(const apply::RangeView& range) const;
  // Counts and logs it; from any thread.
  void LogSlowRange(const apply::RangeView& range, absl::Duration took) const;
  bool HasLongRange(const etcdserverpb::TxnRequest& request) const;
  absl::StatusOr<std::string> RunReadOnlyTxn(const etcdserverpb::TxnRequest& request,
                                             uint64_t raft_term) const;
  void DoReadOnlyTxn(const etcdserverpb::TxnRequest& request, Done done);

  void Publish();
  // The leader's part in the cluster's version: asks all members for theirs and decides.
  struct VersionRound;
  void MonitorVersions();
  void AskVersions();
  void DecideVersion(const std::vector<std::optional<membership::Version>>& versions);
  absl::Status CheckOwnVersion() const;
  std::string ShortClusterVersion() const;
  // CLUS-044: the cluster's, once that is one whose storage has a version.
  std::string StorageVersion() const;
  void Housekeeping();
  void ExpireLeases();
  void RevokeExpired();
  void EnsureLeadership(absl::AnyInvocable<void(bool leads)> done);
  void Renew(int64_t id, RenewDone done);
  // Called instead of an answer: this member turned out not to lead.
  using Refused = absl::AnyInvocable<void()>;
  using AskHere = std::function<void(Refused)>;
  void ForwardLeaseRequest(PeerRequest request, absl::Duration deadline, AskHere here,
                           PeerClient::Done there);
  absl::Status TimeoutStatus(absl::Duration started) const;
  bool LostConnectionSince(absl::Duration started) const;

  Parts parts_;  // fixed after construction, and without the backend
  const EtcdServerOptions options_;
  std::unique_ptr<base::Metrics> own_registry_;
  std::unique_ptr<ServerMetrics> own_metrics_;
  ServerMetrics* metrics_;

  apply::Identity identity_;
  std::shared_ptr<mvcc::Backend> backend_;
  std::unique_ptr<lease::Lessor> lessor_;
  std::unique_ptr<mvcc::Store> store_;
  std::unique_ptr<mvcc::BackendHistory> history_;
  std::unique_ptr<mvcc::WatchHub> watch_hub_;
  std::unique_ptr<membership::Cluster> cluster_;
  consensus::Transport* transport_ = nullptr;
  PeerClient* peers_ = nullptr;
  std::vector<membership::Member> remotes_;  // known before the log names them
  apply::AlarmStore alarms_;
  std::unique_ptr<apply::Quota> quota_;
  std::unique_ptr<apply::Applier> applier_;
  std::unique_ptr<consensus::RaftLoop> raft_;
  std::unique_ptr<LinearizableReader> reader_;
  std::unique_ptr<SnapshotPolicy> snapshots_;
  std::unique_ptr<CompactionRunner> compactions_;

  RequestIdGenerator request_ids_;
  RequestWaiter waiter_;

  // Progress of apply. applied_ only grows.
  uint64_t applied_ = 0;
  uint64_t applied_term_ = 0;
  raft::ConfState conf_state_;
  // The batch being applied.
  std::unique_ptr<mvcc::Batch> batch_;
  struct Result {
    uint64_t id;
    apply::ApplyResult result;
  };
  std::vector<Result> results_;
  bool kick_compaction_ = false;
  bool installing_ = false;
  int images_in_flight_ = 0;
  struct LeaderMove {
    uint64_t target;
    absl::Duration deadline;
    Done done;
  };
  std::vector<LeaderMove> leader_moves_;
  // When this member, leading, was last known to be the leader.
  struct Leadership {
    uint64_t term = 0;
    absl::Duration confirmed_at = -absl::InfiniteDuration();
  };
  Leadership leadership_;

  raft::NodeId leader_ = raft::kNoNode;
  absl::Duration leader_elected_at_ = -absl::InfiniteDuration();
  bool published_ = false;
  bool publishing_ = false;
  bool no_space_pending_ = false;
  absl::AnyInvocable<void()> on_ready_;
  base::TimerId housekeeping_timer_ = 0;
  base::TimerId lease_timer_ = 0;
  base::TimerId version_timer_ = 0;
  bool asking_versions_ = false;
  bool stopped_ = false;
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

}  // namespace etcdd::server
