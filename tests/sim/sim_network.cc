#include "tests/sim/sim_network.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "raft/codec.h"
#include "server/base/check.h"
#include "tests/sim/peer_exchange.h"
#include "tests/sim/sim_member.h"

namespace etcdd::sim {

namespace {

constexpr absl::Duration kDialInterval = absl::Seconds(1);
constexpr absl::Duration kLate = absl::Milliseconds(100);
constexpr uint64_t kWakingMicrosecondsMax = 20'000;

}  // namespace

SimNetwork::SimNetwork(Scheduler* scheduler, SimStrand* world, Trace* trace, uint64_t seed)
    : scheduler_(scheduler), world_(world), trace_(trace), random_(base::NewSeededRandom(seed)) {}

SimNetwork::~SimNetwork() { ETCDD_CHECK(endpoints_.empty()); }

void SimNetwork::Cut(int from, int to, bool cut) {
  if (cut) {
    cuts_.insert({from, to});
  } else if (cuts_.erase({from, to}) > 0) {
    restored_at_[{from, to}] = scheduler_->Now();
  }
}

void SimNetwork::RestoreAll() {
  for (const Link& link : std::set<Link>(cuts_)) Cut(link.first, link.second, false);
}

std::unique_ptr<SimNetwork::Endpoint> SimNetwork::Attach(SimMember* member) {
  // A process tries to connect to the others all the time, also when it has nothing to say; one
  // that was removed hears of it so.
  struct Dialer {
    static void Dial(SimNetwork* network, Endpoint* endpoint) {
      SimMember* const self = endpoint->member();
      for (const auto& [index, other] : network->endpoints_) {
        if (other == endpoint || !network->Connected(*endpoint, *other)) continue;
        if (!other->member()->server().IsRemoved(self->server().identity().member_id)) continue;
        return self->server().OnRemovedByOthers();
      }
      self->strand().PostAfter(kDialInterval, [=] { Dial(network, endpoint); });
    }
  };
  auto endpoint = std::make_unique<Endpoint>(this, member);
  ETCDD_CHECK(endpoints_.emplace(member->index(), endpoint.get()).second);
  member->strand().PostAfter(kDialInterval,
                             [this, dialer = endpoint.get()] { Dialer::Dial(this, dialer); });
  return endpoint;
}

SimNetwork::Endpoint* SimNetwork::Find(const std::vector<std::string>& urls) const {
  for (const auto& [index, endpoint] : endpoints_) {
    const auto& own = endpoint->member()->peer_urls();
    for (const std::string& url : urls) {
      if (std::find(own.begin(), own.end(), url) != own.end()) return endpoint;
    }
  }
  return nullptr;
}

absl::Duration SimNetwork::Delay() {
  const absl::Duration span = weather_.delay_max - weather_.delay_min;
  return weather_.delay_min +
         absl::Nanoseconds(
             random_->Uniform(static_cast<uint64_t>(absl::ToInt64Nanoseconds(span)) + 1));
}

absl::Duration SimNetwork::Arrival(const Link& link) {
  absl::Duration arrival = scheduler_->Now() + Delay();
  if (weather_.in_order) arrival = std::max(arrival, last_arrival_[link]);
  last_arrival_[link] = arrival;
  return arrival;
}

bool SimNetwork::Connected(const Endpoint& a, const Endpoint& b) const {
  return !IsCut(a.member()->index(), b.member()->index()) &&
         !IsCut(b.member()->index(), a.member()->index());
}

std::optional<absl::Duration> SimNetwork::ConnectedSince(const Endpoint& a,
                                                         const Endpoint& b) const {
  if (!Connected(a, b)) return std::nullopt;
  absl::Duration since = std::max(a.attached_at(), b.attached_at());
  const int from = a.member()->index();
  const int to = b.member()->index();
  for (const Link& link : {Link{from, to}, Link{to, from}}) {
    const auto restored = restored_at_.find(link);
    if (restored != restored_at_.end()) since = std::max(since, restored->second);
  }
  return since;
}

void SimNetwork::Send(Endpoint* from, const std::vector<std::string>& urls,
                      raft::Message message) {
  Endpoint* const to = Find(urls);
  const int sender = from->member()->index();
  if (to == nullptr || IsCut(sender, to->member()->index())) {
    trace_->Count("message into nothing");
    // The sender's connection breaks sooner or later.
    if (Chance(250)) {
      from->member()->strand().PostAfter(Delay(), [member = from->member(), id = message.to] {
        member->server().OnUnreachable(id);
      });
    }
    return;
  }
  if (Chance(weather_.lost_per_mille)) {
    trace_->Count("message lost");
    return;
  }
  std::string bytes;
  raft::AppendEncoded(message, &bytes);
  const Link link{sender, to->member()->index()};
  const uint32_t doubled_per_mille = message.type != raft::MessageType::kProp
                                         ? weather_.doubled_per_mille
                                         : (doubles_proposals_ ? 200 : 0);
  const int copies = Chance(doubled_per_mille) ? 2 : 1;
  if (copies == 2) trace_->Count("message doubled");
  for (int i = 0; i < copies; ++i) {
    const absl::Duration arrival = Arrival(link);
    to->member()->strand().PostAt(arrival, [this, sender, to, bytes, arrival] {
      if (scheduler_->Now() - arrival < kLate) return Deliver(sender, to, bytes);
      // The process slept. Whose socket it reads first when it wakes is open.
      const absl::Duration wait = absl::Microseconds(random_->Uniform(kWakingMicrosecondsMax));
      to->member()->strand().PostAfter(
          wait, [this, sender, to, bytes] { Deliver(sender, to, bytes); });
    });
  }
}

void SimNetwork::Deliver(int from, Endpoint* to, const std::string& bytes) {
  if (IsCut(from, to->member()->index())) return;
  auto message = raft::DecodeMessage(bytes);
  ETCDD_CHECK_MSG(message.ok(), std::string(message.status().message()));
  server::EtcdServer& server = to->member()->server();
  if (message->to != server.identity().member_id) return;  // another member lived here before
  if (server.IsRemoved(message->from)) return TellRemoved(from, message->from);
  // A connection tells whose it is (header X-PeerURLs): a member that knows nobody yet can answer.
  const auto sender = endpoints_.find(from);
  if (sender != endpoints_.end()) {
    to->AddRemote(message->from, sender->second->member()->peer_urls());
  }
  server.OnMessage(*std::move(message));
}

// The answer 410 to a message.
void SimNetwork::TellRemoved(int sender, raft::NodeId id) {
  const auto found = endpoints_.find(sender);
  if (found == endpoints_.end()) return;
  SimMember* const member = found->second->member();
  // Not one that only passed the message on, or that lives there now.
  if (member->server().identity().member_id != id) return;
  member->strand().PostAfter(Delay(), [member] { member->server().OnRemovedByOthers(); });
}

// --- One end -------------------------------------------------------------------------------------

SimNetwork::Endpoint::Endpoint(SimNetwork* network, SimMember* member)
    : network_(network), member_(member), attached_at_(network->scheduler_->Now()) {}

SimNetwork::Endpoint::~Endpoint() { network_->Detach(this); }

const std::vector<std::string>* SimNetwork::Endpoint::UrlsOf(raft::NodeId id) const {
  for (const auto* known : {&peers_, &remotes_}) {
    const auto found = known->find(id);
    if (found != known->end()) return &found->second;
  }
  return nullptr;
}

void SimNetwork::Endpoint::Send(raft::Message message) {
  if (const auto* urls = UrlsOf(message.to)) network_->Send(this, *urls, std::move(message));
}

void SimNetwork::Endpoint::SendSnapshot(raft::Message message,
                                        std::unique_ptr<consensus::ImageSource> image) {
  static const std::vector<std::string> kNowhere;
  const auto* urls = UrlsOf(message.to);
  network_->StartTransfer(this, urls == nullptr ? kNowhere : *urls, std::move(message),
                          std::move(image));
}

void SimNetwork::Endpoint::AddPeer(raft::NodeId id, std::vector<std::string> urls) {
  peers_.emplace(id, std::move(urls));
  remotes_.erase(id);
}

void SimNetwork::Endpoint::UpdatePeer(raft::NodeId id, std::vector<std::string> urls) {
  peers_[id] = std::move(urls);
}

void SimNetwork::Endpoint::RemovePeer(raft::NodeId id) { peers_.erase(id); }

void SimNetwork::Endpoint::AddRemote(raft::NodeId id, std::vector<std::string> urls) {
  remotes_.emplace(id, std::move(urls));
}

std::optional<absl::Duration> SimNetwork::Endpoint::ActiveSince(raft::NodeId id) const {
  const auto* urls = UrlsOf(id);
  const Endpoint* const other = urls == nullptr ? nullptr : network_->Find(*urls);
  if (other == nullptr) return std::nullopt;
  const auto since = network_->ConnectedSince(*this, *other);
  if (!since) return std::nullopt;
  return member_->clock().Monotonic() - (network_->scheduler_->Now() - *since);
}

void SimNetwork::Endpoint::Ask(std::vector<std::string> urls, server::PeerRequest request,
                               absl::Duration timeout, Done done) {
  network_->Ask(this, urls, std::move(request), timeout, std::move(done));
}

// --- Questions -----------------------------------------------------------------------------------

void SimNetwork::Ask(Endpoint* from, const std::vector<std::string>& urls,
                     server::PeerRequest request, absl::Duration timeout,
                     server::PeerClient::Done done) {
  SimMember* const asker = from->member();
  // Answered once: by the other member or by the time.
  auto waiting = std::make_shared<server::PeerClient::Done>(std::move(done));
  auto finish = [waiting](absl::StatusOr<server::PeerReply> reply) {
    if (*waiting) std::exchange(*waiting, nullptr)(std::move(reply));
  };
  asker->strand().PostAfter(timeout, [finish] { finish(absl::UnavailableError("no answer")); });
  Endpoint* const to = Find(urls);
  if (to == nullptr) {
    asker->strand().PostAfter(Delay(), [finish] { finish(absl::UnavailableError("refused")); });
    return;
  }
  const int here = asker->index();
  const int there = to->member()->index();
  to->member()->strand().PostAt(
      Arrival({here, there}),
      [this, to, here, there, request = std::move(request), finish, life = asker->life()] {
        if (IsCut(here, there)) return;
        ServePeer(to->member()->peer_pages(), request, [=, this](server::PeerReply reply) {
          const auto back = endpoints_.find(here);
          if (back == endpoints_.end() || back->second->member()->life() != life) return;
          if (IsCut(there, here)) return;
          back->second->member()->strand().PostAfter(
              Delay(), [finish, reply = std::move(reply)] { finish(reply); });
        });
      });
}

}  // namespace etcdd::sim
