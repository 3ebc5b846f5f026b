#pragma once

// Byte order, protobuf varints and the few protobuf wire shapes that hot paths write by hand.

#include <cstdint>
#include <cstring>
#include <optional>
#include <string>
#include <string_view>

namespace etcdd::base {

inline void AppendBigEndian64(uint64_t value, std::string* out) {
  value = __builtin_bswap64(value);
  out->append(reinterpret_cast<const char*>(&value), sizeof value);
}
// Requires: 8 readable bytes.
inline uint64_t ReadBigEndian64(const char* in) {
  uint64_t value;
  std::memcpy(&value, in, sizeof value);
  return __builtin_bswap64(value);
}

// Length of `value` as a protobuf varint, 1..10.
inline size_t VarintSize(uint64_t value) {
  const int bits = 64 - __builtin_clzll(value | 1);
  return static_cast<size_t>((bits + 6) / 7);
}
// Writes the varint and returns the position after it.
inline char* WriteVarint(uint64_t value, char* out) {
  while (value >= 0x80) {
    *out++ = static_cast<char>(value | 0x80);
    value >>= 7;
  }
  *out++ = static_cast<char>(value);
  return out;
}
inline void AppendVarint(uint64_t value, std::string* out) {
  char buffer[10];
  out->append(buffer, static_cast<size_t>(WriteVarint(value, buffer) - buffer));
}
// Takes a varint off the front of `in`; nullopt when malformed (then `in` is unspecified).
inline std::optional<uint64_t> TakeVarint(std::string_view* in) {
  uint64_t value = 0;
  for (size_t i = 0; i < in->size() && i < 10; ++i) {
    const auto byte = static_cast<uint8_t>((*in)[i]);
    value |= static_cast<uint64_t>(byte & 0x7f) << (7 * i);
    if ((byte & 0x80) == 0) {
      in->remove_prefix(i + 1);
      return value;
    }
  }
  return std::nullopt;
}

// Protobuf field tags.
inline constexpr uint32_t VarintTag(uint32_t field) { return field << 3; }
inline constexpr uint32_t BytesTag(uint32_t field) { return (field << 3) | 2; }

// Appends field `field` when it is not zero, as proto3 does.
inline void AppendVarintField(uint32_t field, uint64_t value, std::string* out) {
  if (value == 0) return;
  AppendVarint(VarintTag(field), out);
  AppendVarint(value, out);
}
// Appends a bytes or message field, also when empty.
inline void AppendBytesField(uint32_t field, std::string_view value, std::string* out) {
  AppendVarint(BytesTag(field), out);
  AppendVarint(value.size(), out);
  out->append(value);
}

}  // namespace etcdd::base
