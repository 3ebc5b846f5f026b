#include "server/net/dialer.h"

#include <arpa/inet.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/ascii.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "server/net/limits.h"
#include "server/net/timer_queue.h"

namespace etcdd::net {
namespace {

struct SocketAddress {
  sockaddr_storage storage{};
  socklen_t size = 0;
};

struct Lookup {
  std::vector<SocketAddress> addresses;
  std::string error;  // where there are none
};

std::string ErrorText(int error) { return absl::AsciiStrToLower(std::strerror(error)); }

Lookup LookUp(const DialTarget& target, bool numeric_only) {
  addrinfo hints{};
  hints.ai_family = AF_UNSPEC;
  hints.ai_socktype = SOCK_STREAM;
  hints.ai_flags = AI_NUMERICSERV | (numeric_only ? AI_NUMERICHOST : AI_ADDRCONFIG);
  addrinfo* found = nullptr;
  const int error =
      ::getaddrinfo(target.host.c_str(), absl::StrCat(target.port).c_str(), &hints, &found);
  Lookup result;
  if (error != 0) {
    const bool unknown = error == EAI_NONAME || error == EAI_NODATA;
    result.error = absl::StrCat("dial tcp: lookup ", target.host, ": ",
                                unknown ? "no such host" : ::gai_strerror(error));
    return result;
  }
  for (const addrinfo* info = found; info != nullptr; info = info->ai_next) {
    SocketAddress address;
    if (info->ai_addrlen > sizeof address.storage) continue;
    std::memcpy(&address.storage, info->ai_addr, info->ai_addrlen);
    address.size = info->ai_addrlen;
    result.addresses.push_back(address);
  }
  ::freeaddrinfo(found);
  return result;
}

std::string AddressText(const SocketAddress& address) {
  char host[NI_MAXHOST];
  char port[NI_MAXSERV];
  if (::getnameinfo(reinterpret_cast<const sockaddr*>(&address.storage), address.size, host,
                    sizeof host, port, sizeof port, NI_NUMERICHOST | NI_NUMERICSERV) != 0) {
    return "?";
  }
  const bool bracket = address.storage.ss_family == AF_INET6;
  return absl::StrCat(bracket ? "[" : "", host, bracket ? "]:" : ":", port);
}

}  // namespace

absl::StatusOr<DialTarget> ParseDialUrl(std::string_view url) {
  const auto bad = [url] {
    return absl::InvalidArgumentError(
        absl::StrCat("cannot dial ", absl::string_view(url.data(), url.size())));
  };
  DialTarget target;
  if (url.starts_with("http://")) {
    target.port = 80;
  } else if (url.starts_with("https://")) {
    target.tls = true;
    target.port = 443;
  } else {
    return bad();
  }
  std::string_view rest = url.substr(url.find("//") + 2);
  rest = rest.substr(0, rest.find('/'));
  target.authority = rest;
  std::string_view port;
  if (rest.starts_with('[')) {
    const size_t close = rest.find(']');
    if (close == std::string_view::npos) return bad();
    target.host = rest.substr(1, close - 1);
    port = rest.substr(close + 1);
  } else {
    const size_t colon = rest.find(':');
    target.host = rest.substr(0, colon);
    port = colon == std::string_view::npos ? "" : rest.substr(colon);
  }
  if (target.host.empty()) return bad();
  if (port.empty()) return target;
  uint32_t number = 0;
  const absl::string_view digits(port.data() + 1, port.size() - 1);
  if (port.front() != ':' || !absl::SimpleAtoi(digits, &number) || number == 0 ||
      number > UINT16_MAX) {
    return bad();
  }
  target.port = static_cast<uint16_t>(number);
  return target;
}

class Dialer::Connecting final : public Attempt, private IoHandler {
 public:
  Connecting(const Options* options, DialTarget target, absl::Duration wait_max, Done done)
      : options_(options),
        target_(std::move(target)),
        deadline_(options->loop->now() + wait_max),
        done_(std::move(done)),
        timer_([this] { OnTimeout(); }) {}

  ~Connecting() override {
    *alive_ = false;
    CloseSocket();
  }

