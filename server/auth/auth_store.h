#pragma once

// Users, roles and their permissions, and whether anybody asks for them. Replicated state: applied
// entries change it, in the backend and in memory at once, and what they do depends on nothing
// else. The auth revision counts the changes (AUTH-005).
//
//   store.UserAdd({"alice", hash, false}, batch);                 // an applied entry
//   status = store.CheckPermission(who, Access::kWrite, {key});   // every key that is touched
//
// A change that is refused changes nothing, in the batch neither.
//
// Confined to the server strand.

#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "mvcc/backend/backend.h"
#include "proto/auth.pb.h"
#include "server/auth/permission_cache.h"
#include "server/auth/token_provider.h"

namespace etcdd::auth {

inline constexpr std::string_view kRootUser = "root";
inline constexpr std::string_view kRootRole = "root";
// A store in which nothing was ever changed.
inline constexpr uint64_t kFirstAuthRevision = 1;

enum class Access { kRead, kWrite };

struct NewUser {
  std::string_view name;
  std::string_view password_hash;  // empty for no_password
  bool no_password = false;        // known by a certificate only
};

class AuthStore {
 public:
  // `tokens` outlives the store.
  explicit AuthStore(TokenProvider* tokens) : tokens_(tokens) {}

  // Loads what the backend holds, dropping what was there, and all tokens with it: whose password
  // changed in between is not known.
  absl::Status Restore(const mvcc::View& view);

  bool enabled() const { return enabled_; }
  // Only grows.
  uint64_t revision() const { return revision_; }
  TokenProvider& tokens() { return *tokens_; }

  // --- Applied entries ---

  // Error: kRootUserNotExist, kRootRoleNotExist (AUTH-001).
  absl::Status Enable(mvcc::Batch& batch);
  void Disable(mvcc::Batch& batch);

  // Errors: kUserEmpty, kUserAlreadyExist.
  absl::Status UserAdd(const NewUser& user, mvcc::Batch& batch);
  // Errors of the rest: kUserNotFound, and kInvalidAuthMgmt for what would leave no root while auth
  // is on (AUTH-013).
  absl::Status UserDelete(std::string_view name, mvcc::Batch& batch);
  // A user without password stays one.
  absl::Status UserChangePassword(std::string_view name, std::string_view password_hash,
                                  mvcc::Batch& batch);
  // Error: kRoleNotFound, for all roles but root.
  absl::Status UserGrantRole(std::string_view name, std::string_view role, mvcc::Batch& batch);
  // Error: kRoleNotGranted.
  absl::Status UserRevokeRole(std::string_view name, std::string_view role, mvcc::Batch& batch);

  // Errors: kRoleEmpty, kRoleAlreadyExist.
  absl::Status RoleAdd(std::string_view name, mvcc::Batch& batch);
  // Errors of the rest: kRoleNotFound, kInvalidAuthMgmt.
  absl::Status RoleDelete(std::string_view name, mvcc::Batch& batch);
  // `permission` null: kPermissionNotGiven.
  absl::Status RoleGrantPermission(std::string_view name, const authpb::Permission* permission,
                                   mvcc::Batch& batch);
  // Error: kPermissionNotGranted.
  absl::Status RoleRevokePermission(std::string_view name, const KeyRange& range,
                                    mvcc::Batch& batch);

  // A login whose password was found right. The token, as TokenProvider::Assign says.
  // Errors: as PasswordHash.
  absl::StatusOr<std::string> Authenticate(const Authentication& authentication);

  // --- Questions ---

  // Names in order. Roles of a user in order; permissions of a role by key, of root always all.
  std::vector<std::string> UserList() const;
  std::vector<std::string> RoleList() const;
  absl::StatusOr<std::vector<std::string>> UserGet(std::string_view name) const;
  absl::StatusOr<std::vector<authpb::Permission>> RoleGet(std::string_view name) const;
  bool HasRole(std::string_view user, std::string_view role) const;

  // What a password is to be compared with. Errors: kAuthNotEnabled, kAuthFailed (no such user),
  // kNoPasswordUser.
  absl::StatusOr<std::string> PasswordHash(std::string_view name) const;

  // --- May they? Everybody may everything while auth is off. ---

  // The one routine for keys and ranges, before and at apply. Errors: kUserEmpty (nobody asks),
  // kAuthOldRevision (asker's revision is behind), kPermissionDenied.
  absl::Status CheckPermission(const AuthInfo& who, Access access, const KeyRange& range);
  // Errors: kUserEmpty, kUserNotFound, kPermissionDenied.
  absl::Status CheckAdmin(const AuthInfo& who) const;
  // Any user. Error: kUserEmpty.
  absl::Status CheckUser(const AuthInfo& who) const;

  // As whom the members themselves act, for example when a lease has run out (AUTH-061, AUTH-065).
  AuthInfo RootInfo() const { return {std::string(kRootUser), revision_}; }

 private:
  using Users = std::map<std::string, authpb::User, std::less<>>;
  using Roles = std::map<std::string, authpb::Role, std::less<>>;

  const authpb::User* FindUser(std::string_view name) const;
  bool IsRoot(const authpb::User& user) const;
  const MergedPermissions& PermissionsOf(std::string_view name, const authpb::User& user);
  void WriteUser(std::string_view name, mvcc::Batch& batch) const;
  void WriteRole(std::string_view name, mvcc::Batch& batch) const;
  void NextRevision(mvcc::Batch& batch);

  TokenProvider* const tokens_;
  bool enabled_ = false;
  uint64_t revision_ = kFirstAuthRevision;
  Users users_;
  Roles roles_;
  PermissionCache cache_;
};

}  // namespace etcdd::auth
