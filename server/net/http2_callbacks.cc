// nghttp2's C callbacks, each a call of the session they belong to.

#include <algorithm>

#include "server/base/check.h"
#include "server/net/http2_session.h"
#include "server/net/limits.h"

namespace etcdd::net {

struct Http2Session::Callbacks {
  static Http2Session* Self(void* user) { return static_cast<Http2Session*>(user); }
  static GrpcStream* StreamOf(nghttp2_session* session, int32_t id) {
    return static_cast<GrpcStream*>(nghttp2_session_get_stream_user_data(session, id));
  }
  static std::string_view Text(const uint8_t* bytes, size_t size) {
    return {reinterpret_cast<const char*>(bytes), size};
  }

  static int OnBeginHeaders(nghttp2_session*, const nghttp2_frame* frame, void* user) {
    if (frame->hd.type != NGHTTP2_HEADERS || frame->headers.cat != NGHTTP2_HCAT_REQUEST) return 0;
    Self(user)->head_.Clear();
    Self(user)->head_stream_ = frame->hd.stream_id;
    return 0;
  }

  static int OnHeader(nghttp2_session*, const nghttp2_frame* frame, const uint8_t* name,
                      size_t name_size, const uint8_t* value, size_t value_size, uint8_t,
                      void* user) {
    // Request trailers carry nothing gRPC knows.
    if (frame->hd.stream_id != Self(user)->head_stream_) return 0;
    Self(user)->head_.Add(Text(name, name_size), Text(value, value_size));
    return 0;
  }

  static int OnFrameReceived(nghttp2_session* session, const nghttp2_frame* frame, void* user) {
    const bool end_stream = (frame->hd.flags & NGHTTP2_FLAG_END_STREAM) != 0;
    switch (frame->hd.type) {
      case NGHTTP2_HEADERS:
        if (frame->headers.cat == NGHTTP2_HCAT_REQUEST) {
          Self(user)->OnRequestHead(frame->hd.stream_id, end_stream);
          return 0;
        }
        [[fallthrough]];
      case NGHTTP2_DATA:
        if (end_stream) {
          if (GrpcStream* stream = StreamOf(session, frame->hd.stream_id)) stream->OnEndOfInput();
        }
        return 0;
      case NGHTTP2_PING: Self(user)->OnPing(*frame); return 0;
      default: return 0;
    }
  }

  static int OnDataChunk(nghttp2_session* session, uint8_t, int32_t id, const uint8_t* bytes,
                         size_t size, void* user) {
    Self(user)->OnDataChunk(StreamOf(session, id), id, Text(bytes, size));
    return 0;
  }

  static int OnStreamClose(nghttp2_session* session, int32_t id, uint32_t, void* user) {
    if (GrpcStream* stream = StreamOf(session, id)) Self(user)->OnStreamClosed(stream);
    return 0;
  }

  static int OnFrameSend(nghttp2_session*, const nghttp2_frame* frame, void* user) {
    Self(user)->OnFrameSent(*frame);
    return 0;
  }

  // Writes one DATA frame: header, then the reply bytes from where they lie.
  static int SendData(nghttp2_session*, nghttp2_frame*, const uint8_t* frame_header, size_t length,
                      nghttp2_data_source* source, void* user) {
    constexpr size_t kFrameHeaderBytes = 9;
    OutputBuffer* out = Self(user)->out_;
    if (out->size() >= kWriteBytesMax) return NGHTTP2_ERR_WOULDBLOCK;
    out->Append(Text(frame_header, kFrameHeaderBytes));
    static_cast<GrpcStream*>(source->ptr)->Take(length, out);
    return 0;
  }

  // DATA frames as long as the peer takes them.
  static ssize_t ReadLength(nghttp2_session*, uint8_t, int32_t, int32_t session_window,
                            int32_t stream_window, uint32_t remote_frame_max, void*) {
    return std::min<int64_t>({session_window, stream_window, remote_frame_max, kFrameBytesMax});
  }
};

const nghttp2_session_callbacks* Http2Session::SharedCallbacks() {
  static const nghttp2_session_callbacks* const kCallbacks = [] {
    nghttp2_session_callbacks* callbacks = nullptr;
    ETCDD_CHECK(nghttp2_session_callbacks_new(&callbacks) == 0);
    nghttp2_session_callbacks_set_on_begin_headers_callback(callbacks, Callbacks::OnBeginHeaders);
    nghttp2_session_callbacks_set_on_header_callback(callbacks, Callbacks::OnHeader);
    nghttp2_session_callbacks_set_on_frame_recv_callback(callbacks, Callbacks::OnFrameReceived);
    nghttp2_session_callbacks_set_on_data_chunk_recv_callback(callbacks, Callbacks::OnDataChunk);
    nghttp2_session_callbacks_set_on_stream_close_callback(callbacks, Callbacks::OnStreamClose);
    nghttp2_session_callbacks_set_on_frame_send_callback(callbacks, Callbacks::OnFrameSend);
    nghttp2_session_callbacks_set_send_data_callback(callbacks, Callbacks::SendData);
    nghttp2_session_callbacks_set_data_source_read_length_callback(callbacks,
                                                                   Callbacks::ReadLength);
    return callbacks;
  }();
  return kCallbacks;
}

const nghttp2_option* Http2Session::SharedOptions() {
  static const nghttp2_option* const kOptions = [] {
    nghttp2_option* options = nullptr;
    ETCDD_CHECK(nghttp2_option_new(&options) == 0);
    nghttp2_option_set_no_auto_window_update(options, 1);
    // nghttp2 would check each field's characters and the rules of plain HTTP, an eighth of a
    // request's cost. We forward nothing, need only :method and :path, and check both.
    nghttp2_option_set_no_http_messaging(options, 1);
    // Closed streams are kept by default for a priority scheme that nobody uses.
    nghttp2_option_set_no_closed_streams(options, 1);
    nghttp2_option_set_stream_reset_rate_limit(options, kStreamResetBurst, kStreamResetPerSecond);
    return options;
  }();
  return kOptions;
}

}  // namespace etcdd::net
