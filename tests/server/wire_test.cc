#include "server/apply/wire.h"

#include <string>

#include "gtest/gtest.h"

namespace etcdd::apply {
namespace {

std::string Repeat(std::string_view text, int count) {
  std::string all;
  for (int i = 0; i < count; ++i) all += text;
  return all;
}

constexpr std::string_view kKey("\x0a\x01k", 3);         // field 1, "k"
constexpr std::string_view kValue("\x12\x01v", 3);       // field 2, "v"
constexpr std::string_view kStartGroup("\xfb\x07", 2);   // field 127
constexpr std::string_view kEndGroup("\xfc\x07", 2);

void ExpectPut(const std::string& bytes) {
  const auto put = ParsePut(bytes);
  ASSERT_TRUE(put.has_value());
  EXPECT_EQ(put->key, "k");
  EXPECT_EQ(put->value, "v");
}

std::string Around(std::string_view unknown) {
  return std::string(kKey) + std::string(unknown) + std::string(kValue);
}

TEST(WireTest, UnknownFieldsOfEveryKindAreSkipped) {  // section 13.2: newer fields are ignored
  ExpectPut(Around(""));
  ExpectPut(Around(std::string_view("\xf8\x07\x01", 3)));                           // varint
  ExpectPut(Around(std::string_view("\xf9\x07\0\0\0\0\0\0\0\0", 10)));              // fixed64
  ExpectPut(Around(std::string_view("\xfa\x07\x02zz", 5)));                         // bytes
  ExpectPut(Around(std::string_view("\xfd\x07\0\0\0\0", 6)));                      // fixed32
  // A group may hold anything, fields with our numbers too.
  ExpectPut(Around(std::string(kStartGroup) + "\x0a\x01x" + std::string(kEndGroup)));
  ExpectPut(Around(Repeat(kStartGroup, 100) + Repeat(kEndGroup, 100)));
}

TEST(WireTest, MalformedFieldsAreRefused) {
  for (const std::string& bytes : {
           std::string(kStartGroup),                             // never ends
           std::string(kEndGroup),                               // never started
           std::string(kStartGroup) + "\xf4\x07",                // ends another field's
           std::string(kStartGroup) + "\x0a\x05x" + std::string(kEndGroup),  // cut short
           Repeat(kStartGroup, 101) + Repeat(kEndGroup, 101),    // too deep
           std::string("\x0a\x05x"),                             // cut short
           std::string("\x0f"),                                  // no such kind
           std::string("\0", 1),                                 // field 0
           std::string("\x8a\x80\x80\x80\x80\x01\x01k"),         // field number beyond 2^29
       }) {
    EXPECT_FALSE(ParsePut(bytes).has_value()) << bytes.size();
    EXPECT_FALSE(ParseRange(bytes).has_value()) << bytes.size();
    EXPECT_FALSE(ParseDeleteRange(bytes).has_value()) << bytes.size();
  }
}

}  // namespace
}  // namespace etcdd::apply
