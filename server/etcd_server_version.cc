// The cluster's version and its downgrade: watched by the leader, changed through raft.

#include <nlohmann/json.hpp>
#include <utility>

#include "absl/strings/str_cat.h"
#include "proto/membership.pb.h"
#include "server/base/api_error.h"
#include "server/base/log.h"
#include "server/base/status_macros.h"
#include "server/etcd_server.h"
#include "server/membership/cluster_version.h"
#include "server/version.h"

namespace etcdd::server {
namespace {

using base::ApiError;
using base::ErrorId;
using membership::Version;

// How often the leader asks all members for their versions, and how long it waits for each.
constexpr absl::Duration kVersionInterval = absl::Seconds(4);
constexpr absl::Duration kVersionTimeout = absl::Seconds(2);

// The member's own version in its answer to GET /version.
std::optional<Version> ServerVersionOf(const PeerReply& reply) {
  const auto object = nlohmann::json::parse(reply.body, nullptr, /*allow_exceptions=*/false);
  if (reply.status != 200 || !object.is_object()) return std::nullopt;
  const auto found = object.find("etcdserver");
  if (found == object.end() || !found->is_string()) return std::nullopt;
  return membership::ParseVersion(found->get<std::string>());
}

}  // namespace

// One round of questions to all members.
struct EtcdServer::VersionRound {
  std::vector<std::optional<Version>> versions;
  size_t unanswered = 0;
};

void EtcdServer::MonitorVersions() {
  version_timer_ = parts_.strand->PostAfter(kVersionInterval, [this, alive = alive_] {
    if (!*alive || stopped_) return;
    AskVersions();
    MonitorVersions();
  });
}

void EtcdServer::AskVersions() {
  if (!is_leader() || stopped_ || asking_versions_) return;
  auto round = std::make_shared<VersionRound>();
  round->versions.push_back(membership::ParseVersion(kEtcdVersion));
  std::vector<membership::Member> others;
  for (membership::Member& member : cluster_->members()) {
    if (member.id != identity_.member_id) others.push_back(std::move(member));
  }
  if (others.empty()) return DecideVersion(round->versions);
  if (peers_ == nullptr) return;
  asking_versions_ = true;
  round->unanswered = others.size();
  for (const membership::Member& member : others) {
    peers_->Ask(member.peer_urls, PeerRequest{"GET", "/version", {}, {}, {}}, kVersionTimeout,
                [this, alive = alive_, round, id = member.id](absl::StatusOr<PeerReply> reply) {
                  if (!*alive || stopped_) return;
                  if (!reply.ok()) {
                    ETCDD_LOG(kWarn, "failed to reach the peer URL",
                              {{"remote-member-id", base::LogId(id)},
                               base::LogField(reply.status())});
                  }
                  round->versions.push_back(reply.ok() ? ServerVersionOf(*reply) : std::nullopt);
                  if (--round->unanswered > 0) return;
                  asking_versions_ = false;
                  DecideVersion(round->versions);
                });
  }
}

void EtcdServer::DecideVersion(const std::vector<std::optional<Version>>& versions) {
  if (!is_leader()) return;
  if (membership::DowngradeIsDone(cluster_->downgrade(), versions)) {
    ETCDD_LOG(kInfo, "the cluster has been downgraded", {{"cluster-version", cluster_->version()}});
    return CancelDowngrade([](absl::StatusOr<std::string>) {});
  }
  const auto next =
      membership::DecideClusterVersion(cluster_->version(), cluster_->downgrade(), versions);
  if (!next.has_value()) return;
  if (cluster_->version().empty()) {
    ETCDD_LOG(kInfo, "setting up initial cluster version using v3 API",
              {{"cluster-version", *next}});
  } else {
    ETCDD_LOG(kInfo, "updating cluster version using v3 API",
              {{"from", cluster_->version()}, {"to", *next}});
  }
  membershippb::ClusterVersionSetRequest request;
  request.set_ver(*next);
  Propose(apply::RequestKind::kClusterVersionSet, request.SerializeAsString(),
          [version = *next](absl::Status status, std::string) {
            if (!status.ok()) return;  // asked again at the next round
            ETCDD_LOG(kInfo, "cluster version is updated", {{"cluster-version", version}});
          });
}

absl::Status EtcdServer::CheckOwnVersion() const {
  const auto cluster = membership::ParseVersion(cluster_->version());
  if (!cluster.has_value() || *cluster <= *membership::ParseVersion(kEtcdVersion)) {
    return absl::OkStatus();
  }
  return absl::FailedPreconditionError(absl::StrCat(
      "invalid downgrade; server version is lower than determined cluster version (server ",
      absl::string_view(kEtcdVersion.data(), kEtcdVersion.size()), ", cluster ",
      cluster_->version(), "); run a newer etcdd"));
}

// --- Downgrade -----------------------------------------------------------------------------------

void EtcdServer::ValidateDowngrade(std::string target, DowngradeDone done) {
  reader_->Read([this, target = std::move(target), done = std::move(done)](
                    absl::Status status) mutable {
    if (!status.ok()) return done(std::move(status));
    const auto checked = membership::CheckDowngradeTarget(*cluster_, target);
    if (!checked.ok()) return done(checked.status());
    done(ShortClusterVersion());
  });
}

void EtcdServer::EnableDowngrade(std::string target, DowngradeDone done) {
  ValidateDowngrade(target, [this, target, done = std::move(done)](
                                absl::StatusOr<std::string> valid) mutable {
    if (!valid.ok()) return done(valid.status());
    membershippb::DowngradeInfoSetRequest request;
    request.set_enabled(true);
    request.set_ver(membership::ClusterVersionText(*membership::ParseVersion(target)));
    Propose(apply::RequestKind::kDowngradeInfoSet, request.SerializeAsString(),
            [this, done = std::move(done)](absl::Status status, std::string) mutable {
              if (!status.ok()) return done(std::move(status));
              AskVersions();
              done(ShortClusterVersion());
            });
  });
}

// CLUS-052: succeeds also when there is nothing to cancel.
void EtcdServer::CancelDowngrade(DowngradeDone done) {
  membershippb::DowngradeInfoSetRequest request;
  request.set_enabled(false);
  Propose(apply::RequestKind::kDowngradeInfoSet, request.SerializeAsString(),
          [this, done = std::move(done)](absl::Status status, std::string) mutable {
            if (!status.ok()) {
              ETCDD_LOG(kWarn, "failed to cancel downgrade", {base::LogField(status)});
            }
            done(ShortClusterVersion());
          });
}

std::string EtcdServer::ShortClusterVersion() const {
  const auto version = membership::ParseVersion(cluster_->version());
  return version.has_value() ? membership::ShortText(*version) : std::string();
}

std::string EtcdServer::StorageVersion() const {
  const auto cluster = membership::ParseVersion(cluster_->version());
  const auto own = *membership::ParseVersion(kEtcdVersion);
  const bool has_one = cluster.has_value() && *cluster >= Version{3, 6} && *cluster <= own;
  return membership::ClusterVersionText(has_one ? *cluster : own);
}

}  // namespace etcdd::server
