#include <set>
#include <string>
#include <vector>

#include "tests/auth/auth_fixture.h"

namespace etcdd::auth {
namespace {

using base::ErrorId;

class AuthPermissionTest : public AuthFixture {
 protected:
  void SetUp() override {
    EnableWithRoot();
    ASSERT_TRUE(UserAdd("alice").ok());
    for (const char* role : {"one", "two"}) {
      ASSERT_TRUE(RoleAdd(role).ok());
      ASSERT_TRUE(GrantRole("alice", role).ok());
    }
  }
};

TEST_F(AuthPermissionTest, RootMayDoEverything) {  // AUTH-025
  EXPECT_TRUE(Write("root", {"any", kToTheEnd}).ok());
  EXPECT_TRUE(store_.CheckAdmin(As("root")).ok());
  ASSERT_TRUE(GrantRole("alice", "root").ok());
  EXPECT_TRUE(Write("alice", {"any", kToTheEnd}).ok());
  EXPECT_TRUE(store_.CheckAdmin(As("alice")).ok());
}

TEST_F(AuthPermissionTest, ReadAndWriteAreSeparate) {  // AUTH-026
  ASSERT_TRUE(Grant("one", {"r"}, authpb::Permission::READ).ok());
  ASSERT_TRUE(Grant("one", {"w"}, authpb::Permission::WRITE).ok());
  ASSERT_TRUE(Grant("two", {"x"}, authpb::Permission::READWRITE).ok());
  ASSERT_TRUE(Grant("two", {"u"}, static_cast<authpb::Permission::Type>(9)).ok());
  EXPECT_TRUE(Read("alice", {"r"}).ok());
  EXPECT_THAT(Write("alice", {"r"}), Fails(ErrorId::kPermissionDenied));
  EXPECT_TRUE(Write("alice", {"w"}).ok());
  EXPECT_THAT(Read("alice", {"w"}), Fails(ErrorId::kPermissionDenied));
  EXPECT_TRUE(Read("alice", {"x"}).ok());
  EXPECT_TRUE(Write("alice", {"x"}).ok());
  EXPECT_THAT(Read("alice", {"u"}), Fails(ErrorId::kPermissionDenied));
  EXPECT_THAT(Write("alice", {"u"}), Fails(ErrorId::kPermissionDenied));
}

TEST_F(AuthPermissionTest, RangesOfAllRolesCoverTogether) {  // AUTH-026
  ASSERT_TRUE(Grant("one", {"a", "c"}).ok());
  ASSERT_TRUE(Grant("two", {"c", "e"}).ok());
  ASSERT_TRUE(Grant("one", {"e"}).ok());
  EXPECT_TRUE(Read("alice", {"a", "e"}).ok());
  EXPECT_TRUE(Read("alice", {"b", std::string_view("e\0", 2)}).ok());
  EXPECT_THAT(Read("alice", {"a", "f"}), Fails(ErrorId::kPermissionDenied));
  ASSERT_TRUE(RevokeRole("alice", "two").ok());
  EXPECT_THAT(Read("alice", {"a", "e"}), Fails(ErrorId::kPermissionDenied));
  EXPECT_TRUE(Read("alice", {"a", "c"}).ok());
}

TEST_F(AuthPermissionTest, OpenRangesNeedOpenPermissions) {  // AUTH-027
  ASSERT_TRUE(Grant("one", {"a", "\xff\xff\xff"}).ok());
  EXPECT_THAT(Read("alice", {"b", kToTheEnd}), Fails(ErrorId::kPermissionDenied));
  ASSERT_TRUE(Grant("two", {"m", kToTheEnd}).ok());
  EXPECT_TRUE(Read("alice", {"b", kToTheEnd}).ok());
  EXPECT_TRUE(Read("alice", {"zz", kToTheEnd}).ok());
  EXPECT_TRUE(Read("alice", {"\xff\xff\xff\xff"}).ok());
  EXPECT_THAT(Read("alice", {"A", kToTheEnd}), Fails(ErrorId::kPermissionDenied));
}

TEST_F(AuthPermissionTest, PrefixesDoNotCoverTheirEnd) {  // AUTH-027
  ASSERT_TRUE(Grant("one", {"p/", "p0"}).ok());
  EXPECT_TRUE(Write("alice", {"p/", "p0"}).ok());
  EXPECT_TRUE(Write("alice", {"p/x"}).ok());
  EXPECT_THAT(Write("alice", {"p0"}), Fails(ErrorId::kPermissionDenied));
  EXPECT_THAT(Write("alice", {"p"}), Fails(ErrorId::kPermissionDenied));
}

TEST_F(AuthPermissionTest, EmptyRangesCountAsTheirFirstKey) {
  ASSERT_TRUE(Grant("one", {"c", "e"}).ok());
  EXPECT_TRUE(Read("alice", {"d", "a"}).ok());
  EXPECT_THAT(Read("alice", {"x", "d"}), Fails(ErrorId::kPermissionDenied));
  EXPECT_THAT(Read("alice", {"b", "a"}), Fails(ErrorId::kPermissionDenied));
}

TEST_F(AuthPermissionTest, NobodyAndTheDeceased) {  // AUTH-028
  EXPECT_THAT(store_.CheckPermission({}, Access::kRead, {"k"}), Fails(ErrorId::kUserEmpty));
  EXPECT_THAT(store_.CheckAdmin({}), Fails(ErrorId::kUserEmpty));
  EXPECT_THAT(store_.CheckUser({}), Fails(ErrorId::kUserEmpty));
  ASSERT_TRUE(UserDelete("alice").ok());
  EXPECT_THAT(Read("alice", {"k"}), Fails(ErrorId::kPermissionDenied));
  EXPECT_THAT(store_.CheckAdmin(As("alice")), Fails(ErrorId::kUserNotFound));
}

TEST_F(AuthPermissionTest, AdministrationIsRoots) {  // AUTH-033, AUTH-035
  EXPECT_THAT(store_.CheckAdmin(As("alice")), Fails(ErrorId::kPermissionDenied));
  EXPECT_TRUE(store_.CheckUser(As("alice")).ok());
}

TEST_F(AuthPermissionTest, ChangesCountAtOnce) {  // AUTH-006
  EXPECT_FALSE(Write("alice", {"k"}).ok());
  ASSERT_TRUE(Grant("one", {"k"}).ok());
  EXPECT_TRUE(Write("alice", {"k"}).ok());
  ASSERT_TRUE(Revoke("one", {"k"}).ok());
  EXPECT_FALSE(Write("alice", {"k"}).ok());
  ASSERT_TRUE(Grant("two", {"k"}).ok());
  EXPECT_TRUE(Write("alice", {"k"}).ok());
  ASSERT_TRUE(RevokeRole("alice", "two").ok());
  EXPECT_FALSE(Write("alice", {"k"}).ok());
  ASSERT_TRUE(GrantRole("alice", "two").ok());
  EXPECT_TRUE(Write("alice", {"k"}).ok());
  ASSERT_TRUE(RoleDelete("two").ok());
  EXPECT_FALSE(Write("alice", {"k"}).ok());
}

TEST_F(AuthPermissionTest, AnOldRevisionIsToldFirst) {  // AUTH-045
  ASSERT_TRUE(Grant("one", {"k"}).ok());
  const AuthInfo before = As("alice");
  EXPECT_TRUE(store_.CheckPermission(before, Access::kWrite, {"k"}).ok());
  ASSERT_TRUE(UserAdd("another").ok());
  EXPECT_THAT(store_.CheckPermission(before, Access::kWrite, {"k"}),
              Fails(ErrorId::kAuthOldRevision));
  // Root too, and those who would be denied.
  EXPECT_THAT(store_.CheckPermission({"root", 1}, Access::kWrite, {"k"}),
              Fails(ErrorId::kAuthOldRevision));
  EXPECT_TRUE(store_.CheckPermission(store_.RootInfo(), Access::kWrite, {"k"}).ok());  // AUTH-061
}

// Random sets of ranges against the set of all keys, one letter each, that they hold.
TEST(RangeSet, AgreesWithANaiveSet) {
  auto random = base::NewSeededRandom(20261124);
  const auto key = [&] { return std::string(1, static_cast<char>('a' + random->Uniform(8))); };
  const auto range_end = [&](const std::string& from) -> std::string {
    switch (random->Uniform(4)) {
      case 0: return "";
      case 1: return std::string(kToTheEnd);
      default: return std::string(1, static_cast<char>(from[0] + 1 + random->Uniform(4)));
    }
  };
  // Between two letters there are keys, too: letters stand for [c, c+1), a single key for itself.
  const auto points = [](const std::string& from, const std::string& end) {
    std::set<std::string> all;
    for (char c = from[0]; c <= 'p'; ++c) {
      const std::string letter(1, c);
      if (end.empty() && letter != from) break;
      if (!end.empty() && end != kToTheEnd && letter >= end) break;
      all.insert(letter);
      if (!end.empty()) all.insert(letter + "m");
    }
    if (end == kToTheEnd) all.insert("\xff");
    return all;
  };
  int covered = 0;
  for (int round = 0; round < 2000; ++round) {
    RangeSet set;
    std::set<std::string> held;
    for (uint64_t i = random->Uniform(5); i > 0; --i) {
      const std::string from = key();
      const std::string end = range_end(from);
      set.Add({from, end});
      held.merge(points(from, end));
    }
    set.Merge();
    for (int question = 0; question < 10; ++question) {
      const std::string from = key();
      const std::string end = range_end(from);
      const std::set<std::string> asked = points(from, end);
      const bool expected = std::includes(held.begin(), held.end(), asked.begin(), asked.end());
      ASSERT_EQ(set.Covers({from, end}), expected) << round << " " << from << " " << end;
      covered += expected ? 1 : 0;
    }
  }
  EXPECT_GT(covered, 2000);
  EXPECT_LT(covered, 18000);
}

}  // namespace
}  // namespace etcdd::auth
