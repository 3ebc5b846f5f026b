#include "server/daemon.h"

#include <signal.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include <algorithm>
#include <climits>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "server/auto_compactor.h"
#include "server/base/check.h"
#include "server/base/clock.h"
#include "server/base/coding.h"
#include "server/base/file_system.h"
#include "server/base/log.h"
#include "server/base/metrics.h"
#include "server/base/random.h"
#include "server/base/status_macros.h"
#include "server/base/strand.h"
#include "server/bootstrap.h"
#include "server/daemon_peers.h"
#include "server/daemon_storage.h"
#include "server/daemon_tls.h"
#include "server/data_dir.h"
#include "server/discovery/discovery.h"
#include "server/etcd_server.h"
#include "server/http/client_site.h"
#include "server/http/pages.h"
#include "server/join.h"
#include "server/net/event_loop.h"
#include "server/net/front_door.h"
#include "server/net/health_service.h"
#include "server/rpc/dispatch.h"
#include "server/resolve.h"
#include "server/rpc/services.h"
#include "server/server_metrics.h"
#include "server/version.h"

namespace etcdd::server {
namespace {

// A data directory or backend that another process holds is tried again this often; the operator
// hears of it after the first second.
constexpr absl::Duration kLockRetryInterval = absl::Milliseconds(200);
constexpr absl::Duration kLockWarningAfter = absl::Seconds(1);
// Allowance above max-request-bytes for what gRPC takes in (KV-084).
constexpr uint64_t kReceiveAllowanceBytes = 512 << 10;

// File descriptors that clients cannot take: a member that finds none for its WAL or its storage
// has to stop. etcd's figure; and on top of it, while there is room, what the storage keeps open.
constexpr uint64_t kReservedDescriptorsMin = 150;
constexpr uint64_t kReservedDescriptorsMax = kReservedDescriptorsMin + 512;
// Out of the reserve: monitoring gets through when clients have taken all of theirs.
constexpr size_t kMonitoringConnectionsMax = 32;

// Raises the process's soft limit of descriptors to the hard one (as every program in Go does), and
// returns how many connections of clients fit. An error when none do.
absl::StatusOr<size_t> MakeRoomForConnections() {
  rlimit limit{};
  ETCDD_CHECK(getrlimit(RLIMIT_NOFILE, &limit) == 0);
  if (limit.rlim_cur < limit.rlim_max) {
    const rlimit raised{limit.rlim_max, limit.rlim_max};
    if (setrlimit(RLIMIT_NOFILE, &raised) == 0) limit = raised;
  }
  const uint64_t descriptors = limit.rlim_cur;
  if (descriptors <= kReservedDescriptorsMin) {
    return absl::FailedPreconditionError(absl::StrCat(
        "file descriptor limit of etcd process is too low; please set higher: it is ", descriptors,
        ", and ", kReservedDescriptorsMin, " are kept for the server itself"));
  }
  const uint64_t reserved =
      std::clamp(descriptors / 2, kReservedDescriptorsMin, kReservedDescriptorsMax);
  return std::min<uint64_t>(net::kConnectionsMaxDefault, descriptors - reserved);
}

sigset_t StopSignals() {
  sigset_t set;
  sigemptyset(&set);
  sigaddset(&set, SIGINT);
  sigaddset(&set, SIGTERM);
  return set;
}

// Waits, but ends early when the process is asked to stop. The signal that asked, or 0.
int WaitForStop(absl::Duration at_most) {
  const sigset_t set = StopSignals();
  const timespec at_latest = absl::ToTimespec(at_most);
  return std::max(sigtimedwait(&set, nullptr, &at_latest), 0);
}

// Ends the process by a signal it has already acted upon, so that whoever waits for it sees why it
// ended (SRV-003). As the first process of a container it has no default action.
void EndBySignal(int number) {
  if (getpid() == 1) return;
  signal(number, SIG_DFL);
  sigset_t set;
  sigemptyset(&set);
  sigaddset(&set, number);
  raise(number);
  sigprocmask(SIG_UNBLOCK, &set, nullptr);
}

// Turns SIGINT and SIGTERM into a call on the loop.
class SignalWatcher final : private net::IoHandler {
 public:
  SignalWatcher(net::EventLoop* loop, absl::AnyInvocable<void(int)> on_signal)
      : loop_(loop), on_signal_(std::move(on_signal)) {
    const sigset_t set = StopSignals();
    fd_ = signalfd(-1, &set, SFD_NONBLOCK | SFD_CLOEXEC);
    loop_->Watch(fd_, this);
  }
  ~SignalWatcher() {
    loop_->Unwatch(fd_, this);
    close(fd_);
  }

