// Protobuf's JSON mapping as the gateway applies it, and the cutting of bodies into messages.

#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "gtest/gtest.h"
#include "proto/rpc.pb.h"
#include "server/http/base64.h"
#include "server/http/json_codec.h"
#include "server/http/json_reader.h"
#include "server/http/message_splitter.h"

namespace etcdd::http {
namespace {

template <typename T>
T Read(std::string_view json) {
  T message;
  const absl::Status status = MessageFromJson(json, &message);
  EXPECT_TRUE(status.ok()) << json << ": " << status;
  return message;
}

template <typename T>
std::string ErrorOf(std::string_view json) {
  T message;
  const absl::Status status = MessageFromJson(json, &message);
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << json;
  return std::string(status.message());
}

std::string Text(const google::protobuf::Message& message) {
  std::string out;
  AppendJson(message, &out);
  return out;
}

TEST(JsonDecode, NamesInBothForms) {
  for (const char* json : {R"({"range_end":"Yg==","sort_order":"DESCEND"})",
                           R"({"rangeEnd":"Yg==","sortOrder":2})"}) {
    const auto range = Read<etcdserverpb::RangeRequest>(json);
    EXPECT_EQ(range.range_end(), "b");
    EXPECT_EQ(range.sort_order(), etcdserverpb::RangeRequest::DESCEND);
  }
  EXPECT_EQ(Read<etcdserverpb::LeaseGrantRequest>(R"({"TTL":3,"ID":"7"})").ttl(), 3);
  EXPECT_EQ(Read<etcdserverpb::MemberAddRequest>(R"({"peerURLs":["a","b"]})").peerurls_size(), 2);
}

TEST(JsonDecode, EmptyUnknownAndNull) {
  for (const char* json :
       {"", " \n", "{}", R"({"nope":{"a":[1,-2.5e3,"x",true,false,null,{}]},"key":null})",
        "{} garbage", R"({"sort_order":"NOPE"})"}) {
    EXPECT_EQ(Read<etcdserverpb::RangeRequest>(json).ByteSizeLong(), 0u) << json;
  }
}

TEST(JsonDecode, WholeNumbersInAnyForm) {
  const auto limit = [](std::string_view text) {
    return Read<etcdserverpb::RangeRequest>(
               absl::StrCat("{\"limit\":", absl::string_view(text.data(), text.size()), "}"))
        .limit();
  };
  EXPECT_EQ(limit("0"), 0);
  EXPECT_EQ(limit("-0"), 0);
  EXPECT_EQ(limit("12"), 12);
  EXPECT_EQ(limit("\"12\""), 12);
  EXPECT_EQ(limit("1.20e1"), 12);
  EXPECT_EQ(limit("1200E-2"), 12);
  EXPECT_EQ(limit("-9223372036854775808"), INT64_MIN);
  EXPECT_EQ(limit("\"9223372036854775807\""), INT64_MAX);
  EXPECT_EQ(limit("9.223372036854775807e18"), INT64_MAX);
  EXPECT_EQ(Read<etcdserverpb::MoveLeaderRequest>(R"({"targetID":"18446744073709551615"})")
                .targetid(),
            UINT64_MAX);
  for (const char* text :
       {"1.5", "\"\"", "\" 1\"", "\"1x\"", "true", "{}", "[]", "9223372036854775808", "1e19",
        "1e999999999999999999999", "1e-99999999", "\"0x10\""}) {
    EXPECT_EQ(ErrorOf<etcdserverpb::RangeRequest>(absl::StrCat("{\"limit\":", text, "}")),
              "proto: (line 1:10): invalid value for int64 field limit")
        << text;
  }
  ErrorOf<etcdserverpb::MoveLeaderRequest>(R"({"targetID":-1})");
}

TEST(JsonDecode, Strings) {
  const auto name = [](std::string_view text) {
    return Read<etcdserverpb::AuthUserAddRequest>(
               absl::StrCat("{\"name\":\"", absl::string_view(text.data(), text.size()), "\"}"))
        .name();
  };
  EXPECT_EQ(name("\\\"\\\\\\/\\b\\f\\n\\r\\t"), "\"\\/\b\f\n\r\t");
  EXPECT_EQ(name("\\u00e4\\u20AC\\ud83d\\ude00"), "ä€😀");
  EXPECT_EQ(name("ä€😀"), "ä€😀");
  for (const char* text : {"\\x", "\\u12g4", "\\ud83d", "\\ud83dx", "\\ude00", "\\ud83d\\u0041",
                           "\n", "\x80", "\xc0\xaf", "\xed\xa0\x80", "\xf4\x90\x80\x80"}) {
    ErrorOf<etcdserverpb::AuthUserAddRequest>(absl::StrCat("{\"name\":\"", text, "\"}"));
  }
}

TEST(JsonDecode, SyntaxErrors) {
  using Request = etcdserverpb::TxnRequest;
  for (const char* json : {"{", "{\"key\"", "{\"key\":", "{\"key\":\"a", "{\"success\":[", "tru"}) {
    ErrorOf<Request>(json);
  }
  EXPECT_EQ(ErrorOf<Request>("{\"success\":["), "unexpected EOF");
  for (const char* json :
       {"x", "[]", "7", "\"a\"", "null", "{,}", "{\"a\":1,}", "{\"a\" 1}", "{'a':1}", "{a:1}",
        "{\"a\":01}", "{\"a\":.5}", "{\"a\":1.}", "{\"a\":+1}", "{\"a\":nul}", "{\"a\":[1,]}",
        "{\"a\":[1 2]}", "{\"a\":1]", R"({"success":{}})", R"({"success":[null]})"}) {
    ErrorOf<Request>(json);
  }
}

TEST(JsonDecode, FieldsAndOneofsComeOnce) {
  EXPECT_EQ(ErrorOf<etcdserverpb::RangeRequest>("{\"range_end\":\"\",\n \"rangeEnd\":\"\"}"),
            "proto: (line 2:2): duplicate field \"rangeEnd\"");
  ErrorOf<etcdserverpb::WatchRequest>(R"({"create_request":{},"cancel_request":{}})");
  EXPECT_TRUE(Read<etcdserverpb::WatchRequest>(R"({"create_request":{},"cancel_request":null})")
                  .has_create_request());
}

TEST(JsonDecode, NestingIsBounded) {
  const auto nested = [](int depth) {
    return "{\"a\":" + std::string(static_cast<size_t>(depth), '[') +
           std::string(static_cast<size_t>(depth), ']') + "}";
  };
  Read<etcdserverpb::PutRequest>(nested(kJsonDepthMax - 1));
  ErrorOf<etcdserverpb::PutRequest>(nested(kJsonDepthMax));
  ErrorOf<etcdserverpb::PutRequest>("{\"a\":" + std::string(1 << 20, '['));
}

TEST(JsonEncode, ZeroesAreLeftOutAndOrderIsThatOfTheMessage) {
  etcdserverpb::RangeResponse reply;
  EXPECT_EQ(Text(reply), "{}");
  reply.set_count(1);
  reply.set_more(true);
  auto* kv = reply.add_kvs();
  kv->set_value("\x01\xff");
  kv->set_key("foo");
  kv->set_version(1);
  reply.mutable_header()->set_member_id(UINT64_MAX);
  EXPECT_EQ(Text(reply), R"({"header":{"member_id":"18446744073709551615"},)"
                         R"("kvs":[{"key":"Zm9v","version":"1","value":"Af8="}],)"
                         R"("more":true,"count":"1"})");
}

TEST(JsonEncode, EnumsOneofsAndPlainNumbers) {
  mvccpb::Event event;
  event.set_type(mvccpb::Event::DELETE);
  EXPECT_EQ(Text(event), R"({"type":"DELETE"})");
  etcdserverpb::AlarmMember alarm;
  alarm.set_alarm(static_cast<etcdserverpb::AlarmType>(77));
  EXPECT_EQ(Text(alarm), R"({"alarm":77})");
  etcdserverpb::HashKVResponse hash;
  hash.set_hash(4000000000);
  EXPECT_EQ(Text(hash), R"({"hash":4000000000})");
  etcdserverpb::TxnResponse txn;
  txn.add_responses()->mutable_response_put();
  EXPECT_EQ(Text(txn), R"({"responses":[{"response_put":{}}]})");
  etcdserverpb::Member member;
  member.add_peerurls("http://a\"\\\n\x01é");
  member.set_id(5);
  EXPECT_EQ(Text(member), "{\"ID\":\"5\",\"peerURLs\":[\"http://a\\\"\\\\\\n\\u0001é\"]}");
}

TEST(JsonEncode, BytesThatAreNoText) {
  std::string out;
  AppendJsonString("a\xff\xc3z\r\t", &out);
  EXPECT_EQ(out, "\"a\xef\xbf\xbd\xef\xbf\xbdz\\r\\t\"");
}

TEST(Base64, BothAlphabetsWithAndWithoutPadding) {
  for (const char* text : {"-_8=", "-_8", "+/8=", "+/8", "+/\r\n8="}) {
    EXPECT_EQ(DecodeBase64(text), "\xfb\xff") << text;
  }
  EXPECT_EQ(DecodeBase64(""), "");
  EXPECT_EQ(DecodeBase64("Zg=="), "f");
  EXPECT_EQ(DecodeBase64("Zm9v"), "foo");
  for (const char* text : {"Z", "Zg=", "Z===", "Zg===", "=", "Zg==Zg==", "+-AA", "Zm 9v", "Zm9v!",
                           "Zm9vZ"}) {
    EXPECT_EQ(DecodeBase64(text), std::nullopt) << text;
  }
}

// All messages of a body that arrives in pieces of `step` bytes.
std::vector<std::string> Split(std::string_view body, size_t step) {
  MessageSplitter splitter(1000);
  std::vector<std::string> messages;
  for (size_t at = 0; at < body.size(); at += step) {
    splitter.Append(body.substr(at, step));
    while (true) {
      const auto next = splitter.Next();
      EXPECT_TRUE(next.ok()) << next.status();
      if (!next.ok() || !*next) break;
      messages.push_back(**next);
    }
  }
  EXPECT_TRUE(splitter.empty());
  return messages;
}

TEST(MessageSplitter, CutsAtTheEndOfEachObjectHoweverItArrives) {
  const std::string body = "{}{\"a\":\"}{\\\"\\\\\"}\n\n {\"b\":[{},[]]}\t";
  const std::vector<std::string> expected = {"{}", "{\"a\":\"}{\\\"\\\\\"}", "{\"b\":[{},[]]}"};
  for (size_t step = 1; step <= body.size(); ++step) EXPECT_EQ(Split(body, step), expected);
}

TEST(MessageSplitter, RefusesWhatCannotBecomeAMessage) {
  MessageSplitter splitter(10);
  splitter.Append(" x");
  EXPECT_EQ(splitter.Next().status().code(), absl::StatusCode::kInvalidArgument);
  MessageSplitter full(10);
  full.Append("{\"a\":\"1234");
  EXPECT_TRUE(full.Next().ok());
  EXPECT_FALSE(full.empty());
  full.Append("5");
  EXPECT_EQ(full.Next().status().code(), absl::StatusCode::kResourceExhausted);
}

}  // namespace
}  // namespace etcdd::http
