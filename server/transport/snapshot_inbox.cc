#include "server/transport/snapshot_inbox.h"

#include <optional>
#include <string>
#include <utility>

#include "raft/codec.h"
#include "server/base/coding.h"
#include "server/base/log.h"
#include "server/transport/limits.h"

namespace etcdd::transport {

// One image. Shared: the exchange's callbacks and the blocking strand hold it too.
class SnapshotInbox::Arrival final : public std::enable_shared_from_this<Arrival> {
 public:
  Arrival(SnapshotInbox* inbox, std::shared_ptr<net::Http1Exchange> exchange)
      : inbox_(inbox),
        loop_(inbox->context_->loop),
        blocking_(inbox->context_->blocking),
        exchange_(std::move(exchange)),
        started_(loop_->now()) {}

  void Start() {
    exchange_->OnCancel([weak = weak_from_this()] {
      if (const auto self = weak.lock()) self->OnCancelled();
    });
    exchange_->ReadBody([self = shared_from_this()](std::string_view piece) {
      self->OnBody(piece);
    });
  }

  // Ends it; `text` is for the sender.
  void Refuse(int status, std::string_view text) {
    if (inbox_ == nullptr) return;
    Context& context = *inbox_->context_;
    ETCDD_LOG(kWarn, "failed to receive database snapshot",
              {{"local-member-id", base::LogId(context.self.id)},
               {"remote-snapshot-sender-id", base::LogId(from())},
               {"bytes", received_},
               {"error", text}});
    context.metrics->of(from()).snapshot_receive_failures->Add();
    context.metrics->of(from()).received_failures->Add();
    const auto self = End();
    DropSink();
    if (exchange_ != nullptr) {
      std::exchange(exchange_, nullptr)->Respond(Refusal(context.self, status, text));
    }
  }

 private:
  raft::NodeId from() const { return message_ ? message_->from : raft::kNoNode; }

  // Out of the inbox; the result keeps this object while its caller still runs.
  std::shared_ptr<Arrival> End() {
    const auto self = shared_from_this();
    if (sink_open_) inbox_->context_->metrics->of(from()).snapshots_receiving->Add(-1);
    std::exchange(inbox_, nullptr)->arrivals_.erase(self);
    return self;
  }

  void DropSink() {
    if (!std::exchange(sink_open_, false)) return;
    blocking_->Post([self = shared_from_this()] { self->sink_.reset(); });
  }

  void OnCancelled() {
    exchange_.reset();
    // An image that is complete is not thrown away for want of somebody to thank.
    if (!committing_) Refuse(500, "the sender closed the connection");
  }

  void OnBody(std::string_view piece) {
    if (inbox_ == nullptr) return;
    if (piece.empty()) return OnEnd();
    received_ += piece.size();
    if (!message_) {
      // Once: the head is short, or the pieces after it go straight on.
      std::string_view rest = piece;
      if (!ReadHead(&rest)) return;
      piece = rest;
    }
    if (piece.empty()) return;
    waiting_ += piece.size();
    if (waiting_ > kSnapshotInBytesHigh) exchange_->HoldBody(true);
    blocking_->Post([self = shared_from_this(), bytes = std::string(piece)] {
      absl::Status status =
          self->sink_ == nullptr ? absl::OkStatus() : self->sink_->Append(bytes);
      if (!status.ok()) self->sink_.reset();
      self->loop_->Post([self, size = bytes.size(), status = std::move(status)] {
        self->OnAppended(size, status);
      });
    });
  }

  // False: more is needed, or the image was refused.
  bool ReadHead(std::string_view* bytes) {
    std::string_view taken;
    if (!length_) {
      if (!assembler_.Take(bytes, 8, &taken)) return false;
      length_ = base::ReadBigEndian64(taken.data());
      if (*length_ > kPostedMessageBytesMax) {
        Refuse(400, "snapshot message too long");
        return false;
      }
    }
    if (!assembler_.Take(bytes, static_cast<size_t>(*length_), &taken)) return false;
    auto message = raft::DecodeMessage(taken);
    if (!message.ok()) {
      Refuse(400, "error decoding raft message");
      return false;
    }
    if (message->type != raft::MessageType::kSnap || message->snapshot == nullptr) {
      Refuse(400, "wrong raft message type");
      return false;
    }
    message_ = *std::move(message);
    return Open();
  }

