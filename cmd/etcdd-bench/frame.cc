#include "cmd/etcdd-bench/frame.h"

#include <cstring>

namespace etcdd::bench {

FrameHeader ParseFrameHeader(const char* in) {
  const auto byte = [in](int i) { return static_cast<uint32_t>(static_cast<uint8_t>(in[i])); };
  FrameHeader header;
  header.length = (byte(0) << 16) | (byte(1) << 8) | byte(2);
  header.type = static_cast<uint8_t>(in[3]);
  header.flags = static_cast<uint8_t>(in[4]);
  header.stream_id = ReadBigEndian32(in + 5) & 0x7fffffff;
  return header;
}

void AppendFrameHeader(const FrameHeader& header, std::string* out) {
  char bytes[kFrameHeaderBytes];
  const uint32_t length_and_type = __builtin_bswap32((header.length << 8) | header.type);
  std::memcpy(bytes, &length_and_type, 4);
  bytes[4] = static_cast<char>(header.flags);
  const uint32_t stream_id = __builtin_bswap32(header.stream_id);
  std::memcpy(bytes + 5, &stream_id, 4);
  out->append(bytes, sizeof bytes);
}

void AppendBigEndian32(uint32_t value, std::string* out) {
  value = __builtin_bswap32(value);
  out->append(reinterpret_cast<const char*>(&value), sizeof value);
}

uint32_t ReadBigEndian32(const char* in) {
  uint32_t value;
  std::memcpy(&value, in, sizeof value);
  return __builtin_bswap32(value);
}

std::optional<std::string_view> FrameContent(const FrameHeader& header, std::string_view payload) {
  size_t padding = 0;
  if (header.Has(kPaddedFlag)) {
    if (payload.empty()) return std::nullopt;
    padding = static_cast<uint8_t>(payload[0]);
    payload.remove_prefix(1);
  }
  if (header.type == kHeadersFrame && header.Has(kPriorityFlag)) {
    if (payload.size() < 5) return std::nullopt;
    payload.remove_prefix(5);
  }
  if (padding > payload.size()) return std::nullopt;
  payload.remove_suffix(padding);
  return payload;
}

void AppendGrpcMessage(std::string_view message, std::string* out) {
  out->push_back('\0');
  AppendBigEndian32(static_cast<uint32_t>(message.size()), out);
  out->append(message);
}

}  // namespace etcdd::bench