 private:
  void OnReady(uint32_t) override {
    signalfd_siginfo info;
    while (read(fd_, &info, sizeof info) == static_cast<ssize_t>(sizeof info)) {
      ETCDD_LOG(kInfo, "received signal; shutting down",
                {{"signal", info.ssi_signo == SIGINT ? "interrupt" : "terminated"}});
      on_signal_(static_cast<int>(info.ssi_signo));
    }
  }

  net::EventLoop* const loop_;
  absl::AnyInvocable<void(int)> on_signal_;
  int fd_ = -1;
};

class Daemon {
 public:
  explicit Daemon(const Config& config)
      : config_(config), dir_(config.data_dir, config.wal_dir) {}

  int Run() {
    const absl::Status opened = Open();
    if (!opened.ok()) {
      if (stop_signal_ != 0) return 0;
      ETCDD_LOG(kFatal, "discovery failed", {base::LogField(opened)});
      return 1;
    }
    Serve();
    Close();
    return failed_ ? 1 : 0;
  }
  // That asked for the stop; 0: none.
  int stop_signal() const { return stop_signal_; }

 private:
  absl::Status Open() {
    LogConfiguration();
    ETCDD_ASSIGN_OR_RETURN(connections_max_, MakeRoomForConnections());
    ETCDD_RETURN_IF_ERROR(OpenDataDir());
    ETCDD_RETURN_IF_ERROR(OpenListeners());
    ETCDD_RETURN_IF_ERROR(storage_.Open());
    return OpenServer();
  }

  void LogConfiguration() const {
    ETCDD_LOG(kInfo, "starting an etcd server",
              {{"etcd-version", kEtcdVersion},
               {"etcdd-version", kEtcddVersion},
               {"name", config_.name},
               {"data-dir", config_.data_dir},
               {"wal-dir", config_.wal_dir},
               {"member-dir", dir_.MemberDir()},
               {"force-new-cluster", config_.force_new_cluster},
               {"heartbeat-interval",
                base::LogDuration(absl::Milliseconds(config_.heartbeat_interval_ms))},
               {"election-timeout",
                base::LogDuration(absl::Milliseconds(config_.election_timeout_ms))},
               {"snapshot-count", config_.snapshot_count_entries},
               {"max-wals", config_.wal_files_max},
               {"max-snapshots", config_.snapshot_files_max},
               {"snapshot-catchup-entries", config_.snapshot_catchup_entries},
               {"initial-advertise-peer-urls", UrlTexts(config_.initial_advertise_peer_urls)},
               {"listen-peer-urls", UrlTexts(config_.listen_peer_urls)},
               {"advertise-client-urls", UrlTexts(config_.advertise_client_urls)},
               {"listen-client-urls", UrlTexts(config_.listen_client_urls)},
               {"listen-metrics-urls", UrlTexts(config_.listen_metrics_urls)},
               {"initial-cluster-state", config_.initial_cluster_state},
               {"initial-cluster-token", config_.initial_cluster_token},
               {"quota-backend-bytes", config_.quota_backend_bytes},
               {"max-request-bytes", config_.request_bytes_max},
               {"pre-vote", config_.pre_vote}});
  }

  // Waits for at most so long.
  bool IsStopAsked(absl::Duration at_most) {
    stop_signal_ = WaitForStop(at_most);
    return stop_signal_ != 0;
  }

