#include "server/transport/peer_http.h"

#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_split.h"
#include "absl/strings/string_view.h"
#include "raft/codec.h"
#include "server/base/log.h"
#include "server/transport/limits.h"

namespace etcdd::transport {
namespace {

constexpr std::string_view kMessagePath = "/raft";
constexpr std::string_view kSnapshotPath = "/raft/snapshot";
constexpr std::string_view kProbePath = "/raft/probing";
constexpr std::string_view kStreamPrefix = "/raft/stream/";

std::string_view PathOf(const net::Http1Request& request) {
  const std::string_view target = request.target;
  return target.substr(0, target.find('?'));
}

std::optional<StreamKind> KindOf(std::string_view name) {
  for (const StreamKind kind : {StreamKind::kMessage, StreamKind::kMsgApp}) {
    if (name == StreamPathName(kind)) return kind;
  }
  return std::nullopt;
}

}  // namespace

PeerHttp::PeerHttp(Transport* transport, net::Http1Handler* others)
    : transport_(transport),
      others_(others),
      handler_([this](std::shared_ptr<net::Http1Exchange> exchange) {
        Serve(std::move(exchange));
      }),
      policy_(&PeerHttp::BodyRule) {}

net::Http1BodyRule PeerHttp::BodyRule(const net::Http1Request& head) {
  const std::string_view path = PathOf(head);
  net::Http1BodyRule rule;
  if (path == kMessagePath) rule.bytes_max = kPostedMessageBytesMax;
  if (path == kSnapshotPath && head.method == "POST") {
    rule.bytes_max = SIZE_MAX;
    rule.in_pieces = true;
  }
  return rule;
}

void PeerHttp::Serve(std::shared_ptr<net::Http1Exchange> exchange) {
  const net::Http1Request& request = exchange->request();
  const std::string_view path = PathOf(request);
  const Identity& self = transport_->self();
  if (path == kProbePath) return ServeProbe(*exchange);
  const bool stream = path.starts_with(kStreamPrefix);
  if (!stream && path != kMessagePath && path != kSnapshotPath) {
    if (others_ != nullptr) return (*others_)(std::move(exchange));
    return exchange->Respond(Refusal(self, 404, "404 page not found"));
  }
  if (auto refusal = CheckRequest(self, stream ? "GET" : "POST", request)) {
    return exchange->Respond(*std::move(refusal));
  }
  if (!transport_->started()) {
    return exchange->Respond(Refusal(self, 503, "the server is starting"));
  }
  if (stream) return ServeStream(std::move(exchange), path);
  LearnSender(request);
  if (path == kMessagePath) return ServeMessage(*exchange);
  transport_->inbox().Receive(std::move(exchange));
}

void PeerHttp::ServeMessage(net::Http1Exchange& exchange) {
  const net::Http1Request& request = exchange.request();
  const Identity& self = transport_->self();
  auto message = raft::DecodeMessage(request.body);
  if (!message.ok() || raft::IsLocalMessage(message->type) ||
      message->type == raft::MessageType::kSnap) {
    ETCDD_LOG(kWarn, "failed to unmarshal Raft message",
              {{"local-member-id", base::LogId(self.id)}, {"remote-addr", request.remote}});
    transport_->metrics().CountUndecodable(request.remote);
    return exchange.Respond(Refusal(self, 400, "error unmarshalling raft message"));
  }
  if (transport_->events().IsRemoved(message->from)) {
    ETCDD_LOG(kWarn, "rejected Raft message from removed member",
              {{"local-member-id", base::LogId(self.id)},
               {"removed-member-id", base::LogId(message->from)}});
    return exchange.Respond(Refusal(self, 403, "cannot process message from removed member"));
  }
  if (message->to != self.id) {
    ETCDD_LOG(kWarn, "rejected Raft message to mismatch member",
              {{"local-member-id", base::LogId(self.id)},
               {"mismatch-member-id", base::LogId(message->to)}});
    return exchange.Respond(Refusal(self, 412, "to field mismatch"));
  }
  transport_->metrics().of(message->from).received_bytes->Add(request.body.size());
  net::Http1Response done;
  done.status = 204;
  done.headers = AnswerHeaders(self);
  transport_->events().OnMessage(*std::move(message));
  exchange.Respond(std::move(done));
}

void PeerHttp::ServeStream(std::shared_ptr<net::Http1Exchange> exchange, std::string_view path) {
  const net::Http1Request& request = exchange->request();
  const Identity& self = transport_->self();
  const auto refuse = [&](int status, std::string_view text) {
    exchange->Respond(Refusal(self, status, text));
  };
  path.remove_prefix(kStreamPrefix.size());
  const size_t slash = path.find('/');
  const auto kind = KindOf(path.substr(0, slash));
  if (!kind || slash == std::string_view::npos) return refuse(404, "invalid path");
  const auto from = ParseId(path.substr(slash + 1));
  if (!from) return refuse(404, "invalid from");
  if (transport_->events().IsRemoved(*from)) {
    ETCDD_LOG(kWarn, "rejected stream from remote peer because it was removed",
              {{"local-member-id", base::LogId(self.id)},
               {"remote-peer-id-stream-handler", base::LogId(self.id)},
               {"remote-peer-id-from", base::LogId(*from)}});
    return refuse(410, "removed member");
  }
  Peer* const peer = transport_->FindPeer(*from);
  if (peer == nullptr) {
    LearnSender(request);
    return refuse(404, "error sender not found");
  }
  if (request.header("X-Raft-To") != base::LogId(self.id)) return refuse(412, "to field mismatch");
  peer->Attach(*kind, std::move(exchange));
}

void PeerHttp::ServeProbe(net::Http1Exchange& exchange) {
  net::Http1Response response;
  response.content_type = "application/json";
  response.body = ProbeBody(transport_->loop().clock().Wall());
  exchange.Respond(std::move(response));
}

void PeerHttp::LearnSender(const net::Http1Request& request) {
  const auto from = ParseId(request.header("X-Server-From"));
  const std::string_view urls = request.header("X-PeerURLs");
  if (!from || transport_->FindPeer(*from) != nullptr || urls.empty()) return;
  if (transport_->events().IsRemoved(*from)) return;
  std::vector<std::string> valid;
  for (absl::string_view url : absl::StrSplit(absl::string_view(urls.data(), urls.size()), ',')) {
    const std::string text(url);
    if (net::ParseDialUrl(text).ok()) valid.push_back(text);
  }
  transport_->LearnRemote(*from, std::move(valid));
}

}  // namespace etcdd::transport
