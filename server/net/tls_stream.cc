#include "server/net/tls_stream.h"

#include <openssl/err.h>
#include <openssl/x509v3.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>

#include "server/base/check.h"
#include "server/base/log.h"
#include "server/net/limits.h"
#include "server/net/tls_verify.h"

namespace etcdd::net {
namespace {

constexpr size_t kRecordBytes = SSL3_RT_MAX_PLAIN_LENGTH;
constexpr int kVectorsPerBatch = 64;
// Capacity for records that an idle stream keeps.
constexpr size_t kKeptCipherBytesMax = 4 << 10;

// The socket as OpenSSL sees it. Reads go to the socket at once; writes are collected, since one
// flush may be many records.
class SocketBio {
 public:
  explicit SocketBio(int fd) : fd_(fd) { ETCDD_CHECK(fd >= 0); }
  ~SocketBio() { ::close(fd_); }
  SocketBio(const SocketBio&) = delete;
  SocketBio& operator=(const SocketBio&) = delete;

  // A BIO that reads and writes here, which it must not outlive.
  BIO* New() {
    BIO* bio = BIO_new(Method());
    ETCDD_CHECK(bio != nullptr);
    BIO_set_data(bio, this);
    BIO_set_init(bio, 1);
    return bio;
  }

  void Reserve(size_t bytes) { waiting_.reserve(bytes); }
  // Gives what was collected to the kernel. kOk: all of it.
  IoResult Send() {
    while (sent_ < waiting_.size()) {
      const ssize_t sent =
          ::send(fd_, waiting_.data() + sent_, waiting_.size() - sent_, MSG_NOSIGNAL);
      if (sent >= 0) {
        sent_ += static_cast<size_t>(sent);
        continue;
      }
      if (errno == EINTR) continue;
      if (errno == EAGAIN || errno == EWOULDBLOCK) return IoResult::kWouldBlock;
      broken_ = errno;
      return IoResult::kFailed;
    }
    sent_ = 0;
    if (waiting_.capacity() > kKeptCipherBytesMax) {
      waiting_ = std::string();
    } else {
      waiting_.clear();
    }
    return IoResult::kOk;
  }

  // Bytes of the socket which nobody will decrypt any more.
  IoResult Discard(char* into, size_t capacity, size_t* count) {
    const ssize_t got = Receive(into, capacity);
    if (got > 0) *count = static_cast<size_t>(got);
    if (got > 0) return IoResult::kOk;
    if (got == 0) return IoResult::kClosed;
    return broken_ == 0 ? IoResult::kWouldBlock : IoResult::kFailed;
  }

  bool holds_output() const { return sent_ < waiting_.size(); }
  bool ended() const { return ended_; }
  int broken() const { return broken_; }  // errno of the socket's failure; 0: none
  int fd() const { return fd_; }

 private:
  // -1 with broken_ == 0: nothing there now.
  ssize_t Receive(char* into, size_t capacity) {
    for (;;) {
      const ssize_t got = ::recv(fd_, into, capacity, 0);
      if (got == 0) ended_ = true;
      if (got >= 0) return got;
      if (errno == EINTR) continue;
      if (errno != EAGAIN && errno != EWOULDBLOCK) broken_ = errno;
      return -1;
    }
  }

  static SocketBio* Self(BIO* bio) { return static_cast<SocketBio*>(BIO_get_data(bio)); }

  static int OnRead(BIO* bio, char* into, int capacity) {
    BIO_clear_retry_flags(bio);
    SocketBio* self = Self(bio);
    const ssize_t got = self->Receive(into, static_cast<size_t>(capacity));
    if (got < 0 && self->broken_ == 0) BIO_set_retry_read(bio);
    return static_cast<int>(got);
  }

  static int OnWrite(BIO* bio, const char* bytes, int count) {
    BIO_clear_retry_flags(bio);
    Self(bio)->waiting_.append(bytes, static_cast<size_t>(count));
    return count;
  }

