#pragma once

// HTTP/2 frames (RFC 9113 section 4) as the load generator needs them: nine header bytes each way,
// and the payload without padding and priority. Pure functions.

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace etcdd::bench {

inline constexpr size_t kFrameHeaderBytes = 9;
inline constexpr std::string_view kClientPreface = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

enum FrameType : uint8_t {
  kDataFrame = 0,
  kHeadersFrame = 1,
  kPriorityFrame = 2,
  kResetFrame = 3,
  kSettingsFrame = 4,
  kPushPromiseFrame = 5,
  kPingFrame = 6,
  kGoAwayFrame = 7,
  kWindowUpdateFrame = 8,
  kContinuationFrame = 9,
};

inline constexpr uint8_t kEndStreamFlag = 0x1;
inline constexpr uint8_t kAckFlag = 0x1;
inline constexpr uint8_t kEndHeadersFlag = 0x4;
inline constexpr uint8_t kPaddedFlag = 0x8;
inline constexpr uint8_t kPriorityFlag = 0x20;

struct FrameHeader {
  uint32_t length = 0;  // of the payload, below 2^24
  uint8_t type = 0;
  uint8_t flags = 0;
  uint32_t stream_id = 0;  // below 2^31

  bool Has(uint8_t flag) const { return (flags & flag) != 0; }
};

// Requires: kFrameHeaderBytes readable bytes.
FrameHeader ParseFrameHeader(const char* in);
void AppendFrameHeader(const FrameHeader& header, std::string* out);

// Big-endian 32 bits, as SETTINGS, WINDOW_UPDATE and the gRPC length prefix use them.
void AppendBigEndian32(uint32_t value, std::string* out);
// Requires: 4 readable bytes.
uint32_t ReadBigEndian32(const char* in);

// The content of a DATA or HEADERS payload without padding and priority fields; nullopt when these
// do not fit the payload.
std::optional<std::string_view> FrameContent(const FrameHeader& header, std::string_view payload);

// Appends `message` to `out` as one uncompressed gRPC message: flag byte, length, bytes.
void AppendGrpcMessage(std::string_view message, std::string* out);

}  // namespace etcdd::bench
