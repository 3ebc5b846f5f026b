#include <string>
#include <vector>

#include "tests/auth/auth_fixture.h"

namespace etcdd::auth {
namespace {

using base::ErrorId;
using ::testing::ElementsAre;
using ::testing::IsEmpty;

class AuthStoreTest : public AuthFixture {
 protected:
  // What a restarted member has.
  AuthStore Restored() {
    AuthStore restored(&tokens_);
    EXPECT_TRUE(restored.Restore(*backend_.NewView()).ok());
    return restored;
  }
  std::string Record(mvcc::Bucket bucket, std::string_view key) {
    auto record = backend_.Get(bucket, key);
    return record.ok() ? *record : "absent";
  }
};

TEST_F(AuthStoreTest, EnableNeedsRootWithItsRole) {  // AUTH-001
  EXPECT_FALSE(store_.enabled());
  EXPECT_THAT(Enable(), Fails(ErrorId::kRootUserNotExist));
  ASSERT_TRUE(UserAdd("root").ok());
  EXPECT_THAT(Enable(), Fails(ErrorId::kRootRoleNotExist));
  ASSERT_TRUE(GrantRole("root", "root").ok());
  EXPECT_TRUE(Enable().ok());
  EXPECT_TRUE(store_.enabled());
  EXPECT_TRUE(Enable().ok());
  EXPECT_TRUE(store_.enabled());
}

TEST_F(AuthStoreTest, DisableWhenOffHasNoEffect) {  // AUTH-001, AUTH-005
  Disable();
  EXPECT_EQ(store_.revision(), 1u);
  EXPECT_EQ(Record(mvcc::Bucket::kAuth, "authEnabled"), "absent");
}

TEST_F(AuthStoreTest, WhileOffEverythingIsManagedAndNothingChecked) {  // AUTH-002, AUTH-003
  ASSERT_TRUE(UserAdd("root").ok());
  ASSERT_TRUE(GrantRole("root", "root").ok());
  EXPECT_TRUE(RevokeRole("root", "root").ok());
  EXPECT_TRUE(UserDelete("root").ok());
  EXPECT_TRUE(store_.CheckPermission({}, Access::kWrite, {"k"}).ok());
  EXPECT_TRUE(store_.CheckAdmin({}).ok());
  EXPECT_TRUE(store_.CheckUser({}).ok());
  EXPECT_THAT(store_.PasswordHash("root").status(), Fails(ErrorId::kAuthNotEnabled));
  EXPECT_THAT(store_.Authenticate({"root", "p", 1}).status(), Fails(ErrorId::kAuthNotEnabled));
}

TEST_F(AuthStoreTest, RevisionCountsChangesAlone) {  // AUTH-005
  std::vector<uint64_t> revisions = {store_.revision()};
  const auto note = [&](const absl::Status& status) {
    EXPECT_TRUE(status.ok()) << status;
    revisions.push_back(store_.revision());
  };
  note(UserAdd("root"));
  note(GrantRole("root", "root"));
  note(GrantRole("root", "root"));  // held already
  note(Enable());
  note(Enable());
  note(RoleAdd("r"));
  note(Grant("r", {"a"}));
  note(Grant("r", {"a"}));  // the same again is a change to etcd
  note(UserAdd("u"));
  note(ChangePassword("u", "other"));
  note(GrantRole("u", "r"));
  note(RevokeRole("u", "r"));
  note(Revoke("r", {"a"}));
  note(RoleDelete("r"));
  note(UserDelete("u"));
  Disable();
  revisions.push_back(store_.revision());
  EXPECT_THAT(revisions,
              ElementsAre(1, 2, 3, 3, 3, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14));
  EXPECT_THAT(UserAdd("root"), Fails(ErrorId::kUserAlreadyExist));
  EXPECT_EQ(store_.revision(), 14u);
  EXPECT_EQ(Restored().revision(), 14u);
}

TEST_F(AuthStoreTest, RecordsAreEtcds) {  // backend-schema.md section 1
  ASSERT_TRUE(UserAdd("root", "h").ok());
  ASSERT_TRUE(GrantRole("root", "root").ok());
  ASSERT_TRUE(RoleAdd("r").ok());
  ASSERT_TRUE(Grant("r", {"a", "b"}, authpb::Permission::WRITE).ok());
  ASSERT_TRUE(Enable().ok());
  EXPECT_EQ(Record(mvcc::Bucket::kAuth, "authEnabled"), "\x01");
  EXPECT_EQ(Record(mvcc::Bucket::kAuth, "authRevision"), std::string("\0\0\0\0\0\0\0\5", 8));
  EXPECT_EQ(Record(mvcc::Bucket::kAuthUsers, "root"),
            std::string("\x0a\4root\x12\1h\x1a\4root\x22\0", 17));
  EXPECT_EQ(Record(mvcc::Bucket::kAuthRoles, "r"), "\x0a\1r\x12\x08\x08\1\x12\1a\x1a\1b");
  Disable();
  EXPECT_EQ(Record(mvcc::Bucket::kAuth, "authEnabled"), std::string(1, '\0'));
}

TEST_F(AuthStoreTest, SurvivesARestart) {  // AUTH-005, AUTH-006
  EnableWithRoot();
  ASSERT_TRUE(UserAddWithoutPassword("cn").ok());
  ASSERT_TRUE(RoleAdd("r").ok());
  ASSERT_TRUE(GrantRole("cn", "r").ok());
  ASSERT_TRUE(Grant("r", {"a", "c"}).ok());
  ASSERT_TRUE(UserAdd("gone").ok());
  ASSERT_TRUE(UserDelete("gone").ok());
  AuthStore restored = Restored();
  EXPECT_TRUE(restored.enabled());
  EXPECT_EQ(restored.revision(), store_.revision());
  EXPECT_THAT(restored.UserList(), ElementsAre("cn", "root"));
  EXPECT_THAT(*restored.UserGet("cn"), ElementsAre("r"));
  EXPECT_THAT(restored.PasswordHash("cn").status(), Fails(ErrorId::kNoPasswordUser));
  EXPECT_EQ(*restored.PasswordHash("root"), "hash");
  EXPECT_TRUE(restored.CheckPermission(As("cn"), Access::kWrite, {"b"}).ok());
  EXPECT_FALSE(restored.CheckPermission(As("cn"), Access::kWrite, {"c"}).ok());
}

TEST_F(AuthStoreTest, RestoreDropsWhatWasThere) {
  EnableWithRoot();
  ASSERT_TRUE(UserAdd("alice").ok());
  ASSERT_TRUE(RoleAdd("r").ok());
  ASSERT_TRUE(GrantRole("alice", "r").ok());
  ASSERT_TRUE(Grant("r", {"a"}).ok());
  ASSERT_TRUE(Read("alice", {"a"}).ok());  // now it is in the cache
  const std::string token = Login("alice");
  mvcc::MemBackend other;
  ASSERT_TRUE(store_.Restore(*other.NewView()).ok());
  EXPECT_FALSE(store_.enabled());
  EXPECT_EQ(store_.revision(), 1u);
  EXPECT_THAT(store_.UserList(), IsEmpty());
  EXPECT_EQ(tokens_.Check(token, 1), std::nullopt);
  EnableWithRoot();
  ASSERT_TRUE(UserAdd("alice").ok());
  EXPECT_THAT(Read("alice", {"a"}), Fails(ErrorId::kPermissionDenied));
}

TEST_F(AuthStoreTest, BrokenRecordsAreRefused) {
  for (auto [bucket, key] : {std::pair{mvcc::Bucket::kAuthUsers, "u"},
                             std::pair{mvcc::Bucket::kAuthRoles, "r"},
                             std::pair{mvcc::Bucket::kAuth, "authRevision"}}) {
    mvcc::MemBackend broken;
    auto batch = broken.NewBatch();
    batch->Put(bucket, key, "\xff\xff");
    ASSERT_TRUE(broken.Write(*batch).ok());
    EXPECT_EQ(store_.Restore(*broken.NewView()).code(), absl::StatusCode::kDataLoss) << key;
  }
}

TEST_F(AuthStoreTest, UserAddChecksTheName) {  // AUTH-010
  EXPECT_THAT(UserAdd(""), Fails(ErrorId::kUserEmpty));
  EXPECT_TRUE(UserAdd("u").ok());
  EXPECT_THAT(UserAdd("u"), Fails(ErrorId::kUserAlreadyExist));
}

TEST_F(AuthStoreTest, AUserWithoutPasswordStaysOne) {  // AUTH-010, AUTH-041
  EnableWithRoot();
  ASSERT_TRUE(UserAddWithoutPassword("cn").ok());
  ASSERT_TRUE(ChangePassword("cn", "hash").ok());
  EXPECT_THAT(store_.PasswordHash("cn").status(), Fails(ErrorId::kNoPasswordUser));
  EXPECT_THAT(store_.Authenticate({"cn", "p", 1}).status(), Fails(ErrorId::kNoPasswordUser));
}

TEST_F(AuthStoreTest, UnknownUsersAreNotFound) {  // AUTH-012
  for (const char* name : {"nobody", ""}) {
    EXPECT_THAT(UserDelete(name), Fails(ErrorId::kUserNotFound));
    EXPECT_THAT(ChangePassword(name, "h"), Fails(ErrorId::kUserNotFound));
    EXPECT_THAT(GrantRole(name, "root"), Fails(ErrorId::kUserNotFound));
    EXPECT_THAT(RevokeRole(name, "root"), Fails(ErrorId::kUserNotFound));
    EXPECT_THAT(store_.UserGet(name).status(), Fails(ErrorId::kUserNotFound));
  }
}

TEST_F(AuthStoreTest, TokensEndWithUserPasswordAndAuthButNotWithRoles) {  // AUTH-012, 042, 044
  EnableWithRoot();
  ASSERT_TRUE(UserAdd("alice").ok());
  ASSERT_TRUE(UserAdd("bob").ok());
  ASSERT_TRUE(RoleAdd("r").ok());
  const std::string alice = Login("alice");
  const std::string bob = Login("bob");
  ASSERT_TRUE(GrantRole("alice", "r").ok());
  ASSERT_TRUE(RoleDelete("r").ok());
  EXPECT_EQ(tokens_.Check(alice, store_.revision()), As("alice"));
  ASSERT_TRUE(ChangePassword("alice", "new").ok());
  EXPECT_EQ(tokens_.Check(alice, 1), std::nullopt);
  EXPECT_EQ(tokens_.Check(bob, store_.revision()), As("bob"));
  ASSERT_TRUE(UserDelete("bob").ok());
  EXPECT_EQ(tokens_.Check(bob, 1), std::nullopt);
  const std::string root = Login("root");
  Disable();
  EXPECT_EQ(tokens_.Check(root, 1), std::nullopt);
}

TEST_F(AuthStoreTest, RootCannotBeTakenAwayWhileOn) {  // AUTH-013
  EnableWithRoot();
  ASSERT_TRUE(RoleAdd("root").ok());
  EXPECT_THAT(UserDelete("root"), Fails(ErrorId::kInvalidAuthMgmt));
  EXPECT_THAT(RoleDelete("root"), Fails(ErrorId::kInvalidAuthMgmt));
  EXPECT_THAT(RevokeRole("root", "root"), Fails(ErrorId::kInvalidAuthMgmt));
  Disable();
  EXPECT_TRUE(RevokeRole("root", "root").ok());
  EXPECT_TRUE(RoleDelete("root").ok());
  EXPECT_TRUE(UserDelete("root").ok());
}

TEST_F(AuthStoreTest, GrantingARole) {  // AUTH-014
  EXPECT_THAT(GrantRole("u", "none"), Fails(ErrorId::kUserNotFound));
  ASSERT_TRUE(UserAdd("u").ok());
  EXPECT_THAT(GrantRole("u", "none"), Fails(ErrorId::kRoleNotFound));
  EXPECT_TRUE(GrantRole("u", "root").ok());
  EXPECT_THAT(store_.RoleList(), IsEmpty());
  ASSERT_TRUE(RoleAdd("a").ok());
  EXPECT_TRUE(GrantRole("u", "a").ok());
  EXPECT_TRUE(GrantRole("u", "a").ok());
  EXPECT_THAT(*store_.UserGet("u"), ElementsAre("a", "root"));
  EXPECT_THAT(RevokeRole("u", "none"), Fails(ErrorId::kRoleNotGranted));
  EXPECT_TRUE(RevokeRole("u", "a").ok());
  EXPECT_THAT(RevokeRole("u", "a"), Fails(ErrorId::kRoleNotGranted));
}

TEST_F(AuthStoreTest, RolesAddedAndDeleted) {  // AUTH-015
  EXPECT_THAT(RoleAdd(""), Fails(ErrorId::kRoleEmpty));
  ASSERT_TRUE(RoleAdd("r").ok());
  EXPECT_THAT(RoleAdd("r"), Fails(ErrorId::kRoleAlreadyExist));
  for (const char* name : {"u", "v"}) {
    ASSERT_TRUE(UserAdd(name).ok());
    ASSERT_TRUE(GrantRole(name, "r").ok());
    ASSERT_TRUE(GrantRole(name, "root").ok());
  }
  ASSERT_TRUE(RoleDelete("r").ok());
  EXPECT_THAT(*store_.UserGet("u"), ElementsAre("root"));
  EXPECT_THAT(*Restored().UserGet("v"), ElementsAre("root"));
  EXPECT_THAT(RoleDelete("r"), Fails(ErrorId::kRoleNotFound));
}

TEST_F(AuthStoreTest, GrantingAPermission) {  // AUTH-016
  EXPECT_THAT(Entry([&](mvcc::Batch& batch) {
                return store_.RoleGrantPermission("r", nullptr, batch);
              }),
              Fails(ErrorId::kPermissionNotGiven));
  EXPECT_THAT(Grant("r", {"a"}), Fails(ErrorId::kRoleNotFound));
  ASSERT_TRUE(RoleAdd("r").ok());
  EXPECT_THAT(Grant("r", {""}), Fails(ErrorId::kInvalidAuthMgmt));
  EXPECT_THAT(Grant("r", {"b", "a"}), Fails(ErrorId::kInvalidAuthMgmt));
  EXPECT_THAT(Grant("r", {"b", "b"}), Fails(ErrorId::kInvalidAuthMgmt));
  EXPECT_TRUE(Grant("r", {"b", kToTheEnd}).ok());
  EXPECT_TRUE(Grant("r", {"a", "z"}, authpb::Permission::READ).ok());
  EXPECT_TRUE(Grant("r", {"a"}).ok());
  EXPECT_TRUE(Grant("r", {"a", "z"}, authpb::Permission::WRITE).ok());  // replaced
  EXPECT_TRUE(Grant("r", {"c"}, static_cast<authpb::Permission::Type>(9)).ok());
  std::vector<std::string> held;
  const auto permissions = *store_.RoleGet("r");
  for (const auto& permission : permissions) {
    held.push_back(permission.key() + "|" + permission.range_end() + "|" +
                   std::to_string(permission.permtype()));
  }
  EXPECT_THAT(held, ElementsAre("a|z|1", "a||2", std::string("b|\0|2", 5), "c||9"));
}

TEST_F(AuthStoreTest, RevokingNeedsTheExactRange) {  // AUTH-017
  EXPECT_THAT(Revoke("r", {"a", "c"}), Fails(ErrorId::kRoleNotFound));
  ASSERT_TRUE(RoleAdd("r").ok());
  ASSERT_TRUE(Grant("r", {"a", "c"}).ok());
  EXPECT_THAT(Revoke("r", {"a"}), Fails(ErrorId::kPermissionNotGranted));
  EXPECT_THAT(Revoke("r", {"a", "b"}), Fails(ErrorId::kPermissionNotGranted));
  EXPECT_TRUE(Revoke("r", {"a", "c"}).ok());
  EXPECT_THAT(*store_.RoleGet("r"), IsEmpty());
}

TEST_F(AuthStoreTest, RoleRootAlwaysShowsEverything) {  // AUTH-018
  EXPECT_THAT(store_.RoleGet("root").status(), Fails(ErrorId::kRoleNotFound));
  ASSERT_TRUE(RoleAdd("root").ok());
  ASSERT_TRUE(Grant("root", {"a"}, authpb::Permission::READ).ok());
  const auto shown = *store_.RoleGet("root");
  ASSERT_EQ(shown.size(), 1u);
  EXPECT_EQ(shown[0].permtype(), authpb::Permission::READWRITE);
  EXPECT_EQ(shown[0].key(), "");
  EXPECT_EQ(shown[0].range_end(), kToTheEnd);
}

TEST_F(AuthStoreTest, NamesAreSorted) {  // AUTH-019
  for (const char* name : {"m", "a", "z"}) {
    ASSERT_TRUE(UserAdd(name).ok());
    ASSERT_TRUE(RoleAdd(name).ok());
    ASSERT_TRUE(GrantRole("m", name).ok());
    ASSERT_TRUE(name == std::string("m") || UserDelete(name).ok());
  }
  EXPECT_THAT(store_.UserList(), ElementsAre("m"));
  EXPECT_THAT(store_.RoleList(), ElementsAre("a", "m", "z"));
  EXPECT_THAT(*store_.UserGet("m"), ElementsAre("a", "m", "z"));
}

}  // namespace
}  // namespace etcdd::auth
