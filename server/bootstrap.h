#pragma once

// How a member comes to life (architecture.md section 5): a new cluster, an existing one that it
// joins, or a restart from what is on disk. Opens or creates the WAL and gives the raft node its
// log; refuses with a clear error whatever does not fit together. What a joining member has to ask
// the others is asked before (server/join.h).
//
// Blocks; runs before the server's strand does.

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "mvcc/backend/backend.h"
#include "raft/memory_storage.h"
#include "server/base/file_system.h"
#include "server/membership/member.h"
#include "wal/wal.h"

namespace etcdd::server {

// What a member learnt from the others before it joins their cluster (BOOT-004).
struct JoinedCluster {
  uint64_t cluster_id = 0;
  uint64_t member_id = 0;
  std::vector<membership::Member> members;  // this one included
};

struct BootstrapOptions {
  std::string name;
  std::string wal_dir;
  // Of this member, as in --initial-advertise-peer-urls; its id at bootstrap derives from them.
  std::vector<std::string> peer_urls;
  // A new cluster's other members: name and peer URLs, ids are derived.
  std::vector<membership::Member> others;
  std::string cluster_token;
  // Set: without a WAL the member joins this cluster instead of making a new one.
  std::optional<JoinedCluster> join;
  // Restart as the only member, under the same ids; everything uncommitted is dropped (BOOT-007).
  bool force_new_cluster = false;
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
  // Of a joining member: the others, until the log tells.
  std::vector<membership::Member> remotes;
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