  absl::Status OpenDataDir() {
    ETCDD_ASSIGN_OR_RETURN(const DataDirFindings findings, InspectDataDir(*fs_, dir_));
    for (const std::string& name : findings.unknown_names) {
      ETCDD_LOG(kWarn, "found invalid file under data directory",
                {{"filename", name}, {"data-dir", dir_.root()}});
    }
    ETCDD_RETURN_IF_ERROR(CheckUsable(findings, dir_));
    ETCDD_LOG(kInfo,
              findings.kind == DataDirKind::kEmpty ? "Initialize and start etcd server"
                                                   : "server has already been initialized",
              {{"data-dir", dir_.root()},
               {"dir-type", findings.kind == DataDirKind::kEmpty ? "empty" : "member"}});
    if (!HasWal() && !discovery::Wanted(config_)) {
      ETCDD_RETURN_IF_ERROR(CheckInitialCluster(config_));
    }
    ETCDD_RETURN_IF_ERROR(InitDataDir(*fs_, dir_));
    ETCDD_RETURN_IF_ERROR(fs_->CheckWritable(dir_.MemberDir()));
    ETCDD_RETURN_IF_ERROR(fs_->CheckWritable(dir_.SnapDir()));
    // Found out here and not at the next segment, when the member would have to stop.
    if (fs_->Exists(dir_.WalDir())) ETCDD_RETURN_IF_ERROR(fs_->CheckWritable(dir_.WalDir()));
    const absl::Duration begin = clock_->Monotonic();
    bool warned = false;
    while (true) {
      ETCDD_ASSIGN_OR_RETURN(lock_, TryLockDataDir(*fs_, dir_));
      if (lock_ != nullptr) return absl::OkStatus();
      const absl::Duration waited = clock_->Monotonic() - begin;
      if (!warned && waited >= kLockWarningAfter) {
        warned = true;
        ETCDD_LOG(kWarn, "db file is flocked by another process, or taking too long",
                  {{"path", dir_.LockFile()}, {"took", base::LogDuration(waited)}});
      }
      if (IsStopAsked(kLockRetryInterval)) {
        return absl::CancelledError("stopped while waiting for the data directory");
      }
    }
  }

  absl::Status OpenListeners() {
    ETCDD_LOG(kInfo, "configuring peer listeners",
              {{"listen-peer-urls", UrlTexts(config_.listen_peer_urls)}});
    ETCDD_RETURN_IF_ERROR(peers_.Listen(fs_.get(), config_, clock_->Wall()));
    ETCDD_LOG(kInfo, "configuring client listeners",
              {{"listen-client-urls", UrlTexts(config_.listen_client_urls)}});
    net::FrontDoorOptions options;
    options.connections_max = connections_max_;
    options.http2.dispatcher = &late_dispatcher_;
    options.http1.handler = &client_handler_;
    options.http1.body_policy = &client_body_policy_;
    options.http2.message_bytes_max = ReceivedBytesMax();
    // 0 is no limit, as in gRPC.
    options.http2.streams_max =
        config_.concurrent_streams_max == 0 ? UINT32_MAX : config_.concurrent_streams_max;
    options.http2.ping_interval_min = config_.grpc_keepalive_min_time;
    options.http2.keepalive_interval = config_.grpc_keepalive_interval;
    options.http2.keepalive_timeout = config_.grpc_keepalive_timeout;
    door_.emplace(&loop_, options);
    door_->HoldConnections(true);  // SRV-001: bound now, served when ready
    ETCDD_ASSIGN_OR_RETURN(client_tls_, NewClientListenerTls(fs_.get(), config_, clock_->Wall()));
    net::ListenOptions listen;
    listen.tls = client_tls_.get();
    for (const Url& url : config_.listen_client_urls) {
      ETCDD_RETURN_IF_ERROR(door_->Listen(url.ToString(), listen));
    }
    // Served from the start: that a member finds no quorum is worth knowing.
    net::FrontDoorOptions monitoring;
    monitoring.connections_max = kMonitoringConnectionsMax;
    monitoring.http1.handler = &monitoring_handler_;
    monitoring_door_.emplace(&loop_, monitoring);
    for (const Url& url : config_.listen_metrics_urls) {
      ETCDD_RETURN_IF_ERROR(monitoring_door_->Listen(url.ToString(), listen));
    }
    return absl::OkStatus();
  }

