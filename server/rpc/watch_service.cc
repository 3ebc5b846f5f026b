#include <memory>
#include <utility>

#include "proto/rpc.pb.h"
#include "server/rpc/services.h"

namespace etcdd::rpc {
namespace {

// One Watch stream: decodes requests for the hub's WatchStream and carries its messages out. Owned
// by the events it has set on the stream, and so by the stream itself until it is over.
class WatchSession final : public mvcc::WatchSink,
                           public std::enable_shared_from_this<WatchSession> {
 public:
  WatchSession(mvcc::WatchHub* hub, std::shared_ptr<Stream> stream)
      : stream_(std::move(stream)), watches_(hub->NewStream(this)) {}

  void Start() {
    auto self = shared_from_this();
    Stream::Events events;
    events.on_message = [self](std::string_view message) { self->OnMessage(message); };
    events.on_half_close = [] {};  // WATCH-010: the watches go on
    events.on_writable = [self] {
      if (self->watches_ != nullptr) self->watches_->OnWritable();
    };
    events.on_done = [self] { self->watches_.reset(); };
    stream_->SetEvents(std::move(events));
  }

  bool Send(std::string head, base::Bytes events) override {
    return stream_->Send(std::move(head), std::move(events));
  }

 private:
  void OnMessage(std::string_view message) {
    if (watches_ == nullptr) return;
    etcdserverpb::WatchRequest request;
    if (!request.ParseFromArray(message.data(), static_cast<int>(message.size()))) {
      watches_.reset();
      return stream_->Finish(MalformedRequest());
    }
    switch (request.request_union_case()) {
      case etcdserverpb::WatchRequest::kCreateRequest:
        return watches_->Create(ToCreate(*request.mutable_create_request()));
      case etcdserverpb::WatchRequest::kCancelRequest:
        return watches_->Cancel(request.cancel_request().watch_id());
      case etcdserverpb::WatchRequest::kProgressRequest:
        return watches_->RequestProgress();
      case etcdserverpb::WatchRequest::REQUEST_UNION_NOT_SET:
        return;  // WATCH-001
    }
  }

  static mvcc::WatchCreate ToCreate(etcdserverpb::WatchCreateRequest& request) {
    mvcc::WatchCreate create;
    create.key = std::move(*request.mutable_key());
    create.range_end = std::move(*request.mutable_range_end());
    create.start_revision = request.start_revision();
    create.progress_notify = request.progress_notify();
    create.prev_kv = request.prev_kv();
    create.watch_id = request.watch_id();
    create.fragment = request.fragment();
    for (int filter : request.filters()) {
      create.no_put |= filter == etcdserverpb::WatchCreateRequest::NOPUT;
      create.no_delete |= filter == etcdserverpb::WatchCreateRequest::NODELETE;
    }
    return create;
  }

  const std::shared_ptr<Stream> stream_;
  std::unique_ptr<mvcc::WatchStream> watches_;
};

}  // namespace

void RegisterWatch(server::EtcdServer* server, ServiceDispatcher* dispatcher) {
  dispatcher->Handle("/etcdserverpb.Watch/Watch",
                     StreamHandler([hub = &server->watch_hub()](std::shared_ptr<Stream> stream) {
                       std::make_shared<WatchSession>(hub, std::move(stream))->Start();
                     }));
}

}  // namespace etcdd::rpc
