#include "server/bootstrap.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "proto/raft.pb.h"
#include "proto/wal_metadata.pb.h"
#include "raft/conf_change.h"
#include "server/base/coding.h"
#include "server/base/log.h"
#include "server/base/status_macros.h"
#include "server/membership/cluster.h"

namespace etcdd::server {
namespace {

absl::StatusOr<raft::ConfState> ParseConfState(const std::string& bytes) {
  raftpb::ConfState parsed;
  if (!parsed.ParseFromString(bytes)) {
    return absl::DataLossError("a snapshot record of the WAL holds no readable conf state");
  }
  raft::ConfState state;
  state.voters.assign(parsed.voters().begin(), parsed.voters().end());
  state.learners.assign(parsed.learners().begin(), parsed.learners().end());
  return state;
}

// The log of a cluster that has just been made: one conf change entry per member, committed.
absl::Status WriteFirstEntries(wal::Wal& wal, const membership::Member& self) {
  raft::ConfChange change;
  change.type = raft::ConfChangeType::kAddNode;
  change.node_id = self.id;
  change.context = base::Bytes::Copy(membership::MemberToJson(self));
  const base::Bytes data = raft::Encode(change);
  const wal::EntryView entry{static_cast<int32_t>(raft::EntryType::kConfChange), 1, 1,
                             data.view()};
  ETCDD_RETURN_IF_ERROR(wal.Save({1, 0, 1}, absl::MakeConstSpan(&entry, 1)).status());
  return wal.Sync();
}

membership::Member SelfFromOptions(const BootstrapOptions& options) {
  membership::Member self;
  self.peer_urls = options.peer_urls;
  self.name = options.name;
  self.id = membership::MakeMemberId(options.peer_urls, options.cluster_token);
  return self;
}

absl::Status CreateWal(base::FileSystem& fs, const BootstrapOptions& options) {
  const membership::Member self = SelfFromOptions(options);
  etcdserverpb::Metadata metadata;
  metadata.set_nodeid(self.id);
  metadata.set_clusterid(membership::MakeClusterId({self.id}));
  ETCDD_ASSIGN_OR_RETURN(auto wal, wal::Wal::Create(fs, options.wal, options.wal_dir,
                                                    metadata.SerializeAsString()));
  ETCDD_RETURN_IF_ERROR(WriteFirstEntries(*wal, self));
  return wal->Close();
}

// Why a backend that does not reach the log's snapshot cannot be used (BOOT-035).
absl::Status BackendBehind(const BootstrapOptions& options, uint64_t consistent_index,
                           uint64_t snapshot_index) {
  if (!options.backend_existed) {
    return absl::FailedPreconditionError(absl::StrCat(
        "failed to recover v3 backend from snapshot: database file (", options.backend_path,
        ") of the backend is missing, and the WAL begins only behind its snapshot at index ",
        snapshot_index, "; restore this member from a backup or re-add it to its cluster"));
  }
  return absl::FailedPreconditionError(absl::StrCat(
      "failed to recover v3 backend from snapshot: database file (", options.backend_path,
      " index ", consistent_index, ") does not match with snapshot (index ", snapshot_index, ")"));
}

}  // namespace

absl::StatusOr<uint64_t> ReadConsistentIndex(const mvcc::Backend& backend) {
  auto bytes = backend.Get(mvcc::Bucket::kMeta, kConsistentIndexKey);
  if (absl::IsNotFound(bytes.status())) return uint64_t{0};
  if (!bytes.ok()) return bytes.status();
  if (bytes->size() != 8) {
    return absl::DataLossError("the backend's consistent_index is not 8 bytes long");
  }
  return base::ReadBigEndian64(bytes->data());
}

absl::StatusOr<Bootstrapped> Bootstrap(base::FileSystem& fs, const BootstrapOptions& options,
                                       const mvcc::Backend& backend) {
  Bootstrapped result;
  ETCDD_ASSIGN_OR_RETURN(result.applied, ReadConsistentIndex(backend));
  result.restarted = wal::Wal::Exists(fs, options.wal_dir);
  if (!result.restarted) {
    if (result.applied > 0) {
      return absl::FailedPreconditionError(absl::StrCat(
          "the backend (", options.backend_path, ") holds data up to index ", result.applied,
          " but there is no WAL in ", options.wal_dir,
          "; the member's log was lost or moved: restore it, or start with an empty data-dir"));
    }
    ETCDD_RETURN_IF_ERROR(CreateWal(fs, options));
  }

  ETCDD_ASSIGN_OR_RETURN(auto marks, wal::ValidSnapshotRecords(fs, options.wal_dir));
  const wal::SnapshotRecord start = marks.empty() ? wal::SnapshotRecord() : marks.back();
  if (result.applied < start.index) return BackendBehind(options, result.applied, start.index);
  ETCDD_ASSIGN_OR_RETURN(auto opened, wal::Wal::Open(fs, options.wal, options.wal_dir, start));
  wal::Contents& contents = opened.contents;
  etcdserverpb::Metadata metadata;
  if (!metadata.ParseFromString(contents.metadata) || metadata.nodeid() == 0) {
    return absl::DataLossError(
        absl::StrCat("the WAL in ", options.wal_dir, " names no member it belongs to"));
  }
  // Killed before the first entries and the hard state behind them were whole: nothing was ever
  // acknowledged. The member keeps the id the WAL was made with, whatever the options say now.
  if (contents.hard_state.empty() && start.index == 0) {
    membership::Member self = SelfFromOptions(options);
    self.id = metadata.nodeid();
    ETCDD_RETURN_IF_ERROR(WriteFirstEntries(*opened.wal, self));
    opened.wal.reset();
    ETCDD_ASSIGN_OR_RETURN(opened, wal::Wal::Open(fs, options.wal, options.wal_dir, start));
  }
  result.member_id = metadata.nodeid();
  result.cluster_id = metadata.clusterid();
  result.snapshot_index = start.index;

  const uint64_t last_index = start.index + contents.entries.size();
  if (result.applied > last_index) {
    return absl::FailedPreconditionError(absl::StrCat(
        "the backend (", options.backend_path, " index ", result.applied,
        ") is ahead of the WAL in ", options.wal_dir, " (last index ", last_index,
        "): the WAL was truncated or replaced; restore this member from a backup or re-add it"));
  }
  result.storage = std::make_unique<raft::MemoryStorage>();
  membership::Cluster cluster(result.cluster_id, result.member_id);
  ETCDD_RETURN_IF_ERROR(cluster.Restore(*backend.NewView()));
  raft::ConfState conf_state;
  if (result.applied > 0) {
    // Changes up to the consistent index are in the members bucket already and are not replayed.
    conf_state.voters = cluster.Voters();
    conf_state.learners = cluster.Learners();
  } else if (start.index > 0) {
    ETCDD_ASSIGN_OR_RETURN(conf_state, ParseConfState(start.conf_state));
  }
  auto snapshot = std::make_shared<raft::Snapshot>();
  snapshot->index = start.index;
  snapshot->term = start.term;
  snapshot->conf_state = conf_state;
  ETCDD_RETURN_IF_ERROR(result.storage->ApplySnapshot(std::move(snapshot)));
  std::vector<raft::Entry> entries;
  entries.reserve(contents.entries.size());
  for (wal::Entry& entry : contents.entries) {
    entries.push_back({static_cast<raft::EntryType>(entry.type), entry.term, entry.index,
                       std::move(entry.data)});
  }
  result.storage->Append(entries);
  // A commit-only change of the hard state need not be on disk, so what the backend has applied
  // may be ahead of it (wal-format.md section 7).
  result.storage->SetHardState({contents.hard_state.term, contents.hard_state.vote,
                                std::max(contents.hard_state.commit, result.applied)});
  result.wal = std::move(opened.wal);
  return result;
}

}  // namespace etcdd::server
