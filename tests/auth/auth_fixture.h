#pragma once

// A store of users and roles over an in-memory backend; every change is written like an entry.

#include <memory>
#include <string>
#include <string_view>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "mvcc/backend/mem_backend.h"
#include "server/auth/auth_store.h"
#include "server/auth/simple_token.h"
#include "server/base/api_error.h"
#include "tests/support/fake_clock.h"

namespace etcdd::auth {

inline constexpr std::string_view kToTheEnd("\0", 1);

class AuthFixture : public ::testing::Test {
 protected:
  // Runs one change and writes it.
  template <typename Change>
  absl::Status Entry(Change change) {
    auto batch = backend_.NewBatch();
    absl::Status status = change(*batch);
    if (!status.ok()) {
      EXPECT_EQ(batch->count(), 0u) << status;
    }
    EXPECT_TRUE(backend_.Write(*batch).ok());
    return status;
  }
  absl::Status Enable() {
    return Entry([&](mvcc::Batch& batch) { return store_.Enable(batch); });
  }
  void Disable() {
    ASSERT_TRUE(Entry([&](mvcc::Batch& batch) {
                  store_.Disable(batch);
                  return absl::OkStatus();
                }).ok());
  }
  absl::Status UserAdd(std::string_view name, std::string_view hash = "hash") {
    return Entry([&](mvcc::Batch& batch) { return store_.UserAdd({name, hash, false}, batch); });
  }
  absl::Status UserAddWithoutPassword(std::string_view name) {
    return Entry([&](mvcc::Batch& batch) { return store_.UserAdd({name, {}, true}, batch); });
  }
  absl::Status UserDelete(std::string_view name) {
    return Entry([&](mvcc::Batch& batch) { return store_.UserDelete(name, batch); });
  }
  absl::Status ChangePassword(std::string_view name, std::string_view hash) {
    return Entry([&](mvcc::Batch& batch) {
      return store_.UserChangePassword(name, hash, batch);
    });
  }
  absl::Status GrantRole(std::string_view name, std::string_view role) {
    return Entry([&](mvcc::Batch& batch) { return store_.UserGrantRole(name, role, batch); });
  }
  absl::Status RevokeRole(std::string_view name, std::string_view role) {
    return Entry([&](mvcc::Batch& batch) { return store_.UserRevokeRole(name, role, batch); });
  }
  absl::Status RoleAdd(std::string_view name) {
    return Entry([&](mvcc::Batch& batch) { return store_.RoleAdd(name, batch); });
  }
  absl::Status RoleDelete(std::string_view name) {
    return Entry([&](mvcc::Batch& batch) { return store_.RoleDelete(name, batch); });
  }
  absl::Status Grant(std::string_view role, const KeyRange& range,
                     authpb::Permission::Type type = authpb::Permission::READWRITE) {
    authpb::Permission permission;
    permission.set_permtype(type);
    permission.set_key(std::string(range.key));
    permission.set_range_end(std::string(range.range_end));
    return Entry([&](mvcc::Batch& batch) {
      return store_.RoleGrantPermission(role, &permission, batch);
    });
  }
  absl::Status Revoke(std::string_view role, const KeyRange& range) {
    return Entry([&](mvcc::Batch& batch) {
      return store_.RoleRevokePermission(role, range, batch);
    });
  }
  // User root with role root; auth on.
  void EnableWithRoot() {
    ASSERT_TRUE(UserAdd("root").ok());
    ASSERT_TRUE(GrantRole("root", "root").ok());
    ASSERT_TRUE(Enable().ok());
  }
  AuthInfo As(std::string_view name) const { return {std::string(name), store_.revision()}; }
  absl::Status Read(std::string_view name, const KeyRange& range) {
    return store_.CheckPermission(As(name), Access::kRead, range);
  }
  absl::Status Write(std::string_view name, const KeyRange& range) {
    return store_.CheckPermission(As(name), Access::kWrite, range);
  }
  std::string Login(std::string_view name) {
    auto token = store_.Authenticate({name, tokens_.NewPrefix(), 7});
    return token.ok() ? *token : std::string();
  }

  testing::FakeClock clock_;
  std::unique_ptr<base::Random> random_ = base::NewSeededRandom(1);
  SimpleTokens tokens_{clock_, *random_, absl::Seconds(300)};
  mvcc::MemBackend backend_;
  AuthStore store_{&tokens_};
};

MATCHER_P(Fails, id, "") { return base::IsApiError(arg, id); }

}  // namespace etcdd::auth
