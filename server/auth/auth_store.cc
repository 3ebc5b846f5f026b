#include "server/auth/auth_store.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "server/base/api_error.h"
#include "server/base/check.h"
#include "server/base/coding.h"
#include "server/base/log.h"
#include "server/base/status_macros.h"

namespace etcdd::auth {
namespace {

using base::ApiError;
using base::ErrorId;
using mvcc::Bucket;

constexpr std::string_view kEnabledKey = "authEnabled";
constexpr std::string_view kRevisionKey = "authRevision";
constexpr std::string_view kOn("\x01", 1);
constexpr std::string_view kOff("\0", 1);
constexpr std::string_view kToTheEnd("\0", 1);

absl::Status Broken(absl::string_view bucket) {
  return absl::DataLossError(absl::StrCat(
      "the ", bucket, " bucket holds a record that cannot be read; restore this member from a "
      "backup or from its cluster"));
}

template <typename Record>
absl::Status LoadRecords(const mvcc::View& view, Bucket bucket,
                         std::map<std::string, Record, std::less<>>* records) {
  bool readable = true;
  ETCDD_RETURN_IF_ERROR(
      view.Scan(bucket, "", "", [&](std::string_view key, std::string_view value) {
        Record record;
        readable = record.ParseFromArray(value.data(), static_cast<int>(value.size()));
        if (readable) records->emplace(key, std::move(record));
        return readable;
      }));
  const std::string_view name = mvcc::BucketName(bucket);
  return readable ? absl::OkStatus() : Broken({name.data(), name.size()});
}

// AUTH-016.
bool IsGrantable(const authpb::Permission& permission) {
  if (permission.key().empty()) return false;
  const std::string& end = permission.range_end();
  return end.empty() || end == kToTheEnd || permission.key() < end;
}

auto FindPermission(authpb::Role& role, const KeyRange& range) {
  auto& permissions = *role.mutable_keypermission();
  return std::find_if(permissions.begin(), permissions.end(), [&](const auto& permission) {
    return permission.key() == range.key && permission.range_end() == range.range_end;
  });
}

}  // namespace

absl::Status AuthStore::Restore(const mvcc::View& view) {
  enabled_ = false;
  revision_ = kFirstAuthRevision;
  users_.clear();
  roles_.clear();
  cache_.Clear();
  tokens_->InvalidateAll();
  auto enabled = view.Get(Bucket::kAuth, kEnabledKey);
  if (!enabled.ok() && !absl::IsNotFound(enabled.status())) return enabled.status();
  enabled_ = enabled.ok() && *enabled == kOn;
  auto revision = view.Get(Bucket::kAuth, kRevisionKey);
  if (!revision.ok() && !absl::IsNotFound(revision.status())) return revision.status();
  if (revision.ok()) {
    if (revision->size() != 8) return Broken("auth");
    revision_ = std::max(base::ReadBigEndian64(revision->data()), kFirstAuthRevision);
  }
  ETCDD_RETURN_IF_ERROR(LoadRecords(view, Bucket::kAuthUsers, &users_));
  return LoadRecords(view, Bucket::kAuthRoles, &roles_);
}

// --- Applied entries -----------------------------------------------------------------------------

absl::Status AuthStore::Enable(mvcc::Batch& batch) {
  if (enabled_) {
    ETCDD_LOG(kInfo, "authentication is already enabled; ignored auth enable request");
    return absl::OkStatus();
  }
  const authpb::User* root = FindUser(kRootUser);
  if (root == nullptr) return ApiError(ErrorId::kRootUserNotExist);
  if (!IsRoot(*root)) return ApiError(ErrorId::kRootRoleNotExist);
  enabled_ = true;
  batch.Put(Bucket::kAuth, kEnabledKey, kOn);
  ETCDD_LOG(kInfo, "enabled authentication");
  return absl::OkStatus();
}

void AuthStore::Disable(mvcc::Batch& batch) {
  if (!enabled_) return;
  enabled_ = false;
  batch.Put(Bucket::kAuth, kEnabledKey, kOff);
  tokens_->InvalidateAll();
  NextRevision(batch);
  ETCDD_LOG(kInfo, "disabled authentication");
}

absl::Status AuthStore::UserAdd(const NewUser& user, mvcc::Batch& batch) {
  if (user.name.empty()) return ApiError(ErrorId::kUserEmpty);
  if (FindUser(user.name) != nullptr) return ApiError(ErrorId::kUserAlreadyExist);
  authpb::User record;
  record.set_name(std::string(user.name));
  record.mutable_options()->set_no_password(user.no_password);
  if (!user.no_password) record.set_password(std::string(user.password_hash));
  users_.emplace(user.name, std::move(record));
  WriteUser(user.name, batch);
  NextRevision(batch);
  ETCDD_LOG(kInfo, "added a user", {{"user-name", user.name}});
  return absl::OkStatus();
}

absl::Status AuthStore::UserDelete(std::string_view name, mvcc::Batch& batch) {
  if (enabled_ && name == kRootUser) return ApiError(ErrorId::kInvalidAuthMgmt);
  auto found = users_.find(name);
  if (found == users_.end()) return ApiError(ErrorId::kUserNotFound);
  users_.erase(found);
  batch.Delete(Bucket::kAuthUsers, name);
  cache_.Drop(name);
  tokens_->InvalidateUser(name);
  NextRevision(batch);
  ETCDD_LOG(kInfo, "deleted a user", {{"user-name", name}});
  return absl::OkStatus();
}

absl::Status AuthStore::UserChangePassword(std::string_view name, std::string_view password_hash,
                                           mvcc::Batch& batch) {
  auto found = users_.find(name);
  if (found == users_.end()) return ApiError(ErrorId::kUserNotFound);
  authpb::User& user = found->second;
  if (!user.options().no_password()) user.set_password(std::string(password_hash));
  WriteUser(name, batch);
  tokens_->InvalidateUser(name);
  NextRevision(batch);
  ETCDD_LOG(kInfo, "changed a password of a user", {{"user-name", name}});
  return absl::OkStatus();
}

absl::Status AuthStore::UserGrantRole(std::string_view name, std::string_view role,
                                      mvcc::Batch& batch) {
  auto found = users_.find(name);
  if (found == users_.end()) return ApiError(ErrorId::kUserNotFound);
  if (role != kRootRole && roles_.find(role) == roles_.end()) {
    return ApiError(ErrorId::kRoleNotFound);
  }
  if (HasRole(name, role)) return absl::OkStatus();  // AUTH-014; no new revision
  auto& roles = *found->second.mutable_roles();
  roles.Add(std::string(role));
  std::sort(roles.begin(), roles.end());
  WriteUser(name, batch);
  cache_.Drop(name);
  NextRevision(batch);
  ETCDD_LOG(kInfo, "granted a role to a user", {{"user-name", name}, {"added-role-name", role}});
  return absl::OkStatus();
}

absl::Status AuthStore::UserRevokeRole(std::string_view name, std::string_view role,
                                       mvcc::Batch& batch) {
  if (enabled_ && name == kRootUser && role == kRootRole) {
    return ApiError(ErrorId::kInvalidAuthMgmt);
  }
  auto found = users_.find(name);
  if (found == users_.end()) return ApiError(ErrorId::kUserNotFound);
  if (!HasRole(name, role)) return ApiError(ErrorId::kRoleNotGranted);
  auto& roles = *found->second.mutable_roles();
  roles.erase(std::remove(roles.begin(), roles.end(), role), roles.end());
  WriteUser(name, batch);
  cache_.Drop(name);
  NextRevision(batch);
  ETCDD_LOG(kInfo, "revoked a role from a user",
            {{"user-name", name}, {"revoked-role-name", role}});
  return absl::OkStatus();
}

absl::Status AuthStore::RoleAdd(std::string_view name, mvcc::Batch& batch) {
  if (name.empty()) return ApiError(ErrorId::kRoleEmpty);
  if (roles_.find(name) != roles_.end()) return ApiError(ErrorId::kRoleAlreadyExist);
  authpb::Role record;
  record.set_name(std::string(name));
  roles_.emplace(name, std::move(record));
  WriteRole(name, batch);
  NextRevision(batch);
  ETCDD_LOG(kInfo, "created a role", {{"role-name", name}});
  return absl::OkStatus();
}

absl::Status AuthStore::RoleDelete(std::string_view name, mvcc::Batch& batch) {
  if (enabled_ && name == kRootRole) return ApiError(ErrorId::kInvalidAuthMgmt);
  auto found = roles_.find(name);
  if (found == roles_.end()) return ApiError(ErrorId::kRoleNotFound);
  roles_.erase(found);
  batch.Delete(Bucket::kAuthRoles, name);
  for (auto& [user_name, user] : users_) {
    if (!HasRole(user_name, name)) continue;
    auto& roles = *user.mutable_roles();
    roles.erase(std::remove(roles.begin(), roles.end(), name), roles.end());
    WriteUser(user_name, batch);
  }
  cache_.Clear();
  NextRevision(batch);
  ETCDD_LOG(kInfo, "deleted a role", {{"role-name", name}});
  return absl::OkStatus();
}

absl::Status AuthStore::RoleGrantPermission(std::string_view name,
                                            const authpb::Permission* permission,
                                            mvcc::Batch& batch) {
  if (permission == nullptr) return ApiError(ErrorId::kPermissionNotGiven);
  if (!IsGrantable(*permission)) return ApiError(ErrorId::kInvalidAuthMgmt);
  auto found = roles_.find(name);
  if (found == roles_.end()) return ApiError(ErrorId::kRoleNotFound);
  authpb::Role& role = found->second;
  auto held = FindPermission(role, {permission->key(), permission->range_end()});
  if (held != role.mutable_keypermission()->end()) {
    held->set_permtype(permission->permtype());
  } else {
    *role.add_keypermission() = *permission;
    std::stable_sort(role.mutable_keypermission()->begin(), role.mutable_keypermission()->end(),
                     [](const auto& a, const auto& b) { return a.key() < b.key(); });
  }
  WriteRole(name, batch);
  cache_.Clear();
  NextRevision(batch);
  ETCDD_LOG(kInfo, "granted/updated a permission to a user",
            {{"user-name", name},
             {"permission-name", authpb::Permission::Type_Name(permission->permtype())},
             {"key", permission->key()},
             {"range-end", permission->range_end()}});
  return absl::OkStatus();
}

absl::Status AuthStore::RoleRevokePermission(std::string_view name, const KeyRange& range,
                                             mvcc::Batch& batch) {
  auto found = roles_.find(name);
  if (found == roles_.end()) return ApiError(ErrorId::kRoleNotFound);
  authpb::Role& role = found->second;
  auto held = FindPermission(role, range);
  if (held == role.mutable_keypermission()->end()) {
    return ApiError(ErrorId::kPermissionNotGranted);
  }
  role.mutable_keypermission()->erase(held);
  WriteRole(name, batch);
  cache_.Clear();
  NextRevision(batch);
  ETCDD_LOG(kInfo, "revoked a permission on range",
            {{"role-name", name}, {"key", range.key}, {"range-end", range.range_end}});
  return absl::OkStatus();
}

absl::StatusOr<std::string> AuthStore::Authenticate(const Authentication& authentication) {
  ETCDD_RETURN_IF_ERROR(PasswordHash(authentication.username).status());
  return tokens_->Assign(authentication);
}

// --- Questions -----------------------------------------------------------------------------------

std::vector<std::string> AuthStore::UserList() const {
  std::vector<std::string> names;
  for (const auto& [name, user] : users_) names.push_back(name);
  return names;
}

std::vector<std::string> AuthStore::RoleList() const {
  std::vector<std::string> names;
  for (const auto& [name, role] : roles_) names.push_back(name);
  return names;
}

absl::StatusOr<std::vector<std::string>> AuthStore::UserGet(std::string_view name) const {
  const authpb::User* user = FindUser(name);
  if (user == nullptr) return ApiError(ErrorId::kUserNotFound);
  return std::vector<std::string>(user->roles().begin(), user->roles().end());
}

absl::StatusOr<std::vector<authpb::Permission>> AuthStore::RoleGet(std::string_view name) const {
  auto found = roles_.find(name);
  if (found == roles_.end()) return ApiError(ErrorId::kRoleNotFound);
  if (name == kRootRole) {  // AUTH-018
    authpb::Permission all;
    all.set_permtype(authpb::Permission::READWRITE);
    all.set_range_end(std::string(kToTheEnd));
    return std::vector<authpb::Permission>{all};
  }
  const auto& held = found->second.keypermission();
  return std::vector<authpb::Permission>(held.begin(), held.end());
}

bool AuthStore::HasRole(std::string_view user, std::string_view role) const {
  const authpb::User* found = FindUser(user);
  return found != nullptr && std::find(found->roles().begin(), found->roles().end(), role) !=
                                 found->roles().end();
}

absl::StatusOr<std::string> AuthStore::PasswordHash(std::string_view name) const {
  if (!enabled_) return ApiError(ErrorId::kAuthNotEnabled);
  const authpb::User* user = FindUser(name);
  if (user == nullptr) return ApiError(ErrorId::kAuthFailed);
  if (user->options().no_password()) return ApiError(ErrorId::kNoPasswordUser);
  return user->password();
}

// --- May they? -----------------------------------------------------------------------------------

absl::Status AuthStore::CheckPermission(const AuthInfo& who, Access access,
                                        const KeyRange& range) {
  if (!enabled_) return absl::OkStatus();
  if (who.username.empty() || who.revision == 0) return ApiError(ErrorId::kUserEmpty);
  if (who.revision < revision_) {
    ETCDD_LOG(kWarn, "request auth revision is less than current node auth revision",
              {{"current node auth revision", revision_},
               {"request auth revision", who.revision},
               {"request key", range.key}});
    return ApiError(ErrorId::kAuthOldRevision);
  }
  const authpb::User* user = FindUser(who.username);
  if (user == nullptr) return ApiError(ErrorId::kPermissionDenied);
  if (IsRoot(*user)) return absl::OkStatus();
  const MergedPermissions& held = PermissionsOf(who.username, *user);
  const RangeSet& ranges = access == Access::kRead ? held.reads : held.writes;
  return ranges.Covers(range) ? absl::OkStatus() : ApiError(ErrorId::kPermissionDenied);
}

absl::Status AuthStore::CheckAdmin(const AuthInfo& who) const {
  if (!enabled_) return absl::OkStatus();
  if (who.username.empty()) return ApiError(ErrorId::kUserEmpty);
  const authpb::User* user = FindUser(who.username);
  if (user == nullptr) return ApiError(ErrorId::kUserNotFound);
  return IsRoot(*user) ? absl::OkStatus() : ApiError(ErrorId::kPermissionDenied);
}

absl::Status AuthStore::CheckUser(const AuthInfo& who) const {
  return enabled_ && who.username.empty() ? ApiError(ErrorId::kUserEmpty) : absl::OkStatus();
}

// -------------------------------------------------------------------------------------------------

const authpb::User* AuthStore::FindUser(std::string_view name) const {
  auto found = users_.find(name);
  return found == users_.end() ? nullptr : &found->second;
}

bool AuthStore::IsRoot(const authpb::User& user) const {
  return std::find(user.roles().begin(), user.roles().end(), kRootRole) != user.roles().end();
}

const MergedPermissions& AuthStore::PermissionsOf(std::string_view name,
                                                  const authpb::User& user) {
  if (const MergedPermissions* known = cache_.Find(name)) return *known;
  MergedPermissions merged;
  for (const std::string& role : user.roles()) {
    auto found = roles_.find(role);
    if (found == roles_.end()) continue;
    for (const authpb::Permission& permission : found->second.keypermission()) {
      merged.Add(permission);
    }
  }
  merged.Merge();
  return cache_.Insert(name, std::move(merged));
}

void AuthStore::WriteUser(std::string_view name, mvcc::Batch& batch) const {
  batch.Put(Bucket::kAuthUsers, name, users_.find(name)->second.SerializeAsString());
}

void AuthStore::WriteRole(std::string_view name, mvcc::Batch& batch) const {
  batch.Put(Bucket::kAuthRoles, name, roles_.find(name)->second.SerializeAsString());
}

void AuthStore::NextRevision(mvcc::Batch& batch) {
  ++revision_;
  std::string encoded;
  base::AppendBigEndian64(revision_, &encoded);
  batch.Put(Bucket::kAuth, kRevisionKey, encoded);
}

}  // namespace etcdd::auth
