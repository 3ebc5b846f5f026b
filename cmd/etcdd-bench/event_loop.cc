#include "cmd/etcdd-bench/event_loop.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstring>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "server/base/check.h"
#include "server/base/status_macros.h"

namespace etcdd::bench {
namespace {

constexpr size_t kReceiveBytes = 256 << 10;
constexpr int kEventsMax = 64;

absl::Status SystemError(absl::string_view what) {
  return absl::UnavailableError(absl::StrCat(what, ": ", strerror(errno)));
}

absl::StatusOr<sockaddr_in> ParseEndpoint(const std::string& endpoint) {
  const size_t colon = endpoint.rfind(':');
  uint32_t port = 0;
  if (colon == std::string::npos || !absl::SimpleAtoi(endpoint.substr(colon + 1), &port) ||
      port == 0 || port > 65535) {
    return absl::InvalidArgumentError(absl::StrCat("not host:port: ", endpoint));
  }
  std::string host = endpoint.substr(0, colon);
  if (host == "localhost") host = "127.0.0.1";
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(static_cast<uint16_t>(port));
  if (inet_pton(AF_INET, host.c_str(), &address.sin_addr) != 1) {
    return absl::InvalidArgumentError(absl::StrCat("not an IPv4 address: ", host));
  }
  return address;
}

}  // namespace

uint64_t MonotonicNow() {
  timespec time;
  clock_gettime(CLOCK_MONOTONIC, &time);
  return static_cast<uint64_t>(time.tv_sec) * kSecond + static_cast<uint64_t>(time.tv_nsec);
}

EventLoop::EventLoop() : epoll_(epoll_create1(EPOLL_CLOEXEC)), buffer_(kReceiveBytes) {
  ETCDD_CHECK(epoll_ >= 0);
  UpdateNow();
}

EventLoop::~EventLoop() {
  entries_.clear();
  close(epoll_);
}

absl::StatusOr<Connection*> EventLoop::Connect(const std::string& endpoint,
                                               ConnectionListener* listener) {
  ETCDD_ASSIGN_OR_RETURN(const sockaddr_in address, ParseEndpoint(endpoint));
  const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (fd < 0) return SystemError("socket");
  auto connection = std::make_unique<Connection>(fd, endpoint, listener);
  if (connect(fd, reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0) {
    return SystemError(absl::StrCat("connect to ", endpoint));
  }
  const int on = 1;
  setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  epoll_event event{};
  event.events = EPOLLIN;
  event.data.u64 = entries_.size();
  if (epoll_ctl(epoll_, EPOLL_CTL_ADD, fd, &event) != 0) return SystemError("epoll_ctl");
  entries_.push_back({std::move(connection), false});
  return entries_.back().connection.get();
}

absl::Status EventLoop::RunUntil(const std::function<bool()>& done,
                                 const std::function<uint64_t()>& wake_ns) {
  while (!done()) {
    ETCDD_RETURN_IF_ERROR(FlushAll());
    ETCDD_RETURN_IF_ERROR(Turn(wake_ns()));
  }
  return FlushAll();
}

absl::Status EventLoop::RunUntil(const std::function<bool()>& done, uint64_t deadline_ns) {
  const auto finished = [&] { return now_ >= deadline_ns || done(); };
  return RunUntil(finished, [deadline_ns] { return deadline_ns; });
}

absl::Status EventLoop::Turn(uint64_t wake_ns) {
  std::array<epoll_event, kEventsMax> events;
  timespec timeout{};
  const timespec* timeout_pointer = nullptr;
  if (wake_ns != UINT64_MAX) {
    const uint64_t now = MonotonicNow();
    const uint64_t wait = wake_ns > now ? wake_ns - now : 0;
    timeout.tv_sec = static_cast<time_t>(wait / kSecond);
    timeout.tv_nsec = static_cast<long>(wait % kSecond);
    timeout_pointer = &timeout;
  }
  const int n = epoll_pwait2(epoll_, events.data(), kEventsMax, timeout_pointer, nullptr);
  UpdateNow();
  if (n < 0) return errno == EINTR ? absl::OkStatus() : SystemError("epoll_wait");
  for (int i = 0; i < n; ++i) {
    const epoll_event& event = events[static_cast<size_t>(i)];
    Connection* connection = entries_[event.data.u64].connection.get();
    if ((event.events & (EPOLLIN | EPOLLERR | EPOLLHUP)) == 0) continue;  // FlushAll writes
    ETCDD_RETURN_IF_ERROR(Receive(connection));
    // Answers to this connection's replies leave before the next one's are looked at.
    if (const auto flushed = connection->Flush(); !flushed.ok()) return flushed.status();
  }
  return absl::OkStatus();
}

absl::Status EventLoop::Receive(Connection* connection) {
  const ssize_t n = recv(connection->fd(), buffer_.data(), buffer_.size(), MSG_DONTWAIT);
  absl::Status status;
  if (n > 0) {
    UpdateNow();
    status = connection->HandleInput({buffer_.data(), static_cast<size_t>(n)});
  } else if (n == 0) {
    status = absl::UnavailableError("the server closed the connection");
  } else if (errno != EAGAIN && errno != EWOULDBLOCK && errno != EINTR) {
    status = SystemError("recv");
  }
  if (!status.ok()) connection->Break(status);
  return status;
}

absl::Status EventLoop::FlushAll() {
  for (size_t i = 0; i < entries_.size(); ++i) {
    Entry& entry = entries_[i];
    if (!entry.connection->has_output() && !entry.waits_for_output) continue;
    ETCDD_ASSIGN_OR_RETURN(const bool empty, entry.connection->Flush());
    if (entry.waits_for_output == !empty) continue;
    entry.waits_for_output = !empty;
    epoll_event event{};
    event.events = empty ? EPOLLIN : EPOLLIN | EPOLLOUT;
    event.data.u64 = i;
    if (epoll_ctl(epoll_, EPOLL_CTL_MOD, entry.connection->fd(), &event) != 0) {
      return SystemError("epoll_ctl");
    }
  }
  return absl::OkStatus();
}

}  // namespace etcdd::bench
