#pragma once

// One file of the log: its name SEQ-INDEX.wal (two 16-digit hex numbers), finding the files that
// matter, opening and locking them.
//
// SEQ counts from 0 without gaps; INDEX is the first entry the file may hold. A file is locked as
// long as its member may still need it; the lock keeps other processes and the purge away.

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "server/base/file_system.h"

namespace etcdd::wal {

struct SegmentName {
  uint64_t seq = 0;
  uint64_t index = 0;

  friend auto operator<=>(const SegmentName&, const SegmentName&) = default;
};

std::string FormatSegmentName(const SegmentName& name);
std::optional<SegmentName> ParseSegmentName(std::string_view file_name);

struct Segment {
  SegmentName name;
  std::string path;
  std::unique_ptr<base::File> file;
};

// The segments in `dir` in order; other names are ignored. NotFound when the directory is absent.
absl::StatusOr<std::vector<SegmentName>> ListSegments(base::FileSystem& fs, const std::string& dir);

// The segments needed to read on from `index`: the last one whose INDEX is not beyond it, and all
// after that. NotFound when there is none, DataLoss when SEQ has a gap.
absl::StatusOr<std::vector<SegmentName>> SelectSegments(const std::string& dir,
                                                        std::vector<SegmentName> all,
                                                        uint64_t index);

// DataLoss when SEQ has a gap.
absl::Status CheckConsecutive(const std::string& dir, const std::vector<SegmentName>& names);

enum class SegmentAccess {
  kRead,    // without a lock
  kAppend,  // locked; FailedPrecondition when another open file holds the lock
};
absl::StatusOr<std::vector<Segment>> OpenSegments(base::FileSystem& fs, const std::string& dir,
                                                  const std::vector<SegmentName>& names,
                                                  SegmentAccess access);

// Makes (or empties) the file `path`, locked, with `bytes` reserved.
absl::StatusOr<std::unique_ptr<base::File>> CreateSegmentFile(base::FileSystem& fs,
                                                              const std::string& path,
                                                              uint64_t bytes);

}  // namespace etcdd::wal
