#pragma once

// Cuts a torn tail, keeping a copy of what was there.

#include <cstdint>

#include "absl/status/status.h"
#include "server/base/file_system.h"
#include "wal/segment.h"

namespace etcdd::wal {

// Copies `segment` to its name + ".broken" (an earlier copy is replaced), cuts it to `valid_end`
// bytes and syncs both. The caller has found the record behind `valid_end` torn, not damaged.
absl::Status CutTornTail(base::FileSystem& fs, Segment& segment, uint64_t valid_end);

}  // namespace etcdd::wal
