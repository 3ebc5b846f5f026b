// The pure parts: gRPC's text rules, message framing, output buffers, header lists, listen URLs.

#include <algorithm>
#include <memory>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "server/net/grpc_codec.h"
#include "server/net/limits.h"
#include "server/net/listen_url.h"
#include "server/net/message_reader.h"
#include "server/net/output_buffer.h"
#include "server/net/request_head.h"
#include "server/net/session_memory.h"
#include "tests/net/http2_fixture.h"

namespace etcdd::net {
namespace {

using ::testing::HasSubstr;

TEST(GrpcCodecTest, Timeouts) {
  EXPECT_EQ(ParseGrpcTimeout("1H"), absl::Hours(1));
  EXPECT_EQ(ParseGrpcTimeout("2M"), absl::Minutes(2));
  EXPECT_EQ(ParseGrpcTimeout("3S"), absl::Seconds(3));
  EXPECT_EQ(ParseGrpcTimeout("4m"), absl::Milliseconds(4));
  EXPECT_EQ(ParseGrpcTimeout("5u"), absl::Microseconds(5));
  EXPECT_EQ(ParseGrpcTimeout("99999999n"), absl::Nanoseconds(99999999));
  EXPECT_EQ(ParseGrpcTimeout("0S"), absl::ZeroDuration());
  for (const char* bad : {"", "S", "1", "1s", "-1S", "1.5S", "123456789S", " 1S", "1S "}) {
    EXPECT_EQ(ParseGrpcTimeout(bad), std::nullopt) << bad;
  }
}

TEST(GrpcCodecTest, PercentEncoding) {
  EXPECT_EQ(PercentEncode("etcdserver: key is not provided"), "etcdserver: key is not provided");
  EXPECT_EQ(PercentEncode("~ %"), "~ %25");
  EXPECT_EQ(PercentEncode(std::string("\0\x1f\x7f\xff", 4)), "%00%1F%7F%FF");
}

TEST(GrpcCodecTest, BinaryHeadersGoThereAndBack) {
  for (size_t size = 0; size < 70; ++size) {
    std::string bytes;
    for (size_t i = 0; i < size; ++i) bytes.push_back(static_cast<char>(i * 37));
    const std::string text = EncodeBinaryHeader(bytes);
    EXPECT_EQ(text.find('='), std::string::npos);
    EXPECT_EQ(DecodeBinaryHeader(text), bytes);
  }
  EXPECT_EQ(DecodeBinaryHeader("QQ=="), "A");
  EXPECT_EQ(DecodeBinaryHeader("*"), std::nullopt);
}

TEST(GrpcCodecTest, ContentTypes) {
  EXPECT_TRUE(IsGrpcContentType("application/grpc"));
  EXPECT_TRUE(IsGrpcContentType("application/grpc+proto"));
  EXPECT_TRUE(IsGrpcContentType("application/grpc;charset=utf-8"));
  EXPECT_FALSE(IsGrpcContentType("application/grpc-web"));
  EXPECT_FALSE(IsGrpcContentType("application/json"));
  EXPECT_FALSE(IsGrpcContentType(""));
}

TEST(GrpcCodecTest, StatusDetailsAreCodesOnly) {
  EXPECT_EQ(StatusCodeText(absl::StatusCode::kOk), "0");
  EXPECT_EQ(StatusCodeText(absl::StatusCode::kUnauthenticated), "16");
  EXPECT_EQ(StatusCodeText(static_cast<absl::StatusCode>(99)), "2");
}

TEST(MessageReaderTest, RandomPiecesGiveTheSameMessages) {
  std::mt19937 random(5);  // NOLINT: one seed, one trace
  for (int round = 0; round < 200; ++round) {
    std::vector<std::string> sent, received;
    std::string bytes;
    for (int i = 0; i < 10; ++i) {
      sent.emplace_back(random() % 3 == 0 ? random() % 100'000 : random() % 20,
                        static_cast<char>('a' + i));
      bytes += Framed(sent.back());
    }
    MessageReader reader;
    reader.Reset(1 << 20, MessageEncoding::kIdentity, "");
    std::string_view rest = bytes;
    while (!rest.empty()) {
      std::string_view piece =
          rest.substr(0, random() % 2 == 0 ? 1 + random() % 10 : 1 + random() % 60'000);
      rest.remove_prefix(piece.size());
      std::string_view message;
      absl::Status error;
      while (!piece.empty() &&
             reader.Next(&piece, &message, &error) == MessageReader::Outcome::kMessage) {
        received.emplace_back(message);
      }
      ASSERT_TRUE(error.ok());
    }
    ASSERT_EQ(received, sent);
    ASSERT_TRUE(reader.idle());
    ASSERT_EQ(reader.assembling(), 0u);
  }
}

TEST(MessageReaderTest, APrefixAloneReservesLittle) {
  MessageReader reader;
  reader.Reset(1 << 30, MessageEncoding::kIdentity, "");
  std::string bytes = Framed("");
  bytes[1] = 0x30;  // announces 800 MB
  bytes += "first bytes";
  std::string_view piece = bytes, message;
  absl::Status error;
  EXPECT_EQ(reader.Next(&piece, &message, &error), MessageReader::Outcome::kNeedMore);
  EXPECT_EQ(reader.assembling(), 11u);
}

TEST(OutputBufferTest, KeepsOrderThroughPartialWrites) {
  std::mt19937 random(9);  // NOLINT: one seed, one trace
  for (int round = 0; round < 100; ++round) {
    OutputBuffer buffer;
    std::string expected, got;
    for (int i = 0; i < 50; ++i) {
      const size_t size =
          random() % 4 == 0 ? kSharedPieceBytesMin + random() % 9000 : random() % 90;
      PieceOwner owner;
      owner.text = std::make_shared<const std::string>(size, static_cast<char>('a' + i % 26));
      expected += *owner.text;
      if (random() % 2 == 0) {
        buffer.AppendShared(*owner.text, owner);
      } else {
        buffer.Append(*owner.text);
      }
      if (random() % 3 == 0) {
        const std::string all = buffer.ToString();
        const size_t written = all.empty() ? 0 : random() % (all.size() + 1);
        got += all.substr(0, written);
        buffer.Consume(written);
      }
    }
    iovec vectors[200];
    const int count = buffer.Vectors(vectors, 200);
    std::string rest;
    for (int i = 0; i < count; ++i) {
      rest.append(static_cast<const char*>(vectors[i].iov_base), vectors[i].iov_len);
    }
    ASSERT_EQ(rest.size(), buffer.size());
    ASSERT_EQ(got + rest, expected);
  }
}

TEST(RequestHeadTest, KeepsWhatHandlersAskFor) {
  RequestHead head;
  head.Add(":path", "/a.B/C");
  head.Add("content-type", "application/grpc");
  head.Add("user-agent", "grpc-go/1.2");
  head.Add("grpc-timeout", "1S");
  head.Add("empty", "");
  EXPECT_EQ(head.path(), "/a.B/C");
  EXPECT_EQ(head.timeout(), "1S");
  EXPECT_EQ(head.Find("user-agent"), "grpc-go/1.2");
  EXPECT_EQ(head.Find("empty"), "");
  EXPECT_EQ(head.Find("user-agen"), std::nullopt);
  EXPECT_EQ(head.Find("te"), std::nullopt);
  head.Clear();
  EXPECT_EQ(head.path(), "");
  EXPECT_EQ(head.Find("user-agent"), std::nullopt);
}

TEST(SessionMemoryTest, BlocksAreDistinctAlignedAndKeepTheirBytes) {
  SessionMemory memory;
  nghttp2_mem* functions = memory.functions();
  std::mt19937 random(3);  // NOLINT: one seed, one trace
  std::vector<std::pair<char*, size_t>> live;
  for (int i = 0; i < 20'000; ++i) {
    if (live.size() < 100 || random() % 2 == 0) {
      const size_t size = random() % 2000;
      auto* block = static_cast<char*>(functions->malloc(size, functions->mem_user_data));
      ASSERT_EQ(reinterpret_cast<uintptr_t>(block) % 16, 0u);
      std::fill_n(block, size, static_cast<char>(size));
      live.emplace_back(block, size);
    } else {
      std::swap(live[random() % live.size()], live.back());
      auto [block, size] = live.back();
      live.pop_back();
      ASSERT_EQ(std::string(block, size), std::string(size, static_cast<char>(size)));
      if (random() % 4 == 0) {
        block = static_cast<char*>(
            functions->realloc(block, size + 500, functions->mem_user_data));
        ASSERT_EQ(std::string(block, size), std::string(size, static_cast<char>(size)));
      }
      functions->free(block, functions->mem_user_data);
    }
  }
  for (const auto& [block, size] : live) functions->free(block, functions->mem_user_data);
}

TEST(ListenUrlTest, Forms) {
  const auto tcp = ParseListenUrl("http://127.0.0.1:2379");
  ASSERT_TRUE(tcp.ok());
  EXPECT_EQ(tcp->host, "127.0.0.1");
  EXPECT_EQ(tcp->port, 2379);
  EXPECT_FALSE(tcp->tls);
  const auto tls = ParseListenUrl("https://[::1]:0/");
  ASSERT_TRUE(tls.ok());
  EXPECT_EQ(tls->host, "::1");
  EXPECT_TRUE(tls->tls);
  const auto any = ParseListenUrl("http://:80");
  ASSERT_TRUE(any.ok());
  EXPECT_EQ(any->host, "");
  const auto local = ParseListenUrl("unixs://dir/sock:1");
  ASSERT_TRUE(local.ok());
  EXPECT_EQ(local->path, "dir/sock:1");
  EXPECT_TRUE(local->unix_socket && local->tls);
  for (const char* bad : {"127.0.0.1:1", "ftp://a:1", "http://a", "http://a:x", "http://a:70000",
                          "http://::1:1", "unix://", "http://a:-1"}) {
    const auto url = ParseListenUrl(bad);
    ASSERT_FALSE(url.ok()) << bad;
    EXPECT_THAT(std::string(url.status().message()), HasSubstr(bad));
  }
}

}  // namespace
}  // namespace etcdd::net
