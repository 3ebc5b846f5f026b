#include "cmd/etcdd-bench/reply_scanner.h"

#include <gtest/gtest.h>

#include <string>

#include "cmd/etcdd-bench/frame.h"
#include "server/base/coding.h"

namespace etcdd::bench {
namespace {

// A RangeResponse with a header, `kvs` key-values and a count.
std::string RangeReply(uint32_t kvs) {
  std::string message;
  base::AppendBytesField(1, "header-bytes", &message);
  for (uint32_t i = 0; i < kvs; ++i) base::AppendBytesField(2, std::string(200, 'v'), &message);
  base::AppendVarintField(4, kvs, &message);
  std::string framed;
  AppendGrpcMessage(message, &framed);
  return framed;
}

TEST(ReplyScanner, CountsFieldsHoweverTheReplyIsCut) {
  const std::string reply = RangeReply(5);
  for (size_t chunk = 1; chunk <= reply.size(); ++chunk) {
    ReplyScanner scanner;
    for (size_t at = 0; at < reply.size(); at += chunk) {
      scanner.Feed(std::string_view(reply).substr(at, chunk));
    }
    ASSERT_TRUE(scanner.well_formed()) << "chunks of " << chunk;
    ASSERT_FALSE(scanner.incomplete());
    ASSERT_EQ(scanner.messages(), 1u);
    ASSERT_EQ(scanner.occurrences(1), 1u);
    ASSERT_EQ(scanner.occurrences(2), 5u);
    ASSERT_EQ(scanner.varint(4), 5u);
  }
}

TEST(ReplyScanner, EveryProperPrefixIsIncomplete) {
  const std::string reply = RangeReply(2);
  for (size_t size = 1; size < reply.size(); ++size) {
    ReplyScanner scanner;
    scanner.Feed(std::string_view(reply).substr(0, size));
    EXPECT_TRUE(scanner.incomplete()) << size;
    EXPECT_EQ(scanner.messages(), 0u);
  }
}

TEST(ReplyScanner, AnEmptyMessageIsAMessage) {
  ReplyScanner scanner;
  scanner.Feed(std::string(5, '\0'));
  EXPECT_EQ(scanner.messages(), 1u);
  EXPECT_EQ(scanner.occurrences(1), 0u);
  EXPECT_FALSE(scanner.incomplete());
}

TEST(ReplyScanner, SeesMalformedReplies) {
  const auto feed = [](const std::string& message, char flag) {
    std::string framed;
    AppendGrpcMessage(message, &framed);
    framed[0] = flag;
    ReplyScanner scanner;
    scanner.Feed(framed);
    return scanner.well_formed();
  };
  EXPECT_TRUE(feed("\x0a\x01x", 0));
  EXPECT_FALSE(feed("\x0a\x01x", 1)) << "compressed";
  EXPECT_FALSE(feed("\x0a\x05x", 0)) << "content beyond the message";
  EXPECT_FALSE(feed("\x0a", 0)) << "a tag alone";
  EXPECT_FALSE(feed("\x09xxxxxxxx", 0)) << "a fixed64 field";
  EXPECT_FALSE(feed(std::string(12, '\xff'), 0)) << "an endless varint";
}

TEST(ReplyScanner, ResetForgets) {
  ReplyScanner scanner;
  scanner.Feed(RangeReply(3).substr(0, 50));
  scanner.Reset();
  EXPECT_FALSE(scanner.incomplete());
  scanner.Feed(RangeReply(1));
  EXPECT_EQ(scanner.occurrences(2), 1u);
  EXPECT_EQ(scanner.messages(), 1u);
}

}  // namespace
}  // namespace etcdd::bench
