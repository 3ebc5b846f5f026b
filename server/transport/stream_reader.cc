#include "server/transport/stream_reader.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "server/base/log.h"
#include "server/transport/limits.h"

namespace etcdd::transport {

StreamReader::StreamReader(Context* context, PeerHost* host, StreamKind kind)
    : context_(context),
      host_(host),
      kind_(kind),
      redial_wait_(kRedialWaitMin),
      redial_timer_([this] { Dial(); }) {}

StreamReader::~StreamReader() { Stop(); }

void StreamReader::Start() {
  stopped_ = false;
  Dial();
}

void StreamReader::Stop() {
  if (std::exchange(stopped_, true)) return;
  redial_timer_.Cancel();
  if (client_ != nullptr) client_->Close();
  client_.reset();
}

void StreamReader::Dial() {
  url_ = host_->PickUrl();
  decoder_.reset();
  status_ = 0;
  error_text_.clear();
  const auto target = net::ParseDialUrl(url_);
  if (!target.ok()) return Retry(target.status());
  net::Http1Client::Options options;
  options.dialer = context_->dialer;
  options.target = *target;
  options.dial_wait_max = kDialWaitMax;
  options.idle_wait_max = kStreamIdleMax;
  client_ = net::Http1Client::New(std::move(options));
  net::Http1ClientRequest request;
  request.target = absl::StrCat("/raft/stream/", std::string(StreamPathName(kind_)), "/",
                                base::LogId(context_->self.id));
  request.headers = RequestHeaders(context_->self, host_->id());
  client_->Send(std::move(request), this);
}

void StreamReader::OnHead(int status, const net::Http1Headers& headers) {
  status_ = status;
  if (status != 200) return;
  if (!SpeaksStreams(net::FindHeader(headers, "X-Server-Version"))) {
    return Retry(absl::FailedPreconditionError("stream type is not supported by the remote peer"));
  }
  decoder_ = NewStreamDecoder(kind_, context_->self.id, host_->id());
  redial_wait_ = kRedialWaitMin;
  ETCDD_LOG(kInfo, "established TCP streaming connection with remote peer",
            {{"stream-reader-type", StreamTypeName(kind_)},
             {"local-member-id", base::LogId(context_->self.id)},
             {"remote-peer-id", base::LogId(host_->id())}});
  host_->OnActive();
}

void StreamReader::OnBody(std::string_view piece) {
  if (decoder_ == nullptr) {
    if (error_text_.size() + piece.size() <= kAnswerTextBytesMax) error_text_.append(piece);
    return;
  }
  host_->metrics().received_bytes->Add(piece.size());
  const absl::Status status = decoder_->Feed(piece, [this](raft::Message message) {
    return host_->OnReceived(std::move(message)) && !stopped_;
  });
  if (status.ok() || stopped_) return;
  host_->metrics().received_failures->Add();
  Retry(status);
}

void StreamReader::OnEnd() {
  if (decoder_ != nullptr) return Retry(absl::UnavailableError("EOF"));
  OnRefused();
}

void StreamReader::OnRefused() {
  const std::string text(absl::StripAsciiWhitespace(error_text_));
  switch (status_) {
    case 410:
      Retry(absl::FailedPreconditionError(
          "the member has been permanently removed from the cluster"));
      context_->ReportRemoved();
      return;
    case 404:
      return Retry(absl::NotFoundError(absl::StrCat(
          "remote peer does not know this member yet: ", text)));
    case 412:
      if (text == "cluster ID mismatch") {
        ETCDD_LOG(kError, "request sent was ignored due to cluster ID mismatch",
                  {{"remote-peer-id", base::LogId(host_->id())},
                   {"local-member-cluster-id", base::LogId(context_->self.cluster_id)}});
      }
      return Retry(absl::FailedPreconditionError(text));
    default:
      return Retry(absl::UnavailableError(absl::StrCat("unhandled stream status ", status_)));
  }
}

void StreamReader::OnFailed(const absl::Status& status) { Retry(status); }

void StreamReader::Retry(const absl::Status& why) {
  if (stopped_) return;
  if (client_ != nullptr) client_->Close();
  client_.reset();
  if (decoder_ != nullptr) {
    ETCDD_LOG(kWarn, "lost TCP streaming connection with remote peer",
              {{"stream-reader-type", StreamTypeName(kind_)},
               {"local-member-id", base::LogId(context_->self.id)},
               {"remote-peer-id", base::LogId(host_->id())},
               base::LogField(why)});
  } else {
    host_->OnUrlFailed(url_);
  }
  redial_timer_.Schedule(&context_->loop->timers(), context_->loop->now() + redial_wait_);
  redial_wait_ = std::min(redial_wait_ * 2, kRedialWaitMax);
  host_->OnInactive(why);
}

}  // namespace etcdd::transport