  bool Open() {
    Context& context = *inbox_->context_;
    if (context.events->IsRemoved(message_->from)) {
      Refuse(403, "cannot process message from removed member");
      return false;
    }
    if (message_->to != context.self.id) {
      Refuse(412, "to field mismatch");
      return false;
    }
    auto sink = context.events->OnImage(*message_);
    if (!sink.ok()) {
      Refuse(500, std::string(sink.status().message()));
      return false;
    }
    sink_ = *std::move(sink);
    sink_open_ = true;
    context.metrics->of(from()).snapshots_receiving->Add(1);
    ETCDD_LOG(kInfo, "receiving database snapshot",
              {{"local-member-id", base::LogId(context.self.id)},
               {"remote-snapshot-sender-id", base::LogId(from())},
               {"incoming-snapshot-index", message_->snapshot->index},
               {"incoming-snapshot-message-size-bytes", *length_}});
    return true;
  }

  void OnAppended(size_t size, const absl::Status& status) {
    if (inbox_ == nullptr) return;
    if (!status.ok()) return Refuse(500, std::string(status.message()));
    waiting_ -= size;
    if (waiting_ < kSnapshotInBytesLow && exchange_ != nullptr) exchange_->HoldBody(false);
  }

  // Behind all appends, since the strand keeps order.
  void OnEnd() {
    if (!sink_open_) return Refuse(400, "unexpected end of the snapshot");
    committing_ = true;
    blocking_->Post([self = shared_from_this()] {
      absl::Status status = self->sink_ == nullptr
                                ? absl::InternalError("a part of the snapshot was not saved")
                                : self->sink_->Commit();
      self->sink_.reset();
      self->loop_->Post([self, status = std::move(status)] { self->OnCommitted(status); });
    });
  }

  void OnCommitted(const absl::Status& status) {
    if (inbox_ == nullptr) return;
    if (!status.ok()) return Refuse(500, std::string(status.message()));
    Context& context = *inbox_->context_;
    const PeerMetrics::OfPeer& metrics = context.metrics->of(from());
    const absl::Duration took = loop_->now() - started_;
    ETCDD_LOG(kInfo, "received and saved database snapshot",
              {{"local-member-id", base::LogId(context.self.id)},
               {"remote-snapshot-sender-id", base::LogId(from())},
               {"incoming-snapshot-index", message_->snapshot->index},
               {"incoming-snapshot-size-bytes", received_},
               {"download-took", base::LogDuration(took)}});
    metrics.received_bytes->Add(received_);
    metrics.snapshots_received->Add();
    metrics.snapshot_receive_seconds->Observe(absl::ToDoubleSeconds(took));
    const auto exchange = std::exchange(exchange_, nullptr);
    net::Http1Response response;
    response.status = 204;
    response.headers = AnswerHeaders(context.self);
    consensus::TransportEvents* const events = context.events;
    const auto self = End();
    sink_open_ = false;
    events->OnMessage(*std::move(message_));
    if (exchange != nullptr) exchange->Respond(std::move(response));
  }

  SnapshotInbox* inbox_;  // null once it has ended
  net::EventLoop* const loop_;
  base::Strand* const blocking_;
  std::shared_ptr<net::Http1Exchange> exchange_;
  const absl::Duration started_;
  Assembler assembler_;
  std::optional<uint64_t> length_;
  std::optional<raft::Message> message_;
  bool sink_open_ = false;
  bool committing_ = false;
  size_t waiting_ = 0;      // bytes on their way to the disk
  uint64_t received_ = 0;
  // Made on the loop, then used on the blocking strand only.
  std::unique_ptr<consensus::ImageSink> sink_;
};

SnapshotInbox::SnapshotInbox(Context* context) : context_(context) {}

SnapshotInbox::~SnapshotInbox() { RefuseAll(); }

void SnapshotInbox::RefuseAll() {
  while (!arrivals_.empty()) {
    const auto arrival = *arrivals_.begin();
    arrival->Refuse(500, "the server is stopping");
  }
}

void SnapshotInbox::Receive(std::shared_ptr<net::Http1Exchange> exchange) {
  if (arrivals_.size() >= kSnapshotsInMax) {
    exchange->Respond(Refusal(context_->self, 500, "too many snapshots are being received"));
    return;
  }
  const auto arrival = std::make_shared<Arrival>(this, std::move(exchange));
  arrivals_.insert(arrival);
  arrival->Start();
}

}  // namespace etcdd::transport
