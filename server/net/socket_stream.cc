#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#include <cerrno>

#include "server/base/check.h"
#include "server/net/byte_stream.h"

namespace etcdd::net {
namespace {

constexpr int kVectorsPerWrite = 512;  // IOV_MAX is 1024

class SocketStream final : public ByteStream {
 public:
  explicit SocketStream(int fd) : fd_(fd) { ETCDD_CHECK(fd >= 0); }
  ~SocketStream() override { ::close(fd_); }

  IoResult Read(char* into, size_t capacity, size_t* count) override {
    for (;;) {
      const ssize_t got = ::recv(fd_, into, capacity, 0);
      if (got > 0) {
        *count = static_cast<size_t>(got);
        return IoResult::kOk;
      }
      if (got == 0) return IoResult::kClosed;
      if (errno == EINTR) continue;
      return errno == EAGAIN || errno == EWOULDBLOCK ? IoResult::kWouldBlock : IoResult::kFailed;
    }
  }

  IoResult Write(OutputBuffer* output) override {
    iovec vectors[kVectorsPerWrite];
    while (!output->empty()) {
      msghdr message{};
      message.msg_iov = vectors;
      message.msg_iovlen = static_cast<size_t>(output->Vectors(vectors, kVectorsPerWrite));
      const ssize_t sent = ::sendmsg(fd_, &message, MSG_NOSIGNAL);
      if (sent >= 0) {
        output->Consume(static_cast<size_t>(sent));
        continue;
      }
      if (errno == EINTR) continue;
      return errno == EAGAIN || errno == EWOULDBLOCK ? IoResult::kWouldBlock : IoResult::kFailed;
    }
    return IoResult::kOk;
  }

  void ShutdownWrite() override { ::shutdown(fd_, SHUT_WR); }
  int fd() const override { return fd_; }

 private:
  const int fd_;
};

}  // namespace

std::unique_ptr<ByteStream> NewSocketStream(int fd) { return std::make_unique<SocketStream>(fd); }

}  // namespace etcdd::net
