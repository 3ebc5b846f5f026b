#include "server/net/grpc_codec.h"

#include <zlib.h>

#include <algorithm>
#include <array>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"

namespace etcdd::net {
namespace {

absl::string_view Abseil(std::string_view text) { return {text.data(), text.size()}; }

}  // namespace

std::optional<absl::Duration> ParseGrpcTimeout(std::string_view text) {
  if (text.size() < 2 || text.size() > 9) return std::nullopt;
  int64_t count = 0;
  for (const char digit : text.substr(0, text.size() - 1)) {
    if (digit < '0' || digit > '9') return std::nullopt;
    count = count * 10 + (digit - '0');
  }
  switch (text.back()) {
    case 'H': return absl::Hours(count);
    case 'M': return absl::Minutes(count);
    case 'S': return absl::Seconds(count);
    case 'm': return absl::Milliseconds(count);
    case 'u': return absl::Microseconds(count);
    case 'n': return absl::Nanoseconds(count);
    default: return std::nullopt;
  }
}

std::string PercentEncode(std::string_view text) {
  constexpr std::string_view kHex = "0123456789ABCDEF";
  std::string result;
  result.reserve(text.size());
  for (const char c : text) {
    if (c >= ' ' && c <= '~' && c != '%') {
      result.push_back(c);
      continue;
    }
    const auto byte = static_cast<uint8_t>(c);
    result.push_back('%');
    result.push_back(kHex[byte >> 4]);
    result.push_back(kHex[byte & 15]);
  }
  return result;
}

std::string EncodeBinaryHeader(std::string_view bytes) {
  std::string text = absl::Base64Escape(Abseil(bytes));
  while (!text.empty() && text.back() == '=') text.pop_back();
  return text;
}

std::optional<std::string> DecodeBinaryHeader(std::string_view text) {
  std::string result;
  if (!absl::Base64Unescape(Abseil(text), &result)) return std::nullopt;
  return result;
}

bool IsGrpcContentType(std::string_view content_type) {
  constexpr std::string_view kGrpc = "application/grpc";
  if (content_type.substr(0, kGrpc.size()) != kGrpc) return false;
  return content_type.size() == kGrpc.size() || content_type[kGrpc.size()] == '+' ||
         content_type[kGrpc.size()] == ';';
}

std::string_view StatusCodeText(absl::StatusCode code) {
  static constexpr std::array<std::string_view, 17> kTexts = {
      "0", "1", "2", "3", "4", "5", "6", "7", "8", "9", "10", "11", "12", "13", "14", "15", "16"};
  const auto number = static_cast<size_t>(code);
  return number < kTexts.size() ? kTexts[number] : kTexts[2];
}

std::optional<MessagePrefix> ReadMessagePrefix(const char* in) {
  const auto byte = [in](int i) { return static_cast<uint32_t>(static_cast<uint8_t>(in[i])); };
  if (byte(0) > 1) return std::nullopt;
  return MessagePrefix{byte(0) == 1, byte(1) << 24 | byte(2) << 16 | byte(3) << 8 | byte(4)};
}

void WriteMessagePrefix(size_t size, char* out) {
  out[0] = 0;
  out[1] = static_cast<char>(size >> 24);
  out[2] = static_cast<char>(size >> 16);
  out[3] = static_cast<char>(size >> 8);
  out[4] = static_cast<char>(size);
}

std::optional<MethodPath> ParseMethodPath(std::string_view path) {
  if (path.size() < 2 || path.front() != '/') return std::nullopt;
  const size_t slash = path.rfind('/');
  if (slash == 0) return std::nullopt;
  return MethodPath{path.substr(1, slash - 1), path.substr(slash + 1)};
}

absl::StatusOr<std::string> GunzipMessage(std::string_view compressed, size_t size_max) {
  constexpr int kGzipOnly = 16 + MAX_WBITS;
  z_stream stream{};
  if (inflateInit2(&stream, kGzipOnly) != Z_OK) {
    return absl::InternalError("grpc: failed to decompress the received message: out of memory");
  }
  stream.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(compressed.data()));
  stream.avail_in = static_cast<uInt>(compressed.size());
  std::string result;
  int outcome = Z_OK;
  while (outcome == Z_OK && result.size() <= size_max) {
    std::array<char, 16 << 10> piece;
    stream.next_out = reinterpret_cast<Bytef*>(piece.data());
    stream.avail_out = static_cast<uInt>(piece.size());
    outcome = inflate(&stream, Z_NO_FLUSH);
    result.append(piece.data(), piece.size() - stream.avail_out);
  }
  inflateEnd(&stream);
  if (result.size() > size_max) {
    return absl::ResourceExhaustedError(absl::StrCat(
        "grpc: received message after decompression larger than max ", size_max));
  }
  if (outcome != Z_STREAM_END) {
    return absl::InternalError(
        "grpc: failed to decompress the received message: gzip: invalid data");
  }
  return result;
}

absl::Status UnknownServiceError(std::string_view service) {
  return absl::UnimplementedError(absl::StrCat("unknown service ", Abseil(service)));
}

absl::Status UnknownMethodError(const MethodPath& path) {
  return absl::UnimplementedError(absl::StrCat("unknown method ", Abseil(path.method),
                                               " for service ", Abseil(path.service)));
}

absl::Status MessageTooLargeError(size_t size, size_t size_max) {
  return absl::ResourceExhaustedError(
      absl::StrCat("grpc: received message larger than max (", size, " vs. ", size_max, ")"));
}

}  // namespace etcdd::net
