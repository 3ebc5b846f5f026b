#include "server/data_dir.h"

#include <algorithm>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "server/backend_dir.h"
#include "server/base/status_macros.h"
#include "server/version.h"

namespace etcdd::server {
namespace {

using base::JoinPath;

// Names in the directory; none when it is absent.
absl::StatusOr<std::vector<std::string>> NamesIn(base::FileSystem& fs, const std::string& path) {
  absl::StatusOr<std::vector<std::string>> names = fs.List(path);
  if (absl::IsNotFound(names.status())) return std::vector<std::string>();
  if (!names.ok()) {
    return absl::Status(names.status().code(), absl::StrCat("cannot access data directory: ",
                                                            names.status().message()));
  }
  return names;
}

bool Contains(const std::vector<std::string>& names, const char* name) {
  return std::find(names.begin(), names.end(), name) != names.end();
}

// The number behind "format" of the one JSON object that the file holds. Other keys may follow in
// later versions and are skipped.
absl::StatusOr<int> ReadFormat(base::FileSystem& fs, const std::string& path) {
  ETCDD_ASSIGN_OR_RETURN(const std::string text, base::ReadFile(fs, path));
  constexpr absl::string_view kKey = "\"format\"";
  absl::string_view body = absl::StripAsciiWhitespace(text);
  if (absl::ConsumePrefix(&body, "{") && absl::ConsumeSuffix(&body, "}") &&
      absl::StrContains(body, kKey)) {
    absl::string_view value = body.substr(body.find(kKey) + kKey.size());
    value = absl::StripLeadingAsciiWhitespace(value);
    int format = 0;
    if (absl::ConsumePrefix(&value, ":") &&
        absl::SimpleAtoi(value.substr(0, value.find(',')), &format) && format > 0) {
      return format;
    }
  }
  return absl::DataLossError(
      absl::StrCat(path, " is damaged: it does not name the format of the data directory. Restore ",
                   "it from a backup of the directory"));
}

bool HasWal(const std::vector<std::string>& names) {
  return std::any_of(names.begin(), names.end(),
                     [](const std::string& name) { return absl::EndsWith(name, ".wal"); });
}

// Decides about a member directory without a version file.
absl::StatusOr<DataDirKind> KindWithoutVersion(base::FileSystem& fs, const DataDir& dir) {
  if (fs.Exists(dir.EtcdDbFile())) return DataDirKind::kEtcd;
  ETCDD_ASSIGN_OR_RETURN(const BackendDir backend, CurrentBackendDir(fs, dir.SnapDir()));
  if (backend.exists) return DataDirKind::kUnknown;
  ETCDD_ASSIGN_OR_RETURN(const std::vector<std::string> inside,
                         NamesIn(fs, JoinPath(dir.MemberDir(), "wal")));
  ETCDD_ASSIGN_OR_RETURN(const std::vector<std::string> used, NamesIn(fs, dir.WalDir()));
  return HasWal(inside) || HasWal(used) ? DataDirKind::kUnknown : DataDirKind::kEmpty;
}

std::string ParentOf(const std::string& path) {
  const size_t slash = path.find_last_of('/');
  if (slash == std::string::npos) return ".";
  return slash == 0 ? "/" : path.substr(0, slash);
}

}  // namespace

DataDir::DataDir(std::string root, std::string dedicated_wal_dir)
    : root_(std::move(root)), dedicated_wal_dir_(std::move(dedicated_wal_dir)) {
  while (root_.size() > 1 && root_.back() == '/') root_.pop_back();
}

std::string DataDir::MemberDir() const { return JoinPath(root_, "member"); }
std::string DataDir::WalDir() const {
  return dedicated_wal_dir_.empty() ? JoinPath(MemberDir(), "wal") : dedicated_wal_dir_;
}
std::string DataDir::SnapDir() const { return JoinPath(MemberDir(), "snap"); }
std::string DataDir::BackendDir() const { return BackendDirPath(SnapDir(), 0); }
std::string DataDir::LockFile() const { return JoinPath(MemberDir(), "etcdd.lock"); }
std::string DataDir::VersionFile() const { return JoinPath(MemberDir(), "etcdd.version"); }
std::string DataDir::EtcdDbFile() const { return JoinPath(SnapDir(), "db"); }

absl::StatusOr<DataDirFindings> InspectDataDir(base::FileSystem& fs, const DataDir& dir) {
  DataDirFindings findings;
  ETCDD_ASSIGN_OR_RETURN(const std::vector<std::string> names, NamesIn(fs, dir.root()));
  for (const std::string& name : names) {
    if (name != "member" && name != "proxy") findings.unknown_names.push_back(name);
  }
  const bool member = Contains(names, "member");
  if (Contains(names, "proxy")) {
    findings.kind = member ? DataDirKind::kMemberAndProxy : DataDirKind::kProxy;
    return findings;
  }
  if (!member && !fs.Exists(dir.WalDir())) return findings;
  if (!fs.Exists(dir.VersionFile())) {
    ETCDD_ASSIGN_OR_RETURN(findings.kind, KindWithoutVersion(fs, dir));
    return findings;
  }
  ETCDD_ASSIGN_OR_RETURN(findings.format, ReadFormat(fs, dir.VersionFile()));
  findings.kind =
      findings.format > kDataDirFormat ? DataDirKind::kEtcddNewer : DataDirKind::kEtcdd;
  return findings;
}

absl::Status CheckUsable(const DataDirFindings& findings, const DataDir& dir) {
  switch (findings.kind) {
    case DataDirKind::kEmpty:
    case DataDirKind::kEtcdd:
      return absl::OkStatus();
    case DataDirKind::kEtcddNewer:
      return absl::FailedPreconditionError(absl::StrCat(
          "data directory ", dir.root(), " has format ", findings.format,
          ", this version of etcdd knows formats up to ", kDataDirFormat,
          ": it was written by a newer etcdd. Start that version, or a later one"));
    case DataDirKind::kEtcd:
      return absl::FailedPreconditionError(absl::StrCat(
          "data directory ", dir.root(), " belongs to etcd (it holds ", dir.EtcdDbFile(),
          "), and taking it over is not supported yet by this version of etcdd. Nothing in it was "
          "changed. Start etcd with it, or give etcdd an empty --data-dir and copy the keys"));
    case DataDirKind::kUnknown:
      return absl::FailedPreconditionError(absl::StrCat(
          "data directory ", dir.root(), " (WAL in ", dir.WalDir(), ") holds a member's files, but "
          "neither ", dir.VersionFile(), " nor etcd's ", dir.EtcdDbFile(),
          ". Part of it is missing: restore the whole directory from a backup, or give an empty "
          "--data-dir and --wal-dir"));
    case DataDirKind::kProxy:
      return absl::FailedPreconditionError(absl::StrCat(
          "data directory ", dir.root(), " belongs to an etcd v2 proxy, which no longer exists. ",
          "Give a --data-dir of its own"));
    case DataDirKind::kMemberAndProxy:
      return absl::FailedPreconditionError(
          absl::StrCat("invalid datadir; both member and proxy directories exist in ", dir.root(),
                       ". Move the one that is not meant away"));
  }
  return absl::InternalError("unknown kind of data directory");
}

absl::Status InitDataDir(base::FileSystem& fs, const DataDir& dir) {
  // A name is durable once its directory is synced: remember which directories get a new one.
  std::vector<std::string> to_sync;
  for (std::string path = dir.root(); !fs.Exists(path) && path != "."; path = ParentOf(path)) {
    to_sync.push_back(ParentOf(path));
  }
  ETCDD_RETURN_IF_ERROR(fs.CreateDirs(dir.MemberDir()));
  if (!fs.Exists(dir.VersionFile())) {
    const std::string temporary = dir.VersionFile() + ".tmp";
    {
      ETCDD_ASSIGN_OR_RETURN(auto file, fs.Open(temporary, base::OpenMode::kTruncate));
      ETCDD_RETURN_IF_ERROR(file->WriteAt(
          0, absl::StrCat("{\"format\":", kDataDirFormat, ",\"created-by\":\"etcdd ",
                          std::string(kEtcddVersion), "\"}\n")));
      ETCDD_RETURN_IF_ERROR(file->Sync());
    }
    ETCDD_RETURN_IF_ERROR(fs.Rename(temporary, dir.VersionFile()));
  }
  ETCDD_RETURN_IF_ERROR(fs.SyncDir(dir.MemberDir()));
  ETCDD_RETURN_IF_ERROR(fs.CreateDirs(dir.SnapDir()));
  ETCDD_RETURN_IF_ERROR(fs.SyncDir(dir.MemberDir()));
  ETCDD_RETURN_IF_ERROR(fs.SyncDir(dir.root()));
  for (const std::string& path : to_sync) ETCDD_RETURN_IF_ERROR(fs.SyncDir(path));
  return absl::OkStatus();
}

absl::StatusOr<std::unique_ptr<base::File>> TryLockDataDir(base::FileSystem& fs,
                                                           const DataDir& dir) {
  ETCDD_ASSIGN_OR_RETURN(auto file, fs.Open(dir.LockFile(), base::OpenMode::kCreate));
  ETCDD_ASSIGN_OR_RETURN(const bool locked, file->TryLock());
  if (!locked) file.reset();
  return file;
}

}  // namespace etcdd::server
