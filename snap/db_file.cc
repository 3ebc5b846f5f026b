#include "snap/db_file.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "server/base/check.h"
#include "server/base/log.h"
#include "server/base/status_macros.h"

namespace etcdd::snap {
namespace {

constexpr size_t kDigits = 16;
constexpr std::string_view kSuffix = ".snap.db";
constexpr size_t kReadBytes = 1 << 20;
// A large image goes to the disk in steps, so that the syncs of the log, which share the disk, need
// not wait for all of it at once.
constexpr uint64_t kSyncStepBytes = 16ull << 20;

}  // namespace

std::string FormatDbName(uint64_t index) {
  return absl::StrCat(absl::StrFormat("%016x", index), std::string(kSuffix));
}

std::optional<uint64_t> ParseDbName(std::string_view file_name) {
  if (file_name.size() != kDigits + kSuffix.size() || file_name.substr(kDigits) != kSuffix) {
    return std::nullopt;
  }
  uint64_t index = 0;
  for (const char c : file_name.substr(0, kDigits)) {
    const bool digit = c >= '0' && c <= '9';
    if (!digit && (c < 'a' || c > 'f')) return std::nullopt;
    index = index << 4 | static_cast<uint64_t>(digit ? c - '0' : c - 'a' + 10);
  }
  return index;
}

DbFileWriter::DbFileWriter(base::FileSystem& fs, const DbHooks& hooks, std::string dir,
                           std::string draft, std::string path, std::unique_ptr<base::File> file,
                           std::unique_ptr<DbVerifier> verifier)
    : fs_(fs),
      hooks_(hooks),
      begin_(Now()),
      dir_(std::move(dir)),
      draft_(std::move(draft)),
      path_(std::move(path)),
      file_(std::move(file)),
      verifier_(std::move(verifier)) {}

DbFileWriter::~DbFileWriter() {
  file_.reset();
  if (!draft_exists_) return;
  // A leftover does no harm and is removed at the next start at the latest.
  if (absl::Status removed = fs_.RemoveFile(draft_); !removed.ok()) {
    ETCDD_LOG(kWarn, "failed to remove a broken snapshot file",
              {{"path", draft_}, base::LogField(removed)});
  }
}

absl::Status DbFileWriter::Append(std::string_view piece) {
  ETCDD_RETURN_IF_ERROR(status_);
  ETCDD_CHECK(file_ != nullptr);
  status_ = verifier_->Append(piece);
  if (status_.ok()) status_ = Write(piece);
  return status_;
}

absl::Status DbFileWriter::Write(std::string_view piece) {
  ETCDD_RETURN_IF_ERROR(file_->WriteAt(bytes_, piece));
  bytes_ += piece.size();
  if (bytes_ - synced_bytes_ < kSyncStepBytes) return absl::OkStatus();
  synced_bytes_ = bytes_;
  return Sync();
}

absl::Duration DbFileWriter::Now() const {
  return hooks_.clock == nullptr ? absl::ZeroDuration() : hooks_.clock->Monotonic();
}

absl::Status DbFileWriter::Sync() {
  const absl::Duration begin = Now();
  const absl::Status status = file_->Sync();
  if (hooks_.on_sync) hooks_.on_sync(Now() - begin);
  return status;
}

absl::Status DbFileWriter::Commit() {
  ETCDD_RETURN_IF_ERROR(status_);
  ETCDD_CHECK(file_ != nullptr);
  status_ = Publish();
  if (status_.ok() && hooks_.on_save) hooks_.on_save(Now() - begin_);
  return status_;
}

absl::Status DbFileWriter::Publish() {
  ETCDD_RETURN_IF_ERROR(verifier_->Finish());
  ETCDD_RETURN_IF_ERROR(Sync());
  file_.reset();
  ETCDD_RETURN_IF_ERROR(fs_.Rename(draft_, path_));
  draft_exists_ = false;
  return fs_.SyncDir(dir_);
}

DbFileReader::DbFileReader(std::unique_ptr<base::File> file, uint64_t bytes)
    : file_(std::move(file)), bytes_(bytes) {}

absl::StatusOr<std::string> DbFileReader::Next() {
  std::string piece;
  ETCDD_RETURN_IF_ERROR(file_->ReadAt(offset_, kReadBytes, &piece));
  offset_ += piece.size();
  return piece;
}

DbFiles::DbFiles(base::FileSystem& fs, std::string dir, DbHooks hooks)
    : fs_(fs), dir_(std::move(dir)), hooks_(std::move(hooks)) {
  ETCDD_CHECK(hooks_.clock != nullptr || (!hooks_.on_sync && !hooks_.on_save));
}

absl::StatusOr<std::unique_ptr<DbFileWriter>> DbFiles::Receive(
    uint64_t index, std::unique_ptr<DbVerifier> verifier) {
  const std::string draft = base::JoinPath(
      dir_, absl::StrCat("tmp-", FormatDbName(index), ".", received_.fetch_add(1)));
  ETCDD_ASSIGN_OR_RETURN(auto file, fs_.Open(draft, base::OpenMode::kTruncate));
  return std::unique_ptr<DbFileWriter>(new DbFileWriter(
      fs_, hooks_, dir_, draft, PathOf(index), std::move(file), std::move(verifier)));
}

absl::StatusOr<DbFileReader> DbFiles::Open(uint64_t index) const {
  ETCDD_ASSIGN_OR_RETURN(auto file, fs_.Open(PathOf(index), base::OpenMode::kRead));
  ETCDD_ASSIGN_OR_RETURN(const uint64_t bytes, file->Size());
  return DbFileReader(std::move(file), bytes);
}

std::string DbFiles::PathOf(uint64_t index) const {
  return base::JoinPath(dir_, FormatDbName(index));
}

absl::StatusOr<std::vector<uint64_t>> DbFiles::List() const {
  ETCDD_ASSIGN_OR_RETURN(const std::vector<std::string> names, fs_.List(dir_));
  std::vector<uint64_t> indexes;
  for (const std::string& name : names) {
    if (const std::optional<uint64_t> index = ParseDbName(name)) indexes.push_back(*index);
  }
  std::sort(indexes.begin(), indexes.end());
  return indexes;
}

absl::StatusOr<std::vector<std::string>> DbFiles::RemoveUpTo(uint64_t index) {
  ETCDD_ASSIGN_OR_RETURN(std::vector<uint64_t> indexes, List());
  indexes.erase(std::upper_bound(indexes.begin(), indexes.end(), index), indexes.end());
  return Remove(indexes);
}

absl::StatusOr<std::vector<std::string>> DbFiles::Purge(size_t max_files) {
  if (max_files == 0) return std::vector<std::string>();
  ETCDD_ASSIGN_OR_RETURN(std::vector<uint64_t> indexes, List());
  indexes.resize(indexes.size() - std::min(indexes.size(), max_files));
  return Remove(indexes);
}

absl::StatusOr<std::vector<std::string>> DbFiles::Remove(const std::vector<uint64_t>& indexes) {
  std::vector<std::string> removed;
  for (const uint64_t index : indexes) {
    const absl::Status status = fs_.RemoveFile(PathOf(index));
    if (absl::IsNotFound(status)) continue;  // another thread was faster
    ETCDD_RETURN_IF_ERROR(status);
    ETCDD_LOG(kInfo, "purged", {{"path", PathOf(index)}});
    removed.push_back(FormatDbName(index));
  }
  return removed;
}

}  // namespace etcdd::snap
