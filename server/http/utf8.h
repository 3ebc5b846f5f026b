#pragma once

// UTF-8 as JSON and protobuf want it: no overlong forms, no surrogates, at most U+10FFFF.
//
// Free functions, thread-safe.

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace etcdd::http {

// Length of the character that `text` begins with; 0 when it begins with none.
size_t Utf8Length(std::string_view text);

// Requires: a code point, not a surrogate.
void AppendUtf8(uint32_t code_point, std::string* out);

}  // namespace etcdd::http
