#include "server/transport/pipeline.h"

#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "server/base/log.h"
#include "server/transport/limits.h"

namespace etcdd::transport {

// One connection, and the message that is under way on it.
class Pipeline::Worker final : private net::Http1AnswerHandler {
 public:
  explicit Worker(Pipeline* pipeline) : pipeline_(pipeline) {}
  ~Worker() { Drop(); }

  bool idle() const { return !busy_; }

  void Send(const raft::Message& message) {
    busy_ = true;
    status_ = 0;
    text_.clear();
    own_ = message.from == pipeline_->context_->self.id;
    PeerHost& host = *pipeline_->host_;
    const std::string url = host.PickUrl();
    if (client_ == nullptr || url != url_) {
      Drop();
      const auto target = net::ParseDialUrl(url);
      url_ = url;
      if (!target.ok()) {
        pipeline_->context_->Post([this, status = target.status()] { OnFailed(status); });
        return;
      }
      net::Http1Client::Options options;
      options.dialer = pipeline_->context_->dialer;
      options.target = *target;
      options.dial_wait_max = kDialWaitMax;
      options.idle_wait_max = kPipelineWaitMax;
      client_ = net::Http1Client::New(std::move(options));
    }
    net::Http1ClientRequest request;
    request.method = "POST";
    request.target = "/raft";
    request.headers = RequestHeaders(pipeline_->context_->self);
    request.headers.emplace_back("Content-Type", "application/protobuf");
    AppendMessage(message, &request.body);
    host.metrics().sent_bytes->Add(request.body.size());
    client_->Send(std::move(request), this);
  }

  void Drop() {
    if (client_ != nullptr) client_->Close();
    client_.reset();
  }

 private:
  void OnHead(int status, const net::Http1Headers&) override { status_ = status; }
  void OnBody(std::string_view piece) override {
    if (text_.size() + piece.size() <= kAnswerTextBytesMax) text_.append(piece);
  }
  void OnEnd() override {
    // A message passed on for a member that was removed is refused too, and says nothing about us.
    if (status_ == 204 || status_ == 200 || (status_ == 403 && !own_)) {
      busy_ = false;
      pipeline_->host_->OnActive();
      pipeline_->Pump();
      return;
    }
    absl::StripAsciiWhitespace(&text_);
    if (status_ == 403 || status_ == 410) pipeline_->context_->ReportRemoved();
    if (status_ == 412 && text_ == "cluster ID mismatch") {
      ETCDD_LOG(kError, "request sent was ignored due to cluster ID mismatch",
                {{"remote-peer-id", base::LogId(pipeline_->host_->id())},
                 {"local-member-cluster-id",
                  base::LogId(pipeline_->context_->self.cluster_id)}});
    }
    Fail(absl::UnavailableError(absl::StrCat("unexpected http status ", status_,
                                             " while posting to ", url_, ": ", text_)));
  }
  void OnFailed(const absl::Status& status) override { Fail(status); }

  void Fail(const absl::Status& status) {
    busy_ = false;
    Drop();
    PeerHost& host = *pipeline_->host_;
    host.metrics().sent_failures->Add();
    host.OnUrlFailed(url_);
    host.OnInactive(status);
    host.OnLost();
    pipeline_->Pump();
  }

  Pipeline* const pipeline_;
  std::string url_;  // of client_
  std::shared_ptr<net::Http1Client> client_;
  bool busy_ = false;
  bool own_ = false;  // the message under way is this member's, not one that it passes on
  int status_ = 0;
  std::string text_;
};

Pipeline::Pipeline(Context* context, PeerHost* host) : context_(context), host_(host) {
  for (size_t i = 0; i < kPipelineWorkers; ++i) workers_.push_back(std::make_unique<Worker>(this));
}

Pipeline::~Pipeline() = default;

bool Pipeline::Send(raft::Message message) {
  if (stopped_ || urgent_.size() + bulk_.size() >= kPipelineQueueMax) return false;
  const bool bulk =
      message.type == raft::MessageType::kApp || message.type == raft::MessageType::kProp;
  (bulk ? bulk_ : urgent_).push_back(std::move(message));
  Pump();
  return true;
}

raft::Message Pipeline::TakeNext() {
  std::deque<raft::Message>& queue = urgent_.empty() ? bulk_ : urgent_;
  raft::Message message = std::move(queue.front());
  queue.pop_front();
  return message;
}

void Pipeline::Pump() {
  for (const auto& worker : workers_) {
    if (stopped_ || empty()) return;
    if (worker->idle()) worker->Send(TakeNext());
  }
}

void Pipeline::Stop() {
  stopped_ = true;
  urgent_.clear();
  bulk_.clear();
  for (const auto& worker : workers_) worker->Drop();
}

}  // namespace etcdd::transport