  bool HasWal() const { return wal::Wal::Exists(*fs_, dir_.WalDir()); }

  // What a member without a WAL has to learn from the others first.
  absl::Status AskOthers(BootstrapOptions* bootstrap) {
    const auto ask = [this](std::vector<std::string> urls, PeerRequest request,
                            absl::Duration timeout) {
      return peers_.AskNow(std::move(urls), std::move(request), timeout);
    };
    if (config_.initial_cluster_state == "existing") {
      ETCDD_ASSIGN_OR_RETURN(bootstrap->join, JoinCluster(config_, ask, LeadToTheSame));
      return absl::OkStatus();
    }
    bootstrap->others = OtherMembers(config_);
    return CheckNotBootstrapped(config_, ask);
  }

  // Its answer takes the place of --initial-cluster.
  absl::Status DiscoverCluster() {
    if (!discovery::Wanted(config_)) return absl::OkStatus();
    if (HasWal()) {
      ETCDD_LOG(kWarn,
                "discovery token is ignored since cluster already initialized; "
                "valid logs are found",
                {{"wal-dir", dir_.WalDir()}});
      return absl::OkStatus();
    }
    absl::StatusOr<Config> found = discovery::Discover(
        config_, [this](absl::Duration at_most) { return IsStopAsked(at_most); });
    ETCDD_RETURN_IF_ERROR(found.status());
    config_ = *std::move(found);
    return CheckInitialCluster(config_);
  }

  absl::StatusOr<Bootstrapped> BootstrapMember() {
    ETCDD_RETURN_IF_ERROR(DiscoverCluster());
    BootstrapOptions bootstrap;
    bootstrap.name = config_.name;
    bootstrap.wal_dir = dir_.WalDir();
    bootstrap.peer_urls = UrlTexts(config_.initial_advertise_peer_urls);
    bootstrap.cluster_token = config_.initial_cluster_token;
    bootstrap.force_new_cluster = config_.force_new_cluster;
    bootstrap.backend_existed = storage_.backend_existed();
    bootstrap.backend_path = storage_.backend_path();
    bootstrap.wal.clock = clock_.get();
    bootstrap.wal.background = wal_background_.get();
    bootstrap.wal.unsafe_no_fsync = config_.unsafe_no_fsync;
    bootstrap.wal.on_sync = [this](absl::Duration took) {
      counts_.wal_sync_seconds.Observe(absl::ToDoubleSeconds(took));
    };
    bootstrap.wal.on_write_bytes = [this](uint64_t bytes) { counts_.wal_write_bytes.Add(bytes); };
    if (!HasWal()) ETCDD_RETURN_IF_ERROR(AskOthers(&bootstrap));
    return Bootstrap(*fs_, bootstrap, *storage_.backend());
  }

