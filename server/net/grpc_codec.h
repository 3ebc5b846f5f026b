#pragma once

// The text and byte rules of gRPC over HTTP/2, as pure functions (gRPC's PROTOCOL-HTTP2 document).
// Thread-safe.

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"

namespace etcdd::net {

inline constexpr size_t kMessagePrefixBytes = 5;

// "grpc-timeout": up to eight digits and one unit of H M S m u n. nullopt when malformed.
std::optional<absl::Duration> ParseGrpcTimeout(std::string_view text);

// "grpc-message": bytes outside printable ASCII, and '%', become %XX.
std::string PercentEncode(std::string_view text);

// Base64 of binary metadata ("-bin"): sent without padding, accepted with or without.
std::string EncodeBinaryHeader(std::string_view bytes);
std::optional<std::string> DecodeBinaryHeader(std::string_view text);

// True for "application/grpc" and it followed by '+' or ';'.
bool IsGrpcContentType(std::string_view content_type);

// "0".."16" of a status; codes outside gRPC's range become Unknown. The view is static.
std::string_view StatusCodeText(absl::StatusCode code);

// The five bytes before each message.
struct MessagePrefix {
  bool compressed = false;
  uint32_t size = 0;
};
// Requires: kMessagePrefixBytes readable bytes. nullopt when the flag byte is neither 0 nor 1.
std::optional<MessagePrefix> ReadMessagePrefix(const char* in);
// Requires: kMessagePrefixBytes writable bytes.
void WriteMessagePrefix(size_t size, char* out);

// Splits ":path" into service and method: "/etcdserverpb.KV/Put". nullopt without both slashes.
struct MethodPath {
  std::string_view service;
  std::string_view method;
};
std::optional<MethodPath> ParseMethodPath(std::string_view path);

// Inflates a gzip member. ResourceExhausted above `size_max` bytes, Internal when malformed.
absl::StatusOr<std::string> GunzipMessage(std::string_view compressed, size_t size_max);

// Texts clients may see (behaviour ERR-011).
absl::Status UnknownServiceError(std::string_view service);
absl::Status UnknownMethodError(const MethodPath& path);
absl::Status MessageTooLargeError(size_t size, size_t size_max);

}  // namespace etcdd::net
