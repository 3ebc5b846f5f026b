#include "server/bootstrap.h"

#include <algorithm>
#include <map>
#include <utility>
#include <vector>

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

// The members of a new cluster, ascending by id: every one of them writes the same first entries.
std::vector<membership::Member> InitialMembers(const BootstrapOptions& options) {
  membership::Member self;
  self.peer_urls = options.peer_urls;
  self.name = options.name;
  std::vector<membership::Member> members = options.others;
  members.push_back(std::move(self));
  for (membership::Member& member : members) {
    member.id = membership::MakeMemberId(member.peer_urls, options.cluster_token);
  }
  std::sort(members.begin(), members.end(),
            [](const auto& a, const auto& b) { return a.id < b.id; });
  return members;
}

uint64_t ClusterIdOf(absl::Span<const membership::Member> members) {
  std::vector<uint64_t> ids;
  for (const membership::Member& member : members) ids.push_back(member.id);
  return membership::MakeClusterId(std::move(ids));
}

raft::ConfChange AddChange(const membership::Member& member) {
  raft::ConfChange change;
  change.type = raft::ConfChangeType::kAddNode;
  change.node_id = member.id;
  change.context = base::Bytes::Copy(membership::MemberToJson(member));
  return change;
}

// Appends `changes` as committed entries behind `last_index` and syncs. With no changes one empty
// entry: the log ends there, whatever followed.
absl::Status AppendCommitted(wal::Wal& wal, uint64_t term, uint64_t vote, uint64_t last_index,
                             absl::Span<const raft::ConfChange> changes) {
  std::vector<base::Bytes> data;
  for (const raft::ConfChange& change : changes) data.push_back(raft::Encode(change));
  std::vector<wal::EntryView> entries;
  for (const base::Bytes& bytes : data) {
    entries.push_back({static_cast<int32_t>(raft::EntryType::kConfChange), term, ++last_index,
                       bytes.view()});
  }
  if (entries.empty()) {
    entries.push_back({static_cast<int32_t>(raft::EntryType::kNormal), term, ++last_index, {}});
  }
  ETCDD_RETURN_IF_ERROR(wal.Save({term, vote, last_index}, entries).status());
  return wal.Sync();
}

// The log of a cluster that has just been made: one conf change entry per member, committed.
absl::Status WriteFirstEntries(wal::Wal& wal, absl::Span<const membership::Member> members) {
  std::vector<raft::ConfChange> changes;
  for (const membership::Member& member : members) changes.push_back(AddChange(member));
  return AppendCommitted(wal, 1, 0, 0, changes);
}

absl::Status CreateWal(base::FileSystem& fs, const BootstrapOptions& options) {
  const std::vector<membership::Member> members = InitialMembers(options);
  etcdserverpb::Metadata metadata;
  if (options.join.has_value()) {
    metadata.set_nodeid(options.join->member_id);
    metadata.set_clusterid(options.join->cluster_id);
  } else {
    metadata.set_nodeid(membership::MakeMemberId(options.peer_urls, options.cluster_token));
    metadata.set_clusterid(ClusterIdOf(members));
  }
  ETCDD_ASSIGN_OR_RETURN(auto wal, wal::Wal::Create(fs, options.wal, options.wal_dir,
                                                    metadata.SerializeAsString()));
  if (!options.join.has_value()) ETCDD_RETURN_IF_ERROR(WriteFirstEntries(*wal, members));
  return wal->Close();
}

// A WAL with metadata and nothing behind it: of a member that joined and was told nothing yet, or
// of a new cluster's, killed before the first entries and the hard state behind them were whole.
// Nothing was ever acknowledged in either case. Returns the entries the latter needs; none for the
// former. The ids are those that the WAL was made with, whatever the options say now.
std::vector<membership::Member> LostFirstEntries(const BootstrapOptions& options,
                                                 const etcdserverpb::Metadata& metadata) {
  std::vector<membership::Member> members = InitialMembers(options);
  if (ClusterIdOf(members) == metadata.clusterid()) return members;
  if (metadata.clusterid() != membership::MakeClusterId({metadata.nodeid()})) return {};
  membership::Member self;
  self.peer_urls = options.peer_urls;
  self.name = options.name;
  self.id = metadata.nodeid();
  return {self};
}