  void Start() {
    timer_.Schedule(&loop().timers(), deadline_);
    // Posted: `done` must not be called from within Dial.
    if (target_.tls && !options_->tls) {
      return Post({{}, absl::StrCat("dial tcp ", target_.authority, ": no TLS configured")});
    }
    Lookup numeric = LookUp(target_, true);
    if (!numeric.addresses.empty() || options_->resolver == nullptr) {
      return Post(std::move(numeric));
    }
    options_->resolver->Post([loop = options_->loop, target = target_, alive = alive_, this] {
      loop->Post([found = LookUp(target, false), alive, this]() mutable {
        if (*alive) OnLookup(std::move(found));
      });
    });
  }

 private:
  EventLoop& loop() const { return *options_->loop; }

  void Post(Lookup found) {
    loop().Post([found = std::move(found), alive = alive_, this]() mutable {
      if (*alive) OnLookup(std::move(found));
    });
  }

  void OnLookup(Lookup found) {
    found_ = std::move(found);
    error_ = found_.error;
    TryNext();
  }

  void TryNext() {
    for (; next_ < found_.addresses.size(); ++next_) {
      const SocketAddress& address = found_.addresses[next_];
      fd_ = ::socket(address.storage.ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
      if (fd_ < 0) {
        Note(address, "socket", ErrorText(errno));
        continue;
      }
      const int one = 1;
      ::setsockopt(fd_, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
      ::setsockopt(fd_, SOL_SOCKET, SO_KEEPALIVE, &one, sizeof one);
      const auto* const where = reinterpret_cast<const sockaddr*>(&address.storage);
      if (::connect(fd_, where, address.size) == 0) return Finish();
      if (errno == EINPROGRESS) {
        const auto left = static_cast<int64_t>(found_.addresses.size() - next_);
        timer_.Schedule(&loop().timers(), loop().now() + (deadline_ - loop().now()) / left);
        loop().Watch(fd_, this);
        watched_ = true;
        return;
      }
      Note(address, "connect", ErrorText(errno));
      CloseSocket();
    }
    Tell(absl::UnavailableError(error_));
  }

  void OnReady(uint32_t events) override {
    if ((events & (EPOLLOUT | EPOLLERR | EPOLLHUP)) == 0) return;
    int error = 0;
    socklen_t size = sizeof error;
    if (::getsockopt(fd_, SOL_SOCKET, SO_ERROR, &error, &size) != 0) error = errno;
    if (error == 0) return Finish();
    Note(found_.addresses[next_], "connect", ErrorText(error));
    CloseSocket();
    ++next_;
    TryNext();
  }

  void OnTimeout() {
    if (fd_ < 0) {
      return Tell(absl::UnavailableError(
          absl::StrCat("dial tcp: lookup ", target_.host, ": i/o timeout")));
    }
    Note(found_.addresses[next_], "", "i/o timeout");
    CloseSocket();
    ++next_;
    TryNext();
  }

  void Note(const SocketAddress& address, std::string_view call, std::string_view text) {
    error_ = absl::StrCat("dial tcp ", AddressText(address), ": ", std::string(call),
                          call.empty() ? "" : ": ", std::string(text));
  }

  void CloseSocket() {
    if (fd_ < 0) return;
    if (std::exchange(watched_, false)) loop().Unwatch(fd_, this);
    ::close(std::exchange(fd_, -1));
  }

  void Finish() {
    if (std::exchange(watched_, false)) loop().Unwatch(fd_, this);
    const int fd = std::exchange(fd_, -1);
    Tell(target_.tls ? options_->tls(fd, target_) : NewSocketStream(fd));
  }

  void Tell(Result result) {
    timer_.Cancel();
    Done done = std::exchange(done_, nullptr);
    done(std::move(result));  // may destroy this
  }

  const Options* const options_;
  const DialTarget target_;
  const absl::Duration deadline_;
  Done done_;
  Lookup found_;
  size_t next_ = 0;  // the address being tried
  int fd_ = -1;
  bool watched_ = false;
  std::string error_;  // of the last address
  Timer timer_;
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

Dialer::Dialer(Options options)
    : options_(std::move(options)), receive_buffer_(kReceiveBufferBytes) {}

std::unique_ptr<Dialer::Attempt> Dialer::Dial(DialTarget target, absl::Duration wait_max,
                                              Done done) {
  auto attempt = std::make_unique<Connecting>(&options_, std::move(target), wait_max,
                                              std::move(done));
  attempt->Start();
  return attempt;
}

}  // namespace etcdd::net
