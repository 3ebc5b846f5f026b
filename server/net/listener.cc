#include "server/net/listener.h"

#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cctype>
#include <cerrno>
#include <cstring>
#include <utility>

#include "absl/cleanup/cleanup.h"
#include "absl/strings/str_cat.h"
#include "server/base/log.h"
#include "server/base/status_macros.h"
#include "server/net/limits.h"

namespace etcdd::net {
namespace {

struct SocketAddress {
  sockaddr_storage storage{};
  socklen_t size = 0;
  sockaddr* get() { return reinterpret_cast<sockaddr*>(&storage); }
  const sockaddr* get() const { return reinterpret_cast<const sockaddr*>(&storage); }
};

// The system's text as etcd's users know it: "address already in use".
std::string ErrnoText(int error) {
  std::string text = std::strerror(error);
  if (!text.empty()) text[0] = static_cast<char>(std::tolower(static_cast<uint8_t>(text[0])));
  return text;
}

std::string AddressText(const SocketAddress& address) {
  if (address.storage.ss_family == AF_UNIX) return "@";
  char host[NI_MAXHOST];
  char port[NI_MAXSERV];
  if (::getnameinfo(address.get(), address.size, host, sizeof host, port, sizeof port,
                    NI_NUMERICHOST | NI_NUMERICSERV) != 0) {
    return "unknown";
  }
  return address.storage.ss_family == AF_INET6 ? absl::StrCat("[", host, "]:", port)
                                               : absl::StrCat(host, ":", port);
}

absl::Status ListenError(std::string_view network, std::string_view address, std::string_view call,
                         int error) {
  std::string text = "listen ";
  text.append(network).append(" ").append(address).append(": ").append(call).append(": ");
  return absl::FailedPreconditionError(text + ErrnoText(error));
}

absl::StatusOr<SocketAddress> ResolveTcp(const ListenUrl& url) {
  addrinfo hints{};
  hints.ai_family = AF_UNSPEC;
  hints.ai_socktype = SOCK_STREAM;
  hints.ai_flags = AI_PASSIVE | AI_NUMERICSERV;
  addrinfo* found = nullptr;
  const std::string port = absl::StrCat(url.port);
  const int outcome =
      ::getaddrinfo(url.host.empty() ? nullptr : url.host.c_str(), port.c_str(), &hints, &found);
  if (outcome != 0) {
    return absl::FailedPreconditionError(
        absl::StrCat("listen tcp: lookup ", url.host, ": ", ::gai_strerror(outcome)));
  }
  const absl::Cleanup free_found = [found] { ::freeaddrinfo(found); };
  // An empty host means all addresses: IPv6's wildcard takes IPv4 as well. Names prefer IPv4.
  const int preferred = url.host.empty() ? AF_INET6 : AF_INET;
  const addrinfo* chosen = found;
  for (const addrinfo* entry = found; entry != nullptr; entry = entry->ai_next) {
    if (entry->ai_family == preferred) {
      chosen = entry;
      break;
    }
  }
  SocketAddress address;
  std::memcpy(&address.storage, chosen->ai_addr, chosen->ai_addrlen);
  address.size = chosen->ai_addrlen;
  return address;
}

absl::StatusOr<SocketAddress> UnixAddress(const std::string& path) {
  SocketAddress address;
  auto* unix_address = reinterpret_cast<sockaddr_un*>(&address.storage);
  if (path.size() >= sizeof unix_address->sun_path) {
    return ListenError("unix", path, "bind", ENAMETOOLONG);
  }
  unix_address->sun_family = AF_UNIX;
  std::memcpy(unix_address->sun_path, path.c_str(), path.size() + 1);
  address.size = sizeof(sockaddr_un);
  return address;
}

// Removes what a dead server left; a live one keeps its socket, and bind then fails.
void RemoveStaleSocket(const SocketAddress& address, const std::string& path) {
  struct stat info {};
  if (::lstat(path.c_str(), &info) != 0 || !S_ISSOCK(info.st_mode)) return;
  const int probe = ::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (probe < 0) return;
  const int outcome = ::connect(probe, address.get(), address.size);
  const int error = errno;
  ::close(probe);
  if (outcome != 0 && error == ECONNREFUSED) ::unlink(path.c_str());
}

}  // namespace

absl::StatusOr<std::unique_ptr<Listener>> Listener::Open(EventLoop* loop, Owner* owner,
                                                         const ListenUrl& url) {
  const char* network = url.unix_socket ? "unix" : "tcp";
  ETCDD_ASSIGN_OR_RETURN(SocketAddress address,
                         url.unix_socket ? UnixAddress(url.path) : ResolveTcp(url));
  std::string text = url.unix_socket ? url.path : AddressText(address);
  const int fd =
      ::socket(address.storage.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  if (fd < 0) return ListenError(network, text, "socket", errno);
  absl::Cleanup close_fd = [fd] { ::close(fd); };
  const int on = 1;
  const int off = 0;
  if (url.unix_socket) {
    RemoveStaleSocket(address, url.path);
  } else {
    ::setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (address.storage.ss_family == AF_INET6) {
      ::setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof off);
    }
  }
  if (::bind(fd, address.get(), address.size) != 0) {
    return ListenError(network, text, "bind", errno);
  }
  if (::listen(fd, kListenBacklog) != 0) return ListenError(network, text, "listen", errno);
  if (!url.unix_socket) {
    SocketAddress bound;
    bound.size = sizeof bound.storage;
    if (::getsockname(fd, bound.get(), &bound.size) == 0) text = AddressText(bound);
  }
  std::move(close_fd).Cancel();
  return std::unique_ptr<Listener>(new Listener(loop, owner, url, fd, std::move(text)));
}

Listener::Listener(EventLoop* loop, Owner* owner, ListenUrl url, int fd, std::string address)
    : loop_(loop),
      owner_(owner),
      url_(std::move(url)),
      fd_(fd),
      address_(std::move(address)),
      retry_timer_([this] { Accept(); }) {
  loop_->Watch(fd_, this);
}

Listener::~Listener() {
  loop_->Forget(this);
  loop_->Unwatch(fd_, this);
  ::close(fd_);
  if (url_.unix_socket) ::unlink(url_.path.c_str());
}

void Listener::OnReady(uint32_t) { Accept(); }

void Listener::OnTurn() { Accept(); }

void Listener::Resume() {
  if (paused_) loop_->NextTurn(this);
}

// New connections try again all the time; one line per interval says enough.
void Listener::WarnOfPause(const std::string& error) {
  if (loop_->now() - warned_at_ < kAcceptWarningInterval) return;
  warned_at_ = loop_->now();
  ETCDD_LOG(kWarn, "cannot accept a connection, pausing",
            {{"address", address_}, {"error", error}});
}

void Listener::Accept() {
  for (int i = 0; i < kAcceptsPerTurnMax; ++i) {
    paused_ = !owner_->MayAccept();
    if (paused_) return;
    SocketAddress peer;
    peer.size = sizeof peer.storage;
    const int fd = ::accept4(fd_, peer.get(), &peer.size, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (fd < 0) {
      if (errno == EAGAIN || errno == EWOULDBLOCK) return;
      if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM) {
        WarnOfPause(ErrnoText(errno));
        retry_timer_.Schedule(&loop_->timers(), loop_->now() + kAcceptPause);
        return;
      }
      continue;  // that client has gone again (ECONNABORTED and its kin)
    }
    if (!url_.unix_socket) {
      const int on = 1;
      ::setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    }
    owner_->OnAccepted(this, fd, AddressText(peer));
  }
  loop_->NextTurn(this);
}

}  // namespace etcdd::net