  static long OnControl(BIO* bio, int command, long, void*) {
    if (command == BIO_CTRL_FLUSH) return 1;
    return command == BIO_CTRL_EOF && Self(bio)->ended_ ? 1 : 0;
  }

  static const BIO_METHOD* Method() {
    static const BIO_METHOD* const kMethod = [] {
      BIO_METHOD* method =
          BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "etcdd socket");
      ETCDD_CHECK(method != nullptr);
      BIO_meth_set_read(method, OnRead);
      BIO_meth_set_write(method, OnWrite);
      BIO_meth_set_ctrl(method, OnControl);
      return method;
    }();
    return kMethod;
  }

  const int fd_;
  std::string waiting_;  // records; the first sent_ bytes are with the kernel
  size_t sent_ = 0;
  bool ended_ = false;
  int broken_ = 0;
};

class TlsStream final : public ByteStream {
 public:
  // `remote` is set on the accepting side only.
  TlsStream(int fd, TlsContext* context, std::string remote)
      : context_(context), remote_(std::move(remote)), socket_(fd), state_(context->Current()) {
    ssl_.reset(SSL_new(state_->context.get()));
    ETCDD_CHECK(ssl_ != nullptr);
    BIO* bio = socket_.New();
    SSL_set_bio(ssl_.get(), bio, bio);
    facts_.config = &context->config();
    facts_.revoked = state_->revoked;
    SetHandshakeFacts(ssl_.get(), &facts_);
  }

  void Accept() { SSL_set_accept_state(ssl_.get()); }
  void Connect(const std::string& hostname);

  IoResult Read(char* into, size_t capacity, size_t* count) override;
  IoResult Write(OutputBuffer* output) override;
  void ShutdownWrite() override;
  int fd() const override { return socket_.fd(); }
  bool has_pending() const override { return end_ != IoResult::kOk && !refused_; }
  bool holds_output() const override { return socket_.holds_output(); }
  bool ready() const override { return ready_; }
  std::string_view peer_common_name() const override { return common_name_; }
  std::string error_text() const override { return error_; }
  void AbandonHandshake(std::string_view reason) override {
    if (!ready_ && !refused_) Refuse(std::string(reason), true);
  }

 private:
  IoResult Handshake();
  // OpenSSL is content; the rest of the rules.
  IoResult OnShaken();
  // The handshake has failed.
  void Refuse(std::string why, bool worth_a_warning);
  void LogRefusal(bool warn) const;
  // What an SSL call that returned `outcome` means for the caller.
  IoResult After(int outcome);
  // Turns up to kTlsBatchBytes of `output` into records. False: the stream is broken.
  bool Encrypt(OutputBuffer* output);
  bool EncryptPiece(const char* bytes, size_t count);
  IoResult SendOutput();

