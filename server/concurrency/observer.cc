#include "server/concurrency/observer.h"

#include <utility>

#include "server/concurrency/key_queue.h"
#include "server/concurrency/store_calls.h"

namespace etcdd::concurrency {

Observer::Observer(server::EtcdServer* server, std::string name, Client client)
    : server_(server), name_(std::move(name)), client_(std::move(client)) {}

void Observer::OnWritable() {
  writable_ = true;
  if (std::exchange(look_when_writable_, false)) return Look();
  if (watch_ != nullptr) watch_->OnWritable();
}

void Observer::Stop() {
  stopped_ = true;
  watch_.reset();
}

void Observer::Look() {
  if (!writable_) {
    look_when_writable_ = true;
    return;
  }
  ReadPatiently(server_, OldestKey(name_), [self = shared_from_this()] { return !self->stopped_; },
                [self = shared_from_this()](absl::StatusOr<etcdserverpb::RangeResponse> oldest) {
                  self->OnLeader(std::move(oldest));
                });
}

void Observer::OnLeader(absl::StatusOr<etcdserverpb::RangeResponse> oldest) {
  if (!oldest.ok()) {
    Stop();
    return client_.end(oldest.status());
  }
  const int64_t revision = oldest->header().revision();
  if (oldest->kvs_size() == 0) return AwaitLeader(revision);
  Send(oldest->header(), oldest->kvs(0));
  if (!stopped_) Follow(oldest->kvs(0).key(), revision);
}

void Observer::Next(std::function<void(Observer&)> step) {
  server_->strand().Post([weak = weak_from_this(), step = std::move(step)] {
    const auto self = weak.lock();
    if (self == nullptr || self->stopped_) return;
    self->watch_.reset();
    step(*self);
  });
}

void Observer::AwaitLeader(int64_t revision) {
  mvcc::WatchCreate create;
  create.key = QueuePrefix(name_);
  create.range_end = QueueEnd(name_);
  create.start_revision = revision + 1;
  create.no_delete = true;
  watch_ = std::make_unique<HubWatch>(
      &server_->watch_hub(), create,
      [this, found = false](const etcdserverpb::WatchResponse& response) mutable {
        if (std::exchange(found, true)) return writable_;
        if (response.canceled()) {
          Next([](Observer& self) { self.Look(); });
          return writable_;
        }
        // The first key of an empty queue is its oldest.
        const mvccpb::KeyValue& kv = response.events(0).kv();
        Send(response.header(), kv);
        Next([key = kv.key(), at = kv.mod_revision()](Observer& self) { self.Follow(key, at); });
        return writable_;
      });
}

void Observer::Follow(const std::string& key, int64_t revision) {
  mvcc::WatchCreate create;
  create.key = key;
  create.start_revision = revision + 1;
  watch_ = std::make_unique<HubWatch>(
      &server_->watch_hub(), create,
      [this, gone = false](const etcdserverpb::WatchResponse& response) mutable {
        if (gone) return writable_;
        for (const auto& event : response.events()) {
          gone = event.type() == mvccpb::Event::DELETE;
          if (gone) break;
          Send(response.header(), event.kv());
        }
        gone |= response.canceled();
        if (gone) Next([](Observer& self) { self.Look(); });
        return writable_;
      });
}

void Observer::Send(const etcdserverpb::ResponseHeader& header, const mvccpb::KeyValue& kv) {
  v3electionpb::LeaderResponse response;
  *response.mutable_header() = header;
  *response.mutable_kv() = kv;
  writable_ = client_.send(response);
}

}  // namespace etcdd::concurrency
