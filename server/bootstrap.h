#pragma once

// How a member comes to life (architecture.md section 5): a new cluster, or a restart from what is
// on disk. Opens or creates the WAL and gives the raft node its log; refuses with a clear error
// whatever does not fit together.
//
// Blocks; runs before the server's strand does.

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "mvcc/backend/backend.h"
#include "raft/memory_storage.h"
#include "server/base/file_system.h"
#include "server/membership/member.h"
#include "wal/wal.h"

namespace etcdd::server {

struct BootstrapOptions {
  std::string name;
  std::string wal_dir;
  // Of this member, as in --initial-advertise-peer-urls; its id at bootstrap derives from them.
  std::vector<std::string> peer_urls;
  std::string cluster_token;
  wal::Options wal;
  // False when the backend was just made because none was there (BOOT-035).
  bool backend_existed = true;
  std::string backend_path;  // for error texts
};

struct Bootstrapped {
  uint64_t member_id = 0;
  uint64_t cluster_id = 0;
  bool restarted = false;
  std::unique_ptr<wal::Wal> wal;
  std::unique_ptr<raft::MemoryStorage> storage;
  // Entries up to here are in the backend already (its consistent index).
  uint64_t applied = 0;
  uint64_t snapshot_index = 0;
};

// Keys of the meta bucket which raft's progress lives under.
inline constexpr std::string_view kConsistentIndexKey = "consistent_index";
inline constexpr std::string_view kTermKey = "term";
inline constexpr std::string_view kConfStateKey = "confState";

// 0 when the backend holds none.
absl::StatusOr<uint64_t> ReadConsistentIndex(const mvcc::Backend& backend);

absl::StatusOr<Bootstrapped> Bootstrap(base::FileSystem& fs, const BootstrapOptions& options,
                                       const mvcc::Backend& backend);

}  // namespace etcdd::server
