#include "server/transport/snapshot_sender.h"

#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "raft/codec.h"
#include "server/base/coding.h"
#include "server/base/log.h"
#include "server/transport/limits.h"

namespace etcdd::transport {

// Used on the blocking strand only, and destroyed there.
struct SnapshotSender::Source {
  std::unique_ptr<consensus::ImageSource> image;
};

SnapshotSender::SnapshotSender(Context* context, PeerHost* host, raft::Message message,
                               std::unique_ptr<consensus::ImageSource> image,
                               absl::AnyInvocable<void(bool)> done)
    : context_(context),
      host_(host),
      index_(message.snapshot == nullptr ? 0 : message.snapshot->index),
      started_(context->loop->now()),
      done_(std::move(done)),
      url_(host->PickUrl()),
      source_(std::make_shared<Source>()) {
  source_->image = std::move(image);
  host_->metrics().snapshots_sending->Add(1);
  ETCDD_LOG(kInfo, "sending database snapshot",
            {{"snapshot-index", index_}, {"remote-peer-id", base::LogId(host_->id())}});
  Start(message);
}

SnapshotSender::~SnapshotSender() {
  *alive_ = false;
  if (client_ != nullptr) client_->Close();
  if (done_) host_->metrics().snapshots_sending->Add(-1);
  context_->blocking->Post([source = std::move(source_)] { source->image.reset(); });
}

void SnapshotSender::Start(const raft::Message& message) {
  const auto target = net::ParseDialUrl(url_);
  if (!target.ok()) {
    context_->Post([this, alive = alive_, status = target.status()] {
      if (*alive) Finish(status);
    });
    return;
  }
  net::Http1Client::Options options;
  options.dialer = context_->dialer;
  options.target = *target;
  options.dial_wait_max = kDialWaitMax;
  options.idle_wait_max = kSnapshotIdleMax;
  client_ = net::Http1Client::New(std::move(options));
  net::Http1ClientRequest request;
  request.method = "POST";
  request.target = "/raft/snapshot";
  request.headers = RequestHeaders(context_->self);
  request.headers.emplace_back("Content-Type", "application/octet-stream");
  request.streamed = true;
  client_->Send(std::move(request), this);
  std::string encoded;
  raft::AppendEncoded(message, &encoded);
  std::string length;
  base::AppendBigEndian64(encoded.size(), &length);
  net::OutputBuffer head;
  head.Append(length);
  head.Append(encoded);
  bytes_ += head.size();
  writable_ = client_->WriteBody(&head);
  if (writable_) Pull();
}

void SnapshotSender::Pull() {
  pulling_ = true;
  context_->blocking->Post(
      [this, source = source_, loop = context_->loop, alive = alive_]() mutable {
        auto piece = source->image->Next();
        loop->Post([this, alive, piece = std::move(piece)]() mutable {
          if (*alive) OnPiece(std::move(piece));
        });
      });
}

void SnapshotSender::OnPiece(absl::StatusOr<std::string> piece) {
  pulling_ = false;
  if (!done_) return;
  if (!piece.ok()) return Finish(piece.status());
  if (piece->empty()) {
    client_->SetIdleWait(kSnapshotCommitWaitMax);
    client_->EndBody();
    return;
  }
  net::PieceOwner owner;
  owner.text = std::make_shared<const std::string>(*std::move(piece));
  net::OutputBuffer chunk;
  chunk.AppendShared(*owner.text, owner);
  bytes_ += chunk.size();
  writable_ = client_->WriteBody(&chunk);
  if (writable_) Pull();
}

void SnapshotSender::OnWritable() {
  writable_ = true;
  if (done_ && !pulling_) Pull();
}

void SnapshotSender::OnBody(std::string_view piece) {
  if (text_.size() + piece.size() <= kAnswerTextBytesMax) text_.append(piece);
}

void SnapshotSender::OnEnd() {
  if (status_ == 204 || status_ == 200) return Finish(absl::OkStatus());
  if (status_ == 403 || status_ == 410) context_->ReportRemoved();
  absl::StripAsciiWhitespace(&text_);
  Finish(absl::UnavailableError(absl::StrCat("unexpected http status ", status_, ": ", text_)));
}

void SnapshotSender::Finish(const absl::Status& status) {
  if (!done_) return;
  if (client_ != nullptr) client_->Close();
  const PeerMetrics::OfPeer& metrics = host_->metrics();
  metrics.snapshots_sending->Add(-1);
  metrics.sent_bytes->Add(bytes_);
  if (status.ok()) {
    ETCDD_LOG(kInfo, "sent database snapshot",
              {{"snapshot-index", index_},
               {"remote-peer-id", base::LogId(host_->id())},
               {"bytes", bytes_}});
    metrics.snapshots_sent->Add();
    metrics.snapshot_send_seconds->Observe(
        absl::ToDoubleSeconds(context_->loop->now() - started_));
    host_->OnActive();
  } else {
    ETCDD_LOG(kWarn, "failed to send database snapshot",
              {{"snapshot-index", index_},
               {"remote-peer-id", base::LogId(host_->id())},
               {"bytes", bytes_},
               base::LogField(status)});
    metrics.snapshot_send_failures->Add();
    metrics.sent_failures->Add();
    host_->OnUrlFailed(url_);
    host_->OnInactive(status);
  }
  std::exchange(done_, nullptr)(status.ok());
}

}  // namespace etcdd::transport
