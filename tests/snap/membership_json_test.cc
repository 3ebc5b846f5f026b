// The membership document older etcd versions read.

#include "snap/membership_json.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>

namespace etcdd::snap {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

TEST(MembershipJson, EmptyClusterHasTheFixedDirectories) {
  const std::string node =
      R"("CreatedIndex":0,"ModifiedIndex":0,"ExpireTime":"0001-01-01T00:00:00Z","Value":"",)";
  EXPECT_EQ(MembershipJson({}),
            R"({"Root":{"Path":"/",)" + node + R"("Children":{"0":{"Path":"/0",)" + node +
                R"("Children":{"members":{"Path":"/0/members",)" + node +
                R"("Children":{}},"removed_members":{"Path":"/0/removed_members",)" + node +
                R"("Children":{}}}},"1":{"Path":"/1",)" + node +
                R"("Children":{}}}},"CurrentIndex":0,"CurrentVersion":2})");
}

TEST(MembershipJson, MembersCarryTheirAttributes) {
  Membership membership;
  membership.members = {
      {0x8e9e05c52164694d, {"http://a:2380", "http://b:2380"}, false, "one", {"http://a:2379"}},
      {0x1f, {"http://c:2380"}, true, "", {}},
  };
  membership.removed_ids = {0xab};
  membership.cluster_version = "3.6.0";
  const std::string json = MembershipJson(membership);
  EXPECT_THAT(json, HasSubstr(R"("8e9e05c52164694d":{"Path":"/0/members/8e9e05c52164694d")"));
  EXPECT_THAT(json,
              HasSubstr(R"("Value":"{\"peerURLs\":[\"http://a:2380\",\"http://b:2380\"]}")"));
  EXPECT_THAT(json,
              HasSubstr(R"("Value":"{\"name\":\"one\",\"clientURLs\":[\"http://a:2379\"]}")"));
  EXPECT_THAT(json, HasSubstr(R"("Path":"/0/members/1f/raftAttributes")"));
  EXPECT_THAT(json,
              HasSubstr(R"("Value":"{\"peerURLs\":[\"http://c:2380\"],\"isLearner\":true}")"));
  EXPECT_THAT(json, Not(HasSubstr("/0/members/1f/attributes"))) << "not published";
  EXPECT_THAT(json, HasSubstr(R"("Path":"/0/removed_members/ab")"));
  EXPECT_THAT(json, HasSubstr(R"("Value":"3.6.0","Children":null})"));
}

TEST(MembershipJson, TheOrderOfTheListsDoesNotMatter) {
  Membership membership;
  for (uint64_t id : {7, 3, 12, 255}) {
    membership.members.push_back({id, {"http://x"}, false, "n", {}});
    membership.removed_ids.push_back(id + 1000);
  }
  const std::string json = MembershipJson(membership);
  std::reverse(membership.members.begin(), membership.members.end());
  std::reverse(membership.removed_ids.begin(), membership.removed_ids.end());
  EXPECT_EQ(MembershipJson(membership), json);
}

TEST(MembershipJson, NamesAreEscapedTwiceOverAsGoDoes) {
  Membership membership;
  membership.members = {{1, {"http://x"}, false, "a\"\\\n\x01<\xc3\xa9\xff\xe2\x80\xa8", {}}};
  EXPECT_THAT(MembershipJson(membership),
              HasSubstr(R"({\"name\":\"a\\\"\\\\\\n\\u0001\\u003c)"
                        "\xc3\xa9"
                        R"(\\ufffd\\u2028\"})"));
}

}  // namespace
}  // namespace etcdd::snap
