#include "tests/discovery/fake_grpc_server.h"

#include <nghttp2/nghttp2.h>

#include <algorithm>
#include <cstring>

#include "server/base/check.h"
#include "server/net/grpc_codec.h"

namespace etcdd::discovery {
namespace {

std::vector<nghttp2_nv> Fields(Metadata& headers) {
  std::vector<nghttp2_nv> fields;
  for (auto& [name, value] : headers) {
    fields.push_back({reinterpret_cast<uint8_t*>(name.data()),
                      reinterpret_cast<uint8_t*>(value.data()), name.size(), value.size(),
                      NGHTTP2_NV_FLAG_NONE});
  }
  return fields;
}

}  // namespace

FakeReply MessageReply(const std::string& message) {
  FakeReply reply;
  reply.data.assign(net::kMessagePrefixBytes, '\0');
  net::WriteMessagePrefix(message.size(), reply.data.data());
  reply.data += message;
  reply.trailers = {{"grpc-status", "0"}};
  return reply;
}

FakeReply StatusReply(const std::string& code, const std::string& message) {
  FakeReply reply;
  reply.headers.push_back({"grpc-status", code});
  reply.headers.push_back({"grpc-message", message});
  return reply;
}

struct FakeServerCallbacks {
  static FakeGrpcServer& Server(void* user) { return *static_cast<FakeGrpcServer*>(user); }

  static int OnHeader(nghttp2_session*, const nghttp2_frame* frame, const uint8_t* name,
                      size_t name_size, const uint8_t* value, size_t value_size, uint8_t,
                      void* user) {
    Server(user).streams_[frame->hd.stream_id].headers.emplace(
        std::string(reinterpret_cast<const char*>(name), name_size),
        std::string(reinterpret_cast<const char*>(value), value_size));
    return 0;
  }

  static int OnData(nghttp2_session*, uint8_t, int32_t stream_id, const uint8_t* bytes, size_t size,
                    void* user) {
    Server(user).streams_[stream_id].data.append(reinterpret_cast<const char*>(bytes), size);
    return 0;
  }

  static int OnFrame(nghttp2_session*, const nghttp2_frame* frame, void* user) {
    if ((frame->hd.flags & NGHTTP2_FLAG_END_STREAM) != 0 &&
        (frame->hd.type == NGHTTP2_DATA || frame->hd.type == NGHTTP2_HEADERS)) {
      Server(user).Answer(frame->hd.stream_id);
    }
    return 0;
  }

  static ssize_t ReadData(nghttp2_session* session, int32_t stream_id, uint8_t* out, size_t size,
                          uint32_t* flags, nghttp2_data_source*, void* user) {
    FakeGrpcServer& server = Server(user);
    FakeReply& reply = server.answers_[stream_id];
    size_t& sent = server.sent_[stream_id];
    const size_t now = std::min(size, reply.data.size() - sent);
    std::memcpy(out, reply.data.data() + sent, now);
    sent += now;
    if (sent < reply.data.size()) return static_cast<ssize_t>(now);
    *flags |= NGHTTP2_DATA_FLAG_EOF;
    if (!reply.trailers.empty()) {
      *flags |= NGHTTP2_DATA_FLAG_NO_END_STREAM;
      const auto fields = Fields(reply.trailers);
      ETCDD_CHECK(nghttp2_submit_trailer(session, stream_id, fields.data(), fields.size()) == 0);
    }
    return static_cast<ssize_t>(now);
  }
};

FakeGrpcServer::FakeGrpcServer() {
  nghttp2_session_callbacks* callbacks = nullptr;
  ETCDD_CHECK(nghttp2_session_callbacks_new(&callbacks) == 0);
  nghttp2_session_callbacks_set_on_header_callback(callbacks, &FakeServerCallbacks::OnHeader);
  nghttp2_session_callbacks_set_on_data_chunk_recv_callback(callbacks,
                                                            &FakeServerCallbacks::OnData);
  nghttp2_session_callbacks_set_on_frame_recv_callback(callbacks, &FakeServerCallbacks::OnFrame);
  ETCDD_CHECK(nghttp2_session_server_new(&session_, callbacks, this) == 0);
  nghttp2_session_callbacks_del(callbacks);
  ETCDD_CHECK(nghttp2_submit_settings(session_, NGHTTP2_FLAG_NONE, nullptr, 0) == 0);
}

FakeGrpcServer::~FakeGrpcServer() { nghttp2_session_del(session_); }

void FakeGrpcServer::Answer(int32_t stream_id) {
  received.push_back(streams_[stream_id]);
  if (replies.empty()) return;
  FakeReply& reply = answers_[stream_id] = replies.front();
  replies.pop_front();
  switch (reply.end) {
    case FakeReply::End::kSilence:
      return;
    case FakeReply::End::kClose:
      closed_ = true;
      return;
    case FakeReply::End::kReset:
      ETCDD_CHECK(nghttp2_submit_rst_stream(session_, NGHTTP2_FLAG_NONE, stream_id,
                                            NGHTTP2_REFUSED_STREAM) == 0);
      return;
    case FakeReply::End::kGoAway:
      ETCDD_CHECK(nghttp2_submit_goaway(session_, NGHTTP2_FLAG_NONE,
                                        std::max(stream_id - 2, 0), NGHTTP2_NO_ERROR, nullptr,
                                        0) == 0);
      return;
    case FakeReply::End::kTrailers:
      break;
  }
  const auto fields = Fields(reply.headers);
  const bool alone = reply.data.empty() && reply.trailers.empty();
  nghttp2_data_provider data{};
  data.read_callback = &FakeServerCallbacks::ReadData;
  ETCDD_CHECK(nghttp2_submit_response(session_, stream_id, fields.data(), fields.size(),
                                      alone ? nullptr : &data) == 0);
}

void FakeGrpcServer::Pump() {
  for (;;) {
    const uint8_t* bytes = nullptr;
    const ssize_t size = nghttp2_session_mem_send(session_, &bytes);
    ETCDD_CHECK(size >= 0);
    if (size == 0) return;
    output_.append(reinterpret_cast<const char*>(bytes), static_cast<size_t>(size));
  }
}

absl::StatusOr<size_t> FakeGrpcServer::Read(char* buffer, size_t size, absl::Duration) {
  if (!garbage.empty()) {
    output_ = std::exchange(garbage, "");
  } else {
    Pump();
  }
  if (output_.empty()) {
    if (closed_) {
      broken_ = true;
      return size_t{0};
    }
    return absl::DeadlineExceededError("deadline exceeded");
  }
  const size_t now = std::min({size, output_.size(), read_bytes_max});
  std::memcpy(buffer, output_.data(), now);
  output_.erase(0, now);
  return now;
}

absl::Status FakeGrpcServer::WriteAll(std::string_view bytes, absl::Duration) {
  if (broken_) return absl::UnavailableError("write: Broken pipe");
  if (closed_) return absl::OkStatus();
  const ssize_t taken = nghttp2_session_mem_recv(
      session_, reinterpret_cast<const uint8_t*>(bytes.data()), bytes.size());
  ETCDD_CHECK(taken == static_cast<ssize_t>(bytes.size()));
  return absl::OkStatus();
}

}  // namespace etcdd::discovery