  absl::Status OpenServer() {
    ETCDD_ASSIGN_OR_RETURN(Bootstrapped bootstrapped, BootstrapMember());
    ETCDD_LOG(kInfo, bootstrapped.restarted ? "restarting local member" : "starting local member",
              {{"cluster-id", base::LogId(bootstrapped.cluster_id)},
               {"local-member-id", base::LogId(bootstrapped.member_id)},
               {"commit-index", bootstrapped.storage->hard_state().commit}});
    peers_.Open({bootstrapped.member_id, bootstrapped.cluster_id,
                 UrlTexts(config_.initial_advertise_peer_urls), std::string(kEtcdVersion)});

    EtcdServer::Parts parts;
    parts.strand = &loop_;
    parts.wal_strand = wal_strand_.get();
    parts.background = background_.get();
    parts.hasher = hasher_.get();
    parts.reader = reader_.get();
    parts.clock = clock_.get();
    parts.random = random_.get();
    parts.backend = storage_.backend();
    parts.metrics = &counts_;
    parts.save_snapshot = [this](const SnapshotPoint& point) {
      return storage_.SaveSnapshot(point);
    };
    parts.save_image = [this](uint64_t index) { return storage_.SaveImage(index); };
    parts.install_image = [this](uint64_t index) { return storage_.InstallImage(index); };
    parts.purge_files = [this] { storage_.PurgeFiles(); };
    parts.on_fatal = [this](const absl::Status&) {
      failed_ = true;
      loop_.Stop();
    };
    parts.on_removed = [this] { loop_.Stop(); };
    ETCDD_ASSIGN_OR_RETURN(server_, EtcdServer::Create(std::move(parts), ServerOptions(),
                                                       std::move(bootstrapped)));
    storage_.Close();  // the server's from now on
    server_->SetNetwork(peers_.transport(), peers_.client());
    dispatcher_ = std::make_unique<rpc::ServiceDispatcher>(server_.get());
    rpc::RegisterKv(server_.get(), &loop_, dispatcher_.get());
    rpc::RegisterWatch(server_.get(), dispatcher_.get());
    rpc::RegisterLease(server_.get(), dispatcher_.get());
    rpc::RegisterMaintenance(server_.get(), dispatcher_.get());
    rpc::RegisterCluster(server_.get(), dispatcher_.get());
    rpc::RegisterLock(server_.get(), dispatcher_.get());
    rpc::RegisterElection(server_.get(), dispatcher_.get());
    health_ = std::make_unique<net::HealthService>(dispatcher_.get());
    late_dispatcher_.Set(health_.get());
    OpenClientSite();
    monitoring_pages_.emplace(server_.get(), http::Pages::Audience::kMonitoring);
    AddFeatureGauges();
    base::AddProcessMetrics(&metrics_);
    MakeAutoCompactor();
    return absl::OkStatus();
  }

  uint64_t ReceivedBytesMax() const {
    return std::min(config_.request_bytes_max, UINT64_MAX - kReceiveAllowanceBytes) +
           kReceiveAllowanceBytes;
  }

  void OpenClientSite() {
    http::ClientSiteOptions options;
    options.cors_origins = config_.cors_origins;
    options.host_whitelist = config_.host_whitelist;
    options.gateway = config_.grpc_gateway;
    options.message_bytes_max = ReceivedBytesMax();
    client_site_.emplace(server_.get(),
                         http::GatewayParts{&late_dispatcher_, &loop_, clock_.get()}, options);
  }

  void MakeAutoCompactor() {
    AutoCompactor::Parts parts;
    parts.strand = &loop_;
    parts.clock = clock_.get();
    parts.revision = [this] { return server_->store().revision(); };
    parts.is_leader = [this] { return server_->is_leader(); };
    parts.compact = [this](int64_t revision, absl::AnyInvocable<void(absl::Status)> done) {
      std::string request;
      base::AppendVarintField(1, static_cast<uint64_t>(revision), &request);
      server_->Compact(request, [done = std::move(done)](absl::Status status,
                                                         std::string) mutable {
        done(std::move(status));
      });
    };
    auto_compactor_.emplace(std::move(parts),
                            AutoCompactionOptions{config_.auto_compaction_mode,
                                                  config_.auto_compaction_period,
                                                  config_.auto_compaction_revisions});
  }

  void AddFeatureGauges() {
    const FeatureGates& on = config_.features;
    const struct {
      const char* name;
      const char* stage;
      bool value;
    } gates[] = {{"CompactHashCheck", "ALPHA", on.compact_hash_check},
                 {"FastLeaseKeepAlive", "BETA", on.fast_lease_keep_alive},
                 {"InitialCorruptCheck", "ALPHA", on.initial_corrupt_check},
                 {"LeaseCheckpoint", "ALPHA", on.lease_checkpoint},
                 {"LeaseCheckpointPersist", "ALPHA", on.lease_checkpoint_persist},
                 {"PriorityRequest", "ALPHA", on.priority_request},
                 {"SetMemberLocalAddr", "ALPHA", on.set_member_local_addr},
                 {"StopGRPCServiceOnDefrag", "ALPHA", on.stop_grpc_service_on_defrag},
                 {"TxnModeWriteWithSharedBuffer", "BETA", on.txn_mode_write_with_shared_buffer}};
    for (const auto& gate : gates) {
      metrics_
          .AddGauge("etcd_server_feature_enabled", "1 when the feature gate is on, else 0.",
                    {{"name", gate.name}, {"stage", gate.stage}})
          .Set(gate.value ? 1 : 0);
    }
  }

