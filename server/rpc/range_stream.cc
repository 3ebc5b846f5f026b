#include "server/rpc/range_stream.h"

#include <algorithm>
#include <string>
#include <utility>

#include "server/apply/txn.h"
#include "server/base/api_error.h"
#include "server/base/coding.h"
#include "server/rpc/dispatch.h"
#include "server/rpc/validation.h"

namespace etcdd::rpc {
namespace {

// One stream. It lives as long as something may still call it.
class RangeStreamSession : public std::enable_shared_from_this<RangeStreamSession> {
 public:
  RangeStreamSession(server::EtcdServer* server, base::Strand* strand,
                     std::shared_ptr<Stream> stream)
      : server_(server), strand_(strand), stream_(std::move(stream)) {}

  void Start() {
    auto self = shared_from_this();
    Stream::Events events;
    events.on_message = [self](std::string_view message) { self->OnRequest(message); };
    events.on_half_close = [] {};
    events.on_writable = [self] { self->ScheduleChunk(); };
    events.on_done = [self] { self->done_ = true; };
    stream_->SetEvents(std::move(events));
  }

 private:
  void OnRequest(std::string_view message) {
    if (started_) return Finish(absl::InternalError("a second request on RangeStream"));
    started_ = true;
    request_.assign(message);
    const auto range = apply::ParseRange(request_);
    if (!range) return Finish(MalformedRequest());
    range_ = *range;
    absl::Status status = CheckRange(range_);
    if (!status.ok()) return Finish(std::move(status));
    // KV-061: only ascending keys, no filters.
    if (range_.sort_target != 0 || range_.sort_order == 2) {
      return Finish(absl::UnimplementedError("RangeStream does not support custom sort orders"));
    }
    if (range_.min_mod_revision != 0 || range_.max_mod_revision != 0 ||
        range_.min_create_revision != 0 || range_.max_create_revision != 0) {
      return Finish(absl::UnimplementedError("RangeStream does not support revision filters"));
    }
    if (range_.serializable) return ScheduleChunk();
    server_->LinearizableRead([self = shared_from_this()](absl::Status ready) {
      if (!ready.ok()) return self->Finish(std::move(ready));
      self->ScheduleChunk();
    });
  }

  // Each chunk is a task of its own: between two of them others get their turn.
  void ScheduleChunk() {
    if (scheduled_ || done_ || !started_) return;
    scheduled_ = true;
    strand_->Post([self = shared_from_this()] {
      self->scheduled_ = false;
      if (!self->done_ && self->stream_->writable()) self->SendChunk();
    });
  }

  void SendChunk() {
    if (server_->stopped()) return Finish(base::ApiError(base::ErrorId::kStopped));
    mvcc::RangeOptions options = apply::ToRangeOptions(range_);
    options.sort_order = mvcc::SortOrder::kNone;
    const bool first = read_revision_ == 0;
    if (!first) {
      options.key = resume_key_;
      options.revision = read_revision_;
      options.skip_count = true;
    }
    const bool single = range_.limit < 0 || range_.count_only || range_.range_end.empty();
    int64_t limit = single ? 0 : chunk_keys_;
    if (range_.limit > 0) limit = std::min(limit == 0 ? range_.limit : limit, range_.limit - sent_);
    options.limit = limit;
    std::string kvs;
    auto result = server_->store().Range(options, &kvs);
    if (!result.ok()) return Finish(result.status());
    if (first) {
      header_revision_ = result->revision;
      read_revision_ = result->read_revision;
      count_ = result->count;
    }
    sent_ += result->kvs_count;
    const bool last = !result->more || single || (range_.limit > 0 && sent_ >= range_.limit);
    if (last) result->count = count_;
    const size_t bytes = SendMessage(kvs, *result, last);
    if (last) return Finish(absl::OkStatus());
    resume_key_ = std::move(result->resume_key);
    const size_t target = server_->options().request_bytes_max;
    if (bytes < target / 2) {
      chunk_keys_ *= 2;
    } else if (bytes > target * 2) {
      chunk_keys_ = std::max<int64_t>(1, chunk_keys_ / 2);
    }
    ScheduleChunk();
  }

  // KV-066: header, more and count come with the last message only.
  size_t SendMessage(const std::string& kvs, const mvcc::RangeResult& result, bool last) {
    std::string response;
    if (last) {
      server_->AppendHeader(header_revision_, &response);
      apply::AppendRangeBody(kvs, result, &response);
    } else {
      response = kvs;
    }
    std::string message;
    base::AppendBytesField(1, response, &message);
    const size_t bytes = message.size();
    stream_->Send(std::move(message));
    return bytes;
  }

  void Finish(absl::Status status) {
    if (std::exchange(done_, true)) return;
    stream_->Finish(std::move(status));
  }

  server::EtcdServer* const server_;
  base::Strand* const strand_;
  const std::shared_ptr<Stream> stream_;
  std::string request_;      // what range_ points into
  apply::RangeView range_;
  bool started_ = false;
  bool scheduled_ = false;
  bool done_ = false;
  int64_t chunk_keys_ = kFirstChunkKeysMax;
  int64_t read_revision_ = 0;  // 0 until the first chunk has fixed it
  int64_t header_revision_ = 0;
  int64_t count_ = 0;
  int64_t sent_ = 0;
  std::string resume_key_;
};

}  // namespace

void ServeRangeStream(server::EtcdServer* server, base::Strand* strand,
                      std::shared_ptr<Stream> stream) {
  std::make_shared<RangeStreamSession>(server, strand, std::move(stream))->Start();
}

}  // namespace etcdd::rpc
