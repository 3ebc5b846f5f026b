#pragma once

// The network between the simulated members: messages that are late, lost, doubled and overtaken;
// links that are cut in one or both directions; images that travel in pieces and break off; and
// questions over peer URLs. Messages are encoded and decoded on the way, as on a wire.
//
// Confined to the simulator's thread.

#include <cstdint>
#include <list>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "server/base/random.h"
#include "server/consensus/transport.h"
#include "server/peer_client.h"
#include "tests/sim/scheduler.h"
#include "tests/sim/trace.h"

namespace etcdd::sim {

class SimMember;

// How bad the network is; the same for all links that are not cut.
struct Weather {
  absl::Duration delay_min = absl::Microseconds(50);
  absl::Duration delay_max = absl::Milliseconds(2);
  uint32_t lost_per_mille = 0;
  uint32_t doubled_per_mille = 0;
  bool in_order = true;  // per link, as on one TCP connection
  // One piece of an image in so many breaks the transfer off; 0: none.
  uint32_t image_breaks_one_in = 0;
  // One piece in so many is damaged on the way; 0: none.
  uint32_t image_damaged_one_in = 0;
};

class SimNetwork {
 public:
  // Everything outlives the network; members are attached and detached.
  SimNetwork(Scheduler* scheduler, SimStrand* world, Trace* trace, uint64_t seed);
  ~SimNetwork();

  void set_weather(const Weather& weather) { weather_ = weather; }
  // Doubles many of the forwarded proposals. A transport on TCP that never sends anything twice
  // does not, and neither raft nor etcd is safe from it: for tests that want a promise broken.
  void set_doubles_proposals(bool doubles) { doubles_proposals_ = doubles; }
  // Cuts or restores one direction between two machines.
  void Cut(int from, int to, bool cut);
  bool IsCut(int from, int to) const { return cuts_.contains({from, to}); }
  void RestoreAll();

  // One process on the network.
  class Endpoint;
  // `member` runs; Detach before it does no more.
  std::unique_ptr<Endpoint> Attach(SimMember* member);

 private:
  friend class Endpoint;
  struct Transfer;
  using Link = std::pair<int, int>;

  void Detach(Endpoint* endpoint);
  Endpoint* Find(const std::vector<std::string>& urls) const;
  absl::Duration Delay();
  // When something sent now over the link arrives.
  absl::Duration Arrival(const Link& link);
  bool Chance(uint32_t per_mille) { return random_->Uniform(1000) < per_mille; }
  bool OneIn(uint32_t count) { return count > 0 && random_->Uniform(count) == 0; }
  bool Connected(const Endpoint& a, const Endpoint& b) const;
  std::optional<absl::Duration> ConnectedSince(const Endpoint& a, const Endpoint& b) const;

  void Send(Endpoint* from, const std::vector<std::string>& urls, raft::Message message);
  void Deliver(int from, Endpoint* to, const std::string& bytes);
  void TellRemoved(int sender, raft::NodeId id);

  void StartTransfer(Endpoint* from, const std::vector<std::string>& urls, raft::Message message,
                     std::unique_ptr<consensus::ImageSource> image);
  void BeginImage(const std::shared_ptr<Transfer>& transfer);
  void PullPiece(const std::shared_ptr<Transfer>& transfer);
  void TakePiece(const std::shared_ptr<Transfer>& transfer, const std::string& piece);
  void CommitImage(const std::shared_ptr<Transfer>& transfer);
  // The end, good or bad; the sender hears of it.
  void EndTransfer(const std::shared_ptr<Transfer>& transfer, bool ok);

  void Ask(Endpoint* from, const std::vector<std::string>& urls, server::PeerRequest request,
           absl::Duration timeout, server::PeerClient::Done done);

  Scheduler* const scheduler_;
  SimStrand* const world_;
  Trace* const trace_;
  const std::unique_ptr<base::Random> random_;
  Weather weather_;
  bool doubles_proposals_ = false;
  std::set<Link> cuts_;
  std::map<Link, absl::Duration> restored_at_;
  std::map<Link, absl::Duration> last_arrival_;
  std::map<int, Endpoint*> endpoints_;  // by member index
  std::list<std::shared_ptr<Transfer>> transfers_;
};

class SimNetwork::Endpoint final : public consensus::Transport, public server::PeerClient {
 public:
  Endpoint(SimNetwork* network, SimMember* member);
  ~Endpoint() override;

  // consensus::Transport
  void Send(raft::Message message) override;
  void SendSnapshot(raft::Message message, std::unique_ptr<consensus::ImageSource> image) override;
  void AddPeer(raft::NodeId id, std::vector<std::string> urls) override;
  void UpdatePeer(raft::NodeId id, std::vector<std::string> urls) override;
  void RemovePeer(raft::NodeId id) override;
  void AddRemote(raft::NodeId id, std::vector<std::string> urls) override;
  std::optional<absl::Duration> ActiveSince(raft::NodeId id) const override;

  // server::PeerClient
  void Ask(std::vector<std::string> urls, server::PeerRequest request, absl::Duration timeout,
           Done done) override;

  SimMember* member() const { return member_; }
  absl::Duration attached_at() const { return attached_at_; }

 private:
  // Where messages for this member go; nullptr: nowhere.
  const std::vector<std::string>* UrlsOf(raft::NodeId id) const;

  SimNetwork* const network_;
  SimMember* const member_;
  const absl::Duration attached_at_;
  std::map<raft::NodeId, std::vector<std::string>> peers_;
  std::map<raft::NodeId, std::vector<std::string>> remotes_;
};

}  // namespace etcdd::sim
