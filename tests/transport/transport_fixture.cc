#include "tests/transport/transport_fixture.h"

#include <algorithm>
#include <utility>

#include "raft/codec.h"
#include "server/base/check.h"

namespace etcdd::transport {
namespace {

constexpr uint64_t kPatternPeriod = 251;

char PatternByte(uint64_t position) { return static_cast<char>(position % kPatternPeriod); }

class PatternSink final : public consensus::ImageSink {
 public:
  explicit PatternSink(std::shared_ptr<Landing> landing) : landing_(std::move(landing)) {}
  ~PatternSink() override { landing_->destroyed = true; }
  absl::Status Append(std::string_view piece) override {
    for (size_t i = 0; i < piece.size(); ++i) {
      if (piece[i] != PatternByte(landing_->bytes + i)) landing_->intact = false;
    }
    landing_->bytes += piece.size();
    return landing_->append_result;
  }
  absl::Status Commit() override {
    landing_->committed = true;
    return landing_->commit_result;
  }

 private:
  const std::shared_ptr<Landing> landing_;
};

}  // namespace

absl::StatusOr<std::string> PatternSource::Next() {
  const uint64_t count = std::min<uint64_t>(left_, 1 << 20);
  if (count == 0 && !end_.ok()) return end_;
  std::string piece(count, '\0');
  for (char& byte : piece) byte = PatternByte(position_++);
  left_ -= count;
  return piece;
}

void RecordingEvents::OnMessage(raft::Message message) {
  if (on_message) on_message(message);
  messages.push_back(std::move(message));
}

absl::StatusOr<std::unique_ptr<consensus::ImageSink>> RecordingEvents::OnImage(
    const raft::Message&) {
  if (!image_result.ok()) return image_result;
  landings.push_back(std::make_shared<Landing>(next_landing));
  return std::make_unique<PatternSink>(landings.back());
}

Network::Network() = default;

Network::~Network() {
  for (const auto& member : members) member->door.reset();
  members.clear();
  blocking.reset();
  resolver.reset();
  loop.RunTurn(absl::ZeroDuration());
}

Member& Network::Add(raft::NodeId id, uint64_t cluster_id, const std::string& version,
                     const std::string& url) {
  Identity identity;
  identity.id = id;
  identity.cluster_id = cluster_id;
  identity.server_version = version;
  members.push_back(std::make_unique<Member>(this, identity, url));
  return *members.back();
}

void Network::Connect(Member& a, Member& b) {
  a.transport->AddPeer(b.id(), {b.url()});
  b.transport->AddPeer(a.id(), {a.url()});
}

bool Network::Await(const std::function<bool()>& done) {
  const absl::Duration end = clock->Monotonic() + absl::Seconds(20);
  while (!done()) {
    if (clock->Monotonic() > end) return false;
    loop.RunTurn(absl::Milliseconds(20));
  }
  return true;
}

void Network::RunFor(absl::Duration duration) {
  const absl::Duration end = clock->Monotonic() + duration;
  while (clock->Monotonic() < end) loop.RunTurn(end - clock->Monotonic());
}

Member::Member(Network* n, Identity i, const std::string& where)
    : network(n), identity(std::move(i)) {
  Listen(where);
  identity.peer_urls = {url()};
  transport = std::make_unique<Transport>(
      TransportParts{&network->dialer, network->blocking.get(), &network->metrics}, identity);
  http = std::make_unique<PeerHttp>(transport.get(), nullptr);
  transport->Start(&events);
}

void Member::Listen(const std::string& where) {
  net::FrontDoorOptions options;
  options.http1.handler = &handler;
  options.http1.body_policy = &policy;
  door = std::make_unique<net::FrontDoor>(&network->loop, std::move(options));
  ETCDD_CHECK(door->Listen(where).ok());
}

Member::~Member() {
  door.reset();
  http.reset();
  transport.reset();
}

raft::Message Heartbeat(raft::NodeId from, raft::NodeId to, uint64_t term) {
  raft::Message message;
  message.type = raft::MessageType::kHeartbeat;
  message.from = from;
  message.to = to;
  message.term = term;
  message.commit = 7;
  message.context = base::Bytes::Copy("12345678");
  return message;
}

raft::Message Append(raft::NodeId from, raft::NodeId to, uint64_t term, uint64_t index,
                     const std::vector<std::string>& payloads) {
  raft::Message message;
  message.type = raft::MessageType::kApp;
  message.from = from;
  message.to = to;
  message.term = term;
  message.log_term = term;
  message.index = index;
  message.commit = index;
  for (const std::string& payload : payloads) {
    raft::Entry& entry = message.entries.emplace_back();
    entry.term = term;
    entry.index = ++index;
    entry.data = base::Bytes::Copy(payload);
  }
  return message;
}

raft::Message SnapshotMessage(raft::NodeId from, raft::NodeId to, uint64_t index) {
  raft::Message message;
  message.type = raft::MessageType::kSnap;
  message.from = from;
  message.to = to;
  message.term = 3;
  auto snapshot = std::make_shared<raft::Snapshot>();
  snapshot->index = index;
  snapshot->term = 2;
  snapshot->conf_state.voters = {from, to};
  snapshot->data = base::Bytes::Copy("{}");
  message.snapshot = snapshot;
  return message;
}

bool Same(const raft::Message& a, const raft::Message& b) {
  std::string bytes_a;
  std::string bytes_b;
  raft::AppendEncoded(a, &bytes_a);
  raft::AppendEncoded(b, &bytes_b);
  return bytes_a == bytes_b;
}

}  // namespace etcdd::transport
