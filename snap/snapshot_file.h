#pragma once

// The bytes of a raft snapshot file, TERM-INDEX.snap (two 16-digit hex numbers, term first): a
// checksum around an encoded raftpb.Snapshot, as etcd writes it.

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "absl/status/statusor.h"

namespace etcdd::snap {

// Names one raft snapshot. Ordered as the file names are: by term, then by index.
struct SnapshotId {
  uint64_t term = 0;
  uint64_t index = 0;

  friend auto operator<=>(const SnapshotId&, const SnapshotId&) = default;
};

struct Snapshot {
  SnapshotId id;
  std::string conf_state;  // encoded raftpb.ConfState
  std::string data;        // raftpb.Snapshot.data: the membership document (membership_json.h)

  friend bool operator==(const Snapshot&, const Snapshot&) = default;
};

std::string FormatSnapshotName(const SnapshotId& id);
std::optional<SnapshotId> ParseSnapshotName(std::string_view file_name);

// Requires: id.index > 0.
std::string EncodeSnapshotFile(const Snapshot& snapshot);

// DataLoss for anything but an intact file; the message says what is wrong with it.
absl::StatusOr<Snapshot> DecodeSnapshotFile(std::string_view content);

}  // namespace etcdd::snap
