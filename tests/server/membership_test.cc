// Ids, text forms and records of members (CLUS-001..003, CLUS-012).

#include <string>

#include "gtest/gtest.h"
#include "mvcc/backend/mem_backend.h"
#include "server/base/api_error.h"
#include "server/membership/cluster.h"
#include "server/membership/member.h"

namespace etcdd::membership {
namespace {

using base::ErrorId;

TEST(MemberIdTest, IdsAreTheOnesEtcdMakes) {
  struct Case {
    const char* url;
    const char* token;
    uint64_t member;
    uint64_t cluster;
  };
  for (const Case& c :
       {Case{"http://127.0.0.1:33801", "tok", 0x25b50d13d364e517, 0xf7257449d41f157b},
        Case{"http://localhost:2380", "etcd-cluster", 0x8e9e05c52164694d, 0xcdf818194e3a8c32}}) {
    const uint64_t id = MakeMemberId({c.url}, c.token);
    EXPECT_EQ(id, c.member) << c.url;
    EXPECT_EQ(MakeClusterId({id}), c.cluster) << c.url;
  }
}

TEST(MemberIdTest, OrderOfUrlsAndMembersDoesNotCount) {
  EXPECT_EQ(MakeMemberId({"http://b:1", "http://a:1"}, "t"),
            MakeMemberId({"http://a:1", "http://b:1"}, "t"));
  EXPECT_NE(MakeMemberId({"http://a:1"}, "t"), MakeMemberId({"http://a:1"}, "u"));
  EXPECT_EQ(MakeClusterId({3, 1, 2}), MakeClusterId({1, 2, 3}));
}

TEST(MemberTextTest, JsonComesBackAsItWas) {
  Member member;
  member.id = 0xffffffffffffffff;
  member.name = "a \"quoted\" \\ name \n \x01 \xc3\xa4";
  member.peer_urls = {"http://a:1", "http://b:2"};
  member.client_urls = {"http://c:3"};
  member.is_learner = true;
  const auto back = MemberFromJson(MemberToJson(member));
  ASSERT_TRUE(back.ok()) << back.status();
  EXPECT_EQ(back->id, member.id);
  EXPECT_EQ(back->name, member.name);
  EXPECT_EQ(back->peer_urls, member.peer_urls);
  EXPECT_EQ(back->client_urls, member.client_urls);
  EXPECT_TRUE(back->is_learner);
}

TEST(MemberTextTest, EtcdsJsonIsRead) {
  const auto member = MemberFromJson(
      R"({"id":10276657743932975437,"peerURLs":["http://localhost:2380"],"name":"default"})");
  ASSERT_TRUE(member.ok()) << member.status();
  EXPECT_EQ(member->id, 0x8e9e05c52164694du);
  EXPECT_EQ(member->name, "default");
  EXPECT_FALSE(member->is_learner);
  for (const char* broken : {"", "{", "[]", R"({"id":"x"})", R"({"id":1,"peerURLs":[1]})"}) {
    EXPECT_FALSE(MemberFromJson(broken).ok()) << broken;
  }
}

TEST(MemberTextTest, IdsAreHexWithoutPadding) {
  EXPECT_EQ(MemberIdFromText("8e9e05c52164694d"), 0x8e9e05c52164694du);
  EXPECT_EQ(MemberIdFromText("1"), 1u);
  EXPECT_EQ(MemberIdFromText("xyz"), 0u);
  EXPECT_EQ(MemberIdFromText(""), 0u);
}

class ClusterTest : public ::testing::Test {
 protected:
  static Member MakeMember(uint64_t id, std::string url, bool learner = false) {
    Member member;
    member.id = id;
    member.peer_urls = {std::move(url)};
    member.is_learner = learner;
    return member;
  }
  template <typename Change>
  void Apply(Change change) {
    auto batch = backend_.NewBatch();
    change(*batch);
    ASSERT_TRUE(backend_.Write(*batch).ok());
  }
  void Add(Member member) {
    ASSERT_TRUE(cluster_.CheckAdd(member).ok());
    Apply([&](mvcc::Batch& batch) { cluster_.Add(std::move(member), batch); });
  }

  mvcc::MemBackend backend_;
  Cluster cluster_{1, 10};
};

TEST_F(ClusterTest, WhatIsRecordedIsRestored) {
  Add(MakeMember(10, "http://a:1"));
  Add(MakeMember(11, "http://b:1", /*learner=*/true));
  Add(MakeMember(12, "http://c:1"));
  Apply([&](mvcc::Batch& batch) {
    cluster_.SetAttributes(10, "ten", {"http://a:2"}, batch);
    cluster_.SetAttributes(99, "nobody", {}, batch);  // older than a removal: no effect
    cluster_.SetVersion("3.7.0", batch);
    cluster_.Remove(12, batch);
  });
  Cluster restored(1, 10);
  ASSERT_TRUE(restored.Restore(*backend_.NewView()).ok());
  EXPECT_EQ(restored.version(), "3.7.0");
  ASSERT_EQ(restored.members().size(), 2u);
  EXPECT_EQ(restored.member(10)->name, "ten");
  EXPECT_EQ(restored.member(10)->client_urls, std::vector<std::string>{"http://a:2"});
  EXPECT_EQ(restored.Voters(), std::vector<uint64_t>{10});
  EXPECT_EQ(restored.Learners(), std::vector<uint64_t>{11});
  EXPECT_TRUE(restored.IsRemoved(12));
  EXPECT_EQ(restored.member(12), nullptr);
}

TEST_F(ClusterTest, ChecksRefuseWhatDoesNotFit) {
  Add(MakeMember(10, "http://a:1"));
  Add(MakeMember(11, "http://b:1", /*learner=*/true));
  EXPECT_TRUE(base::IsApiError(cluster_.CheckAdd(MakeMember(10, "http://z:1")),
                               ErrorId::kMemberExist));
  EXPECT_TRUE(base::IsApiError(cluster_.CheckAdd(MakeMember(12, "http://b:1")),
                               ErrorId::kPeerURLExist));
  EXPECT_TRUE(base::IsApiError(cluster_.CheckRemove(12), ErrorId::kMemberNotFound));
  EXPECT_TRUE(base::IsApiError(cluster_.CheckUpdate(MakeMember(12, "http://z:1")),
                               ErrorId::kMemberNotFound));
  EXPECT_TRUE(base::IsApiError(cluster_.CheckUpdate(MakeMember(11, "http://a:1")),
                               ErrorId::kPeerURLExist));
  EXPECT_TRUE(cluster_.CheckUpdate(MakeMember(11, "http://b:1")).ok());
  EXPECT_TRUE(base::IsApiError(cluster_.CheckPromote(10), ErrorId::kMemberNotLearner));
  EXPECT_TRUE(base::IsApiError(cluster_.CheckPromote(12), ErrorId::kMemberNotFound));
  EXPECT_TRUE(cluster_.CheckPromote(11).ok());
  Apply([&](mvcc::Batch& batch) { cluster_.Promote(11, batch); });
  EXPECT_EQ(cluster_.Voters(), (std::vector<uint64_t>{10, 11}));
  Apply([&](mvcc::Batch& batch) { cluster_.Remove(11, batch); });
  // An id once removed never comes back.
  EXPECT_TRUE(base::IsApiError(cluster_.CheckAdd(MakeMember(11, "http://b:1")),
                               ErrorId::kMemberNotFound));
}

}  // namespace
}  // namespace etcdd::membership
