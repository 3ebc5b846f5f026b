#include "server/base/crc32c.h"

#include <array>
#include <bit>
#include <cstddef>
#include <cstring>

#if defined(__SSE4_2__)
#include <nmmintrin.h>
#endif

namespace etcdd::base {
namespace {

// The Castagnoli polynomial, bits reversed.
constexpr uint32_t kPolynomial = 0x82f63b78;

using Table = std::array<uint32_t, 256>;

// kTables[k][b]: the checksum register after byte b and then k zero bytes.
constexpr std::array<Table, 8> MakeTables() {
  std::array<Table, 8> tables{};
  for (uint32_t byte = 0; byte < 256; ++byte) {
    uint32_t crc = byte;
    for (int bit = 0; bit < 8; ++bit) crc = (crc >> 1) ^ ((crc & 1) != 0 ? kPolynomial : 0);
    tables[0][byte] = crc;
  }
  for (size_t k = 1; k < 8; ++k) {
    for (size_t byte = 0; byte < 256; ++byte) {
      const uint32_t before = tables[k - 1][byte];
      tables[k][byte] = (before >> 8) ^ tables[0][before & 0xff];
    }
  }
  return tables;
}
constexpr std::array<Table, 8> kTables = MakeTables();

uint64_t Load64(const char* in) {
  uint64_t value;
  std::memcpy(&value, in, sizeof value);
  return value;
}

uint32_t Byte(uint32_t crc, char byte) {
  return (crc >> 8) ^ kTables[0][(crc ^ static_cast<uint8_t>(byte)) & 0xff];
}

#if defined(__SSE4_2__)

// The instruction takes 3 cycles but one can start each cycle, so long input is summed in three
// lanes side by side. A lane's sum is moved over the bytes that follow it by a linear map, kept as
// four tables of the register's bytes.
using Shift = std::array<Table, 4>;

constexpr uint32_t ApplyShift(const Shift& shift, uint32_t crc) {
  return shift[0][crc & 0xff] ^ shift[1][(crc >> 8) & 0xff] ^ shift[2][(crc >> 16) & 0xff] ^
         shift[3][crc >> 24];
}

// The map "append `bytes` zero bytes". Requires: a power of two of at least 1.
Shift MakeShift(size_t bytes) {
  std::array<uint32_t, 32> matrix{};  // image of each bit of the register
  for (size_t bit = 0; bit < 32; ++bit) matrix[bit] = Byte(uint32_t{1} << bit, 0);
  const auto apply = [](const std::array<uint32_t, 32>& m, uint32_t value) {
    uint32_t sum = 0;
    for (size_t bit = 0; value != 0; ++bit, value >>= 1) {
      if ((value & 1) != 0) sum ^= m[bit];
    }
    return sum;
  };
  for (size_t done = 1; done < bytes; done *= 2) {
    const std::array<uint32_t, 32> half = matrix;
    for (size_t bit = 0; bit < 32; ++bit) matrix[bit] = apply(half, half[bit]);
  }
  Shift shift{};
  for (uint32_t lane = 0; lane < 4; ++lane) {
    for (uint32_t byte = 0; byte < 256; ++byte) {
      shift[lane][byte] = apply(matrix, byte << (8 * lane));
    }
  }
  return shift;
}

// Sums as many blocks of three lanes as fit and moves `data` and `size` behind them.
template <size_t kLaneBytes>
uint64_t SumLanes(uint64_t crc, const char** data, size_t* size) {
  if (*size < 3 * kLaneBytes) return crc;
  static const Shift shift = MakeShift(kLaneBytes);
  while (*size >= 3 * kLaneBytes) {
    const char* const in = *data;
    uint64_t first = crc;
    uint64_t second = 0;
    uint64_t third = 0;
    for (size_t i = 0; i < kLaneBytes; i += 8) {
      first = _mm_crc32_u64(first, Load64(in + i));
      second = _mm_crc32_u64(second, Load64(in + kLaneBytes + i));
      third = _mm_crc32_u64(third, Load64(in + 2 * kLaneBytes + i));
    }
    const uint32_t joined =
        ApplyShift(shift, static_cast<uint32_t>(first)) ^ static_cast<uint32_t>(second);
    crc = ApplyShift(shift, joined) ^ static_cast<uint32_t>(third);
    *data += 3 * kLaneBytes;
    *size -= 3 * kLaneBytes;
  }
  return crc;
}

uint32_t Crc32cHardware(uint32_t seed, std::string_view input) {
  const char* data = input.data();
  size_t size = input.size();
  uint64_t crc = ~seed;
  crc = SumLanes<2048>(crc, &data, &size);
  crc = SumLanes<128>(crc, &data, &size);
  for (; size >= 8; data += 8, size -= 8) crc = _mm_crc32_u64(crc, Load64(data));
  auto sum = static_cast<uint32_t>(crc);
  for (; size > 0; ++data, --size) sum = _mm_crc32_u8(sum, static_cast<uint8_t>(*data));
  return ~sum;
}

#endif

}  // namespace

uint32_t Crc32c(uint32_t seed, std::string_view data) {
#if defined(__SSE4_2__)
  return Crc32cHardware(seed, data);
#else
  return Crc32cPortable(seed, data);
#endif
}

uint32_t Crc32cPortable(uint32_t seed, std::string_view data) {
  uint32_t crc = ~seed;
  while (data.size() >= 8) {
    uint64_t word = Load64(data.data());
    if constexpr (std::endian::native == std::endian::big) word = __builtin_bswap64(word);
    word ^= crc;
    crc = 0;
    for (size_t i = 0; i < 8; ++i) crc ^= kTables[7 - i][(word >> (8 * i)) & 0xff];
    data.remove_prefix(8);
  }
  for (const char byte : data) crc = Byte(crc, byte);
  return ~crc;
}

}  // namespace etcdd::base
