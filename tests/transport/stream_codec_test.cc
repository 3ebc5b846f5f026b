// Both stream formats: what is written is read, byte for byte as peer-protocol.md says, in pieces
// of any size; damaged bytes are refused or read as something else, never more.

#include "server/transport/stream_codec.h"

#include <string>
#include <utility>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "server/base/coding.h"
#include "server/base/random.h"
#include "tests/transport/transport_fixture.h"

namespace etcdd::transport {
namespace {

std::vector<raft::Message> Appends() {
  std::vector<raft::Message> messages;
  messages.push_back(Append(1, 2, 5, 10, {"a", "", std::string(9000, 'b')}));
  messages.push_back(Append(1, 2, 5, 13, {"c"}));
  messages.push_back(Append(1, 2, 5, 14, {}));
  messages.push_back(Append(1, 2, 5, 9, {"back"}));
  messages.push_back(Append(1, 2, 6, 10, {"newer term"}));
  messages.push_back(Append(1, 2, 6, 11, {std::string(5000, 'd'), std::string(5000, 'e')}));
  messages.push_back(Append(1, 2, 6, 3, {}));
  messages.push_back(Append(1, 2, 6, 3, {"after a probe"}));
  return messages;
}

std::string Written(StreamKind kind, const std::vector<raft::Message>& messages) {
  const auto encoder = NewStreamEncoder(kind);
  net::OutputBuffer out;
  for (const raft::Message& message : messages) {
    encoder->EncodeLinkHeartbeat(&out);
    encoder->Encode(message, &out);
  }
  return out.ToString();
}

absl::StatusOr<std::vector<raft::Message>> Read(StreamKind kind, std::string_view bytes,
                                                size_t piece) {
  const auto decoder = NewStreamDecoder(kind, 2, 1);
  std::vector<raft::Message> messages;
  while (!bytes.empty()) {
    const absl::Status status =
        decoder->Feed(bytes.substr(0, piece), [&](raft::Message message) {
          messages.push_back(std::move(message));
          return true;
        });
    if (!status.ok()) return status;
    bytes.remove_prefix(std::min(piece, bytes.size()));
  }
  return messages;
}

class StreamCodecTest : public ::testing::TestWithParam<StreamKind> {};

TEST_P(StreamCodecTest, WhatIsWrittenIsReadInPiecesOfAnySize) {
  const std::vector<raft::Message> messages = Appends();
  const std::string bytes = Written(GetParam(), messages);
  for (const size_t piece : {size_t{1}, size_t{7}, size_t{1000}, bytes.size()}) {
    const auto read = Read(GetParam(), bytes, piece);
    ASSERT_TRUE(read.ok()) << read.status();
    ASSERT_EQ(read->size(), messages.size());
    for (size_t i = 0; i < messages.size(); ++i) EXPECT_TRUE(Same((*read)[i], messages[i])) << i;
  }
}

TEST_P(StreamCodecTest, ACutStreamGivesItsWholeFrames) {
  const std::vector<raft::Message> messages = Appends();
  const std::string bytes = Written(GetParam(), messages);
  size_t before = 0;
  for (size_t cut = 0; cut <= bytes.size(); cut += 1 + cut % 97) {
    const auto read = Read(GetParam(), std::string_view(bytes).substr(0, cut), 4096);
    ASSERT_TRUE(read.ok()) << read.status();
    ASSERT_GE(read->size(), before);
    before = read->size();
    for (size_t i = 0; i < read->size(); ++i) ASSERT_TRUE(Same((*read)[i], messages[i]));
  }
}

TEST_P(StreamCodecTest, FlippedBytesAreSurvived) {
  const std::string good = Written(GetParam(), Appends());
  const auto random = base::NewSeededRandom(7);
  int refused = 0;
  for (int run = 0; run < 2000; ++run) {
    std::string bytes = good;
    bytes[random->Uniform(bytes.size())] ^= static_cast<char>(1 + random->Uniform(255));
    if (!Read(GetParam(), bytes, 1 + random->Uniform(5000)).ok()) ++refused;
  }
  EXPECT_GT(refused, 0);
}

TEST_P(StreamCodecTest, AbsurdLengthsAreRefusedAtOnce) {
  std::string bytes = GetParam() == StreamKind::kMsgApp ? std::string("\x02", 1) : "";
  base::AppendBigEndian64(uint64_t{1} << 40, &bytes);
  EXPECT_FALSE(Read(GetParam(), bytes, 100).ok());
}

INSTANTIATE_TEST_SUITE_P(Kinds, StreamCodecTest,
                         ::testing::Values(StreamKind::kMessage, StreamKind::kMsgApp));

TEST(MsgAppStream, AnAppendThatFollowsIsSentWithoutItsCommonFields) {
  const std::string bytes = Written(
      StreamKind::kMsgApp, {Append(1, 2, 5, 10, {"a"}), Append(1, 2, 5, 11, {"b"})});
  // 00, 02 length message, 00, 01 count length entry commit.
  EXPECT_EQ(bytes[0], 0);
  EXPECT_EQ(bytes[1], 2);
  const auto length = static_cast<size_t>(base::ReadBigEndian64(bytes.data() + 2));
  const std::string_view rest = std::string_view(bytes).substr(10 + length);
  EXPECT_EQ(rest.substr(0, 2), std::string_view("\x00\x01", 2));
  EXPECT_EQ(base::ReadBigEndian64(rest.data() + 2), 1u);
  const auto entry = static_cast<size_t>(base::ReadBigEndian64(rest.data() + 10));
  EXPECT_EQ(base::ReadBigEndian64(rest.data() + 18 + entry), 11u) << "commit";
  EXPECT_EQ(rest.size(), 26 + entry);
}

TEST(MsgAppStream, EntriesThatDoNotFollowAreRefused) {
  std::string bytes = Written(StreamKind::kMsgApp, {Append(1, 2, 5, 10, {"a"})});
  const std::string other = Written(
      StreamKind::kMsgApp, {Append(1, 2, 5, 20, {"a"}), Append(1, 2, 5, 21, {"b"})});
  // The short frame of another stream, whose index is not this one's.
  const auto length = static_cast<size_t>(base::ReadBigEndian64(other.data() + 2));
  bytes += other.substr(10 + length);
  const auto read = Read(StreamKind::kMsgApp, bytes, bytes.size());
  EXPECT_EQ(read.status().message(), "broken stream: entry out of order");
}

TEST(MessageStream, ALinkHeartbeatIsAHeartbeatOfNobody) {
  net::OutputBuffer out;
  NewStreamEncoder(StreamKind::kMessage)->EncodeLinkHeartbeat(&out);
  EXPECT_EQ(out.ToString(), std::string("\0\0\0\0\0\0\0\x02\x08\x08", 10));
  // As members up to 3.6 write it: all zeros written out.
  const std::string older(
      "\x08\x08\x10\x00\x18\x00\x20\x00\x28\x00\x30\x00\x40\x00\x50\x00\x58\x00", 18);
  std::string bytes;
  base::AppendBigEndian64(older.size(), &bytes);
  const auto read = Read(StreamKind::kMessage, bytes + older, 100);
  ASSERT_TRUE(read.ok());
  EXPECT_TRUE(read->empty());
}

TEST(StreamCodec, LongPayloadsAreNotCopied) {
  const raft::Message message = Append(1, 2, 5, 10, {std::string(100'000, 'x'), "short"});
  for (const StreamKind kind : {StreamKind::kMessage, StreamKind::kMsgApp}) {
    net::OutputBuffer out;
    NewStreamEncoder(kind)->Encode(message, &out);
    iovec vectors[8];
    const int count = out.Vectors(vectors, 8);
    bool found = false;
    for (int i = 0; i < count; ++i) {
      found = found || vectors[i].iov_base == message.entries[0].data.view().data();
    }
    EXPECT_TRUE(found);
  }
}

}  // namespace
}  // namespace etcdd::transport
