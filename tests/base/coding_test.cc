#include "server/base/coding.h"

#include <gtest/gtest.h>

#include <limits>

#include "server/base/random.h"

namespace etcdd::base {
namespace {

TEST(Coding, BigEndianKeepsOrderAndComesBack) {
  std::string low;
  std::string high;
  AppendBigEndian64(0x0102030405060708u, &low);
  AppendBigEndian64(0x0102030405060800u + 0x100, &high);
  EXPECT_EQ(low, std::string("\x01\x02\x03\x04\x05\x06\x07\x08", 8));
  EXPECT_LT(low, high);
  EXPECT_EQ(ReadBigEndian64(low.data()), 0x0102030405060708u);
}

TEST(Coding, VarintsAreProtobufs) {
  std::string out;
  AppendVarint(300, &out);
  EXPECT_EQ(out, "\xac\x02");
  EXPECT_EQ(VarintSize(0), 1u);
  EXPECT_EQ(VarintSize(127), 1u);
  EXPECT_EQ(VarintSize(128), 2u);
  EXPECT_EQ(VarintSize(std::numeric_limits<uint64_t>::max()), 10u);
}

TEST(Coding, VarintsComeBackWithTheirSize) {
  const auto random = NewSeededRandom(7);
  for (int i = 0; i < 2000; ++i) {
    const uint64_t value = random->Next() >> random->Uniform(64);
    std::string out;
    AppendVarint(value, &out);
    ASSERT_EQ(out.size(), VarintSize(value));
    out += "rest";
    std::string_view in = out;
    ASSERT_EQ(TakeVarint(&in), value);
    ASSERT_EQ(in, "rest");
  }
}

TEST(Coding, MalformedVarintsAreRefused) {
  for (const std::string& text : {std::string(), std::string("\x80"), std::string(11, '\x80')}) {
    std::string_view in = text;
    EXPECT_EQ(TakeVarint(&in), std::nullopt);
  }
}

TEST(Coding, FieldsFollowProto3) {
  std::string out;
  AppendVarintField(1, 0, &out);
  EXPECT_EQ(out, "") << "zero is the default and not written";
  AppendVarintField(1, 150, &out);
  AppendBytesField(2, "testing", &out);
  EXPECT_EQ(out, std::string("\x08\x96\x01\x12\x07testing"));
}

}  // namespace
}  // namespace etcdd::base
