#include "server/transport/transport.h"

#include <utility>

#include "server/base/check.h"
#include "server/base/log.h"
#include "server/transport/limits.h"

namespace etcdd::transport {

Transport::Transport(TransportParts parts, Identity self)
    : metrics_(parts.metrics, self.id), inbox_(&context_) {
  ETCDD_CHECK(raft::IsMemberId(self.id) && ParseVersion(self.server_version).has_value());
  ETCDD_CHECK(parts.blocking != nullptr);
  context_.self = std::move(self);
  context_.loop = &parts.dialer->loop();
  context_.dialer = parts.dialer;
  context_.blocking = parts.blocking;
  context_.metrics = &metrics_;
}

Transport::~Transport() { Stop(); }

void Transport::Start(consensus::TransportEvents* events) {
  ETCDD_CHECK(!started() && events != nullptr);
  context_.events = events;
  for (const auto& [id, peer] : peers_) peer->Start();
}

void Transport::Stop() {
  if (!started()) return;
  inbox_.RefuseAll();
  for (Peers* peers : {&peers_, &remotes_}) {
    for (const auto& [id, peer] : *peers) peer->Stop();
  }
  // What was posted for the server is dropped.
  *std::exchange(context_.alive, std::make_shared<bool>(true)) = false;
  context_.events = nullptr;
}

Peer* Transport::FindPeer(raft::NodeId id) {
  const auto found = peers_.find(id);
  return found == peers_.end() ? nullptr : found->second.get();
}

Peer* Transport::Find(raft::NodeId id) {
  if (Peer* const peer = FindPeer(id)) return peer;
  const auto found = remotes_.find(id);
  return found == remotes_.end() ? nullptr : found->second.get();
}

void Transport::Send(raft::Message message) {
  if (!started() || message.to == raft::kNoNode) return;
  if (Peer* const peer = Find(message.to)) return peer->Send(std::move(message));
  ETCDD_LOG(kDebug, "ignored message send request; unknown remote peer target",
            {{"unknown-target-peer-id", base::LogId(message.to)}});
}

void Transport::SendSnapshot(raft::Message message,
                             std::unique_ptr<consensus::ImageSource> image) {
  ETCDD_CHECK(message.type == raft::MessageType::kSnap);
  if (!started()) return Discard(std::move(image));
  const raft::NodeId id = message.to;
  if (Peer* const peer = Find(id)) {
    return peer->SendSnapshot(std::move(message), std::move(image));
  }
  Discard(std::move(image));
  context_.Post([this, id] { context_.events->OnSnapshotSent(id, false); });
}

void Transport::Discard(std::unique_ptr<consensus::ImageSource> image) {
  context_.blocking->Post([owned = std::move(image)]() mutable { owned.reset(); });
}

void Transport::AddPeer(raft::NodeId id, std::vector<std::string> urls) {
  ETCDD_CHECK(id != context_.self.id);
  if (peers_.contains(id)) return;
  Retire(&remotes_, id);
  ETCDD_LOG(kInfo, "added remote peer",
            {{"local-member-id", base::LogId(context_.self.id)},
             {"remote-peer-id", base::LogId(id)},
             {"remote-peer-urls", urls}});
  auto peer = std::make_unique<Peer>(&context_, id, std::move(urls), Peer::Role::kPeer);
  if (started()) peer->Start();
  peers_.emplace(id, std::move(peer));
}

void Transport::UpdatePeer(raft::NodeId id, std::vector<std::string> urls) {
  Peer* const peer = Find(id);
  if (peer == nullptr) return;
  ETCDD_LOG(kInfo, "updated remote peer",
            {{"local-member-id", base::LogId(context_.self.id)},
             {"updated-remote-peer-id", base::LogId(id)},
             {"updated-remote-peer-urls", urls}});
  peer->Update(std::move(urls));
}

void Transport::RemovePeer(raft::NodeId id) {
  Retire(&remotes_, id);
  if (!peers_.contains(id)) return;
  Retire(&peers_, id);
  ETCDD_LOG(kInfo, "removed remote peer",
            {{"local-member-id", base::LogId(context_.self.id)},
             {"removed-remote-peer-id", base::LogId(id)}});
}

void Transport::AddRemote(raft::NodeId id, std::vector<std::string> urls) {
  if (id == context_.self.id || Find(id) != nullptr) return;
  remotes_.emplace(id, std::make_unique<Peer>(&context_, id, std::move(urls),
                                              Peer::Role::kRemote));
}

void Transport::LearnRemote(raft::NodeId id, std::vector<std::string> urls) {
  if (!raft::IsMemberId(id) || urls.empty() || remotes_.size() >= kRemotesMax) return;
  AddRemote(id, std::move(urls));
}

std::optional<absl::Duration> Transport::ActiveSince(raft::NodeId id) const {
  const auto found = peers_.find(id);
  if (found == peers_.end()) return std::nullopt;
  return found->second->active_since();
}

void Transport::Retire(Peers* peers, raft::NodeId id) {
  const auto found = peers->find(id);
  if (found == peers->end()) return;
  found->second->Stop();
  retired_.push_back(std::move(found->second));
  peers->erase(found);
  context_.Post([this] { retired_.clear(); });
}

}  // namespace etcdd::transport
