#include "cmd/etcdd-bench/watch_load.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "server/base/check.h"
#include "server/base/status_macros.h"

namespace etcdd::bench {
namespace {

constexpr uint64_t kPutsUnderWayMax = 1 << 16;  // a power of two
constexpr double kPrepareTimeout_s = 30;
// Streams have their index as tag, puts this and their number.
constexpr uint64_t kPutTag = uint64_t{1} << 63;

}  // namespace

WatchLoad::WatchLoad(EventLoop* loop, Meter* meter, const Options& options)
    : loop_(loop),
      meter_(meter),
      options_(options),
      create_message_(WatchCreateMessage(MakeKey(0, options.key_bytes))),
      put_template_(RequestTemplate::Put(options.key_bytes, RandomText(options.value_bytes, 1))),
      streams_(options.streams),
      puts_(kPutsUnderWayMax) {
  ETCDD_CHECK(options.value_bytes >= 8);
  ETCDD_CHECK(options.streams >= options.connections);
  ETCDD_CHECK(options.watchers >= options.streams);
  ETCDD_CHECK(options.outstanding <= kPutsUnderWayMax);
}

absl::Status WatchLoad::Prepare() {
  std::vector<Connection*> connections;
  for (uint32_t i = 0; i < options_.connections; ++i) {
    ETCDD_ASSIGN_OR_RETURN(Connection * connection, loop_->Connect(options_.endpoint, this));
    connections.push_back(connection);
  }
  ETCDD_ASSIGN_OR_RETURN(put_connection_, loop_->Connect(options_.endpoint, this));
  for (uint32_t i = 0; i < options_.watchers; ++i) {
    ++streams_[i % streams_.size()].watchers_to_create;
  }
  for (size_t i = 0; i < streams_.size(); ++i) {
    streams_[i].connection = connections[i % connections.size()];
    streams_[i].last_version.resize(streams_[i].watchers_to_create);
    CreateWatchers(&streams_[i]);
  }
  loop_->UpdateNow();
  const uint64_t deadline = loop_->now() + static_cast<uint64_t>(kPrepareTimeout_s * 1e9);
  ETCDD_RETURN_IF_ERROR(loop_->RunUntil(
      [this] { return watchers_created_ == options_.watchers || meter_->errors() > 0; }, deadline));
  if (watchers_created_ != options_.watchers) {
    return absl::UnavailableError(absl::StrCat("only ", watchers_created_, " watchers created; ",
                                               meter_->first_error()));
  }
  return absl::OkStatus();
}

void WatchLoad::CreateWatchers(Stream* stream) {
  while (stream->watchers_to_create > 0) {
    if (stream->id == 0) {
      const auto tag = static_cast<uint64_t>(stream - streams_.data());
      stream->id = stream->connection->Start(kMethodWatch, create_message_, false, tag);
      if (stream->id == 0) return;
    } else if (!stream->connection->Send(stream->id, create_message_)) {
      return;
    }
    --stream->watchers_to_create;
  }
}

void WatchLoad::Begin() {
  loop_->UpdateNow();
  if (options_.puts_per_second > 0) {
    next_put_ns_ = loop_->now();
    return;
  }
  for (uint32_t i = 0; i < options_.outstanding; ++i) SendPut();
}

void WatchLoad::Tick() {
  const auto interval_ns = static_cast<uint64_t>(1e9 / std::max(options_.puts_per_second, 1e-3));
  while (!stopping_ && next_put_ns_ <= loop_->now()) {
    if (puts_under_way_ == kPutsUnderWayMax) {
      meter_->RecordError("the server is too slow for this pace");
    } else {
      SendPut();
    }
    next_put_ns_ += interval_ns;
  }
}

void WatchLoad::SendPut() {
  const uint64_t number = next_put_number_;
  Put& put = puts_[number % kPutsUnderWayMax];
  ETCDD_CHECK(put.number == 0);
  const std::string_view message = put_template_.Fill(0, number);
  if (put_connection_->Start(kMethodPut, message, /*last=*/true, kPutTag | number) == 0) {
    ++puts_without_room_;
    return;
  }
  ++next_put_number_;
  ++puts_under_way_;
  put = {number, loop_->now(), options_.watchers, false};
}

WatchLoad::Put* WatchLoad::FindPut(uint64_t number) {
  Put& put = puts_[number % kPutsUnderWayMax];
  return number != 0 && put.number == number ? &put : nullptr;
}

void WatchLoad::OnData(Connection&, uint64_t tag, std::string_view data) {
  if ((tag & kPutTag) != 0) return;  // its event says enough
  Stream* stream = &streams_[tag];
  stream->assembler.Feed(data, [&](std::string_view message) { HandleReply(stream, message); });
}

void WatchLoad::HandleReply(Stream* stream, std::string_view message) {
  if (!ParseWatchReply(message, &reply_)) {
    meter_->RecordError("malformed watch reply");
    return;
  }
  if (reply_.canceled) {
    meter_->RecordError("a watch was canceled");
    return;
  }
  if (reply_.created) ++watchers_created_;
  for (const WatchEvent& event : reply_.events) HandleEvent(stream, reply_.watch_id, event);
}

void WatchLoad::HandleEvent(Stream* stream, int64_t watch_id, const WatchEvent& event) {
  if (watch_id < 0 || static_cast<size_t>(watch_id) >= stream->last_version.size()) {
    meter_->RecordError(absl::StrCat("an event of unknown watch ", watch_id));
    return;
  }
  int64_t& last_version = stream->last_version[static_cast<size_t>(watch_id)];
  if (last_version != 0 && event.version != last_version + 1) {
    meter_->RecordError(absl::StrCat("version ", event.version, " follows ", last_version));
  }
  last_version = event.version;
  Put* put = FindPut(event.stamp);
  if (put == nullptr || put->events_missing == 0) {
    meter_->RecordError(absl::StrCat("an event of unknown put ", event.stamp));
    return;
  }
  meter_->Record(loop_->now() - put->sent_ns);
  --put->events_missing;
  FinishIfComplete(put);
}

void WatchLoad::OnEnd(Connection&, uint64_t tag, const CallEnd& end) {
  if (end.grpc_status != 0 || (tag & kPutTag) == 0) {
    meter_->RecordError(absl::StrCat((tag & kPutTag) == 0 ? "a watch stream" : "a put",
                                     " ended with grpc-status ", end.grpc_status, ": ",
                                     absl::string_view(end.message.data(), end.message.size())));
    return;
  }
  Put* put = FindPut(tag & ~kPutTag);
  ETCDD_CHECK(put != nullptr);
  put->replied = true;
  FinishIfComplete(put);
}

void WatchLoad::FinishIfComplete(Put* put) {
  if (!put->replied || put->events_missing > 0) return;
  put->number = 0;
  --puts_under_way_;
  ++puts_completed_;
  if (!stopping_ && options_.puts_per_second == 0) SendPut();
}

void WatchLoad::OnRoom(Connection& connection) {
  for (Stream& stream : streams_) {
    if (stream.connection == &connection) CreateWatchers(&stream);
  }
  if (&connection != put_connection_) return;
  uint64_t puts = puts_without_room_;
  puts_without_room_ = 0;
  while (puts-- > 0 && !stopping_) SendPut();
}

}  // namespace etcdd::bench