  TlsContext* const context_;
  const std::string remote_;
  SocketBio socket_;
  std::shared_ptr<const TlsState> state_;  // until the handshake is over
  TlsHandshakeFacts facts_;
  SslPtr ssl_;
  bool ready_ = false;
  bool refused_ = false;            // the handshake has failed
  bool close_after_output_ = false;  // ShutdownWrite waits for what the kernel did not take
  IoResult end_ = IoResult::kOk;    // kClosed or kFailed: what Read tells from now on
  std::string common_name_;
  std::string error_;
};

void TlsStream::Connect(const std::string& hostname) {
  SSL* const ssl = ssl_.get();
  SSL_set_connect_state(ssl);
  const std::string host = WithoutBrackets(hostname);
  SSL_set_hostflags(ssl, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS |
                             X509_CHECK_FLAG_NEVER_CHECK_SUBJECT);
  if (IsIpAddress(host)) {
    ETCDD_CHECK(X509_VERIFY_PARAM_set1_ip_asc(SSL_get0_param(ssl), host.c_str()) == 1);
  } else {
    ETCDD_CHECK(SSL_set1_host(ssl, host.c_str()) == 1);
    if (!host.empty()) SSL_set_tlsext_host_name(ssl, host.c_str());
  }
}

IoResult TlsStream::After(int outcome) {
  switch (SSL_get_error(ssl_.get(), outcome)) {
    case SSL_ERROR_WANT_READ:
    case SSL_ERROR_WANT_WRITE: return IoResult::kWouldBlock;
    case SSL_ERROR_ZERO_RETURN: return IoResult::kClosed;
    default: return IoResult::kFailed;
  }
}

IoResult TlsStream::Handshake() {
  if (refused_) return IoResult::kFailed;
  ERR_clear_error();
  const int outcome = SSL_do_handshake(ssl_.get());
  const IoResult result = outcome == 1 ? IoResult::kOk : After(outcome);
  const bool gone = socket_.ended() || socket_.broken() != 0;
  const std::string why =
      result == IoResult::kFailed || result == IoResult::kClosed
          ? (socket_.broken() != 0 ? std::string(std::strerror(socket_.broken()))
                                   : socket_.ended() ? "EOF" : HandshakeErrorText(facts_.refusal))
          : std::string();
  const IoResult sent = SendOutput();  // our part of the handshake, or the alert
  if (!why.empty()) {
    Refuse(why, !gone);
    return IoResult::kFailed;
  }
  if (sent == IoResult::kFailed) {
    Refuse(std::strerror(socket_.broken()), false);
    return IoResult::kFailed;
  }
  return result == IoResult::kOk ? OnShaken() : result;
}

IoResult TlsStream::OnShaken() {
  X509* const certificate = SSL_get0_peer_certificate(ssl_.get());
  if (context_->config().check_client_address && !remote_.empty() && certificate != nullptr) {
    const std::string refusal = AddressRefusal(certificate, remote_);
    if (!refusal.empty()) {
      Refuse(refusal, true);
      return IoResult::kFailed;
    }
  }
  ready_ = true;
  state_.reset();
  facts_.revoked.reset();
  if (certificate != nullptr && SSL_get_verify_result(ssl_.get()) == X509_V_OK) {
    common_name_ = CommonName(certificate);
  }
  return IoResult::kOk;
}

void TlsStream::Refuse(std::string why, bool worth_a_warning) {
  refused_ = true;
  end_ = IoResult::kFailed;
  error_ = std::move(why);
  if (!remote_.empty()) LogRefusal(worth_a_warning);
}

void TlsStream::LogRefusal(bool warn) const {
  const char* message = context_->config().for_peers ? "rejected connection on peer endpoint"
                                                     : "rejected connection on client endpoint";
  const char* asked = SSL_get_servername(ssl_.get(), TLSEXT_NAMETYPE_host_name);
  const std::string server_name = asked == nullptr ? "" : asked;
  const base::LogLevel level = warn ? base::LogLevel::kWarn : base::LogLevel::kDebug;
  if (!base::LogEnabled(level)) return;
  X509* const certificate = SSL_get0_peer_certificate(ssl_.get());
  if (certificate == nullptr) {
    base::Log(level, "", __FILE__, __LINE__, message,
              {{"remote-addr", remote_}, {"server-name", server_name}, {"error", error_}});
    return;
  }
  base::Log(level, "", __FILE__, __LINE__, message,
            {{"remote-addr", remote_},
             {"server-name", server_name},
             {"ip-addresses", IpAddresses(certificate)},
             {"dns-names", DnsNames(certificate)},
             {"error", error_}});
}

IoResult TlsStream::Read(char* into, size_t capacity, size_t* count) {
  *count = 0;
  if (refused_) {
    SendOutput();
    return socket_.Discard(into, capacity, count);
  }
  if (end_ != IoResult::kOk) return end_;
  if (!ready_) {
    const IoResult shaken = Handshake();
    if (shaken != IoResult::kOk) return shaken;
  }
  size_t done = 0;
  IoResult result = IoResult::kOk;
  while (done < capacity && result == IoResult::kOk) {
    size_t got = 0;
    ERR_clear_error();
    const int outcome = SSL_read_ex(ssl_.get(), into + done, capacity - done, &got);
    if (outcome == 1) {
      done += got;
    } else {
      result = After(outcome);
    }
  }
  if (result == IoResult::kClosed || result == IoResult::kFailed) end_ = result;
  if (result == IoResult::kFailed) error_ = HandshakeErrorText({});
  // Reading can make records of its own: answers to key updates, alerts.
  if (socket_.holds_output() && SendOutput() == IoResult::kFailed && done == 0) {
    return end_ = IoResult::kFailed;
  }
  if (done == 0) return result;
  *count = done;
  return IoResult::kOk;
}

IoResult TlsStream::SendOutput() {
  const IoResult result = socket_.Send();
  if (result == IoResult::kOk && close_after_output_) {
    close_after_output_ = false;
    ::shutdown(socket_.fd(), SHUT_WR);
  }
  return result;
}

IoResult TlsStream::Write(OutputBuffer* output) {
  if (!ready_) {
    const IoResult shaken = Handshake();
    if (shaken != IoResult::kOk) return shaken;
  }
  for (;;) {
    const IoResult sent = SendOutput();
    if (sent != IoResult::kOk || output->empty()) return sent;
    if (!Encrypt(output)) return IoResult::kFailed;
  }
}

bool TlsStream::EncryptPiece(const char* bytes, size_t count) {
  size_t written = 0;
  ERR_clear_error();
  // All or nothing: the collecting BIO never asks to wait.
  if (SSL_write_ex(ssl_.get(), bytes, count, &written) == 1) return true;
  error_ = HandshakeErrorText({});
  end_ = IoResult::kFailed;
  return false;
}

bool TlsStream::Encrypt(OutputBuffer* output) {
  iovec vectors[kVectorsPerBatch];
  const int count = output->Vectors(vectors, kVectorsPerBatch);
  socket_.Reserve(std::min(output->size(), kTlsBatchBytes) + kRecordBytes / 4);
  // Short pieces are put together: a record costs as much for 20 bytes as for some thousand.
  char joined[kRecordBytes];
  size_t joined_bytes = 0;
  size_t taken = 0;
  for (int i = 0; i < count && taken < kTlsBatchBytes; ++i) {
    const char* piece = static_cast<const char*>(vectors[i].iov_base);
    size_t left = std::min(vectors[i].iov_len, kTlsBatchBytes - taken);
    taken += left;
    while (left > 0) {
      if (joined_bytes == 0 && left >= kRecordBytes) {
        const size_t whole = left - left % kRecordBytes;
        if (!EncryptPiece(piece, whole)) return false;
        piece += whole;
        left -= whole;
        continue;
      }
      const size_t part = std::min(left, kRecordBytes - joined_bytes);
      std::memcpy(joined + joined_bytes, piece, part);
      joined_bytes += part;
      piece += part;
      left -= part;
      if (joined_bytes < kRecordBytes) continue;
      if (!EncryptPiece(joined, joined_bytes)) return false;
      joined_bytes = 0;
    }
  }
  if (joined_bytes > 0 && !EncryptPiece(joined, joined_bytes)) return false;
  output->Consume(taken);
  return true;
}

void TlsStream::ShutdownWrite() {
  if (ready_ && end_ != IoResult::kFailed) {
    ERR_clear_error();
    SSL_shutdown(ssl_.get());  // writes the close_notify; the other side's is not waited for
    ERR_clear_error();
  }
  close_after_output_ = true;
  SendOutput();
}

}  // namespace

std::unique_ptr<ByteStream> NewTlsServerStream(int fd, TlsServerContext* context,
                                               std::string remote) {
  auto stream = std::make_unique<TlsStream>(fd, context, std::move(remote));
  stream->Accept();
  return stream;
}

std::unique_ptr<ByteStream> NewTlsClientStream(int fd, TlsClientContext* context,
                                               const std::string& hostname) {
  auto stream = std::make_unique<TlsStream>(fd, context, std::string());
  stream->Connect(hostname);
  return stream;
}

}  // namespace etcdd::net
