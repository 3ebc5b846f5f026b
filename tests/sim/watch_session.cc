#include "tests/sim/watch_session.h"

#include <algorithm>
#include <utility>

#include "absl/strings/string_view.h"
#include "server/base/check.h"

namespace etcdd::sim {

using etcdserverpb::WatchCreateRequest;

WatchSession::WatchSession(Scheduler* scheduler, SimStrand* member_strand, SimStrand* world,
                           Options options,
                           std::function<void(const etcdserverpb::WatchResponse&)> on_response)
    : scheduler_(scheduler),
      member_strand_(member_strand),
      world_(world),
      options_(options),
      on_response_(std::move(on_response)) {}

WatchSession::~WatchSession() { ETCDD_CHECK(stream_ == nullptr); }

void WatchSession::Open(mvcc::WatchHub* hub) {
  if (!closed_) stream_ = hub->NewStream(this);
}

void WatchSession::Create(const WatchCreateRequest& request) {
  if (stream_ == nullptr) return;
  mvcc::WatchCreate create;
  create.key = request.key();
  create.range_end = request.range_end();
  create.start_revision = request.start_revision();
  create.progress_notify = request.progress_notify();
  create.prev_kv = request.prev_kv();
  create.fragment = request.fragment();
  create.watch_id = request.watch_id();
  for (const int filter : request.filters()) {
    create.no_put |= filter == WatchCreateRequest::NOPUT;
    create.no_delete |= filter == WatchCreateRequest::NODELETE;
  }
  stream_->Create(create);
}

void WatchSession::RequestProgress() {
  if (stream_ != nullptr) stream_->RequestProgress();
}

void WatchSession::Cancel(int64_t watch_id) {
  if (stream_ != nullptr) stream_->Cancel(watch_id);
}

void WatchSession::Close() {
  closed_ = true;
  stream_ = nullptr;
}

bool WatchSession::Send(std::string head, base::Bytes events) {
  head.append(events.view());
  if (options_.delay_max == absl::ZeroDuration()) {
    Deliver(head);
    return true;
  }
  const auto span = static_cast<uint64_t>(absl::ToInt64Nanoseconds(options_.delay_max));
  last_arrival_ = std::max(last_arrival_, scheduler_->Now() + absl::Nanoseconds(
                                              scheduler_->random().Uniform(span) + 1));
  ++in_flight_;
  world_->PostAt(last_arrival_, [self = shared_from_this(), bytes = std::move(head)] {
    if (self->closed_) return;
    self->Deliver(bytes);
    // The window opens on the member's side.
    if (!self->closed_) self->member_strand_->Post([self] { self->OnAcknowledged(); });
  });
  blocked_ = in_flight_ >= options_.window_messages;
  return !blocked_;
}

void WatchSession::Deliver(const std::string& bytes) {
  etcdserverpb::WatchResponse response;
  ETCDD_CHECK(response.ParseFromString(bytes));
  on_response_(response);
}

void WatchSession::OnAcknowledged() {
  if (closed_) return;
  --in_flight_;
  if (!blocked_ || in_flight_ > options_.window_messages / 2) return;
  blocked_ = false;
  stream_->OnWritable();
}

}  // namespace etcdd::sim
