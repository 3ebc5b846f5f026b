// The parsers written by hand agree with protobuf, on random messages and on random bytes.

#include "server/apply/wire.h"

#include <string>

#include "gtest/gtest.h"
#include "proto/raft_internal.pb.h"
#include "proto/rpc.pb.h"
#include "server/base/random.h"

namespace etcdd::apply {
namespace {

class WireProtobufTest : public ::testing::Test {
 protected:
  std::string Bytes() {
    std::string bytes(random_->Uniform(12), '\0');
    for (char& c : bytes) c = static_cast<char>(random_->Next());
    return bytes;
  }
  // Small, huge and negative ones; often 0.
  int64_t Number() {
    switch (random_->Uniform(4)) {
      case 0: return 0;
      case 1: return static_cast<int64_t>(random_->Uniform(200));
      default: return static_cast<int64_t>(random_->Next());
    }
  }
  bool Flag() { return random_->Uniform(2) == 1; }

  etcdserverpb::PutRequest RandomPut() {
    etcdserverpb::PutRequest put;
    put.set_key(Bytes());
    put.set_value(Bytes());
    put.set_lease(Number());
    put.set_prev_kv(Flag());
    put.set_ignore_value(Flag());
    put.set_ignore_lease(Flag());
    return put;
  }
  etcdserverpb::RangeRequest RandomRange() {
    etcdserverpb::RangeRequest range;
    range.set_key(Bytes());
    range.set_range_end(Bytes());
    range.set_limit(Number());
    range.set_revision(Number());
    range.set_sort_order(
        static_cast<etcdserverpb::RangeRequest::SortOrder>(static_cast<int32_t>(Number())));
    range.set_sort_target(
        static_cast<etcdserverpb::RangeRequest::SortTarget>(static_cast<int32_t>(Number())));
    range.set_serializable(Flag());
    range.set_keys_only(Flag());
    range.set_count_only(Flag());
    range.set_min_mod_revision(Number());
    range.set_max_mod_revision(Number());
    range.set_min_create_revision(Number());
    range.set_max_create_revision(Number());
    return range;
  }
  // Damages a message, mostly a little.
  std::string Damage(std::string bytes) {
    for (uint64_t i = random_->Uniform(3); i > 0 && !bytes.empty(); --i) {
      bytes[random_->Uniform(bytes.size())] = static_cast<char>(random_->Next());
    }
    if (Flag()) bytes.resize(random_->Uniform(bytes.size() + 1));
    return bytes;
  }

  static void ExpectSame(const etcdserverpb::PutRequest& put, const PutView& view) {
    EXPECT_EQ(view.key, put.key());
    EXPECT_EQ(view.value, put.value());
    EXPECT_EQ(view.lease, put.lease());
    EXPECT_EQ(view.prev_kv, put.prev_kv());
    EXPECT_EQ(view.ignore_value, put.ignore_value());
    EXPECT_EQ(view.ignore_lease, put.ignore_lease());
  }
  static void ExpectSame(const etcdserverpb::RangeRequest& range, const RangeView& view) {
    EXPECT_EQ(view.key, range.key());
    EXPECT_EQ(view.range_end, range.range_end());
    EXPECT_EQ(view.limit, range.limit());
    EXPECT_EQ(view.revision, range.revision());
    EXPECT_EQ(view.sort_order, static_cast<int>(range.sort_order()));
    EXPECT_EQ(view.sort_target, static_cast<int>(range.sort_target()));
    EXPECT_EQ(view.serializable, range.serializable());
    EXPECT_EQ(view.keys_only, range.keys_only());
    EXPECT_EQ(view.count_only, range.count_only());
    EXPECT_EQ(view.min_mod_revision, range.min_mod_revision());
    EXPECT_EQ(view.max_mod_revision, range.max_mod_revision());
    EXPECT_EQ(view.min_create_revision, range.min_create_revision());
    EXPECT_EQ(view.max_create_revision, range.max_create_revision());
  }

