// The hand-written raftpb bytes against protobuf's.

#include <string>
#include <vector>

#include "gtest/gtest.h"
#include "proto/raft.pb.h"
#include "raft/codec.h"
#include "raft/describe.h"
#include "tests/raft/test_node.h"

namespace etcdd::raft {
namespace {

Message Full() {
  Message m = MakeApp(1, 0xfedcba9876543210u, 300, 7, 299, 5, {MakeEntry(299, 8, "payload")});
  Entry change = MakeEntry(300, 9, "");
  change.type = EntryType::kConfChangeV2;
  m.entries.push_back(change);
  m.reject = true;
  m.reject_hint = 4;
  m.context = base::Bytes::Copy(kCampaignTransfer);
  m.vote = 3;
  Snapshot snapshot;
  snapshot.index = 70;
  snapshot.term = 6;
  snapshot.conf_state = {{1, 200}, {3}, {4}, {5}, true};
  snapshot.data = base::Bytes::Copy("image");
  m.snapshot = std::make_shared<const Snapshot>(snapshot);
  return m;
}

std::string Bytes(const Message& m) {
  std::string out;
  AppendEncoded(m, &out);
  return out;
}

TEST(Codec, ProtobufReadsWhatWeWrite) {
  // R35: the context, too, which forces transfers and counts reads.
  raftpb::Message message;
  ASSERT_TRUE(message.ParseFromString(Bytes(Full())));
  EXPECT_EQ(message.type(), raftpb::MsgApp);
  EXPECT_EQ(message.to(), 0xfedcba9876543210u);
  EXPECT_EQ(message.from(), 1u);
  EXPECT_EQ(message.term(), 300u);
  EXPECT_EQ(message.logterm(), 299u);
  EXPECT_EQ(message.index(), 7u);
  EXPECT_EQ(message.commit(), 5u);
  EXPECT_TRUE(message.reject());
  EXPECT_EQ(message.rejecthint(), 4u);
  EXPECT_EQ(message.context(), kCampaignTransfer);
  EXPECT_EQ(message.vote(), 3u);
  ASSERT_EQ(message.entries_size(), 2);
  EXPECT_EQ(message.entries(0).data(), "payload");
  EXPECT_EQ(message.entries(1).type(), raftpb::EntryConfChangeV2);
  EXPECT_EQ(message.snapshot().data(), "image");
  EXPECT_EQ(message.snapshot().metadata().index(), 70u);
  EXPECT_EQ(message.snapshot().metadata().conf_state().voters(1), 200u);
  EXPECT_TRUE(message.snapshot().metadata().conf_state().auto_leave());
  EXPECT_TRUE(message.unknown_fields().empty());
}

TEST(Codec, WeReadWhatProtobufWrites) {
  raftpb::Message message;
  ASSERT_TRUE(message.ParseFromString(Bytes(Full())));
  const absl::StatusOr<Message> read = DecodeMessage(message.SerializeAsString());
  ASSERT_TRUE(read.ok());
  EXPECT_EQ(Describe(*read), Describe(Full()));
  EXPECT_EQ(read->context, Full().context);
  EXPECT_EQ(*read->snapshot, *Full().snapshot);
}

TEST(Codec, AnOlderMembersEmptySnapshotAndZerosAreNothing) {
  raftpb::Message message;
  message.set_type(raftpb::MsgHeartbeat);
  message.set_to(0);
  message.set_reject(false);
  message.set_context("");
  message.mutable_snapshot()->mutable_metadata()->set_index(0);
  const absl::StatusOr<Message> read = DecodeMessage(message.SerializeAsString());
  ASSERT_TRUE(read.ok());
  EXPECT_EQ(read->type, MessageType::kHeartbeat);
  EXPECT_EQ(read->snapshot, nullptr);
}

TEST(Codec, PackedIdsAreReadToo) {
  // Protobuf readers take a repeated number in either form, whatever the writer's schema says.
  const auto field = [](char number, const std::string& bytes) {
    return std::string{static_cast<char>(number << 3 | 2), static_cast<char>(bytes.size())} + bytes;
  };
  const std::string conf_state = field(1, "\x01\xc8\x01") + field(2, "\x03");
  const std::string metadata = field(1, conf_state) + "\x10\x46\x18\x06";
  const absl::StatusOr<Message> read = DecodeMessage(field(9, field(2, metadata)));
  ASSERT_TRUE(read.ok());
  ASSERT_NE(read->snapshot, nullptr);
  EXPECT_EQ(read->snapshot->index, 70u);
  EXPECT_EQ(read->snapshot->conf_state, (ConfState{{1, 200}, {3}, {}, {}, false}));
}

TEST(Codec, EncodedSizeIsTheSize) {
  for (const uint64_t number : {uint64_t{0}, uint64_t{127}, uint64_t{128}, kNoLimit}) {
    for (const size_t size : {0, 1, 127, 128, 20000}) {
      const Entry entry = MakeEntry(number, number, std::string(size, 'x'));
      std::string out;
      AppendEncoded(entry, &out);
      EXPECT_EQ(out.size(), EncodedSize(entry));
      EXPECT_EQ(*DecodeEntry(out), entry);
    }
  }
}

TEST(Codec, BrokenBytesAreRefusedAtEveryCut) {
  const std::string whole = Bytes(Full());
  const std::string text = Describe(*DecodeMessage(whole));
  for (size_t cut = 0; cut < whole.size(); ++cut) {
    const absl::StatusOr<Message> read = DecodeMessage(std::string_view(whole).substr(0, cut));
    if (read.ok()) {
      EXPECT_NE(Describe(*read), text);
    }
  }
  TestRandom random(5);
  for (int round = 0; round < 20000; ++round) {
    std::string damaged = whole;
    damaged[random.Uniform(damaged.size())] = static_cast<char>(random.Next());
    const absl::StatusOr<Message> read = DecodeMessage(damaged);  // must not crash
    if (read.ok()) {
      EXPECT_LT(static_cast<int>(read->type), kMessageTypeCount);
    }
  }
  EXPECT_TRUE(absl::IsInvalidArgument(DecodeMessage("\x08\x7f").status())) << "unknown type";
  EXPECT_TRUE(absl::IsInvalidArgument(DecodeEntry("\x08\x03").status()));
}

}  // namespace
}  // namespace etcdd::raft
