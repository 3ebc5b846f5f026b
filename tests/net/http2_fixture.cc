#include "tests/net/http2_fixture.h"

#include <algorithm>
#include <array>
#include <cstring>

#include "absl/strings/numbers.h"
#include "gtest/gtest.h"
#include "server/net/grpc_codec.h"
#include "server/net/output_buffer.h"

namespace etcdd::net {
namespace {

std::string Text(const uint8_t* bytes, size_t size) {
  return {reinterpret_cast<const char*>(bytes), size};
}

TestClient* Self(void* user) { return static_cast<TestClient*>(user); }

}  // namespace

std::string Framed(std::string_view message, bool compressed) {
  char prefix[kMessagePrefixBytes];
  WriteMessagePrefix(message.size(), prefix);
  prefix[0] = compressed ? 1 : 0;
  return std::string(prefix, sizeof prefix) + std::string(message);
}

std::vector<std::string> Unframed(std::string_view bytes) {
  std::vector<std::string> messages;
  while (bytes.size() >= kMessagePrefixBytes) {
    const auto prefix = ReadMessagePrefix(bytes.data());
    if (!prefix.has_value() || bytes.size() < kMessagePrefixBytes + prefix->size) break;
    messages.emplace_back(bytes.substr(kMessagePrefixBytes, prefix->size));
    bytes.remove_prefix(kMessagePrefixBytes + prefix->size);
  }
  return messages;
}

int TestClient::Stream::grpc_status() const {
  for (const HeaderMap* map : {&trailers, &headers}) {
    const auto found = map->find("grpc-status");
    int code = -1;
    if (found != map->end() && absl::SimpleAtoi(found->second, &code)) return code;
  }
  return -1;
}

std::string TestClient::Stream::grpc_message() const {
  for (const HeaderMap* map : {&trailers, &headers}) {
    const auto found = map->find("grpc-message");
    if (found != map->end()) return found->second;
  }
  return "";
}

nghttp2_session_callbacks* TestClient::Callbacks() {
  nghttp2_session_callbacks* callbacks = nullptr;
  nghttp2_session_callbacks_new(&callbacks);
  nghttp2_session_callbacks_set_on_header_callback(
      callbacks, [](nghttp2_session*, const nghttp2_frame* frame, const uint8_t* name,
                    size_t name_size, const uint8_t* value, size_t value_size, uint8_t,
                    void* user) -> int {
        Stream& stream = Self(user)->streams_[frame->hd.stream_id];
        HeaderMap& map = stream.headers_seen ? stream.trailers : stream.headers;
        map[Text(name, name_size)] = Text(value, value_size);
        return 0;
      });
  nghttp2_session_callbacks_set_on_frame_recv_callback(
      callbacks, [](nghttp2_session* session, const nghttp2_frame* frame, void* user) -> int {
        TestClient* self = Self(user);
        const bool ack = (frame->hd.flags & NGHTTP2_FLAG_ACK) != 0;
        if (frame->hd.type == NGHTTP2_HEADERS) {
          self->streams_[frame->hd.stream_id].headers_seen = true;
        }
        if (frame->hd.type == NGHTTP2_HEADERS || frame->hd.type == NGHTTP2_DATA) {
          if ((frame->hd.flags & NGHTTP2_FLAG_END_STREAM) != 0) {
            self->streams_[frame->hd.stream_id].ended = true;
          }
        } else if (frame->hd.type == NGHTTP2_PING) {
          ++(ack ? self->ping_acks_ : self->server_pings_);
          if (!ack && self->answer_pings) {
            nghttp2_submit_ping(session, NGHTTP2_FLAG_ACK, frame->ping.opaque_data);
          }
        } else if (frame->hd.type == NGHTTP2_GOAWAY) {
          self->goaways_.push_back(
              Goaway{frame->goaway.last_stream_id, frame->goaway.error_code,
                     Text(frame->goaway.opaque_data, frame->goaway.opaque_data_len)});
        }
        return 0;
      });
  nghttp2_session_callbacks_set_on_data_chunk_recv_callback(
      callbacks, [](nghttp2_session*, uint8_t, int32_t id, const uint8_t* bytes, size_t size,
                    void* user) -> int {
        Self(user)->streams_[id].data.append(Text(bytes, size));
        return 0;
      });
  nghttp2_session_callbacks_set_on_stream_close_callback(
      callbacks, [](nghttp2_session*, int32_t id, uint32_t error_code, void* user) -> int {
        Self(user)->streams_[id].closed = true;
        Self(user)->streams_[id].error_code = error_code;
        return 0;
      });
  return callbacks;
}

TestClient::TestClient(uint32_t window) {
  nghttp2_session_callbacks* callbacks = Callbacks();
  nghttp2_option* options = nullptr;
  nghttp2_option_new(&options);
  nghttp2_option_set_no_auto_ping_ack(options, 1);
  // Window comes back only through Grant.
  nghttp2_option_set_no_auto_window_update(options, 1);
  nghttp2_option_set_max_send_header_block_length(options, 1 << 20);
  nghttp2_session_client_new2(&session_, callbacks, this, options);
  nghttp2_option_del(options);
  nghttp2_session_callbacks_del(callbacks);
  const nghttp2_settings_entry settings[] = {{NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, window},
                                             {NGHTTP2_SETTINGS_ENABLE_PUSH, 0}};
  nghttp2_submit_settings(session_, NGHTTP2_FLAG_NONE, settings, 2);
  if (window > 65535) {
    nghttp2_session_set_local_window_size(session_, NGHTTP2_FLAG_NONE, 0, INT32_MAX);
  }
}

TestClient::~TestClient() { nghttp2_session_del(session_); }

TestClient::Fields TestClient::GrpcHeaders(std::string_view path) {
  return {{":method", "POST"},        {":scheme", "http"},
          {":path", std::string(path)}, {":authority", "test"},
          {"content-type", "application/grpc"}, {"te", "trailers"}};
}

int32_t TestClient::Request(const Fields& headers, std::string body, bool end) {
  std::vector<nghttp2_nv> fields;
  for (const auto& [name, value] : headers) {
    fields.push_back({reinterpret_cast<uint8_t*>(const_cast<char*>(name.data())),
                      reinterpret_cast<uint8_t*>(const_cast<char*>(value.data())), name.size(),
                      value.size(), NGHTTP2_NV_FLAG_NONE});
  }
  nghttp2_data_provider provider{};
  provider.read_callback = [](nghttp2_session*, int32_t id, uint8_t* into, size_t length,
                              uint32_t* flags, nghttp2_data_source*, void* user) -> ssize_t {
    Body& from = Self(user)->bodies_[id];
    if (from.bytes.empty() && !from.end) {
      from.deferred = true;
      return NGHTTP2_ERR_DEFERRED;
    }
    const size_t count = std::min(length, from.bytes.size());
    std::memcpy(into, from.bytes.data(), count);
    from.bytes.erase(0, count);
    if (from.bytes.empty() && from.end) *flags |= NGHTTP2_DATA_FLAG_EOF;
    return static_cast<ssize_t>(count);
  };
  const bool no_body = end && body.empty();
  const int32_t id = nghttp2_submit_request(session_, nullptr, fields.data(), fields.size(),
                                            no_body ? nullptr : &provider, nullptr);
  if (id > 0) bodies_[id] = Body{std::move(body), end};
  return id;
}

void TestClient::Send(int32_t id, std::string_view bytes, bool end) {
  Body& body = bodies_[id];
  body.bytes.append(bytes);
  body.end = body.end || end;
  if (std::exchange(body.deferred, false)) nghttp2_session_resume_data(session_, id);
}

void TestClient::Reset(int32_t id, uint32_t error_code) {
  nghttp2_submit_rst_stream(session_, NGHTTP2_FLAG_NONE, id, error_code);
}

void TestClient::Ping() { nghttp2_submit_ping(session_, NGHTTP2_FLAG_NONE, nullptr); }

void TestClient::Grant(int32_t id, int32_t bytes) {
  nghttp2_submit_window_update(session_, NGHTTP2_FLAG_NONE, id, bytes);
}

std::string TestClient::TakeOutput() {
  std::string output;
  const uint8_t* bytes = nullptr;
  for (;;) {
    const ssize_t count = nghttp2_session_mem_send(session_, &bytes);
    if (count <= 0) return output;
    output.append(Text(bytes, static_cast<size_t>(count)));
  }
}

bool TestClient::Feed(std::string_view bytes) {
  return nghttp2_session_mem_recv(session_, reinterpret_cast<const uint8_t*>(bytes.data()),
                                  bytes.size()) == static_cast<ssize_t>(bytes.size());
}

TestServer::TestServer(Http2Options options) : options_(std::move(options)) {
  if (options_.dispatcher == nullptr) options_.dispatcher = &echo;
  session_ = std::make_unique<Http2Session>(&options_, static_cast<SessionHost*>(this), &calls_,
                                            &memory_);
}

TestServer::~TestServer() {
  session_.reset();
  loop_.Forget(&hook_);
}

void TestServer::Receive(std::string_view bytes) {
  if (session_ == nullptr) return;
  session_->Receive(bytes);
  Turn();
}

void TestServer::Advance(absl::Duration by) {
  clock_.Advance(by);
  Turn();
}

void TestServer::Flush() {
  ++flushes_;
  while (session_ != nullptr && !blocked_) {
    OutputBuffer out;
    session_->Produce(&out);
    if (out.empty()) return;
    output_ += out.ToString();
  }
}

void TestServer::BlockOutput(bool blocked) {
  blocked_ = blocked;
  session_->SetOutputBlocked(blocked);
  WantFlush();
  Turn();
}

void TestServer::LoseConnection() {
  session_->OnConnectionLost();
  session_.reset();
}

void Http2Pair::Exchange() {
  for (;;) {
    const std::string to_server = client.TakeOutput();
    if (!to_server.empty()) {
      server.Receive(to_server);
    } else {
      server.Turn();
    }
    const std::string to_client = server.TakeOutput();
    if (!to_client.empty()) {
      EXPECT_TRUE(client.Feed(to_client));
    }
    if (to_server.empty() && to_client.empty()) return;
  }
}

}  // namespace etcdd::net
