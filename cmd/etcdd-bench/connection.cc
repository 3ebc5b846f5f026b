#include "cmd/etcdd-bench/connection.h"

#include <errno.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "cmd/etcdd-bench/messages.h"
#include "server/base/check.h"
#include "server/base/status_macros.h"

namespace etcdd::bench {
namespace {

// Receive windows are as large as they get, so that the client never holds a server back.
constexpr uint32_t kReceiveWindowBytes = 0x7fffffff;
constexpr uint32_t kReceiveFrameBytesMax = 16384;  // HTTP/2's default, which is not changed
constexpr uint32_t kStreamUpdateBytes = 1u << 24;
constexpr uint64_t kConnectionUpdateBytes = 1u << 24;

constexpr uint16_t kSettingHeaderTableSize = 1;
constexpr uint16_t kSettingEnablePush = 2;
constexpr uint16_t kSettingConcurrentStreams = 3;
constexpr uint16_t kSettingInitialWindow = 4;
constexpr uint16_t kSettingFrameSize = 5;

void AppendSetting(uint16_t id, uint32_t value, std::string* out) {
  out->push_back(static_cast<char>(id >> 8));
  out->push_back(static_cast<char>(id & 0xff));
  AppendBigEndian32(value, out);
}

}  // namespace

Connection::Connection(int fd, std::string authority, ConnectionListener* listener)
    : fd_(fd), listener_(listener), encoder_(MethodPaths(), std::move(authority)) {
  output_.append(kClientPreface);
  std::string settings;
  AppendSetting(kSettingEnablePush, 0, &settings);
  AppendSetting(kSettingInitialWindow, kReceiveWindowBytes, &settings);
  AppendFrameHeader({static_cast<uint32_t>(settings.size()), kSettingsFrame, 0, 0}, &output_);
  output_.append(settings);
  AppendWindowUpdate(0, kReceiveWindowBytes - 65535);
}

Connection::~Connection() { close(fd_); }

uint32_t Connection::Start(uint32_t method, std::string_view message, bool last, uint64_t tag) {
  ETCDD_CHECK(message.size() <= kMessageBytesMax);
  const auto bytes = static_cast<int64_t>(message.size());
  if (broken_ || bytes > send_window_ || bytes > stream_send_window_ ||
      streams_.size() >= streams_max_) {
    refused_ = true;
    return 0;
  }
  const uint32_t stream_id = next_stream_id_;
  next_stream_id_ += 2;
  streams_.emplace(stream_id, Stream{tag, stream_send_window_ - bytes, 0, -1});
  const std::string_view block = encoder_.Block(method);
  AppendFrameHeader({static_cast<uint32_t>(block.size()), kHeadersFrame, kEndHeadersFlag,
                     stream_id}, &output_);
  output_.append(block);
  AppendData(stream_id, message, last);
  return stream_id;
}

bool Connection::Send(uint32_t stream_id, std::string_view message) {
  const auto bytes = static_cast<int64_t>(message.size());
  const auto found = streams_.find(stream_id);
  if (broken_ || found == streams_.end() || bytes > send_window_ ||
      bytes > found->second.send_window) {
    refused_ = true;
    return false;
  }
  found->second.send_window -= bytes;
  AppendData(stream_id, message, /*last=*/false);
  return true;
}

void Connection::AppendData(uint32_t stream_id, std::string_view message, bool last) {
  send_window_ -= static_cast<int64_t>(message.size());
  while (message.size() > frame_bytes_max_) {
    AppendFrameHeader({frame_bytes_max_, kDataFrame, 0, stream_id}, &output_);
    output_.append(message.substr(0, frame_bytes_max_));
    message.remove_prefix(frame_bytes_max_);
  }
  const uint8_t flags = last ? kEndStreamFlag : uint8_t{0};
  AppendFrameHeader({static_cast<uint32_t>(message.size()), kDataFrame, flags, stream_id},
                    &output_);
  output_.append(message);
}

absl::Status Connection::HandleInput(std::string_view input) {
  ETCDD_RETURN_IF_ERROR(CompleteFrame(&input));
  while (input.size() >= kFrameHeaderBytes && !broken_) {
    const FrameHeader header = ParseFrameHeader(input.data());
    if (header.length > kReceiveFrameBytesMax) return absl::DataLossError("frame too large");
    if (input.size() < kFrameHeaderBytes + header.length) break;
    ETCDD_RETURN_IF_ERROR(HandleFrame(header, input.substr(kFrameHeaderBytes, header.length)));
    input.remove_prefix(kFrameHeaderBytes + header.length);
  }
  input_.append(input);
  if (refused_) OfferRoom();
  return absl::OkStatus();
}

// Moves what is missing of the kept incomplete frame from `input` to it, and handles it when whole.
absl::Status Connection::CompleteFrame(std::string_view* input) {
  while (!input_.empty()) {
    FrameHeader header;
    size_t wanted = kFrameHeaderBytes;
    if (input_.size() >= kFrameHeaderBytes) {
      header = ParseFrameHeader(input_.data());
      if (header.length > kReceiveFrameBytesMax) return absl::DataLossError("frame too large");
      wanted += header.length;
      if (input_.size() == wanted) {
        const std::string frame = std::exchange(input_, std::string());
        return HandleFrame(header, std::string_view(frame).substr(kFrameHeaderBytes));
      }
    }
    if (input->empty()) return absl::OkStatus();
    const size_t taken = std::min(wanted - input_.size(), input->size());
    input_.append(input->substr(0, taken));
    input->remove_prefix(taken);
  }
  return absl::OkStatus();
}

absl::Status Connection::HandleFrame(const FrameHeader& header, std::string_view payload) {
  if (header_block_stream_ != 0 && header.type != kContinuationFrame) {
    return absl::DataLossError("peer interrupted a header block");
  }
  switch (header.type) {
    case kDataFrame:
      return HandleData(header, payload);
    case kHeadersFrame:
    case kContinuationFrame:
      return HandleHeaders(header, payload);
    case kSettingsFrame:
      return HandleSettings(header, payload);
    case kWindowUpdateFrame:
      return HandleWindowUpdate(header, payload);
    case kPingFrame:
      if (header.Has(kAckFlag)) return absl::OkStatus();
      AppendFrameHeader({header.length, kPingFrame, kAckFlag, 0}, &output_);
      output_.append(payload);
      return absl::OkStatus();
    case kResetFrame:
      if (payload.size() != 4) return absl::DataLossError("RST_STREAM of wrong size");
      End(header.stream_id,
          {-1, absl::StrCat("stream was reset, code ", ReadBigEndian32(payload.data()))});
      return absl::OkStatus();
    case kGoAwayFrame:
      return HandleGoAway(payload);
    default:  // unknown frames are to be ignored (RFC 9113 section 4.1)
      return absl::OkStatus();
  }
}

absl::Status Connection::HandleData(const FrameHeader& header, std::string_view payload) {
  const auto content = FrameContent(header, payload);
  if (!content.has_value()) return absl::DataLossError("DATA with wrong padding");
  const auto found = streams_.find(header.stream_id);
  if (found == streams_.end()) {
    AcknowledgeData(header, nullptr);
    return absl::OkStatus();
  }
  AcknowledgeData(header, &found->second);
  // The callback may start calls, which moves the map's elements.
  listener_->OnData(*this, found->second.tag, *content);
  if (header.Has(kEndStreamFlag)) End(header.stream_id, {-1, "stream ended without trailers"});
  return absl::OkStatus();
}

void Connection::AcknowledgeData(const FrameHeader& header, Stream* stream) {
  unacknowledged_bytes_ += header.length;
  if (unacknowledged_bytes_ >= kConnectionUpdateBytes) {
    AppendWindowUpdate(0, static_cast<uint32_t>(unacknowledged_bytes_));
    unacknowledged_bytes_ = 0;
  }
  if (stream == nullptr || header.Has(kEndStreamFlag)) return;
  stream->unacknowledged_bytes += header.length;
  if (stream->unacknowledged_bytes >= kStreamUpdateBytes) {
    AppendWindowUpdate(header.stream_id, stream->unacknowledged_bytes);
    stream->unacknowledged_bytes = 0;
  }
}

void Connection::AppendWindowUpdate(uint32_t stream_id, uint32_t bytes) {
  AppendFrameHeader({4, kWindowUpdateFrame, 0, stream_id}, &output_);
  AppendBigEndian32(bytes, &output_);
}

absl::Status Connection::HandleHeaders(const FrameHeader& header, std::string_view payload) {
  if (header.type == kContinuationFrame) {
    if (header_block_stream_ != header.stream_id || header.stream_id == 0) {
      return absl::DataLossError("CONTINUATION out of place");
    }
    header_block_.append(payload);
    if (!header.Has(kEndHeadersFlag)) return absl::OkStatus();
    header_block_stream_ = 0;
    return HandleHeaderBlock(header.stream_id, header_block_ends_stream_, header_block_);
  }
  const auto content = FrameContent(header, payload);
  if (!content.has_value()) return absl::DataLossError("HEADERS with wrong padding");
  if (header.Has(kEndHeadersFlag)) {
    return HandleHeaderBlock(header.stream_id, header.Has(kEndStreamFlag), *content);
  }
  header_block_.assign(*content);
  header_block_stream_ = header.stream_id;
  header_block_ends_stream_ = header.Has(kEndStreamFlag);
  return absl::OkStatus();
}

absl::Status Connection::HandleHeaderBlock(uint32_t stream_id, bool end_stream,
                                           std::string_view block) {
  ETCDD_ASSIGN_OR_RETURN(const ReplyHeaders* headers, decoder_.Decode(block));
  const auto found = streams_.find(stream_id);
  if (found == streams_.end()) return absl::OkStatus();
  if (headers->http_status >= 0) found->second.http_status = headers->http_status;
  if (!end_stream) return absl::OkStatus();
  if (found->second.http_status != 200) {
    End(stream_id, {-1, absl::StrCat("HTTP status ", found->second.http_status)});
  } else {
    End(stream_id, {headers->grpc_status, headers->grpc_message});
  }
  return absl::OkStatus();
}

absl::Status Connection::HandleSettings(const FrameHeader& header, std::string_view payload) {
  if (header.Has(kAckFlag)) return absl::OkStatus();
  if (payload.size() % 6 != 0) return absl::DataLossError("SETTINGS of wrong size");
  for (; !payload.empty(); payload.remove_prefix(6)) {
    const auto id = static_cast<uint16_t>((static_cast<uint8_t>(payload[0]) << 8) |
                                          static_cast<uint8_t>(payload[1]));
    const uint32_t value = ReadBigEndian32(payload.data() + 2);
    if (id == kSettingHeaderTableSize) encoder_.SetTableSizeMax(value);
    if (id == kSettingConcurrentStreams) streams_max_ = value;
    if (id == kSettingFrameSize) frame_bytes_max_ = value;
    if (id == kSettingInitialWindow) {
      const int64_t change = static_cast<int64_t>(value) - stream_send_window_;
      for (auto& [stream_id, stream] : streams_) stream.send_window += change;
      stream_send_window_ = value;
    }
  }
  AppendFrameHeader({0, kSettingsFrame, kAckFlag, 0}, &output_);
  return absl::OkStatus();
}

absl::Status Connection::HandleWindowUpdate(const FrameHeader& header, std::string_view payload) {
  if (payload.size() != 4) return absl::DataLossError("WINDOW_UPDATE of wrong size");
  const int64_t bytes = ReadBigEndian32(payload.data()) & 0x7fffffff;
  if (header.stream_id == 0) {
    send_window_ += bytes;
  } else if (const auto found = streams_.find(header.stream_id); found != streams_.end()) {
    found->second.send_window += bytes;
  }
  return absl::OkStatus();
}

absl::Status Connection::HandleGoAway(std::string_view payload) {
  const std::string_view text = payload.size() > 8 ? payload.substr(8) : std::string_view();
  return absl::UnavailableError(
      absl::StrCat("peer sent GOAWAY ", absl::string_view(text.data(), text.size())));
}

void Connection::End(uint32_t stream_id, const CallEnd& end) {
  const auto found = streams_.find(stream_id);
  if (found == streams_.end()) return;
  const uint64_t tag = found->second.tag;
  streams_.erase(found);
  listener_->OnEnd(*this, tag, end);
}

void Connection::Break(const absl::Status& reason) {
  broken_ = true;
  const std::string text(reason.message());
  std::vector<uint64_t> tags;
  for (const auto& [stream_id, stream] : streams_) tags.push_back(stream.tag);
  streams_.clear();
  for (const uint64_t tag : tags) listener_->OnEnd(*this, tag, {-1, text});
}

void Connection::OfferRoom() {
  if (send_window_ <= 0 || streams_.size() >= streams_max_) return;
  refused_ = false;
  listener_->OnRoom(*this);
}

absl::StatusOr<bool> Connection::Flush() {
  while (has_output()) {
    const ssize_t n =
        send(fd_, output_.data() + sent_, output_.size() - sent_, MSG_NOSIGNAL | MSG_DONTWAIT);
    if (n < 0) {
      if (errno == EINTR) continue;
      if (errno == EAGAIN || errno == EWOULDBLOCK) return false;
      return absl::UnavailableError(absl::StrCat("send: ", strerror(errno)));
    }
    sent_ += static_cast<size_t>(n);
  }
  output_.clear();
  sent_ = 0;
  return true;
}

}  // namespace etcdd::bench
