#include "server/backend_dir.h"

#include <optional>
#include <string_view>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "server/base/log.h"
#include "server/base/status_macros.h"

namespace etcdd::server {
namespace {

constexpr std::string_view kFirst = "etcdd.db";
constexpr std::string_view kIndexed = "etcdd.db.";
constexpr std::string_view kDraft = "etcdd.db.tmp-";
constexpr size_t kDigits = 16;

bool HasPrefix(std::string_view name, std::string_view prefix) {
  return name.substr(0, prefix.size()) == prefix;
}

// nullopt: no complete backend's name.
std::optional<uint64_t> ParseIndex(std::string_view name) {
  if (name == kFirst) return 0;
  if (!HasPrefix(name, kIndexed)) return std::nullopt;
  name.remove_prefix(kIndexed.size());
  if (name.size() != kDigits) return std::nullopt;
  uint64_t index = 0;
  for (const char c : name) {
    const bool digit = c >= '0' && c <= '9';
    if (!digit && (c < 'a' || c > 'f')) return std::nullopt;
    index = index << 4 | static_cast<uint64_t>(digit ? c - '0' : c - 'a' + 10);
  }
  if (index == 0) return std::nullopt;
  return index;
}

}  // namespace

std::string BackendDirPath(const std::string& snap_dir, uint64_t index) {
  std::string name(kFirst);
  if (index > 0) absl::StrAppendFormat(&name, ".%016x", index);
  return base::JoinPath(snap_dir, name);
}

std::string BackendDraftPath(const std::string& snap_dir, uint64_t index) {
  return base::JoinPath(snap_dir,
                        absl::StrCat(std::string(kDraft), absl::StrFormat("%016x", index)));
}

absl::StatusOr<BackendDir> CurrentBackendDir(base::FileSystem& fs, const std::string& snap_dir) {
  BackendDir current{0, BackendDirPath(snap_dir, 0), false};
  const absl::StatusOr<std::vector<std::string>> names = fs.List(snap_dir);
  if (absl::IsNotFound(names.status())) return current;
  ETCDD_RETURN_IF_ERROR(names.status());
  for (const std::string& name : *names) {
    const std::optional<uint64_t> index = ParseIndex(name);
    if (!index || *index < current.index) continue;
    current = {*index, BackendDirPath(snap_dir, *index), true};
  }
  return current;
}

absl::Status RemoveStaleBackendDirs(base::FileSystem& fs, const std::string& snap_dir) {
  ETCDD_ASSIGN_OR_RETURN(const BackendDir current, CurrentBackendDir(fs, snap_dir));
  if (!current.exists && !fs.Exists(snap_dir)) return absl::OkStatus();
  ETCDD_RETURN_IF_ERROR(fs.SyncDir(snap_dir));
  ETCDD_ASSIGN_OR_RETURN(const std::vector<std::string> names, fs.List(snap_dir));
  for (const std::string& name : names) {
    const std::optional<uint64_t> index = ParseIndex(name);
    const bool stale = index ? *index < current.index : HasPrefix(name, kDraft);
    if (!stale) continue;
    const std::string path = base::JoinPath(snap_dir, name);
    ETCDD_RETURN_IF_ERROR(fs.RemoveTree(path));
    ETCDD_LOG(kInfo, "purged", {{"path", path}});
  }
  return fs.SyncDir(snap_dir);
}

}  // namespace etcdd::server
