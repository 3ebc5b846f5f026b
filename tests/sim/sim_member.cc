#include "tests/sim/sim_member.h"

#include <algorithm>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "server/backend_dir.h"
#include "server/base/check.h"
#include "server/base/status_macros.h"
#include "server/data_dir.h"
#include "server/image_transfer.h"
#include "snap/snapshotter.h"
#include "wal/wal.h"

namespace etcdd::sim {
namespace {

constexpr char kDataDir[] = "/data";
constexpr char kWalDir[] = "/data/member/wal";
constexpr char kSnapDir[] = "/data/member/snap";
constexpr size_t kFilesKept = 2;

}  // namespace

SimMember::SimMember(World world, MemberSettings settings, uint64_t seed)
    : world_(std::move(world)),
      settings_(std::move(settings)),
      name_(absl::StrCat("m", settings_.index)),
      peer_urls_({absl::StrCat("http://", name_, ":2380")}),
      random_(base::NewSeededRandom(seed)),
      disk_(world_.scheduler, random_->Next()),
      clock_(world_.scheduler, {settings_.drift_ppm, absl::ZeroDuration()}) {
  settings_.options.name = name_;
  settings_.options.client_urls = {absl::StrCat("http://", name_, ":2379")};
}

SimMember::~SimMember() {
  if (running()) EndProcess();
}

void SimMember::SetBirth(std::vector<membership::Member> others,
                         std::optional<server::JoinedCluster> join) {
  others_ = std::move(others);
  join_ = std::move(join);
}

server::BootstrapOptions SimMember::BootstrapOptions() const {
  server::BootstrapOptions bootstrap;
  bootstrap.name = name_;
  bootstrap.wal_dir = kWalDir;
  bootstrap.peer_urls = peer_urls_;
  bootstrap.others = others_;
  bootstrap.cluster_token = "simulated";
  bootstrap.join = join_;
  bootstrap.wal.clock = &clock_;
  bootstrap.wal.segment_bytes = settings_.segment_bytes;
  return bootstrap;
}

server::InstallOptions SimMember::InstallOptions() {
  server::InstallOptions options;
  options.fs = &disk_;
  options.clock = &clock_;
  options.snap_dir = kSnapDir;
  options.open_backend = [this](const std::string& path) { return disk_.OpenBackend(path); };
  return options;
}

// The order of the daemon's start: what a crash left is removed, the backend is brought up to the
// log's newest snapshot.
absl::StatusOr<std::shared_ptr<mvcc::Backend>> SimMember::OpenBackend() {
  ETCDD_RETURN_IF_ERROR(server::InitDataDir(disk_, server::DataDir(kDataDir)));
  ETCDD_RETURN_IF_ERROR(snap::Snapshotter(disk_, clock_, kSnapDir).RemoveLeftovers());
  ETCDD_RETURN_IF_ERROR(server::RemoveStaleBackendDirs(disk_, kSnapDir));
  ETCDD_ASSIGN_OR_RETURN(const auto dir, server::CurrentBackendDir(disk_, kSnapDir));
  ETCDD_ASSIGN_OR_RETURN(auto opened, disk_.OpenBackend(dir.path));
  auto backend = server::ShareBackend(disk_, kSnapDir, dir.path, std::move(opened));
  if (!wal::Wal::Exists(disk_, kWalDir)) return backend;
  ETCDD_ASSIGN_OR_RETURN(const auto marks, wal::ValidSnapshotRecords(disk_, kWalDir));
  const uint64_t index = marks.empty() ? 0 : marks.back().index;
  return server::RecoverSnapshotBackend(InstallOptions(), index, std::move(backend), dir.path,
                                        dir.exists);
}

absl::Status SimMember::Start() {
  ETCDD_CHECK(!running());
  images_ = std::make_unique<snap::DbFiles>(disk_, kSnapDir);
  ETCDD_ASSIGN_OR_RETURN(auto backend, OpenBackend());
  server::BootstrapOptions bootstrap = BootstrapOptions();
  bootstrap.backend_path = kSnapDir;
  const size_t broken = CountBrokenSegments();
  ETCDD_ASSIGN_OR_RETURN(auto bootstrapped, server::Bootstrap(disk_, bootstrap, *backend));
  started_from_snapshot_ = bootstrapped.snapshot_index > 0;
  cut_torn_tail_ = CountBrokenSegments() > broken;
  ETCDD_ASSIGN_OR_RETURN(auto server,
                         server::EtcdServer::Create(MakeParts(std::move(backend)),
                                                    settings_.options, std::move(bootstrapped)));
  server_ = std::move(server);
  ++life_;
  ready_ = false;
  peer_pages_ = std::make_unique<http::PeerPages>(server_.get());
  endpoint_ = world_.network->Attach(this);
  server_->SetNetwork(endpoint_.get(), endpoint_.get());
  StartRecorder(std::max<int64_t>(server_->store().compact_revision(), 1));
  SetPaused(false);
  strand_->Post([this] { server_->Start([this] { ready_ = true; }); });
  return absl::OkStatus();
}

server::EtcdServer::Parts SimMember::MakeParts(std::shared_ptr<mvcc::Backend> backend) {
  server_random_ = base::NewSeededRandom(random_->Next());
  for (auto* strand : {&strand_, &wal_strand_, &background_, &reader_, &transport_strand_}) {
    *strand = std::make_unique<SimStrand>(world_.scheduler, &clock_);
  }
  server::EtcdServer::Parts parts;
  parts.strand = strand_.get();
  parts.wal_strand = settings_.with_wal_strand ? wal_strand_.get() : nullptr;
  parts.background = background_.get();
  parts.hasher = background_.get();
  parts.reader = reader_.get();
  parts.clock = &clock_;
  parts.random = server_random_.get();
  parts.backend = std::move(backend);
  parts.save_snapshot = [this](const server::SnapshotPoint& point) {
    return snap::Snapshotter(disk_, clock_, kSnapDir)
        .Save({{point.term, point.index},
               consensus::EncodeConfState(point.conf_state),
               point.membership_document});
  };
  AddImageParts(&parts);
  parts.purge_files = [this] { PurgeFiles(); };
  parts.on_fatal = [this, life = life_ + 1](const absl::Status& status) {
    world_.strand->Post([this, life, status] {
      if (running() && life == life_) world_.on_fatal(this, status);
    });
  };
  parts.on_removed = [this, life = life_ + 1] {
    world_.strand->Post([this, life] {
      if (running() && life == life_) world_.on_removed(this);
    });
  };
  return parts;
}

void SimMember::AddImageParts(server::EtcdServer::Parts* parts) {
  parts->save_image = [this](uint64_t index) { return server::ReceiveImage(*images_, index); };
  parts->install_image = [this](uint64_t index) {
    return server::InstallImage(InstallOptions(), index);
  };
}

// A repair keeps a copy of the segment it cuts.
size_t SimMember::CountBrokenSegments() {
  const auto names = disk_.List(kWalDir);
  if (!names.ok()) return 0;
  return static_cast<size_t>(std::count_if(names->begin(), names->end(), [](const auto& name) {
    return absl::EndsWith(name, ".broken");
  }));
}

void SimMember::PurgeFiles() {
  // A failure is the disk's, which the next write meets as well.
  wal::PurgeSegments(disk_, kWalDir, kFilesKept).IgnoreError();
  snap::Snapshotter(disk_, clock_, kSnapDir).Purge(kFilesKept).IgnoreError();
  const auto dir = server::CurrentBackendDir(disk_, kSnapDir);
  if (dir.ok()) images_->RemoveUpTo(dir->index).IgnoreError();
}

void SimMember::StartRecorder(int64_t from) {
  if (recorder_ != nullptr) recorder_->Close();
  recorder_ = std::make_shared<WatchSession>(
      world_.scheduler, strand_.get(), world_.strand, WatchSession::Options{},
      [this](const etcdserverpb::WatchResponse& response) { OnRecorded(response); });
  recorder_->Open(&server_->watch_hub());
  etcdserverpb::WatchCreateRequest everything;
  everything.set_key(std::string(1, '\0'));
  everything.set_range_end(std::string(1, '\0'));
  everything.set_start_revision(from);
  recorder_->Create(everything);
}

void SimMember::OnRecorded(const etcdserverpb::WatchResponse& response) {
  world_.on_recorded(this, response);
  if (!response.canceled()) return;
  // Compacted away before it was read. A stream must not be closed from within its own send.
  strand_->Post([this, from = response.compact_revision()] { StartRecorder(from); });
}

std::shared_ptr<WatchSession> SimMember::Connect(
    WatchSession::Options options,
    std::function<void(const etcdserverpb::WatchResponse&)> on_response,
    std::function<void()> on_closed) {
  auto session = std::make_shared<WatchSession>(world_.scheduler, strand_.get(), world_.strand,
                                                options, std::move(on_response));
  std::erase_if(sessions_, [](const auto& old) { return old->closed(); });
  sessions_.push_back(session);
  OnEnd(std::move(on_closed));
  return session;
}

void SimMember::SetPaused(bool paused) {
  ETCDD_CHECK(running());
  paused_ = paused;
  for (SimStrand* strand : strands()) strand->SetPaused(paused);
}

std::vector<SimStrand*> SimMember::strands() const {
  return {strand_.get(), wal_strand_.get(), background_.get(), reader_.get(),
          transport_strand_.get()};
}

void SimMember::Crash(CrashKind kind) {
  ETCDD_CHECK(running());
  EndProcess();
  if (kind == CrashKind::kKill) {
    disk_.KillProcess();
  } else {
    disk_.PowerOff();
  }
}

// Nothing of the process runs any more; what it would still have said is not heard.
void SimMember::EndProcess() {
  disk_.Freeze();
  for (const auto& session : sessions_) session->Close();
  recorder_->Close();
  ending_ = true;
  server_->Stop(absl::UnavailableError("the process is gone"));
  ending_ = false;
  strand_.reset();
  wal_strand_.reset();
  background_.reset();
  reader_.reset();
  transport_strand_.reset();
  peer_pages_.reset();
  server_.reset();
  endpoint_.reset();
  sessions_.clear();
  recorder_.reset();
  images_.reset();
  paused_ = false;
  ready_ = false;
  for (auto& on_end : std::exchange(on_end_, {})) world_.strand->Post(std::move(on_end));
}

}  // namespace etcdd::sim
