#include "cmd/etcdd-bench/messages.h"

#include <gtest/gtest.h>

#include <cstring>
#include <map>
#include <string>

#include "cmd/etcdd-bench/frame.h"
#include "server/base/coding.h"

namespace etcdd::bench {
namespace {

using std::string_literals::operator""s;

std::string Framed(const std::string& message) {
  std::string framed;
  AppendGrpcMessage(message, &framed);
  return framed;
}

std::string Stamp(uint64_t value) {
  return std::string(reinterpret_cast<const char*>(&value), sizeof value);
}

TEST(Keys, AreFixedLengthAndOrderedLikeTheirNumbers) {
  EXPECT_EQ(MakeKey(0, 8), "k0000000");
  EXPECT_EQ(MakeKey(1234567, 8), "k1234567");
  EXPECT_LT(MakeKey(999, 16), MakeKey(1000, 16));
}

TEST(RandomText, DependsOnTheSeedAlone) {
  EXPECT_EQ(RandomText(100, 3), RandomText(100, 3));
  EXPECT_NE(RandomText(100, 3), RandomText(100, 4));
  EXPECT_EQ(RandomText(100, 3).size(), 100u);
}

TEST(RequestTemplate, PutHoldsKeyAndStampedValue) {
  RequestTemplate put = RequestTemplate::Put(4, "0123456789");
  EXPECT_EQ(put.Fill(7, 42), Framed("\x0a\x04k007\x12\x0a" + Stamp(42) + "89"));
  EXPECT_EQ(put.Fill(999, 1), Framed("\x0a\x04k999\x12\x0a" + Stamp(1) + "89"));
}

TEST(RequestTemplate, AValueTooShortForAStampIsSentAsItIs) {
  RequestTemplate put = RequestTemplate::Put(4, "short");
  EXPECT_EQ(put.Fill(7, 42), Framed("\x0a\x04k007\x12\x05short"));
}

TEST(RequestTemplate, RangeOfOneKeyHasNoEnd) {
  EXPECT_EQ(RequestTemplate::Range(4, 1, false).Fill(7, 0), Framed("\x0a\x04k007"));
  EXPECT_EQ(RequestTemplate::Range(4, 1, true).Fill(7, 0), Framed("\x0a\x04k007\x38\x01"));
}

TEST(RequestTemplate, RangeOfManyKeysEndsThatManyNumbersLater) {
  RequestTemplate range = RequestTemplate::Range(5, 1000, false);
  EXPECT_EQ(range.Fill(7, 0), Framed("\x0a\x05k0007\x12\x05k1007"));
  EXPECT_EQ(range.Fill(8999, 0), Framed("\x0a\x05k8999\x12\x05k9999"));
}

TEST(RequestTemplate, TxnComparesThenPutsOrGets) {
  RequestTemplate txn = RequestTemplate::Txn(4, "0123456789");
  // compare {result GREATER, key, version 0}, failure {range {key}}, success {put {key, value}}
  const std::string compare = "\x08\x01\x1a\x04k005\x20\x00"s;
  const std::string failure = "\x0a\x06\x0a\x04k005"s;
  const std::string success = "\x12\x12\x0a\x04k005\x12\x0a" + Stamp(9) + "89";
  EXPECT_EQ(txn.Fill(5, 9), Framed("\x0a\x0a" + compare + "\x1a\x08" + failure + "\x12\x14" +
                                   success));
}

TEST(Messages, SmallRequests) {
  EXPECT_EQ(LeaseGrantMessage(60), Framed("\x08\x3c"));
  EXPECT_EQ(LeaseKeepAliveMessage(300), Framed("\x08\xac\x02"));
  EXPECT_EQ(CompactMessage(5, true), Framed("\x08\x05\x10\x01"));
  EXPECT_EQ(WatchCreateMessage("key"), Framed("\x0a\x05\x0a\x03key"));
}

TEST(ReplyMatches, WantsExactlyWhatWasAskedFor) {
  const std::string header = "\x0a\x02\x18\x05";
  const auto matches = [](const Expectation& expected, const std::string& message) {
    ReplyScanner scanner;
    scanner.Feed(Framed(message));
    return ReplyMatches(expected, scanner);
  };
  EXPECT_TRUE(matches({Expectation::kPutReply, 0}, header));
  EXPECT_FALSE(matches({Expectation::kPutReply, 0}, "")) << "no header";
  EXPECT_TRUE(matches({Expectation::kRangeReply, 1}, header + "\x12\x01x\x20\x01"));
  EXPECT_FALSE(matches({Expectation::kRangeReply, 1}, header)) << "no key-value";
  EXPECT_FALSE(matches({Expectation::kRangeReply, 1}, header + "\x12\x01x\x20\x02"));
  EXPECT_TRUE(matches({Expectation::kTxnReply, 0}, header + "\x10\x01\x1a\x01x"));
  EXPECT_FALSE(matches({Expectation::kTxnReply, 0}, header + "\x1a\x01x")) << "not succeeded";
  EXPECT_TRUE(matches({Expectation::kLeaseGrantReply, 0}, header + "\x10\x07\x18\x3c"));
  EXPECT_FALSE(matches({Expectation::kLeaseGrantReply, 0}, header + "\x18\x3c")) << "no id";
}

TEST(ReplyMatches, WantsOneMessage) {
  ReplyScanner none;
  EXPECT_FALSE(ReplyMatches({Expectation::kPutReply, 0}, none));
  ReplyScanner two;
  two.Feed(Framed("\x0a\x01x") + Framed(""));
  EXPECT_FALSE(ReplyMatches({Expectation::kPutReply, 0}, two));
}

TEST(HeaderRevision, IsFieldThreeOfFieldOne) {
  EXPECT_EQ(HeaderRevision("\x0a\x05\x08\x01\x18\xac\x02"), 300);
  EXPECT_EQ(HeaderRevision("\x20\x01"), std::nullopt);
  EXPECT_EQ(HeaderRevision(""), std::nullopt);
}

TEST(LeaseReply, HasIdAndTtl) {
  const auto reply = ParseLeaseReply("\x0a\x02\x18\x05\x10\xac\x02\x18\x3c");
  ASSERT_TRUE(reply.has_value());
  EXPECT_EQ(reply->id, 300);
  EXPECT_EQ(reply->ttl_s, 60);
  EXPECT_FALSE(ParseLeaseReply("\x10").has_value());
}

TEST(WatchReply, KnowsCreationEventsAndCancel) {
  WatchReply reply;
  ASSERT_TRUE(ParseWatchReply("\x0a\x02\x18\x05\x10\x03\x18\x01", &reply));
  EXPECT_TRUE(reply.created);
  EXPECT_EQ(reply.watch_id, 3);
  EXPECT_TRUE(reply.events.empty());

  const std::string kv = "\x0a\x03key\x20\x09\x2a\x0a" + Stamp(77) + "89";
  std::string event;
  base::AppendBytesField(2, kv, &event);
  std::string message = "\x0a\x02\x18\x05\x10\x03";
  base::AppendBytesField(11, event, &message);
  base::AppendBytesField(11, event, &message);
  ASSERT_TRUE(ParseWatchReply(message, &reply));
  EXPECT_FALSE(reply.created);
  ASSERT_EQ(reply.events.size(), 2u);
  EXPECT_EQ(reply.events[1].version, 9);
  EXPECT_EQ(reply.events[1].stamp, 77u);

  ASSERT_TRUE(ParseWatchReply("\x20\x01", &reply));
  EXPECT_TRUE(reply.canceled);
  EXPECT_TRUE(reply.events.empty());
  EXPECT_FALSE(ParseWatchReply(message.substr(0, message.size() - 1), &reply));
}

}  // namespace
}  // namespace etcdd::bench
