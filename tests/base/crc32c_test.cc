#include "server/base/crc32c.h"

#include <gtest/gtest.h>

#include <string>
#include <string_view>

#include "server/base/random.h"

namespace etcdd::base {
namespace {

std::string Sequence(int first, int step) {
  std::string out;
  for (int i = 0; i < 32; ++i) out.push_back(static_cast<char>(first + i * step));
  return out;
}

std::string RandomBytes(Random& random, size_t size) {
  std::string out(size, '\0');
  for (char& c : out) c = static_cast<char>(random.Next());
  return out;
}

// The definition, bit by bit.
uint32_t SlowCrc32c(std::string_view data) {
  uint32_t crc = ~uint32_t{0};
  for (const char byte : data) {
    crc ^= static_cast<uint8_t>(byte);
    for (int bit = 0; bit < 8; ++bit) crc = (crc >> 1) ^ ((crc & 1) != 0 ? 0x82f63b78u : 0);
  }
  return ~crc;
}

TEST(Crc32c, PublishedVectors) {  // RFC 3720 section B.4, and the usual check value
  for (const auto crc : {Crc32c, Crc32cPortable}) {
    EXPECT_EQ(crc(0, ""), 0u);
    EXPECT_EQ(crc(0, "123456789"), 0xe3069283u);
    EXPECT_EQ(crc(0, std::string(32, '\0')), 0x8a9136aau);
    EXPECT_EQ(crc(0, std::string(32, '\xff')), 0x62a8ab43u);
    EXPECT_EQ(crc(0, Sequence(0, 1)), 0x46dd794eu);
    EXPECT_EQ(crc(0, Sequence(31, -1)), 0x113fdb5cu);
  }
}

TEST(Crc32c, EveryLengthAndAlignmentAgreesWithTheDefinition) {
  const auto random = NewSeededRandom(1);
  const std::string data = RandomBytes(*random, 1200);
  for (size_t size = 0; size + 8 <= data.size(); ++size) {
    const std::string_view piece = std::string_view(data).substr(size % 8, size);
    const uint32_t expected = SlowCrc32c(piece);
    ASSERT_EQ(Crc32c(0, piece), expected) << size;
    ASSERT_EQ(Crc32cPortable(0, piece), expected) << size;
  }
}

TEST(Crc32c, LongInputAgreesWithTheTables) {
  const auto random = NewSeededRandom(2);
  const std::string data = RandomBytes(*random, 100'000);
  for (int i = 0; i < 300; ++i) {
    const size_t start = random->Uniform(64);
    const size_t size = random->Uniform(data.size() - start);
    const auto seed = static_cast<uint32_t>(random->Next());
    const std::string_view piece = std::string_view(data).substr(start, size);
    ASSERT_EQ(Crc32c(seed, piece), Crc32cPortable(seed, piece)) << start << "+" << size;
  }
}

TEST(Crc32c, Chains) {
  const auto random = NewSeededRandom(3);
  const std::string data = RandomBytes(*random, 20'000);
  const uint32_t whole = Crc32c(0, data);
  for (int i = 0; i < 100; ++i) {
    const size_t cut = random->Uniform(data.size() + 1);
    const std::string_view view = data;
    ASSERT_EQ(Crc32c(Crc32c(0, view.substr(0, cut)), view.substr(cut)), whole) << cut;
  }
}

}  // namespace
}  // namespace etcdd::base
