#pragma once

// Base64 as JSON clients send bytes: the standard or the URL alphabet, padded or not.
//
// Free functions, thread-safe.

#include <optional>
#include <string>
#include <string_view>

namespace etcdd::http {

// nullopt when it is no base64. Line ends are skipped.
std::optional<std::string> DecodeBase64(std::string_view text);

}  // namespace etcdd::http
