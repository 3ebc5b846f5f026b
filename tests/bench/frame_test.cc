#include "cmd/etcdd-bench/frame.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "cmd/etcdd-bench/message_assembler.h"

namespace etcdd::bench {
namespace {

using std::string_literals::operator""s;

TEST(Frame, HeaderHasTheLayoutOfRfc9113) {
  std::string out;
  AppendFrameHeader({0x010203, kHeadersFrame, kEndHeadersFlag, 0x7a0b0c0d}, &out);
  EXPECT_EQ(out, "\x01\x02\x03\x01\x04\x7a\x0b\x0c\x0d"s);
  const FrameHeader header = ParseFrameHeader(out.data());
  EXPECT_EQ(header.length, 0x010203u);
  EXPECT_EQ(header.type, kHeadersFrame);
  EXPECT_EQ(header.flags, kEndHeadersFlag);
  EXPECT_EQ(header.stream_id, 0x7a0b0c0du);
}

TEST(Frame, ReservedBitOfTheStreamIsIgnored) {
  EXPECT_EQ(ParseFrameHeader("\0\0\0\0\0\xff\xff\xff\xff"s.data()).stream_id, 0x7fffffffu);
}

TEST(Frame, ContentIsWithoutPaddingAndPriority) {
  EXPECT_EQ(FrameContent({3, kDataFrame, 0, 1}, "abc"), "abc");
  EXPECT_EQ(FrameContent({6, kDataFrame, kPaddedFlag, 1}, "\x02"s + "abc" + "\0\0"s), "abc");
  const uint8_t both = kPaddedFlag | kPriorityFlag;
  EXPECT_EQ(FrameContent({9, kHeadersFrame, both, 1}, "\x01" "pppppab" "\0"s), "ab");
}

TEST(Frame, PaddingBeyondThePayloadIsRefused) {
  EXPECT_EQ(FrameContent({0, kDataFrame, kPaddedFlag, 1}, ""), std::nullopt);
  EXPECT_EQ(FrameContent({3, kDataFrame, kPaddedFlag, 1}, "\x03" "ab"), std::nullopt);
  EXPECT_EQ(FrameContent({4, kHeadersFrame, kPriorityFlag, 1}, "pppp"), std::nullopt);
}

TEST(Frame, GrpcMessageHasFlagAndLength) {
  std::string out;
  AppendGrpcMessage(std::string(258, 'x'), &out);
  EXPECT_EQ(out.substr(0, 5), "\0\0\0\x01\x02"s);
  EXPECT_EQ(out.size(), 263u);
}

TEST(MessageAssembler, FindsMessagesHoweverTheStreamIsCut) {
  std::string stream;
  const std::vector<std::string> messages = {"one", "", std::string(300, 'y'), "four"};
  for (const std::string& message : messages) AppendGrpcMessage(message, &stream);
  for (size_t chunk = 1; chunk <= stream.size(); ++chunk) {
    MessageAssembler assembler;
    std::vector<std::string> found;
    for (size_t at = 0; at < stream.size(); at += chunk) {
      assembler.Feed(std::string_view(stream).substr(at, chunk),
                     [&](std::string_view message) { found.emplace_back(message); });
    }
    ASSERT_EQ(found, messages) << "chunks of " << chunk;
  }
}

}  // namespace
}  // namespace etcdd::bench