  const std::unique_ptr<base::Random> random_ = base::NewSeededRandom(11);
};

TEST_F(WireProtobufTest, RandomMessagesAreReadAsProtobufReadsThem) {
  for (int i = 0; i < 20000 && !HasFailure(); ++i) {
    const etcdserverpb::PutRequest put = RandomPut();
    const std::string put_bytes = put.SerializeAsString();
    const auto put_view = ParsePut(put_bytes);
    ASSERT_TRUE(put_view.has_value());
    ExpectSame(put, *put_view);
    const etcdserverpb::RangeRequest range = RandomRange();
    const std::string range_bytes = range.SerializeAsString();
    const auto range_view = ParseRange(range_bytes);
    ASSERT_TRUE(range_view.has_value());
    ExpectSame(range, *range_view);
    etcdserverpb::DeleteRangeRequest request;
    request.set_key(Bytes());
    request.set_range_end(Bytes());
    request.set_prev_kv(Flag());
    const std::string bytes = request.SerializeAsString();
    const auto view = ParseDeleteRange(bytes);
    ASSERT_TRUE(view.has_value());
    EXPECT_EQ(view->key, request.key());
    EXPECT_EQ(view->range_end, request.range_end());
    EXPECT_EQ(view->prev_kv, request.prev_kv());
  }
}

// Concatenated messages merge, the last value of a field counting.
TEST_F(WireProtobufTest, RepeatedFieldsAreReadAsProtobufReadsThem) {
  for (int i = 0; i < 5000 && !HasFailure(); ++i) {
    const std::string bytes = RandomPut().SerializeAsString() + RandomPut().SerializeAsString();
    etcdserverpb::PutRequest merged;
    ASSERT_TRUE(merged.ParseFromString(bytes));
    const auto view = ParsePut(bytes);
    ASSERT_TRUE(view.has_value());
    ExpectSame(merged, *view);
  }
}

// Whatever is accepted by both is understood alike.
TEST_F(WireProtobufTest, DamagedMessagesAreNeverUnderstoodDifferently) {
  int both = 0;
  for (int i = 0; i < 50000 && !HasFailure(); ++i) {
    const std::string bytes = Damage(RandomRange().SerializeAsString());
    etcdserverpb::RangeRequest message;
    const bool parsed = message.ParseFromString(bytes);
    const auto view = ParseRange(bytes);
    if (!parsed || !view) continue;
    ++both;
    ExpectSame(message, *view);
  }
  EXPECT_GT(both, 1000);
}

TEST_F(WireProtobufTest, InternalRequestIsProtobufsToo) {
  for (int i = 0; i < 2000; ++i) {
    const etcdserverpb::PutRequest put = RandomPut();
    const uint64_t id = random_->Next();
    const base::Bytes entry =
        EncodeInternalRequest(id, RequestKind::kPut, put.SerializeAsString());
    etcdserverpb::InternalRaftRequest message;
    ASSERT_TRUE(message.ParseFromArray(entry.view().data(),
                                       static_cast<int>(entry.view().size())));
    EXPECT_EQ(message.header().id(), id);
    EXPECT_EQ(message.put().SerializeAsString(), put.SerializeAsString());
    const auto parsed = ParseInternalRequest(entry.view());
    ASSERT_TRUE(parsed.has_value());
    EXPECT_EQ(parsed->id, id);
    EXPECT_EQ(parsed->kind, RequestKind::kPut);
    EXPECT_EQ(parsed->body, put.SerializeAsString());
  }
}

TEST_F(WireProtobufTest, HeadersAreProtobufsToo) {
  for (int i = 0; i < 2000; ++i) {
    const Identity identity{random_->Next(), random_->Next()};
    const int64_t revision = Number();
    const uint64_t term = random_->Uniform(1000);
    std::string reply;
    AppendHeader(identity, revision, term, &reply);
    etcdserverpb::PutResponse response;
    ASSERT_TRUE(response.ParseFromString(reply));
    EXPECT_EQ(response.header().cluster_id(), identity.cluster_id);
    EXPECT_EQ(response.header().member_id(), identity.member_id);
    EXPECT_EQ(response.header().revision(), revision);
    EXPECT_EQ(response.header().raft_term(), term);
    EXPECT_EQ(EncodeHeader(identity, revision, term), response.header().SerializeAsString());
  }
}

}  // namespace
}  // namespace etcdd::apply
