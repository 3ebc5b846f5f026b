#include "server/discovery/byte_stream.h"

#include <netdb.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "absl/cleanup/cleanup.h"
#include "absl/strings/str_cat.h"
#include "server/base/check.h"
#include "server/base/status_macros.h"

namespace etcdd::discovery {
namespace {

// One wait in poll: the deadline is looked at again after it.
constexpr absl::Duration kPollMax = absl::Minutes(1);

absl::Status SystemError(const char* what, int error) {
  return absl::UnavailableError(absl::StrCat(what, ": ", strerror(error)));
}

class TcpStream final : public ByteStream {
 public:
  // Takes over the non-blocking socket.
  TcpStream(int fd, const base::Clock& clock) : fd_(fd), clock_(clock) {}
  ~TcpStream() override { close(fd_); }

  absl::StatusOr<size_t> Read(char* buffer, size_t size, absl::Duration deadline) override {
    ETCDD_CHECK(size > 0);
    for (;;) {
      const ssize_t got = recv(fd_, buffer, size, 0);
      if (got >= 0) return static_cast<size_t>(got);
      if (errno == EINTR) continue;
      if (errno != EAGAIN && errno != EWOULDBLOCK) return SystemError("read", errno);
      ETCDD_RETURN_IF_ERROR(Await(POLLIN, deadline));
    }
  }

  absl::Status WriteAll(std::string_view bytes, absl::Duration deadline) override {
    while (!bytes.empty()) {
      const ssize_t sent = send(fd_, bytes.data(), bytes.size(), MSG_NOSIGNAL);
      if (sent >= 0) {
        bytes.remove_prefix(static_cast<size_t>(sent));
        continue;
      }
      if (errno == EINTR) continue;
      if (errno != EAGAIN && errno != EWOULDBLOCK) return SystemError("write", errno);
      ETCDD_RETURN_IF_ERROR(Await(POLLOUT, deadline));
    }
    return absl::OkStatus();
  }

  // Waits until a connect that is under way has come to its end.
  absl::Status FinishConnect(absl::Duration deadline) {
    ETCDD_RETURN_IF_ERROR(Await(POLLOUT, deadline));
    int error = 0;
    socklen_t size = sizeof error;
    ETCDD_CHECK(getsockopt(fd_, SOL_SOCKET, SO_ERROR, &error, &size) == 0);
    return error == 0 ? absl::OkStatus() : SystemError("connect", error);
  }

 private:
  // OK when the socket is ready, or broken: the next call on it tells which.
  absl::Status Await(short events, absl::Duration deadline) {
    for (;;) {
      const absl::Duration left = deadline - clock_.Monotonic();
      if (left <= absl::ZeroDuration()) return absl::DeadlineExceededError("deadline exceeded");
      pollfd waiting{fd_, events, 0};
      const auto milliseconds = absl::ToInt64Milliseconds(std::min(left, kPollMax));
      const int ready = poll(&waiting, 1, static_cast<int>(milliseconds) + 1);
      if (ready > 0) return absl::OkStatus();
      if (ready < 0 && errno != EINTR) return SystemError("poll", errno);
    }
  }

  const int fd_;
  const base::Clock& clock_;
};

absl::StatusOr<std::unique_ptr<ByteStream>> DialAddress(const addrinfo& address,
                                                        const base::Clock& clock,
                                                        absl::Duration deadline) {
  const int fd = socket(address.ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  if (fd < 0) return SystemError("socket", errno);
  auto stream = std::make_unique<TcpStream>(fd, clock);
  if (connect(fd, address.ai_addr, address.ai_addrlen) == 0) return stream;
  if (errno != EINPROGRESS) return SystemError("connect", errno);
  ETCDD_RETURN_IF_ERROR(stream->FinishConnect(deadline));
  return stream;
}

}  // namespace

absl::StatusOr<std::unique_ptr<ByteStream>> DialTcp(const std::string& host, uint16_t port,
                                                    const base::Clock& clock,
                                                    absl::Duration deadline) {
  addrinfo hints{};
  hints.ai_family = AF_UNSPEC;
  hints.ai_socktype = SOCK_STREAM;
  addrinfo* found = nullptr;
  const int error = getaddrinfo(host.c_str(), absl::StrCat(port).c_str(), &hints, &found);
  if (error != 0) {
    return absl::UnavailableError(absl::StrCat("lookup ", host, ": ", gai_strerror(error)));
  }
  const absl::Cleanup release = [found] { freeaddrinfo(found); };
  absl::Status last = absl::UnavailableError(absl::StrCat("lookup ", host, ": no address"));
  for (const addrinfo* address = found; address != nullptr; address = address->ai_next) {
    auto stream = DialAddress(*address, clock, deadline);
    if (stream.ok()) return stream;
    last = stream.status();
  }
  return last;
}

}  // namespace etcdd::discovery
