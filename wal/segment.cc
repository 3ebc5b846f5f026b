#include "wal/segment.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "server/base/status_macros.h"

namespace etcdd::wal {
namespace {

constexpr size_t kDigits = 16;
constexpr std::string_view kSuffix = ".wal";

std::optional<uint64_t> ParseHex(std::string_view text) {
  uint64_t value = 0;
  for (const char c : text) {
    uint64_t digit = 0;
    if (c >= '0' && c <= '9') {
      digit = static_cast<uint64_t>(c - '0');
    } else if (c >= 'a' && c <= 'f') {
      digit = static_cast<uint64_t>(c - 'a') + 10;
    } else {
      return std::nullopt;
    }
    value = value << 4 | digit;
  }
  return value;
}

absl::Status LockSegment(base::File& file, const std::string& path) {
  ETCDD_ASSIGN_OR_RETURN(const bool locked, file.TryLock());
  if (locked) return absl::OkStatus();
  return absl::FailedPreconditionError(absl::StrCat(path, ": file already locked"));
}

}  // namespace

std::string FormatSegmentName(const SegmentName& name) {
  return absl::StrFormat("%016x-%016x.wal", name.seq, name.index);
}

std::optional<SegmentName> ParseSegmentName(std::string_view file_name) {
  if (file_name.size() != 2 * kDigits + 1 + kSuffix.size() || file_name[kDigits] != '-' ||
      file_name.substr(2 * kDigits + 1) != kSuffix) {
    return std::nullopt;
  }
  const std::optional<uint64_t> seq = ParseHex(file_name.substr(0, kDigits));
  const std::optional<uint64_t> index = ParseHex(file_name.substr(kDigits + 1, kDigits));
  if (!seq || !index) return std::nullopt;
  return SegmentName{*seq, *index};
}

absl::StatusOr<std::vector<SegmentName>> ListSegments(base::FileSystem& fs,
                                                      const std::string& dir) {
  ETCDD_ASSIGN_OR_RETURN(const std::vector<std::string> files, fs.List(dir));
  std::vector<SegmentName> names;
  for (const std::string& file : files) {
    if (const std::optional<SegmentName> name = ParseSegmentName(file)) names.push_back(*name);
  }
  std::sort(names.begin(), names.end());
  return names;
}

absl::StatusOr<std::vector<SegmentName>> SelectSegments(const std::string& dir,
                                                        std::vector<SegmentName> all,
                                                        uint64_t index) {
  const auto newest = std::find_if(all.rbegin(), all.rend(), [index](const SegmentName& name) {
    return name.index <= index;
  });
  if (newest == all.rend()) {
    return absl::NotFoundError(absl::StrCat(dir, ": no segment reaches back to index ", index));
  }
  all.erase(all.begin(), std::prev(newest.base()));
  ETCDD_RETURN_IF_ERROR(CheckConsecutive(dir, all));
  return all;
}

absl::Status CheckConsecutive(const std::string& dir, const std::vector<SegmentName>& names) {
  for (size_t i = 1; i < names.size(); ++i) {
    if (names[i].seq == names[i - 1].seq + 1) continue;
    return absl::DataLossError(absl::StrCat(dir, ": segment ", FormatSegmentName(names[i]),
                                            " does not follow ",
                                            FormatSegmentName(names[i - 1])));
  }
  return absl::OkStatus();
}

absl::StatusOr<std::vector<Segment>> OpenSegments(base::FileSystem& fs, const std::string& dir,
                                                  const std::vector<SegmentName>& names,
                                                  SegmentAccess access) {
  const bool append = access == SegmentAccess::kAppend;
  std::vector<Segment> segments;
  for (const SegmentName& name : names) {
    Segment segment{name, base::JoinPath(dir, FormatSegmentName(name)), nullptr};
    ETCDD_ASSIGN_OR_RETURN(
        segment.file,
        fs.Open(segment.path, append ? base::OpenMode::kReadWrite : base::OpenMode::kRead));
    if (append) ETCDD_RETURN_IF_ERROR(LockSegment(*segment.file, segment.path));
    segments.push_back(std::move(segment));
  }
  return segments;
}

absl::StatusOr<std::unique_ptr<base::File>> CreateSegmentFile(base::FileSystem& fs,
                                                              const std::string& path,
                                                              uint64_t bytes) {
  ETCDD_ASSIGN_OR_RETURN(auto file, fs.Open(path, base::OpenMode::kTruncate));
  ETCDD_RETURN_IF_ERROR(LockSegment(*file, path));
  ETCDD_RETURN_IF_ERROR(file->Preallocate(bytes));
  return file;
}

}  // namespace etcdd::wal
