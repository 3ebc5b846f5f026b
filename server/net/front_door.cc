#include "server/net/front_door.h"

#include <utility>

#include "server/base/check.h"
#include "server/base/status_macros.h"
#include "server/net/tls_stream.h"

namespace etcdd::net {

FrontDoor::FrontDoor(EventLoop* loop, FrontDoorOptions options)
    : loop_(loop), options_(std::move(options)), shared_(loop), drain_timer_([this] {
        CloseAll();
      }) {}

FrontDoor::~FrontDoor() {
  drained_ = nullptr;
  CloseAll();
  closed_.clear();
  loop_->Forget(this);
}

absl::Status FrontDoor::Listen(std::string_view url, const ListenOptions& options) {
  ETCDD_ASSIGN_OR_RETURN(const ListenUrl parsed, ParseListenUrl(url));
  if (parsed.tls && options.tls == nullptr) {
    return absl::InvalidArgumentError(
        "cannot listen on TLS for " + std::string(url) +
        ": KeyFile and CertFile are not presented");
  }
  auto port = std::make_unique<Port>();
  port->tls = parsed.tls ? options.tls : nullptr;
  port->http1 = options_.http1;
  if (options.http1_handler != nullptr) port->http1.handler = options.http1_handler;
  if (options.grpc && options_.http2.dispatcher != nullptr) port->services.http2 = &options_.http2;
  if (options.http1 && port->http1.handler != nullptr) port->services.http1 = &port->http1;
  ETCDD_ASSIGN_OR_RETURN(port->listener, Listener::Open(loop_, this, parsed));
  ports_.push_back(std::move(port));
  return absl::OkStatus();
}

void FrontDoor::HoldConnections(bool hold) {
  holding_ = hold;
  if (!hold) loop_->NextTurn(this);  // resumes the listeners
}

std::vector<std::string> FrontDoor::addresses() const {
  std::vector<std::string> result;
  for (const auto& port : ports_) {
    if (port->listener != nullptr) result.push_back(port->listener->address());
  }
  return result;
}

void FrontDoor::OnAccepted(Listener* listener, int fd, std::string peer) {
  for (const auto& port : ports_) {
    if (port->listener.get() != listener) continue;
    Connection::Owner* const owner = this;
    std::unique_ptr<ByteStream> stream = port->tls == nullptr
                                             ? NewSocketStream(fd)
                                             : NewTlsServerStream(fd, port->tls, peer);
    auto connection = std::make_unique<Connection>(&shared_, &port->services, owner,
                                                   std::move(stream), std::move(peer));
    Connection* key = connection.get();
    connections_.emplace(key, std::move(connection));
    return;
  }
  ETCDD_CHECK_MSG(false, "a connection from an unknown listener");
}

void FrontDoor::OnConnectionClosed(Connection* connection) {
  const auto entry = connections_.find(connection);
  ETCDD_CHECK(entry != connections_.end());
  closed_.push_back(std::move(entry->second));
  connections_.erase(entry);
  loop_->NextTurn(this);
}

void FrontDoor::OnTurn() {
  closed_.clear();
  for (const auto& port : ports_) {
    if (port->listener != nullptr) port->listener->Resume();
  }
  if (drained_ && connections_.empty()) {
    drain_timer_.Cancel();
    std::exchange(drained_, nullptr)();
  }
}

void FrontDoor::Drain(absl::Duration wait_max, absl::AnyInvocable<void()> done) {
  ETCDD_CHECK(!drained_);
  drained_ = std::move(done);
  for (const auto& port : ports_) port->listener.reset();
  drain_timer_.Schedule(&loop_->timers(), loop_->now() + wait_max);
  // Posted: Drain may be called from a handler, and an idle connection closes at once.
  loop_->Post([this] {
    std::vector<Connection*> open;
    for (const auto& [connection, owned] : connections_) open.push_back(connection);
    for (Connection* connection : open) connection->Drain();
    loop_->NextTurn(this);
  });
}

void FrontDoor::CloseAll() {
  while (!connections_.empty()) connections_.begin()->first->Close();
  loop_->NextTurn(this);
}

}  // namespace etcdd::net