  EtcdServerOptions ServerOptions() const {
    EtcdServerOptions options;
    options.name = config_.name;
    options.client_urls = UrlTexts(config_.advertise_client_urls);
    options.tick_interval = absl::Milliseconds(config_.heartbeat_interval_ms);
    options.election_ticks = config_.ElectionTicks();
    options.pre_vote = config_.pre_vote;
    options.initial_election_tick_advance = config_.initial_election_tick_advance;
    options.learners_max = config_.learners_max;
    options.strict_reconfig_check = config_.strict_reconfig_check;
    options.snapshot_count = config_.snapshot_count_entries;
    options.snapshot_catchup_entries = config_.snapshot_catchup_entries;
    options.quota_bytes = config_.quota_backend_bytes;
    options.request_bytes_max = config_.request_bytes_max;
    options.txn_ops_max = static_cast<int>(std::min<uint64_t>(config_.txn_ops_max, INT_MAX));
    options.compaction_pause_max = config_.compaction_sleep_interval;
    options.store.compaction_step_revisions_max =
        static_cast<uint32_t>(std::min<int64_t>(config_.compaction_batch_revisions, UINT32_MAX));
    options.watch_progress_interval = config_.watch_progress_notify_interval;
    options.warning_apply_duration = config_.warning_apply_duration;
    options.fast_lease_keep_alive = config_.features.fast_lease_keep_alive;
    options.lease_checkpoint = config_.features.lease_checkpoint;
    options.lease_checkpoint_persist = config_.features.lease_checkpoint_persist;
    return options;
  }

  void Serve() {
    SignalWatcher signals(&loop_, [this](int number) { BeginStop(number); });
    for (const Url& url : config_.listen_metrics_urls) {
      ETCDD_LOG(kInfo, "serving metrics", {{"address", url.ToString()}});
    }
    peers_.Start(server_.get());
    for (const Url& url : config_.listen_peer_urls) {
      ETCDD_LOG(kInfo, "serving peer traffic", {{"address", url.ToString()}});
    }
    server_->Start([this] {
      ETCDD_LOG(kInfo, "ready to serve client requests");
      health_->SetServing(true);
      auto_compactor_->Start();
      door_->HoldConnections(false);
      const std::vector<std::string> addresses = door_->addresses();
      for (size_t i = 0; i < addresses.size(); ++i) {
        ETCDD_LOG(kInfo,
                  config_.listen_client_urls[i].IsTls()
                      ? "serving client traffic securely"
                      : "serving client traffic insecurely; this is strongly discouraged!",
                  {{"traffic", "grpc+http"}, {"address", addresses[i]}});
      }
    });
    loop_.Run();
  }

  void BeginStop(int signal_number) {
    if (std::exchange(stop_signal_, signal_number) != 0) return;
    health_->SetServing(false);
    auto_compactor_->Stop();
    door_->Drain(server_->options().RequestTimeout(), [this] {
      server_->HandOverLeadership([this] {
        server_->Stop(absl::UnavailableError("etcdserver: server stopped"));
        loop_.Stop();
      });
    });
  }

  // Threads first: what they may still run uses the server. Then the connections, whose streams
  // use the hub; the server and its WAL; the backend last.
  void Close() {
    server_->Stop(absl::UnavailableError("etcdserver: server stopped"));
    storage_.GiveUpInstalling();
    resolver_.reset();
    images_.reset();
    wal_strand_.reset();
    background_.reset();
    hasher_.reset();
    reader_.reset();
    door_.reset();
    monitoring_door_.reset();
    peers_.Close();
    server_.reset();
    wal_background_.reset();
    ETCDD_LOG(kInfo, "closed etcd server", {{"name", config_.name}, {"data-dir", dir_.root()}});
  }

