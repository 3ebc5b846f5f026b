#include "server/transport/stream_writer.h"

#include <utility>

#include "server/base/check.h"
#include "server/base/log.h"
#include "server/transport/limits.h"

namespace etcdd::transport {
namespace {

size_t EntryBytes(const raft::Message& message) {
  size_t total = 0;
  for (const raft::Entry& entry : message.entries) total += entry.data.size();
  return total;
}

}  // namespace

StreamWriter::StreamWriter(Context* context, PeerHost* host, StreamKind kind)
    : context_(context), host_(host), kind_(kind), timer_([this] { OnTimer(); }) {}

StreamWriter::~StreamWriter() { Detach(); }

void StreamWriter::Attach(std::shared_ptr<net::Http1Exchange> exchange) {
  if (attached()) {
    ETCDD_LOG(kWarn, "closed TCP streaming connection with remote peer",
              {{"stream-writer-type", StreamTypeName(kind_)},
               {"local-member-id", base::LogId(context_->self.id)},
               {"remote-peer-id", base::LogId(host_->id())}});
    Detach();
  }
  exchange_ = std::move(exchange);
  encoder_ = NewStreamEncoder(kind_);
  exchange_->OnCancel([this] { Lose("connection closed by the remote peer"); });
  exchange_->OnWritable([this] { OnWritable(); });
  net::Http1Response head;
  head.headers = AnswerHeaders(context_->self);
  exchange_->StartStream(std::move(head));
  // At once: the reader knows then that the stream stands.
  encoder_->EncodeLinkHeartbeat(&frames_);
  Send();
  timer_.Schedule(&context_->loop->timers(), context_->loop->now() + kLinkHeartbeatInterval);
  ETCDD_LOG(kInfo, "established TCP streaming connection with remote peer",
            {{"stream-writer-type", StreamTypeName(kind_)},
             {"local-member-id", base::LogId(context_->self.id)},
             {"remote-peer-id", base::LogId(host_->id())}});
}

bool StreamWriter::Write(raft::Message message) {
  ETCDD_CHECK(attached());
  if (!blocked_) {
    Encode(message);
    return true;
  }
  const size_t bytes = EntryBytes(message);
  if (queue_.size() >= kStreamQueueMessagesMax || queue_bytes_ + bytes > kStreamQueueBytesMax) {
    return false;
  }
  queue_bytes_ += bytes;
  queue_.push_back(std::move(message));
  return true;
}

void StreamWriter::Encode(const raft::Message& message) {
  encoder_->Encode(message, &frames_);
  Send();
}

void StreamWriter::Send() {
  host_->metrics().sent_bytes->Add(frames_.size());
  if (exchange_->WriteChunk(&frames_) || blocked_) return;
  blocked_ = true;
  blocked_since_ = context_->loop->now();
}

void StreamWriter::OnWritable() {
  blocked_ = false;
  while (attached() && !blocked_ && !queue_.empty()) {
    const raft::Message message = std::move(queue_.front());
    queue_.pop_front();
    queue_bytes_ -= EntryBytes(message);
    Encode(message);
  }
}

void StreamWriter::OnTimer() {
  if (blocked_ && context_->loop->now() - blocked_since_ >= kStreamIdleMax) {
    return Lose("write: i/o timeout");
  }
  timer_.Schedule(&context_->loop->timers(), context_->loop->now() + kLinkHeartbeatInterval);
  if (blocked_) return;
  encoder_->EncodeLinkHeartbeat(&frames_);
  Send();
}

void StreamWriter::Lose(std::string_view why) {
  ETCDD_LOG(kWarn, "lost TCP streaming connection with remote peer",
            {{"stream-writer-type", StreamTypeName(kind_)},
             {"local-member-id", base::LogId(context_->self.id)},
             {"remote-peer-id", base::LogId(host_->id())},
             {"error", why}});
  host_->metrics().sent_failures->Add();
  Detach();
  host_->OnInactive(absl::UnavailableError(std::string(why)));
}

void StreamWriter::Stop() {
  if (!attached()) return;
  ETCDD_LOG(kWarn, "closed TCP streaming connection with remote peer",
            {{"stream-writer-type", StreamTypeName(kind_)},
             {"local-member-id", base::LogId(context_->self.id)},
             {"remote-peer-id", base::LogId(host_->id())}});
  Detach();
}

void StreamWriter::Detach() {
  timer_.Cancel();
  if (!queue_.empty()) host_->OnLost();
  queue_.clear();
  queue_bytes_ = 0;
  blocked_ = false;
  frames_.Clear();
  if (const auto exchange = std::exchange(exchange_, nullptr)) exchange->End();
}

}  // namespace etcdd::transport
