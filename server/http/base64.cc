#include "server/http/base64.h"

#include <array>
#include <cstdint>

namespace etcdd::http {
namespace {

constexpr uint8_t kNoDigit = 64;

constexpr std::array<uint8_t, 256> MakeDigits() {
  std::array<uint8_t, 256> digits{};
  for (auto& digit : digits) digit = kNoDigit;
  constexpr std::string_view kAlphabet =
      "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  for (uint8_t i = 0; i < kAlphabet.size(); ++i) {
    digits[static_cast<unsigned char>(kAlphabet[i])] = i;
  }
  digits['-'] = 62;
  digits['_'] = 63;
  return digits;
}

constexpr std::array<uint8_t, 256> kDigits = MakeDigits();

}  // namespace

std::optional<std::string> DecodeBase64(std::string_view text) {
  const bool standard = text.find_first_of("+/") != text.npos;
  const bool url = text.find_first_of("-_") != text.npos;
  if (standard && url) return std::nullopt;
  std::string out;
  out.reserve(text.size() / 4 * 3 + 2);
  uint32_t bits = 0;
  size_t digits = 0;
  size_t padding = 0;
  for (const char c : text) {
    if (c == '\r' || c == '\n') continue;
    if (c == '=') {
      ++padding;
      continue;
    }
    const uint8_t digit = kDigits[static_cast<unsigned char>(c)];
    if (digit == kNoDigit || padding > 0) return std::nullopt;
    bits = bits << 6 | digit;
    ++digits;
    // Six bits a digit: every digit but the first of four completes a byte.
    if (const size_t rest = digits % 4; rest != 1) {
      out.push_back(static_cast<char>(bits >> (rest == 0 ? 0 : rest == 2 ? 4 : 2)));
    }
  }
  if (digits % 4 == 1) return std::nullopt;
  if (padding != 0 && (padding > 2 || (digits + padding) % 4 != 0)) return std::nullopt;
  return out;
}

}  // namespace etcdd::http
