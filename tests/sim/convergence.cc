#include "tests/sim/convergence.h"

#include <algorithm>
#include <map>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"

namespace etcdd::sim {
namespace {

using mvcc::Bucket;

// The records of a bucket as text; what is each member's own is left out.
std::string DumpBucket(const mvcc::View& view, Bucket bucket) {
  std::string dump;
  const absl::Status status =
      view.Scan(bucket, "", "", [&dump](std::string_view key, std::string_view value) {
        absl::StrAppend(&dump, key.size(), ":");
        dump.append(key);
        absl::StrAppend(&dump, "=", value.size(), ":");
        dump.append(value);
        return true;
      });
  return status.ok() ? dump : status.ToString();
}

std::string ConfState(const mvcc::View& view) {
  auto text = view.Get(Bucket::kMeta, server::kConfStateKey);
  return text.ok() ? *text : text.status().ToString();
}

template <typename Make>
std::string Compare(SimCluster& cluster, const char* what, Make make) {
  const std::vector<SimMember*> members = cluster.Active();
  SimMember* const first = members.front();
  const std::string wanted = make(*first);
  for (SimMember* const member : members) {
    const std::string actual = make(*member);
    if (actual != wanted) {
      return absl::StrCat(what, " differs between ", first->name(), " and ", member->name(), ": ",
                          wanted.substr(0, 500), " / ", actual.substr(0, 500));
    }
  }
  return "";
}

}  // namespace

bool ProgressEqual(SimCluster& cluster) {
  uint64_t highest = 0;
  const std::vector<SimMember*> members = cluster.Active();
  for (SimMember* const member : members) {
    highest = std::max(highest, member->server().Status().raft_index);
  }
  const uint64_t leader = members.front()->server().Status().leader;
  return leader != 0 &&
         std::all_of(members.begin(), members.end(), [&](SimMember* member) {
           const server::MemberStatus status = member->server().Status();
           return status.applied_index == highest && status.leader == leader;
         });
}

std::string DescribeProgress(SimCluster& cluster) {
  std::string text;
  for (SimMember* const member : cluster.Active()) {
    const server::MemberStatus status = member->server().Status();
    absl::StrAppend(&text, member->name(), " term ", status.raft_term, " leader ", status.leader,
                    " committed ", status.raft_index, " applied ", status.applied_index, "; ");
  }
  return text;
}

std::string FindDifference(SimCluster& cluster) {
  const struct {
    const char* name;
    Bucket bucket;
  } buckets[] = {{"alarm", Bucket::kAlarm},     {"cluster", Bucket::kCluster},
                 {"lease", Bucket::kLease},     {"members", Bucket::kMembers},
                 {"removed members", Bucket::kMembersRemoved}};
  for (const auto& [name, bucket] : buckets) {
    std::string text = Compare(cluster, name, [bucket = bucket](SimMember& member) {
      return DumpBucket(*member.server().store().backend()->NewView(), bucket);
    });
    if (!text.empty()) return text;
  }
  std::string text = Compare(cluster, "conf state", [](SimMember& member) {
    return ConfState(*member.server().store().backend()->NewView());
  });
  if (!text.empty()) return text;
  text = Compare(cluster, "revision", [](SimMember& member) {
    return absl::StrCat(member.server().store().revision(), " compacted at ",
                        member.server().store().compact_revision());
  });
  if (!text.empty()) return text;
  return Compare(cluster, "leases", [](SimMember& member) {
    // Ordered by what is left of them, which each member sees differently.
    std::vector<int64_t> ids = member.server().Leases();
    std::sort(ids.begin(), ids.end());
    return absl::StrJoin(ids, ",");
  });
}

std::string FindHashDifference(SimCluster& cluster) {
  mvcc::Store& store = cluster.Active().front()->server().store();
  const int64_t newest = store.revision();
  const int64_t oldest = std::max<int64_t>(store.compact_revision(), 1);
  for (const int64_t revision : {newest, oldest + (newest - oldest) / 2, oldest}) {
    // By compact revision: one that was restored or restarted may not have the hash that was made
    // by the last compaction, and makes its own (MAINT-029).
    std::map<int64_t, std::pair<std::string, uint32_t>> hashes;
    for (SimMember* const member : cluster.Active()) {
      const auto hash = member->server().store().HashKv(revision);
      if (!hash.ok()) return absl::StrCat("no hash of ", member->name(), ": ",
                                          hash.status().ToString());
      const auto [found, added] = hashes.emplace(
          hash->compact_revision, std::make_pair(member->name(), hash->hash));
      if (added || found->second.second == hash->hash) continue;
      return absl::StrCat("hash differs between ", found->second.first, " and ", member->name(),
                          " at revision ", revision, " compacted at ", hash->compact_revision);
    }
  }
  return "";
}

}  // namespace etcdd::sim
