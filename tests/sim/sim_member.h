#pragma once

// One simulated machine and the member that runs on it: the true EtcdServer, bootstrap, WAL,
// snapshot files and in-memory backend, on virtual time, disk and network. The machine outlives
// the process: Crash and Start again.
//
// Confined to the simulator's thread, outside of the member's own tasks.

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "proto/rpc.pb.h"
#include "server/base/metrics.h"
#include "server/base/random.h"
#include "server/bootstrap.h"
#include "server/etcd_server.h"
#include "server/http/peer_pages.h"
#include "server/install_image.h"
#include "server/server_metrics.h"
#include "snap/db_file.h"
#include "tests/sim/scheduler.h"
#include "tests/sim/sim_disk.h"
#include "tests/sim/sim_network.h"
#include "tests/sim/watch_session.h"

namespace etcdd::sim {

struct MemberSettings {
  int index = 0;  // from 0; names and URLs derive from it
  server::EtcdServerOptions options;
  bool with_wal_strand = true;
  uint64_t segment_bytes = 64 * 1024;
  int64_t drift_ppm = 0;
};

// How a process ends.
enum class CrashKind {
  kKill,      // kill -9: files as written
  kPowerOff,  // of what was not synced, anything may be left
};

class SimMember {
 public:
  struct World {
    Scheduler* scheduler = nullptr;
    SimStrand* strand = nullptr;  // for what is nobody's
    SimNetwork* network = nullptr;
    // The member cannot go on and stopped itself. On the world strand.
    std::function<void(SimMember*, const absl::Status&)> on_fatal;
    // The member was removed from its cluster and stopped. On the world strand.
    std::function<void(SimMember*)> on_removed;
    // A response of the member's recorder: a watch of everything.
    std::function<void(SimMember*, const etcdserverpb::WatchResponse&)> on_recorded;
  };
  // The parts of `world` outlive the member.
  SimMember(World world, MemberSettings settings, uint64_t seed);
  ~SimMember();

  // How the member comes to life while its disk is empty: as one of a new cluster, or joining.
  void SetBirth(std::vector<membership::Member> others,
                std::optional<server::JoinedCluster> join);
  // Starts the process. An error: it refused to start.
  absl::Status Start();
  void Crash(CrashKind kind);
  // SIGSTOP and SIGCONT.
  void SetPaused(bool paused);

  int index() const { return settings_.index; }
  const std::string& name() const { return name_; }
  const std::vector<std::string>& peer_urls() const { return peer_urls_; }
  MemberSettings& settings() { return settings_; }
  bool running() const { return server_ != nullptr; }
  bool paused() const { return paused_; }
  bool ready() const { return ready_; }
  // Removed from the cluster, or never a part of it: does not come back.
  void Retire() { retired_ = true; }
  bool retired() const { return retired_; }
  // Of the last start: the log began at a snapshot, not at its first entry; a torn tail of the WAL
  // was cut.
  bool started_from_snapshot() const { return started_from_snapshot_; }
  bool cut_torn_tail() const { return cut_torn_tail_; }
  // Counts the starts.
  uint64_t life() const { return life_; }
  // Requires: running().
  server::EtcdServer& server() { return *server_; }
  SimStrand& strand() { return *strand_; }
  // Where images are pulled and written; may block.
  SimStrand& transport_strand() { return *transport_strand_; }
  const http::PeerPages& peer_pages() const { return *peer_pages_; }
  SimDisk& disk() { return disk_; }
  SimClock& clock() { return clock_; }

  // A new connection of a watching client, to be opened on the strand. It is closed, and
  // `on_closed` called on the world strand, when the process ends. Requires: running().
  std::shared_ptr<WatchSession> Connect(
      WatchSession::Options options,
      std::function<void(const etcdserverpb::WatchResponse&)> on_response,
      std::function<void()> on_closed);
  // The process is being ended: what it says now is not heard any more.
  bool ending() const { return ending_; }
  // Calls `on_end` on the world strand when this process ends.
  void OnEnd(std::function<void()> on_end) { on_end_.push_back(std::move(on_end)); }

 private:
  void StartRecorder(int64_t from);
  void OnRecorded(const etcdserverpb::WatchResponse& response);
  void EndProcess();
  absl::StatusOr<std::shared_ptr<mvcc::Backend>> OpenBackend();
  server::InstallOptions InstallOptions();
  server::BootstrapOptions BootstrapOptions() const;
  server::EtcdServer::Parts MakeParts(std::shared_ptr<mvcc::Backend> backend);
  void AddImageParts(server::EtcdServer::Parts* parts);
  void PurgeFiles();
  size_t CountBrokenSegments();
  std::vector<SimStrand*> strands() const;

  const World world_;
  MemberSettings settings_;
  const std::string name_;
  std::vector<std::string> peer_urls_;
  std::vector<membership::Member> others_;
  std::optional<server::JoinedCluster> join_;
  const std::unique_ptr<base::Random> random_;
  SimDisk disk_;
  SimClock clock_;
  uint64_t life_ = 0;
  bool paused_ = false;
  bool retired_ = false;
  bool started_from_snapshot_ = false;
  bool cut_torn_tail_ = false;
  bool ending_ = false;

  // Of the running process.
  std::unique_ptr<base::Random> server_random_;
  std::unique_ptr<SimStrand> strand_;
  std::unique_ptr<SimStrand> wal_strand_;
  std::unique_ptr<SimStrand> background_;
  std::unique_ptr<SimStrand> reader_;
  std::unique_ptr<SimStrand> transport_strand_;
  std::unique_ptr<snap::DbFiles> images_;
  std::unique_ptr<SimNetwork::Endpoint> endpoint_;
  std::vector<std::shared_ptr<WatchSession>> sessions_;
  std::shared_ptr<WatchSession> recorder_;
  std::vector<std::function<void()>> on_end_;
  std::unique_ptr<server::EtcdServer> server_;
  std::unique_ptr<http::PeerPages> peer_pages_;
  bool ready_ = false;
};

}  // namespace etcdd::sim
