#include "wal/repair.h"

#include <string>

#include "absl/strings/str_cat.h"
#include "server/base/log.h"
#include "server/base/status_macros.h"

namespace etcdd::wal {

absl::Status CutTornTail(base::FileSystem& fs, Segment& segment, uint64_t valid_end) {
  constexpr size_t kChunkBytes = 1024 * 1024;
  const std::string copy_path = absl::StrCat(segment.path, ".broken");
  ETCDD_LOG(kInfo, "repairing", {{"path", segment.path}, {"offset", valid_end}});
  ETCDD_ASSIGN_OR_RETURN(auto copy, fs.Open(copy_path, base::OpenMode::kTruncate));
  std::string chunk;
  uint64_t offset = 0;
  do {
    ETCDD_RETURN_IF_ERROR(segment.file->ReadAt(offset, kChunkBytes, &chunk));
    ETCDD_RETURN_IF_ERROR(copy->WriteAt(offset, chunk));
    offset += chunk.size();
  } while (chunk.size() == kChunkBytes);
  // The evidence first: only then may the original lose it.
  ETCDD_RETURN_IF_ERROR(copy->Sync());
  ETCDD_RETURN_IF_ERROR(segment.file->Truncate(valid_end));
  ETCDD_RETURN_IF_ERROR(segment.file->Sync());
  ETCDD_LOG(kInfo, "repaired", {{"path", segment.path}, {"offset", valid_end}});
  return absl::OkStatus();
}

}  // namespace etcdd::wal