// The members that are left to remove, and what makes this one a voter, once all committed changes
// have been applied on top of `cluster`.
std::vector<raft::ConfChange> ChangesToBeAlone(const BootstrapOptions& options, uint64_t self,
                                               const membership::Cluster& cluster, uint64_t applied,
                                               absl::Span<const wal::Entry> committed) {
  std::map<uint64_t, bool> is_learner;
  for (const membership::Member& member : cluster.members()) {
    is_learner[member.id] = member.is_learner;
  }
  for (const wal::Entry& entry : committed) {
    if (entry.index <= applied || entry.type != static_cast<int>(raft::EntryType::kConfChange)) {
      continue;
    }
    const auto change = raft::DecodeConfChange(entry.data.view());
    if (!change.ok()) continue;
    switch (change->type) {
      case raft::ConfChangeType::kAddNode: is_learner[change->node_id] = false; break;
      case raft::ConfChangeType::kAddLearnerNode: is_learner[change->node_id] = true; break;
      case raft::ConfChangeType::kRemoveNode: is_learner.erase(change->node_id); break;
      case raft::ConfChangeType::kUpdateNode: break;
    }
  }
  std::vector<raft::ConfChange> changes;
  const auto found = is_learner.find(self);
  if (found == is_learner.end()) {
    membership::Member member;
    member.id = self;
    member.name = options.name;
    member.peer_urls = options.peer_urls;
    changes.push_back(AddChange(member));
  } else if (found->second) {
    raft::ConfChange promote;
    promote.node_id = self;
    promote.context = base::Bytes::Copy(membership::PromotionToJson(self));
    changes.push_back(std::move(promote));
  }
  for (const auto& [id, learner] : is_learner) {
    if (id == self) continue;
    raft::ConfChange remove;
    remove.type = raft::ConfChangeType::kRemoveNode;
    remove.node_id = id;
    changes.push_back(std::move(remove));
  }
  return changes;
}

// BOOT-007. Returns whether the log was changed, so that it has to be read again.
absl::StatusOr<bool> ForceNewCluster(const BootstrapOptions& options, uint64_t self,
                                     const membership::Cluster& cluster, uint64_t applied,
                                     const wal::SnapshotRecord& start, wal::Wal::Opened& opened) {
  std::vector<wal::Entry>& entries = opened.contents.entries;
  const wal::HardState& state = opened.contents.hard_state;
  const uint64_t commit = std::max(state.commit, applied);
  const size_t committed = static_cast<size_t>(commit - start.index);
  const size_t uncommitted = entries.size() - std::min(entries.size(), committed);
  if (uncommitted > 0) {
    ETCDD_LOG(kInfo, "discarding uncommitted WAL entries",
              {{"entry-index", entries[committed].index},
               {"commit-index-from-wal", commit},
               {"number-of-discarded-entries", uncommitted}});
    entries.resize(committed);
  }
  const auto changes = ChangesToBeAlone(options, self, cluster, applied, entries);
  ETCDD_LOG(kInfo, "forcing restart member",
            {{"cluster-id", base::LogId(cluster.cluster_id())},
             {"local-member-id", base::LogId(self)},
             {"commit-index", commit},
             {"changes", changes.size()}});
  if (changes.empty() && uncommitted == 0) return false;
  const uint64_t term = std::max<uint64_t>(state.term, 1);
  ETCDD_RETURN_IF_ERROR(AppendCommitted(*opened.wal, term, state.vote, commit, changes));
  return true;
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

absl::Status Reopen(base::FileSystem& fs, const BootstrapOptions& options,
                    const wal::SnapshotRecord& start, wal::Wal::Opened* opened) {
  opened->wal.reset();
  ETCDD_ASSIGN_OR_RETURN(*opened, wal::Wal::Open(fs, options.wal, options.wal_dir, start));
  return absl::OkStatus();
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
  if (contents.hard_state.empty() && start.index == 0) {
    const auto members = LostFirstEntries(options, metadata);
    if (!members.empty()) {
      ETCDD_RETURN_IF_ERROR(WriteFirstEntries(*opened.wal, members));
      ETCDD_RETURN_IF_ERROR(Reopen(fs, options, start, &opened));
    }
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
  membership::Cluster cluster(result.cluster_id, result.member_id);
  ETCDD_RETURN_IF_ERROR(cluster.Restore(*backend.NewView()));
  if (options.force_new_cluster && result.restarted) {
    ETCDD_ASSIGN_OR_RETURN(const bool changed,
                           ForceNewCluster(options, result.member_id, cluster, result.applied,
                                           start, opened));
    if (changed) ETCDD_RETURN_IF_ERROR(Reopen(fs, options, start, &opened));
  }
  result.storage = std::make_unique<raft::MemoryStorage>();
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
  if (!result.restarted && options.join.has_value()) result.remotes = options.join->members;
  return result;
}

}  // namespace etcdd::server