  // Stands in for the services while the server is being opened: listeners exist before it.
  class LateDispatcher final : public rpc::Dispatcher {
   public:
    void Set(rpc::Dispatcher* next) { next_ = next; }
    MethodKind Classify(std::string_view method) const override { return next_->Classify(method); }
    void Dispatch(std::shared_ptr<rpc::Call> call) override { next_->Dispatch(std::move(call)); }
    void Dispatch(std::shared_ptr<rpc::Stream> stream) override {
      next_->Dispatch(std::move(stream));
    }

   private:
    rpc::Dispatcher* next_ = nullptr;
  };

  Config config_;  // fixed once discovery, if asked for, has answered
  const DataDir dir_;
  const std::unique_ptr<base::Clock> clock_ = base::NewSystemClock();
  const std::unique_ptr<base::Random> random_ = base::NewSystemRandom();
  const std::unique_ptr<base::FileSystem> fs_ = base::NewPosixFileSystem();
  base::Metrics metrics_;
  ServerMetrics counts_{&metrics_};
  DaemonStorage storage_{config_, dir_, *fs_, *clock_, counts_};
  net::EventLoop loop_{clock_.get()};
  std::unique_ptr<base::Strand> wal_strand_ = base::NewThreadStrand("etcdd-wal");
  std::unique_ptr<base::Strand> wal_background_ = base::NewThreadStrand("etcdd-walnext");
  std::unique_ptr<base::Strand> background_ = base::NewThreadStrand("etcdd-backgrnd");
  std::unique_ptr<base::Strand> hasher_ = base::NewThreadStrand("etcdd-hash");
  std::unique_ptr<base::Strand> reader_ = base::NewThreadStrand("etcdd-reader");
  // Names of peers, and images on their way to and from them.
  std::unique_ptr<base::Strand> resolver_ = base::NewThreadStrand("etcdd-resolver");
  std::unique_ptr<base::Strand> images_ = base::NewThreadStrand("etcdd-images");
  DaemonPeers peers_{{&loop_, resolver_.get(), images_.get(), &metrics_}};
  LateDispatcher late_dispatcher_;
  std::unique_ptr<base::File> lock_;
  size_t connections_max_ = 0;
  std::unique_ptr<EtcdServer> server_;
  std::unique_ptr<rpc::ServiceDispatcher> dispatcher_;
  std::unique_ptr<net::HealthService> health_;
  // No request arrives before the loop runs, and then the pages are there.
  std::optional<http::ClientSite> client_site_;
  std::optional<http::Pages> monitoring_pages_;
  net::Http1Handler client_handler_ = [this](auto exchange) {
    client_site_->Serve(std::move(exchange));
  };
  net::Http1BodyPolicy client_body_policy_ = [this](const net::Http1Request& head) {
    return client_site_->BodyRule(head);
  };
  net::Http1Handler monitoring_handler_ = [this](auto exchange) {
    monitoring_pages_->Serve(std::move(exchange));
  };
  std::optional<AutoCompactor> auto_compactor_;
  std::unique_ptr<net::TlsServerContext> client_tls_;  // outlives the doors
  std::optional<net::FrontDoor> door_;
  std::optional<net::FrontDoor> monitoring_door_;
  int stop_signal_ = 0;
  bool failed_ = false;
};

}  // namespace

int RunDaemon(const Config& config) {
  const sigset_t set = StopSignals();
  pthread_sigmask(SIG_BLOCK, &set, nullptr);
  signal(SIGPIPE, SIG_IGN);
  int code = 0, stop_signal = 0;
  {
    Daemon daemon(config);
    code = daemon.Run();
    stop_signal = daemon.stop_signal();
  }
  if (code == 0 && stop_signal != 0) EndBySignal(stop_signal);
  return code;
}

}  // namespace etcdd::server
