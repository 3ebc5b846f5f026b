#include "server/net/connection.h"

#include <sys/epoll.h>

#include <algorithm>
#include <utility>

#include "server/base/check.h"

namespace etcdd::net {
namespace {

// No HTTP/1.1 method begins like this, so three bytes of the HTTP/2 preface decide.
constexpr std::string_view kHttp2Start = "PRI";

}  // namespace

Connection::Connection(LoopShared* shared, const Services* services, Owner* owner,
                       std::unique_ptr<ByteStream> stream, std::string peer)
    : shared_(shared),
      services_(services),
      owner_(owner),
      stream_(std::move(stream)),
      peer_(std::make_shared<const RemotePeer>(RemotePeer{std::move(peer), {}})),
      shaking_hands_(!stream_->ready()),
      flush_hook_(this, &Connection::Flush),
      read_hook_(this, &Connection::ReadInput),
      timer_([this] { OnTimeout(); }) {
  loop().Watch(stream_->fd(), this);
  timer_.Schedule(&loop().timers(),
                  loop().now() + (shaking_hands_ ? kTlsHandshakeMax : kPrefaceWaitMax));
}

Connection::~Connection() {
  ETCDD_CHECK(stream_ == nullptr);
}

void Connection::WantFlush() {
  if (stream_ != nullptr) loop().AtEndOfTurn(&flush_hook_);
}

void Connection::WantInput() {
  if (paused_ && stream_ != nullptr) loop().NextTurn(&read_hook_);
}

void Connection::OnReady(uint32_t events) {
  if ((events & (EPOLLRDHUP | EPOLLHUP | EPOLLERR)) != 0) hung_up_ = true;
  if ((events & EPOLLOUT) != 0 && unsent_ != nullptr) {
    WantFlush();
  } else if ((events & EPOLLOUT) != 0 && stream_->holds_output()) {
    OutputBuffer nothing;
    stream_->Write(&nothing);  // a failure is told to Read as well
  }
  if ((events & (EPOLLIN | EPOLLRDHUP | EPOLLHUP | EPOLLERR)) != 0) ReadInput();
}

void Connection::ReadInput() {
  if (stream_ == nullptr) return;
  paused_ = session_ != nullptr && !session_->wants_input();
  if (paused_ || (shaking_hands_ && !MayShakeHands())) return;
  char* const buffer = shared_->receive_buffer.data();
  size_t count = 0;
  const IoResult result = stream_->Read(buffer, kReceiveBufferBytes, &count);
  if (shaking_hands_ && stream_->ready()) OnHandshakeDone();
  switch (result) {
    case IoResult::kOk: break;
    case IoResult::kWouldBlock: return;
    case IoResult::kFailed:
      // The client is given time to read the alert: closing now could overtake it.
      if (shaking_hands_ && !lingering_) return Linger();
      [[fallthrough]];
    case IoResult::kClosed: Close(); return;
  }
  if (count == kReceiveBufferBytes || hung_up_ || stream_->has_pending()) {
    loop().NextTurn(&read_hook_);
  }
  if (!lingering_) Process({buffer, count});
}

bool Connection::MayShakeHands() {
  if (lingering_) return true;
  if (shared_->handshake_turn != loop().now()) {
    shared_->handshake_turn = loop().now();
    shared_->handshake_steps = 0;
  }
  if (shared_->handshake_steps >= kTlsHandshakeStepsPerTurnMax) {
    loop().NextTurn(&read_hook_);
    return false;
  }
  ++shared_->handshake_steps;
  return true;
}

void Connection::OnHandshakeDone() {
  shaking_hands_ = false;
  peer_ = std::make_shared<const RemotePeer>(
      RemotePeer{peer_->address, std::string(stream_->peer_common_name()), true});
  timer_.Schedule(&loop().timers(), loop().now() + kPrefaceWaitMax);
}

void Connection::OnTimeout() {
  if (shaking_hands_) stream_->AbandonHandshake("TLS handshake timed out");
  Close();
}

void Connection::Process(std::string_view bytes) {
  if (session_ != nullptr) {
    session_->Receive(bytes);
    return;
  }
  first_bytes_.append(bytes);
  if (!ChooseProtocol() || session_ == nullptr) return;
  const std::string first = std::exchange(first_bytes_, std::string());
  session_->Receive(first);
  if (draining_) session_->Drain();
}

bool Connection::ChooseProtocol() {
  const size_t known = std::min(first_bytes_.size(), kHttp2Start.size());
  const bool http2 =
      first_bytes_.compare(0, known, kHttp2Start, 0, known) == 0;
  if (http2 && known < kHttp2Start.size()) return true;  // cannot tell yet
  SessionHost* const host = this;
  if (http2 && services_->http2 != nullptr) {
    session_ = std::make_unique<Http2Session>(services_->http2, host, &shared_->calls,
                                              &shared_->memory);
  } else if (!http2 && services_->http1 != nullptr) {
    session_ = std::make_unique<Http1Session>(services_->http1, host);
  } else {
    Close();
    return false;
  }
  timer_.Cancel();
  return true;
}

void Connection::Flush() {
  if (stream_ == nullptr || session_ == nullptr) return;
  if (unsent_ != nullptr) {
    const IoResult result = stream_->Write(unsent_.get());
    if (result == IoResult::kWouldBlock) return;
    if (result != IoResult::kOk) return Close();
    unsent_.reset();
    session_->SetOutputBlocked(false);
    WantInput();
  }
  OutputBuffer& out = shared_->output;
  for (int round = 0; round < kWritesPerTurnMax; ++round) {
    session_->Produce(&out);
    if (out.empty()) {
      if (session_->finished()) Linger();
      return;
    }
    const IoResult result = stream_->Write(&out);
    if (result == IoResult::kWouldBlock) {
      unsent_ = std::make_unique<OutputBuffer>(std::exchange(out, OutputBuffer()));
      session_->SetOutputBlocked(true);
      return;
    }
    out.Clear();
    if (result != IoResult::kOk) return Close();
  }
  loop().NextTurn(&flush_hook_);
}

void Connection::Linger() {
  lingering_ = true;
  if (session_ != nullptr) session_->OnConnectionLost();
  session_.reset();
  stream_->ShutdownWrite();
  timer_.Schedule(&loop().timers(), loop().now() + kLingerMax);
  loop().NextTurn(&read_hook_);
}

void Connection::Drain() {
  if (stream_ == nullptr || lingering_) return;
  draining_ = true;
  if (session_ != nullptr) {
    session_->Drain();
  } else {
    Close();  // it has not asked for anything yet
  }
}

void Connection::Close() {
  if (stream_ == nullptr) return;
  timer_.Cancel();
  if (session_ != nullptr) {
    session_->OnConnectionLost();
    session_.reset();
  }
  loop().Forget(&flush_hook_);
  loop().Forget(&read_hook_);
  loop().Unwatch(stream_->fd(), this);
  stream_.reset();
  unsent_.reset();
  owner_->OnConnectionClosed(this);
}

}  // namespace etcdd::net
