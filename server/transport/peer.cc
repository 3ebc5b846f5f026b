#include "server/transport/peer.h"

#include <algorithm>
#include <utility>

#include "server/base/check.h"
#include "server/base/log.h"
#include "server/transport/limits.h"

namespace etcdd::transport {
namespace {

std::string_view TypeName(raft::MessageType type) {
  switch (type) {
    case raft::MessageType::kApp: return "MsgApp";
    case raft::MessageType::kHeartbeat: return "MsgHeartbeat";
    case raft::MessageType::kProp: return "MsgProp";
    default: return "other";
  }
}

}  // namespace

Peer::Peer(Context* context, raft::NodeId id, std::vector<std::string> urls, Role role)
    : context_(context),
      id_(id),
      role_(role),
      metrics_(context->metrics->of(id)),
      urls_(std::move(urls)),
      message_writer_(context, this, StreamKind::kMessage),
      msgapp_writer_(context, this, StreamKind::kMsgApp),
      message_reader_(context, this, StreamKind::kMessage),
      msgapp_reader_(context, this, StreamKind::kMsgApp),
      pipeline_(context, this),
      prober_(context, this) {}

Peer::~Peer() {
  Stop();
  *alive_ = false;
}

void Peer::Start() {
  if (stopped_ || std::exchange(started_, true) || role_ == Role::kRemote) return;
  ETCDD_LOG(kInfo, "starting remote peer", {{"remote-peer-id", base::LogId(id_)}});
  message_reader_.Start();
  msgapp_reader_.Start();
  prober_.Start();
  ETCDD_LOG(kInfo, "started remote peer", {{"remote-peer-id", base::LogId(id_)}});
}

void Peer::Stop() {
  if (std::exchange(stopped_, true)) return;
  if (started_ && role_ == Role::kPeer) {
    ETCDD_LOG(kInfo, "stopping remote peer", {{"remote-peer-id", base::LogId(id_)}});
  }
  message_writer_.Stop();
  msgapp_writer_.Stop();
  message_reader_.Stop();
  msgapp_reader_.Stop();
  pipeline_.Stop();
  prober_.Stop();
  const bool sending = !snapshots_.empty();
  snapshots_.clear();
  if (sending) {
    // Raft waits for the fate of each snapshot.
    context_->Post([context = context_, id = id_] { context->events->OnSnapshotSent(id, false); });
  }
  if (active_since_) metrics_.active->Add(-1);
  active_since_.reset();
  if (started_ && role_ == Role::kPeer) {
    ETCDD_LOG(kInfo, "stopped remote peer", {{"remote-peer-id", base::LogId(id_)}});
  }
}

void Peer::Update(std::vector<std::string> urls) {
  urls_ = std::move(urls);
  picked_ = 0;
}

std::string Peer::PickUrl() const { return urls_.empty() ? std::string() : urls_[picked_]; }

void Peer::OnUrlFailed(const std::string& url) {
  if (!urls_.empty() && urls_[picked_] == url) picked_ = (picked_ + 1) % urls_.size();
}

void Peer::Send(raft::Message message) {
  if (stopped_) return;
  const raft::MessageType type = message.type;
  if (Route(std::move(message))) {
    drop_logged_ = false;
    return;
  }
  metrics_.sent_failures->Add();
  OnLost();
  if (std::exchange(drop_logged_, true)) return;
  ETCDD_LOG(kWarn, "dropped internal Raft message since sending buffer is full",
            {{"message-type", TypeName(type)},
             {"local-member-id", base::LogId(context_->self.id)},
             {"from", base::LogId(context_->self.id)},
             {"remote-peer-id", base::LogId(id_)},
             {"remote-peer-active", active_since_.has_value()}});
}

bool Peer::Route(raft::Message message) {
  ETCDD_CHECK(message.type != raft::MessageType::kSnap);
  if (message.type == raft::MessageType::kApp && msgapp_writer_.attached()) {
    return msgapp_writer_.Write(std::move(message));
  }
  if (message_writer_.attached()) return message_writer_.Write(std::move(message));
  return pipeline_.Send(std::move(message));
}

void Peer::SendSnapshot(raft::Message message, std::unique_ptr<consensus::ImageSource> image) {
  if (stopped_ || snapshots_.size() >= kSnapshotsOutPerPeerMax) {
    context_->blocking->Post([owned = std::move(image)]() mutable { owned.reset(); });
    context_->Post([context = context_, id = id_] { context->events->OnSnapshotSent(id, false); });
    return;
  }
  const size_t slot = snapshots_.size();
  snapshots_.emplace_back();
  PeerHost* const host = this;
  auto self = std::make_shared<SnapshotSender*>(nullptr);
  snapshots_[slot] = std::make_unique<SnapshotSender>(
      context_, host, std::move(message), std::move(image),
      [this, self](bool ok) { OnSnapshotDone(*self, ok); });
  *self = snapshots_[slot].get();
}

void Peer::OnSnapshotDone(SnapshotSender* sender, bool ok) {
  // Posted: the sender must not be destroyed while it tells.
  context_->Post([this, sender, ok, alive = alive_] {
    if (!*alive || stopped_) return;
    const auto found =
        std::find_if(snapshots_.begin(), snapshots_.end(),
                     [sender](const auto& owned) { return owned.get() == sender; });
    if (found == snapshots_.end()) return;
    snapshots_.erase(found);
    context_->events->OnSnapshotSent(id_, ok);
  });
}

void Peer::Attach(StreamKind kind, std::shared_ptr<net::Http1Exchange> exchange) {
  StreamWriter& writer = kind == StreamKind::kMessage ? message_writer_ : msgapp_writer_;
  writer.Attach(std::move(exchange));
}

void Peer::OnActive() {
  if (active_since_ || stopped_ || role_ == Role::kRemote) return;
  active_since_ = context_->loop->now();
  metrics_.active->Add(1);
  ETCDD_LOG(kInfo, "peer became active", {{"peer-id", base::LogId(id_)}});
}

void Peer::OnInactive(const absl::Status& why) {
  if (!active_since_) return;
  active_since_.reset();
  metrics_.active->Add(-1);
  metrics_.disconnected->Add();
  ETCDD_LOG(kWarn, "peer became inactive (message send to peer failed)",
            {{"peer-id", base::LogId(id_)}, base::LogField(why)});
}

void Peer::OnLost() {
  if (stopped_ || std::exchange(loss_reported_, true)) return;
  context_->Post([this, alive = alive_] {
    if (!*alive) return;
    loss_reported_ = false;
    if (!stopped_) context_->events->OnUnreachable(id_);
  });
}

bool Peer::OnReceived(raft::Message message) {
  if (stopped_) return false;
  // Nothing but a member's own words, to us; images come by another way.
  const bool acceptable = message.to == context_->self.id && !raft::IsLocalMessage(message.type) &&
                          message.type != raft::MessageType::kSnap;
  if (!acceptable) {
    metrics_.received_failures->Add();
    return true;
  }
  context_->events->OnMessage(std::move(message));
  return !stopped_;
}

}  // namespace etcdd::transport
