#include "server/net/http2_session.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <utility>

#include "server/base/api_error.h"
#include "server/base/check.h"
#include "server/net/grpc_codec.h"
#include "server/net/limits.h"

namespace etcdd::net {
namespace {

// Opaque data of our pings, to tell their answers apart.
constexpr std::array<uint8_t, 8> kKeepalivePing = {'e', 't', 'c', 'd', 'd', 'k', 'a', 0};
constexpr std::array<uint8_t, 8> kDrainPing = {'e', 't', 'c', 'd', 'd', 'd', 'r', 0};
constexpr std::string_view kTooManyPings = "too_many_pings";

constexpr uint8_t kStaticField = NGHTTP2_NV_FLAG_NO_COPY_NAME | NGHTTP2_NV_FLAG_NO_COPY_VALUE;
// A value that is not worth a place in the peer's header table.
constexpr uint8_t kOneTimeValue = NGHTTP2_NV_FLAG_NO_COPY_NAME | NGHTTP2_NV_FLAG_NO_INDEX;

nghttp2_nv Field(std::string_view name, std::string_view value, uint8_t flags) {
  return nghttp2_nv{reinterpret_cast<uint8_t*>(const_cast<char*>(name.data())),
                    reinterpret_cast<uint8_t*>(const_cast<char*>(value.data())), name.size(),
                    value.size(), flags};
}

// grpc-status and what goes with it. `message` and `details` are the storage of their values.
size_t StatusFields(const absl::Status& status, std::string* message, std::string* details,
                    nghttp2_nv* out) {
  size_t count = 0;
  out[count++] = Field("grpc-status", StatusCodeText(status.code()), kStaticField);
  if (status.ok()) return count;
  if (!status.message().empty()) {
    *message = PercentEncode(std::string_view(status.message().data(), status.message().size()));
    out[count++] = Field("grpc-message", *message, kOneTimeValue);
  }
  if (const auto payload = status.GetPayload("grpc-status-details-bin")) {
    *details = EncodeBinaryHeader(std::string(*payload));
    out[count++] = Field("grpc-status-details-bin", *details, kOneTimeValue);
  }
  return count;
}

}  // namespace

Http2Session::Http2Session(const Http2Options* options, SessionHost* host, CallPool* calls,
                           SessionMemory* memory)
    : options_(options),
      host_(host),
      calls_(calls),
      drain_timer_([this] { SendFinalGoaway(); }),
      last_ping_(-absl::InfiniteDuration()),
      last_input_(host->loop().now()),
      keepalive_timer_([this] { OnKeepaliveTimer(); }) {
  ETCDD_CHECK(nghttp2_session_server_new3(&session_, SharedCallbacks(), this, SharedOptions(),
                                          memory->functions()) == 0);
  const std::array<nghttp2_settings_entry, 5> settings = {{
      {NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS,
       std::min(options->streams_max, kStreamsPerConnectionMax)},
      {NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, kStreamWindowBytes},
      {NGHTTP2_SETTINGS_MAX_FRAME_SIZE, kFrameBytesMax},
      {NGHTTP2_SETTINGS_MAX_HEADER_LIST_SIZE, kHeaderListBytesMax},
      // Streams take turns; the dependency tree of RFC 7540 is deprecated and slow.
      {NGHTTP2_SETTINGS_NO_RFC7540_PRIORITIES, 1},
  }};
  ETCDD_CHECK(nghttp2_submit_settings(session_, NGHTTP2_FLAG_NONE, settings.data(),
                                      settings.size()) == 0);
  ETCDD_CHECK(nghttp2_session_set_local_window_size(session_, NGHTTP2_FLAG_NONE, 0,
                                                    kConnectionWindowBytes) == 0);
  if (options_->keepalive_interval > absl::ZeroDuration()) {
    keepalive_timer_.Schedule(&loop().timers(), last_input_ + options_->keepalive_interval);
  }
  host_->WantFlush();
}

Http2Session::~Http2Session() {
  OnConnectionLost();
  nghttp2_session_del(session_);
}

void Http2Session::Receive(std::string_view bytes) {
  if (failed_) return;
  last_input_ = loop().now();
  const ssize_t taken = nghttp2_session_mem_recv(
      session_, reinterpret_cast<const uint8_t*>(bytes.data()), bytes.size());
  if (taken < 0) Fail();
  host_->WantFlush();
}

void Http2Session::Produce(OutputBuffer* out) {
  if (failed_) return;
  FinishDrain();
  out_ = out;
  while (out->size() < kWriteBytesMax) {
    const uint8_t* bytes = nullptr;
    const ssize_t count = nghttp2_session_mem_send(session_, &bytes);
    if (count < 0) Fail();
    if (count <= 0) break;
    out->Append({reinterpret_cast<const char*>(bytes), static_cast<size_t>(count)});
  }
  out_ = nullptr;
  TellShrunk();
}

void Http2Session::TellShrunk() {
  if (shrunk_.empty()) return;
  std::vector<std::shared_ptr<GrpcStream>> streams;
  streams.swap(shrunk_);
  for (const auto& stream : streams) stream->OnQueueShrunk();
}

void Http2Session::Fail() {
  failed_ = true;
  host_->WantFlush();
}

void Http2Session::SetOutputBlocked(bool blocked) { output_blocked_ = blocked; }

bool Http2Session::wants_input() const {
  // A client that grants no window but reads its socket must be read, or its WINDOW_UPDATE would
  // never arrive; it is held back by the window it is not given.
  return !(output_blocked_ && held_bytes_ > kHeldBytesHigh);
}

bool Http2Session::finished() const {
  if (failed_) return true;
  if (nghttp2_session_want_write(session_) != 0) return false;
  return closing_ || nghttp2_session_want_read(session_) == 0;
}

void Http2Session::OnConnectionLost() {
  failed_ = true;
  drain_timer_.Cancel();
  keepalive_timer_.Cancel();
  shrunk_.clear();
  while (streams_.first() != nullptr) OnStreamClosed(streams_.first());
}

void Http2Session::OnRequestHead(int32_t id, bool end_stream) {
  head_stream_ = 0;
  if (drain_ == DrainState::kFinal) {
    nghttp2_submit_rst_stream(session_, NGHTTP2_FLAG_NONE, id, NGHTTP2_REFUSED_STREAM);
    return;
  }
  if (AnswerBadHead(id)) return;
  const rpc::Dispatcher::MethodKind kind = options_->dispatcher->Classify(head_.path());
  std::shared_ptr<GrpcStream> stream;
  if (kind == rpc::Dispatcher::MethodKind::kUnary) {
    stream = calls_->Acquire();
  } else if (kind == rpc::Dispatcher::MethodKind::kStream) {
    stream = std::make_shared<StreamCall>();
  } else {
    const auto path = ParseMethodPath(head_.path());
    SubmitTrailersOnly(id, "200",
                       kind == rpc::Dispatcher::MethodKind::kUnknownMethod
                           ? UnknownMethodError(*path)
                           : UnknownServiceError(path->service),
                       false);
    return;
  }
  nghttp2_session_set_stream_user_data(session_, id, stream.get());
  streams_.Add(stream.get());
  if (stream->unary()) ++unary_open_;
  stream->Open(this, id, &head_, stream);
  stream->OnHeadDone();
  if (end_stream) stream->OnEndOfInput();
}

bool Http2Session::AnswerBadHead(int32_t id) {
  if (head_.list_bytes() > kHeaderListBytesMax) {
    SubmitTrailersOnly(id, "431", absl::ResourceExhaustedError("request headers too large"), false);
  } else if (head_.method() != "POST") {
    SubmitTrailersOnly(id, "405", absl::InternalError("gRPC requests use the method POST"), false);
  } else if (!IsGrpcContentType(head_.content_type())) {
    SubmitTrailersOnly(id, "415",
                       absl::InvalidArgumentError("invalid gRPC request content-type \"" +
                                                  std::string(head_.content_type()) + "\""),
                       false);
  } else if (!head_.timeout().empty() && !ParseGrpcTimeout(head_.timeout()).has_value()) {
    SubmitTrailersOnly(id, "400",
                       absl::InternalError("malformed grpc-timeout: \"" +
                                           std::string(head_.timeout()) + "\""),
                       false);
  } else if (!ParseMethodPath(head_.path()).has_value()) {
    SubmitTrailersOnly(id, "200",
                       absl::UnimplementedError("malformed method name: \"" +
                                               std::string(head_.path()) + "\""),
                       false);
  } else {
    return false;
  }
  return true;
}

void Http2Session::OnDataChunk(GrpcStream* stream, int32_t id, std::string_view piece) {
  ConsumeConnection(piece.size());
  if (stream == nullptr) {
    ConsumeStream(id, piece.size());
    return;
  }
  stream->OnData(piece);
  if (assembling_bytes_ > kAssemblingBytesMax) {
    stream->Abort(absl::ResourceExhaustedError("too many unfinished requests on this connection"));
  }
}

void Http2Session::OnStreamClosed(GrpcStream* stream) {
  if (stream->unary()) --unary_open_;
  streams_.Remove(stream);
  stream->Close();
  if (drain_ == DrainState::kFinal && !failed_) host_->WantFlush();
}

ssize_t Http2Session::ReadQueue(GrpcStream* stream, size_t length, uint32_t* flags) {
  const size_t count = std::min(length, stream->queued());
  if (count == stream->queued() && stream->finish_set()) {
    // The last bytes: the trailers follow instead of END_STREAM.
    *flags |= NGHTTP2_DATA_FLAG_EOF | NGHTTP2_DATA_FLAG_NO_END_STREAM;
    const int submitted = SubmitTrailers(stream);
    if (submitted != 0) return NGHTTP2_ERR_CALLBACK_FAILURE;
  } else if (count == 0) {
    return NGHTTP2_ERR_DEFERRED;
  }
  if (count > 0) *flags |= NGHTTP2_DATA_FLAG_NO_COPY;
  return static_cast<ssize_t>(count);
}

void Http2Session::SubmitResponse(GrpcStream* stream) {
  const std::array<nghttp2_nv, 2> fields = {
      Field(":status", "200", kStaticField),
      Field("content-type", "application/grpc", kStaticField),
  };
  nghttp2_data_provider provider{};
  provider.source.ptr = stream;
  provider.read_callback = [](nghttp2_session*, int32_t, uint8_t*, size_t length, uint32_t* flags,
                              nghttp2_data_source* source, void* user) -> ssize_t {
    return static_cast<Http2Session*>(user)->ReadQueue(static_cast<GrpcStream*>(source->ptr),
                                                       length, flags);
  };
  nghttp2_submit_response(session_, stream->id(), fields.data(), fields.size(), &provider);
  if (!stream->unary() || stream->queued() > kFrameBytesMax) TakeTurns(stream->id());
  host_->WantFlush();
}

void Http2Session::TakeTurns(int32_t id) {
  // Streams are served to their end in order of their ids unless they are "incremental" (RFC 9218):
  // those share the connection frame by frame, so that a long answer does not hold up a short one.
  const nghttp2_extpri shared{NGHTTP2_EXTPRI_DEFAULT_URGENCY, 1};
  nghttp2_session_change_extpri_stream_priority(session_, id, &shared, 1);
}

int Http2Session::SubmitTrailers(GrpcStream* stream) {
  std::array<nghttp2_nv, 3> fields;
  std::string message, details;
  const size_t count = StatusFields(stream->status(), &message, &details, fields.data());
  return nghttp2_submit_trailer(session_, stream->id(), fields.data(), count);
}

void Http2Session::SubmitTrailersOnly(int32_t id, std::string_view http_status,
                                      const absl::Status& status, bool name_encodings) {
  std::array<nghttp2_nv, 6> fields;
  std::string message, details;
  size_t count = 0;
  fields[count++] = Field(":status", http_status, kStaticField);
  fields[count++] = Field("content-type", "application/grpc", kStaticField);
  count += StatusFields(status, &message, &details, fields.data() + count);
  if (name_encodings) {
    fields[count++] = Field("grpc-accept-encoding", "identity,gzip", kStaticField);
  }
  nghttp2_submit_response(session_, id, fields.data(), count, nullptr);
  host_->WantFlush();
}

void Http2Session::ResumeData(int32_t id) {
  // Fails when the data was not deferred, which is as good: it is being sent.
  nghttp2_session_resume_data(session_, id);
  host_->WantFlush();
}

void Http2Session::ConsumeStream(int32_t id, size_t bytes) {
  if (bytes > 0) nghttp2_session_consume_stream(session_, id, bytes);
}

void Http2Session::ConsumeConnection(size_t bytes) {
  if (held_bytes_ > kHeldBytesHigh || withheld_window_bytes_ > 0) {
    withheld_window_bytes_ += bytes;
    return;
  }
  nghttp2_session_consume_connection(session_, bytes);
}

void Http2Session::CountHeld(int64_t change) {
  held_bytes_ = static_cast<size_t>(static_cast<int64_t>(held_bytes_) + change);
  if (change >= 0 || held_bytes_ > kHeldBytesLow || failed_) return;
  if (withheld_window_bytes_ > 0) {
    nghttp2_session_consume_connection(session_, std::exchange(withheld_window_bytes_, 0));
    host_->WantFlush();
  }
  host_->WantInput();
}

size_t Http2Session::StreamQueueBytesHigh() const {
  return stream_queue_bytes_ > static_cast<int64_t>(kConnectionQueueBytesHigh)
             ? kStreamQueueBytesHighCrowded
             : kStreamQueueBytesHigh;
}

void Http2Session::OnFrameSent(const nghttp2_frame& frame) {
  if (frame.hd.type != NGHTTP2_HEADERS && frame.hd.type != NGHTTP2_DATA) return;
  sent_since_ping_ = true;
  if ((frame.hd.flags & NGHTTP2_FLAG_END_STREAM) == 0) return;
  // The answer is complete although the client may still be sending: it may stop (RFC 9113 8.1).
  if (nghttp2_session_get_stream_remote_close(session_, frame.hd.stream_id) == 0) {
    nghttp2_submit_rst_stream(session_, NGHTTP2_FLAG_NONE, frame.hd.stream_id, NGHTTP2_NO_ERROR);
  }
}

void Http2Session::OnPing(const nghttp2_frame& frame) {
  if ((frame.hd.flags & NGHTTP2_FLAG_ACK) != 0) {
    if (std::memcmp(frame.ping.opaque_data, kDrainPing.data(), kDrainPing.size()) == 0) {
      SendFinalGoaway();
    }
    return;
  }
  // The rule of gRPC servers: a ping is fine after we sent headers or data; otherwise it must keep
  // the interval, which is long while the client has no stream.
  const absl::Duration now = loop().now();
  if (std::exchange(sent_since_ping_, false)) {
    ping_strikes_ = 0;
    last_ping_ = now;
    return;
  }
  const absl::Duration interval =
      streams_.size() == 0 ? kPingWithoutStreamsMin : options_->ping_interval_min;
  if (now - last_ping_ < interval) ++ping_strikes_;
  last_ping_ = now;
  if (ping_strikes_ <= kPingStrikesMax || closing_) return;
  closing_ = true;
  nghttp2_submit_goaway(session_, NGHTTP2_FLAG_NONE,
                        nghttp2_session_get_last_proc_stream_id(session_),
                        NGHTTP2_ENHANCE_YOUR_CALM,
                        reinterpret_cast<const uint8_t*>(kTooManyPings.data()),
                        kTooManyPings.size());
  host_->WantFlush();
}

void Http2Session::OnKeepaliveTimer() {
  const absl::Duration now = loop().now();
  const absl::Duration due = last_input_ + options_->keepalive_interval;
  if (now < due) {
    keepalive_ping_open_ = false;
    keepalive_timer_.Schedule(&loop().timers(), due);
    return;
  }
  if (keepalive_ping_open_) {
    Fail();
    return;
  }
  keepalive_ping_open_ = true;
  nghttp2_submit_ping(session_, NGHTTP2_FLAG_NONE, kKeepalivePing.data());
  host_->WantFlush();
  const absl::Duration wait = options_->keepalive_timeout > absl::ZeroDuration()
                                  ? options_->keepalive_timeout
                                  : options_->keepalive_interval;
  keepalive_timer_.Schedule(&loop().timers(), now + wait);
}

void Http2Session::Drain() {
  if (drain_ != DrainState::kNo || failed_) return;
  drain_ = DrainState::kNoticeSent;
  // Requests already on their way are still taken; the ping's answer says that they have arrived.
  nghttp2_submit_shutdown_notice(session_);
  nghttp2_submit_ping(session_, NGHTTP2_FLAG_NONE, kDrainPing.data());
  drain_timer_.Schedule(&loop().timers(), loop().now() + kDrainNoticeWait);
  host_->WantFlush();
}

void Http2Session::SendFinalGoaway() {
  if (drain_ != DrainState::kNoticeSent) return;
  drain_ = DrainState::kFinal;
  drain_timer_.Cancel();
  nghttp2_submit_goaway(session_, NGHTTP2_FLAG_NONE,
                        nghttp2_session_get_last_proc_stream_id(session_), NGHTTP2_NO_ERROR,
                        nullptr, 0);
  host_->WantFlush();
}

void Http2Session::FinishDrain() {
  if (drain_ != DrainState::kFinal || unary_open_ > 0 || closing_) return;
  closing_ = true;
  const absl::Status stopped = base::ApiError(base::ErrorId::kStopped);
  for (GrpcStream* stream = streams_.first(); stream != nullptr;) {
    GrpcStream* next = StreamList::next(stream);
    stream->Abort(stopped);
    stream = next;
  }
}

}  // namespace etcdd::net
