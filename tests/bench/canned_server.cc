#include "tests/bench/canned_server.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <utility>
#include <vector>

#include "server/base/check.h"

namespace etcdd::bench {
namespace {

constexpr uint32_t kWindowUpdateBytes = 16384;
constexpr uint16_t kSettingConcurrentStreams = 3;

void Register(int epoll, int fd) {
  epoll_event event{};
  event.events = EPOLLIN;
  event.data.fd = fd;
  ETCDD_CHECK(epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event) == 0);
}

void AppendFrame(FrameHeader header, std::string_view payload, std::string* out) {
  header.length = static_cast<uint32_t>(payload.size());
  AppendFrameHeader(header, out);
  out->append(payload);
}

}  // namespace

CannedServer::CannedServer(Answer answer, uint16_t port) : answer_(std::move(answer)) {
  if (!answer_.message.empty()) AppendGrpcMessage(answer_.message, &framed_message_);
  listener_ = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(port);
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t size = sizeof address;
  ETCDD_CHECK(bind(listener_, reinterpret_cast<sockaddr*>(&address), size) == 0);
  ETCDD_CHECK(listen(listener_, 128) == 0);
  ETCDD_CHECK(getsockname(listener_, reinterpret_cast<sockaddr*>(&address), &size) == 0);
  endpoint_ = "127.0.0.1:" + std::to_string(ntohs(address.sin_port));
  epoll_ = epoll_create1(EPOLL_CLOEXEC);
  stop_ = eventfd(0, EFD_CLOEXEC);
  Register(epoll_, listener_);
  Register(epoll_, stop_);
  thread_ = std::thread([this] { Run(); });
}

CannedServer::~CannedServer() {
  const uint64_t one = 1;
  ETCDD_CHECK(write(stop_, &one, sizeof one) == sizeof one);
  thread_.join();
  for (const auto& [fd, client] : clients_) close(fd);
  close(listener_);
  close(stop_);
  close(epoll_);
}

void CannedServer::Run() {
  std::array<epoll_event, 64> events;
  for (;;) {
    const int n = epoll_wait(epoll_, events.data(), static_cast<int>(events.size()), -1);
    for (int i = 0; i < n; ++i) {
      const int fd = events[static_cast<size_t>(i)].data.fd;
      if (fd == stop_) return;
      if (fd == listener_) {
        Accept();
      } else if (!Serve(fd, &clients_[fd])) {
        close(fd);
        clients_.erase(fd);
      }
    }
  }
}

void CannedServer::Accept() {
  const int fd = accept4(listener_, nullptr, nullptr, SOCK_CLOEXEC);
  if (fd < 0) return;
  const int on = 1;
  setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  Client& client = clients_[fd];
  std::string settings;
  if (answer_.streams_max > 0) {
    settings = {static_cast<char>(0), static_cast<char>(kSettingConcurrentStreams)};
    AppendBigEndian32(answer_.streams_max, &settings);
  }
  AppendFrame({0, kSettingsFrame, 0, 0}, settings, &client.output);
  Register(epoll_, fd);
}

// False when the connection has ended. The preface passes as if it were input of a frame: it is
// taken off before the first one.
bool CannedServer::Serve(int fd, Client* client) {
  std::array<char, 65536> buffer;
  const ssize_t n = recv(fd, buffer.data(), buffer.size(), MSG_DONTWAIT);
  if (n <= 0) return false;
  client->input.append(buffer.data(), static_cast<size_t>(n));
  std::string_view input = client->input;
  if (input.substr(0, kClientPreface.size()) == kClientPreface) {
    input.remove_prefix(kClientPreface.size());
  }
  while (input.size() >= kFrameHeaderBytes) {
    const FrameHeader header = ParseFrameHeader(input.data());
    if (input.size() < kFrameHeaderBytes + header.length) break;
    HandleFrame(header, client);
    input.remove_prefix(kFrameHeaderBytes + header.length);
  }
  client->input = std::string(input);
  // Blocking: clients of these tests always read.
  for (std::string_view output = client->output; !output.empty();) {
    const ssize_t sent = send(fd, output.data(), output.size(), MSG_NOSIGNAL);
    if (sent <= 0) return false;
    output.remove_prefix(static_cast<size_t>(sent));
  }
  client->output.clear();
  return true;
}

void CannedServer::HandleFrame(const FrameHeader& header, Client* client) {
  if (header.type == kSettingsFrame && !header.Has(kAckFlag)) {
    AppendFrame({0, kSettingsFrame, kAckFlag, 0}, "", &client->output);
  }
  if (header.type != kDataFrame) return;
  client->unacknowledged_bytes += header.length;
  if (client->unacknowledged_bytes >= kWindowUpdateBytes) {
    std::string bytes;
    AppendBigEndian32(client->unacknowledged_bytes, &bytes);
    AppendFrame({0, kWindowUpdateFrame, 0, 0}, bytes, &client->output);
    client->unacknowledged_bytes = 0;
  }
  if (answer_.keep_open || header.Has(kEndStreamFlag)) AppendAnswer(header.stream_id, client);
}

// The first answer of a connection puts content-type, grpc-status and grpc-message into the
// client's table (entries 64, 63 and 62 then), later ones refer to them, as real servers do.
void CannedServer::AppendAnswer(uint32_t stream_id, Client* client) {
  if (answer_.keep_open) {
    if (!client->answered) {
      AppendFrame({0, kHeadersFrame, kEndHeadersFlag, stream_id}, "\x88", &client->output);
    }
    AppendFrame({0, kDataFrame, 0, stream_id}, framed_message_, &client->output);
    client->answered = true;
    return;
  }
  std::string headers = "\x88";
  std::string trailers;
  if (client->answered) {
    headers += "\xc0";
    trailers = "\xbf\xbe";
  } else {
    headers += "\x5f\x10" "application/grpc";
    trailers = std::string("\x40\x0b" "grpc-status\x01") + answer_.grpc_status +
               std::string("\x40\x0c" "grpc-message\x00", 15);
  }
  client->answered = true;
  AppendFrame({0, kHeadersFrame, kEndHeadersFlag, stream_id}, headers, &client->output);
  if (!framed_message_.empty()) {
    AppendFrame({0, kDataFrame, 0, stream_id}, framed_message_, &client->output);
  }
  AppendFrame({0, kHeadersFrame, kEndHeadersFlag | kEndStreamFlag, stream_id}, trailers,
              &client->output);
}

}  // namespace etcdd::bench
