#include "cmd/etcdd-bench/hpack.h"

#include <gtest/gtest.h>
#include <nghttp2/nghttp2.h>

#include <map>
#include <string>
#include <string_view>

namespace etcdd::bench {
namespace {

using Headers = std::map<std::string, std::string>;
using std::string_literals::operator""s;

// A server's view of request blocks: nghttp2's decoder, which shares no code with our encoder.
class Peer {
 public:
  Peer() { nghttp2_hd_inflate_new(&inflater_); }
  ~Peer() { nghttp2_hd_inflate_del(inflater_); }

  void LimitTable(size_t bytes) { nghttp2_hd_inflate_change_table_size(inflater_, bytes); }

  // Empty when the block is malformed.
  Headers Decode(std::string_view block) {
    Headers headers;
    const auto* in = reinterpret_cast<const uint8_t*>(block.data());
    size_t left = block.size();
    for (;;) {
      nghttp2_nv field;
      int flags = 0;
      const ssize_t used = nghttp2_hd_inflate_hd2(inflater_, &field, &flags, in, left, 1);
      if (used < 0) return {};
      in += used;
      left -= static_cast<size_t>(used);
      if ((flags & NGHTTP2_HD_INFLATE_EMIT) != 0) {
        headers[std::string(reinterpret_cast<char*>(field.name), field.namelen)] =
            std::string(reinterpret_cast<char*>(field.value), field.valuelen);
      }
      if ((flags & NGHTTP2_HD_INFLATE_FINAL) != 0) {
        nghttp2_hd_inflate_end_headers(inflater_);
        return headers;
      }
    }
  }

 private:
  nghttp2_hd_inflater* inflater_ = nullptr;
};

Headers Expected(const std::string& path) {
  return {{":method", "POST"},           {":scheme", "http"},
          {":path", path},               {":authority", "host:2379"},
          {"te", "trailers"},            {"content-type", "application/grpc"},
          {"user-agent", "etcdd-bench"}};
}

TEST(RequestHeaderEncoder, EveryBlockDecodesToTheRequest) {
  RequestHeaderEncoder encoder({"/a/First", "/b/Second"}, "host:2379");
  Peer peer;
  for (const size_t path : {0, 0, 1, 0, 1, 1, 0}) {
    EXPECT_EQ(peer.Decode(encoder.Block(path)), Expected(path == 0 ? "/a/First" : "/b/Second"));
  }
}

TEST(RequestHeaderEncoder, RepeatedBlocksAreReferencesOnly) {
  RequestHeaderEncoder encoder({"/a/First", "/b/Second"}, "host:2379");
  EXPECT_GT(encoder.Block(0).size(), 40u);
  EXPECT_EQ(encoder.Block(0).size(), 7u);
  encoder.Block(1);
  EXPECT_EQ(encoder.Block(0).size(), 7u) << "indices have moved, the size has not";
}

TEST(RequestHeaderEncoder, ObeysASmallerTable) {
  RequestHeaderEncoder encoder({"/a/First", "/b/Second"}, "host:2379");
  Peer peer;
  peer.Decode(encoder.Block(0));
  encoder.SetTableSizeMax(100);
  peer.LimitTable(100);
  for (const size_t path : {0, 1, 0, 1}) {
    EXPECT_EQ(peer.Decode(encoder.Block(path)), Expected(path == 0 ? "/a/First" : "/b/Second"));
  }
}

TEST(RequestHeaderEncoder, WorksWithoutATable) {
  RequestHeaderEncoder encoder({"/a/First"}, "host:2379");
  Peer peer;
  encoder.SetTableSizeMax(0);
  peer.LimitTable(0);
  EXPECT_EQ(peer.Decode(encoder.Block(0)), Expected("/a/First"));
  EXPECT_EQ(peer.Decode(encoder.Block(0)), Expected("/a/First"));
}

TEST(ReplyHeaderDecoder, KeepsTrackOfTheTableAcrossCachedBlocks) {
  ReplyHeaderDecoder decoder;
  // ":status 200" is static entry 8; "grpc-status: 0" is inserted as a literal, then referred to.
  const std::string insert = "\x40\x0b" "grpc-status" "\x01" "0";
  const auto check = [&](const std::string& block, int http_status, int grpc_status) {
    const auto headers = decoder.Decode(block);
    ASSERT_TRUE(headers.ok()) << headers.status();
    EXPECT_EQ((*headers)->http_status, http_status);
    EXPECT_EQ((*headers)->grpc_status, grpc_status);
  };
  check("\x88", 200, -1);
  check(insert, -1, 0);
  for (int i = 0; i < 3; ++i) {
    check("\x88", 200, -1);
    check("\xbe", -1, 0);
  }
  check("\x40\x0b" "grpc-status" "\x01" "5", -1, 5);  // entry 62 is now status 5, 63 is status 0
  check("\xbe", -1, 5);
  check("\xbf", -1, 0);
}

TEST(ReplyHeaderDecoder, ReadsTheMessage) {
  ReplyHeaderDecoder decoder;
  const auto headers = decoder.Decode(
      "\x88\x00\x0bgrpc-status\x02" "14" "\x00\x0cgrpc-message\x05no go"s);
  ASSERT_TRUE(headers.ok()) << headers.status();
  EXPECT_EQ((*headers)->http_status, 200);
  EXPECT_EQ((*headers)->grpc_status, 14);
  EXPECT_EQ((*headers)->grpc_message, "no go");
}

TEST(ReplyHeaderDecoder, RefusesGarbage) {
  ReplyHeaderDecoder decoder;
  EXPECT_FALSE(decoder.Decode("\xc5").ok()) << "a reference to an entry that is not there";
}

}  // namespace
}  // namespace etcdd::bench
