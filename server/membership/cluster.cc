#include "server/membership/cluster.h"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <utility>

#include "server/base/api_error.h"
#include "server/base/check.h"
#include "server/base/log.h"
#include "server/base/status_macros.h"

namespace etcdd::membership {
namespace {

constexpr std::string_view kClusterVersionKey = "clusterVersion";
constexpr std::string_view kDowngradeKey = "downgrade";

using Json = nlohmann::ordered_json;

absl::StatusOr<Downgrade> DowngradeFromJson(const std::string& text) {
  const Json object = Json::parse(text, nullptr, /*allow_exceptions=*/false);
  if (!object.is_object()) return absl::DataLossError("the record of the downgrade is no JSON");
  Downgrade downgrade;
  if (auto found = object.find("target-version"); found != object.end() && found->is_string()) {
    downgrade.target_version = found->get<std::string>();
  }
  if (auto found = object.find("enabled"); found != object.end() && found->is_boolean()) {
    downgrade.enabled = found->get<bool>();
  }
  return downgrade;
}

}  // namespace

absl::Status Cluster::Restore(const mvcc::View& view) {
  members_.clear();
  removed_.clear();
  version_.clear();
  absl::Status broken;
  auto status = view.Scan(
      mvcc::Bucket::kMembers, "", "", [&](std::string_view, std::string_view value) {
        auto member = MemberFromJson(value);
        if (!member.ok()) {
          broken = member.status();
          return false;
        }
        members_.emplace(member->id, *std::move(member));
        return true;
      });
  if (!broken.ok()) return broken;
  if (!status.ok()) return status;
  status = view.Scan(mvcc::Bucket::kMembersRemoved, "", "",
                     [&](std::string_view key, std::string_view) {
                       removed_.insert(MemberIdFromText(key));
                       return true;
                     });
  if (!status.ok()) return status;
  auto version = view.Get(mvcc::Bucket::kCluster, kClusterVersionKey);
  if (version.ok()) {
    version_ = *version;
  } else if (!absl::IsNotFound(version.status())) {
    return version.status();
  }
  downgrade_ = {};
  auto downgrade = view.Get(mvcc::Bucket::kCluster, kDowngradeKey);
  if (absl::IsNotFound(downgrade.status())) return absl::OkStatus();
  ETCDD_RETURN_IF_ERROR(downgrade.status());
  ETCDD_ASSIGN_OR_RETURN(downgrade_, DowngradeFromJson(*downgrade));
  return absl::OkStatus();
}

std::vector<Member> Cluster::members() const {
  std::vector<Member> result;
  result.reserve(members_.size());
  for (const auto& [id, member] : members_) result.push_back(member);
  return result;
}

const Member* Cluster::member(uint64_t id) const {
  auto found = members_.find(id);
  return found == members_.end() ? nullptr : &found->second;
}

std::vector<uint64_t> Cluster::Voters() const {
  std::vector<uint64_t> ids;
  for (const auto& [id, member] : members_) {
    if (!member.is_learner) ids.push_back(id);
  }
  return ids;
}

std::vector<uint64_t> Cluster::Learners() const {
  std::vector<uint64_t> ids;
  for (const auto& [id, member] : members_) {
    if (member.is_learner) ids.push_back(id);
  }
  return ids;
}

absl::Status Cluster::CheckAdd(const Member& member) const {
  if (IsRemoved(member.id)) return base::ApiError(base::ErrorId::kMemberNotFound);
  if (members_.contains(member.id)) return base::ApiError(base::ErrorId::kMemberExist);
  if (PeerUrlInUse(member)) return base::ApiError(base::ErrorId::kPeerURLExist);
  if (member.is_learner && Learners().size() >= learners_max_) {
    return base::ApiError(base::ErrorId::kTooManyLearners);
  }
  return absl::OkStatus();
}

absl::Status Cluster::CheckRemove(uint64_t id) const {
  if (!members_.contains(id)) return base::ApiError(base::ErrorId::kMemberNotFound);
  return absl::OkStatus();
}

absl::Status Cluster::CheckUpdate(const Member& member) const {
  if (IsRemoved(member.id)) return base::ApiError(base::ErrorId::kMemberNotFound);
  if (!members_.contains(member.id)) return base::ApiError(base::ErrorId::kMemberNotFound);
  if (PeerUrlInUse(member)) return base::ApiError(base::ErrorId::kPeerURLExist);
  return absl::OkStatus();
}

absl::Status Cluster::CheckPromote(uint64_t id) const {
  const Member* found = member(id);
  if (found == nullptr) return base::ApiError(base::ErrorId::kMemberNotFound);
  if (!found->is_learner) return base::ApiError(base::ErrorId::kMemberNotLearner);
  return absl::OkStatus();
}

void Cluster::Add(Member member, mvcc::Batch& batch) {
  ETCDD_CHECK(!members_.contains(member.id));
  Write(member, batch);
  members_.emplace(member.id, std::move(member));
}

void Cluster::Remove(uint64_t id, mvcc::Batch& batch) {
  ETCDD_CHECK(members_.erase(id) == 1);
  removed_.insert(id);
  batch.Delete(mvcc::Bucket::kMembers, base::LogId(id));
  batch.Put(mvcc::Bucket::kMembersRemoved, base::LogId(id), "removed");
}

void Cluster::Promote(uint64_t id, mvcc::Batch& batch) {
  Member& member = members_.at(id);
  member.is_learner = false;
  Write(member, batch);
}

void Cluster::UpdatePeerUrls(uint64_t id, std::vector<std::string> peer_urls, mvcc::Batch& batch) {
  Member& member = members_.at(id);
  member.peer_urls = std::move(peer_urls);
  Write(member, batch);
}

void Cluster::SetAttributes(uint64_t id, std::string name, std::vector<std::string> client_urls,
                            mvcc::Batch& batch) {
  auto found = members_.find(id);
  if (found == members_.end()) return;
  found->second.name = std::move(name);
  found->second.client_urls = std::move(client_urls);
  Write(found->second, batch);
}

void Cluster::SetVersion(std::string version, mvcc::Batch& batch) {
  version_ = std::move(version);
  batch.Put(mvcc::Bucket::kCluster, kClusterVersionKey, version_);
}

void Cluster::SetDowngrade(Downgrade downgrade, mvcc::Batch& batch) {
  downgrade_ = std::move(downgrade);
  Json object;
  object["target-version"] = downgrade_.target_version;
  object["enabled"] = downgrade_.enabled;
  batch.Put(mvcc::Bucket::kCluster, kDowngradeKey,
            object.dump(-1, ' ', false, Json::error_handler_t::replace));
}

void Cluster::Write(const Member& member, mvcc::Batch& batch) const {
  batch.Put(mvcc::Bucket::kMembers, base::LogId(member.id), MemberToJson(member));
}

bool Cluster::PeerUrlInUse(const Member& by) const {
  for (const auto& [id, member] : members_) {
    if (id == by.id) continue;
    for (const auto& url : member.peer_urls) {
      if (std::find(by.peer_urls.begin(), by.peer_urls.end(), url) != by.peer_urls.end()) {
        return true;
      }
    }
  }
  return false;
}

}  // namespace etcdd::membership
