#pragma once

// CRC-32C (Castagnoli), as Go's crc32.Update: pre- and post-inverted, chainable.
// Crc32c(Crc32c(0, a), b) == Crc32c(0, a + b). Uses the SSE4.2 instruction where built for it.

#include <cstdint>
#include <string_view>

namespace etcdd::base {

uint32_t Crc32c(uint32_t seed, std::string_view data);

// The same by tables, for machines without the instruction; any byte order.
uint32_t Crc32cPortable(uint32_t seed, std::string_view data);

}  // namespace etcdd::base
