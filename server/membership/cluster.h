#pragma once

// The cluster as the backend records it: members, removed ids, cluster version. One copy only
// (architecture.md D11); changed by applied entries, restored from the backend.
//
// Confined to the server strand.

#include <cstdint>
#include <map>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "mvcc/backend/backend.h"
#include "server/membership/member.h"

namespace etcdd::membership {

// A downgrade job of the cluster (CLUS-050).
struct Downgrade {
  bool enabled = false;
  std::string target_version;  // "3.6.0"; empty when not enabled
};

class Cluster {
 public:
  // `learners_max`: --max-learners of this member.
  Cluster(uint64_t cluster_id, uint64_t local_member_id, size_t learners_max = 1)
      : cluster_id_(cluster_id),
        local_member_id_(local_member_id),
        learners_max_(learners_max) {}

  // Loads members, removed ids and the cluster version, dropping what was there.
  absl::Status Restore(const mvcc::View& view);

  uint64_t cluster_id() const { return cluster_id_; }
  uint64_t local_member_id() const { return local_member_id_; }
  // Ascending by id (CLUS-016).
  std::vector<Member> members() const;
  // nullptr when unknown.
  const Member* member(uint64_t id) const;
  bool IsRemoved(uint64_t id) const { return removed_.contains(id); }
  std::vector<uint64_t> removed_ids() const { return {removed_.begin(), removed_.end()}; }
  std::vector<uint64_t> Voters() const;
  std::vector<uint64_t> Learners() const;
  // "3.7.0"; empty until decided.
  const std::string& version() const { return version_; }
  const Downgrade& downgrade() const { return downgrade_; }

  // --- Checks before a change is applied (CLUS-012, CLUS-013). ---
  absl::Status CheckAdd(const Member& member) const;
  absl::Status CheckRemove(uint64_t id) const;
  absl::Status CheckUpdate(const Member& member) const;
  absl::Status CheckPromote(uint64_t id) const;

  // --- Changes; records go into `batch`. Requires: the check above passed. ---
  void Add(Member member, mvcc::Batch& batch);
  void Remove(uint64_t id, mvcc::Batch& batch);
  void Promote(uint64_t id, mvcc::Batch& batch);
  void UpdatePeerUrls(uint64_t id, std::vector<std::string> peer_urls, mvcc::Batch& batch);
  // Unknown members are ignored: the entry may be older than a removal.
  void SetAttributes(uint64_t id, std::string name, std::vector<std::string> client_urls,
                     mvcc::Batch& batch);
  void SetVersion(std::string version, mvcc::Batch& batch);
  void SetDowngrade(Downgrade downgrade, mvcc::Batch& batch);

 private:
  void Write(const Member& member, mvcc::Batch& batch) const;
  bool PeerUrlInUse(const Member& by) const;

  const uint64_t cluster_id_;
  const uint64_t local_member_id_;
  const size_t learners_max_;
  std::map<uint64_t, Member> members_;
  std::set<uint64_t> removed_;
  std::string version_;
  Downgrade downgrade_;
};

}  // namespace etcdd::membership
