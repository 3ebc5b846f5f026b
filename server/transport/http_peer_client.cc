#include "server/transport/http_peer_client.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "server/net/http1_client.h"
#include "server/net/timer_queue.h"
#include "server/transport/limits.h"

namespace etcdd::transport {

// Shared: it leaves its client's set while its own callbacks run.
class HttpPeerClient::Question final : public std::enable_shared_from_this<Question>,
                                       private net::Http1AnswerHandler {
 public:
  Question(HttpPeerClient* owner, std::vector<std::string> urls, server::PeerRequest request,
           absl::Duration timeout, Done done)
      : owner_(owner),
        urls_(std::move(urls)),
        request_(std::move(request)),
        deadline_(owner->dialer_->loop().now() + timeout),
        done_(std::move(done)),
        timer_([this] {
          const auto self = shared_from_this();
          OnFailed(absl::UnavailableError(absl::StrCat(url_, ": i/o timeout")));
        }) {}
  ~Question() { Close(); }

  void TryNext() {
    Close();
    const absl::Duration left = deadline_ - loop().now();
    if (next_ >= urls_.size() || left <= absl::ZeroDuration()) return Finish(error_);
    timer_.Schedule(&loop().timers(),
                    loop().now() + left / static_cast<int64_t>(urls_.size() - next_));
    url_ = urls_[next_++];
    const auto target = net::ParseDialUrl(url_);
    if (!target.ok()) {
      error_ = absl::UnavailableError(target.status().message());
      return TryNext();
    }
    net::Http1Client::Options options;
    options.dialer = owner_->dialer_;
    options.target = *target;
    options.dial_wait_max = left;  // the timer ends it earlier
    options.idle_wait_max = absl::InfiniteDuration();
    client_ = net::Http1Client::New(std::move(options));
    net::Http1ClientRequest request;
    request.method = request_.method;
    request.target = request_.path;
    request.headers = request_.headers;
    if (!request_.content_type.empty()) {
      request.headers.emplace_back("Content-Type", request_.content_type);
    }
    request.headers.emplace_back("Connection", "close");
    request.body.Append(request_.body);
    reply_ = server::PeerReply();
    client_->Send(std::move(request), this);
  }

 private:
  net::EventLoop& loop() const { return owner_->dialer_->loop(); }

  void Close() {
    timer_.Cancel();
    if (client_ != nullptr) client_->Close();
    client_.reset();
  }

  void OnHead(int status, const net::Http1Headers& headers) override {
    reply_.status = status;
    reply_.cluster_id = net::FindHeader(headers, "X-Etcd-Cluster-ID");
  }
  void OnBody(std::string_view piece) override {
    if (reply_.body.size() + piece.size() > kReplyBytesMax) {
      return OnFailed(absl::UnavailableError(absl::StrCat(url_, ": answer too long")));
    }
    reply_.body.append(piece);
  }
  void OnEnd() override {
    const auto self = shared_from_this();
    Finish(std::move(reply_));
  }
  void OnFailed(const absl::Status& status) override {
    const auto self = shared_from_this();
    error_ = status;
    TryNext();
  }

  void Finish(absl::StatusOr<server::PeerReply> result) {
    const auto self = shared_from_this();
    Close();
    owner_->questions_.erase(self);
    std::exchange(done_, nullptr)(std::move(result));
  }

  HttpPeerClient* const owner_;
  const std::vector<std::string> urls_;
  const server::PeerRequest request_;
  const absl::Duration deadline_;
  Done done_;
  size_t next_ = 0;
  std::string url_;
  std::shared_ptr<net::Http1Client> client_;
  server::PeerReply reply_;
  absl::Status error_ = absl::UnavailableError("no peer URL to ask");
  net::Timer timer_;
};

HttpPeerClient::HttpPeerClient(net::Dialer* dialer) : dialer_(dialer) {}

HttpPeerClient::~HttpPeerClient() = default;

void HttpPeerClient::Ask(std::vector<std::string> urls, server::PeerRequest request,
                         absl::Duration timeout, Done done) {
  const auto question = std::make_shared<Question>(this, std::move(urls), std::move(request),
                                                   timeout, std::move(done));
  questions_.insert(question);
  // Posted: `done` is not called from within Ask.
  dialer_->loop().Post([weak = std::weak_ptr<Question>(question)] {
    if (const auto self = weak.lock()) self->TryNext();
  });
}

}  // namespace etcdd::transport
