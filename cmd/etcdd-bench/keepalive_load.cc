#include "cmd/etcdd-bench/keepalive_load.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "cmd/etcdd-bench/messages.h"
#include "server/base/check.h"
#include "server/base/status_macros.h"

namespace etcdd::bench {

absl::Status KeepAliveLoad::Begin(const Options& options, const std::vector<int64_t>& leases) {
  ETCDD_CHECK(leases.size() >= options.streams);
  std::vector<Connection*> connections;
  for (uint32_t i = 0; i < options.connections; ++i) {
    ETCDD_ASSIGN_OR_RETURN(Connection * connection, loop_->Connect(options.endpoint, this));
    connections.push_back(connection);
  }
  streams_.resize(options.streams);
  for (size_t i = 0; i < streams_.size(); ++i) {
    streams_[i].connection = connections[i % connections.size()];
  }
  loop_->UpdateNow();
  for (size_t i = 0; i < leases.size(); ++i) Renew(&streams_[i % streams_.size()], leases[i]);
  return absl::OkStatus();
}

void KeepAliveLoad::Renew(Stream* stream, int64_t lease) {
  const std::string message = LeaseKeepAliveMessage(lease);
  bool sent = false;
  if (stream->id == 0) {
    const auto tag = static_cast<uint64_t>(stream - streams_.data());
    stream->id = stream->connection->Start(kMethodLeaseKeepAlive, message, false, tag);
    sent = stream->id != 0;
  } else {
    sent = stream->connection->Send(stream->id, message);
  }
  if (sent) {
    stream->sent_ns[lease] = loop_->now();
  } else {
    stream->waiting.push_back(lease);
  }
}

void KeepAliveLoad::OnData(Connection&, uint64_t tag, std::string_view data) {
  Stream* stream = &streams_[tag];
  stream->assembler.Feed(data, [&](std::string_view message) { HandleReply(stream, message); });
}

void KeepAliveLoad::HandleReply(Stream* stream, std::string_view message) {
  const auto reply = ParseLeaseReply(message);
  const auto sent = reply.has_value() ? stream->sent_ns.find(reply->id) : stream->sent_ns.end();
  if (sent == stream->sent_ns.end()) {
    meter_->RecordError("a keepalive reply for a lease that was not renewed");
    return;
  }
  if (reply->ttl_s <= 0) {
    meter_->RecordError(absl::StrCat("lease ", reply->id, " has expired"));
  } else {
    meter_->Record(loop_->now() - sent->second);
  }
  stream->sent_ns.erase(sent);
  Renew(stream, reply->id);
}

void KeepAliveLoad::OnEnd(Connection&, uint64_t, const CallEnd& end) {
  meter_->RecordError(absl::StrCat("a keepalive stream ended, grpc-status ", end.grpc_status, ": ",
                                   absl::string_view(end.message.data(), end.message.size())));
}

void KeepAliveLoad::OnRoom(Connection& connection) {
  for (Stream& stream : streams_) {
    if (stream.connection != &connection) continue;
    const std::vector<int64_t> waiting = std::exchange(stream.waiting, {});
    for (const int64_t lease : waiting) Renew(&stream, lease);
  }
}

}  // namespace etcdd::bench
