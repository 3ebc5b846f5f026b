#include "server/join.h"

#include <algorithm>
#include <map>
#include <nlohmann/json.hpp>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "server/base/log.h"
#include "server/base/status_macros.h"
#include "server/membership/cluster_version.h"
#include "server/version.h"

namespace etcdd::server {
namespace {

using membership::Member;
using membership::Version;

constexpr absl::Duration kBootstrappedTimeout = absl::Seconds(1);
constexpr absl::Duration kJoinTimeout = absl::Seconds(10);

struct RemoteCluster {
  uint64_t cluster_id = 0;
  std::vector<Member> members;
};

std::string ListedText(const std::vector<InitialMember>& listed) {
  std::vector<std::string> items;
  for (const InitialMember& member : listed) {
    for (const Url& url : member.peer_urls) {
      items.push_back(absl::StrCat(member.name, "=", url.ToString()));
    }
  }
  return absl::StrJoin(items, ",");
}

// Every peer URL but this member's own, sorted: they are asked in this order.
std::vector<std::string> OtherPeerUrls(const Config& config) {
  std::vector<std::string> urls;
  for (const Member& member : OtherMembers(config)) {
    urls.insert(urls.end(), member.peer_urls.begin(), member.peer_urls.end());
  }
  std::sort(urls.begin(), urls.end());
  return urls;
}

// The first of the peers that knows its members.
absl::StatusOr<RemoteCluster> FetchCluster(const std::vector<std::string>& urls,
                                           absl::Duration timeout, AskPeer ask) {
  absl::Status last = absl::UnavailableError("no peer URL to ask");
  for (const std::string& url : urls) {
    auto reply = ask({url}, PeerRequest{"GET", "/members", {}, {}, {}}, timeout);
    if (reply.ok() && reply->status != 200) {
      reply = absl::UnavailableError(absl::StrCat(url, " answered with status ", reply->status));
    }
    if (!reply.ok()) {
      ETCDD_LOG(kWarn, "failed to get cluster response",
                {{"address", url + "/members"}, base::LogField(reply.status())});
      last = reply.status();
      continue;
    }
    RemoteCluster cluster;
    cluster.cluster_id = membership::MemberIdFromText(reply->cluster_id);
    auto members = membership::MembersFromJson(reply->body);
    if (!members.ok() || members->empty() || cluster.cluster_id == 0) {
      last = absl::UnavailableError(absl::StrCat(url, " names no members of its cluster yet"));
      continue;
    }
    cluster.members = *std::move(members);
    return cluster;
  }
  return last;
}

// Gives every listed member the id it has in the cluster. Returns this member's.
absl::StatusOr<uint64_t> MatchMembers(const Config& config, const RemoteCluster& cluster,
                                      SameUrls same) {
  const std::string prefix =
      absl::StrCat("error validating peerURLs ", ListedText(config.initial_cluster), ": ");
  if (cluster.members.size() != config.initial_cluster.size()) {
    return absl::InvalidArgumentError(prefix + "member count is unequal");
  }
  uint64_t own = 0;
  for (const Member& existing : cluster.members) {
    const auto found = std::find_if(
        config.initial_cluster.begin(), config.initial_cluster.end(),
        [&](const InitialMember& listed) {
          return same(UrlTexts(listed.peer_urls), existing.peer_urls);
        });
    if (found == config.initial_cluster.end()) {
      return absl::InvalidArgumentError(absl::StrCat(
          prefix, "PeerURLs: no match found for existing member (", base::LogId(existing.id), ", [",
          absl::StrJoin(existing.peer_urls, " "), "]), last resolver error (<nil>)"));
    }
    if (found->name == config.name) own = existing.id;
  }
  if (own == 0) {
    return absl::InvalidArgumentError(
        absl::StrCat("couldn't find local name \"", config.name,
                     "\" in the initial cluster configuration"));
  }
  return own;
}

absl::Status CheckLearners(const Config& config, const RemoteCluster& cluster) {
  const auto learners = static_cast<uint64_t>(
      std::count_if(cluster.members.begin(), cluster.members.end(),
                    [](const Member& member) { return member.is_learner; }));
  if (learners <= config.learners_max) return absl::OkStatus();
  return absl::FailedPreconditionError(absl::StrCat(
      "number of learners in the cluster (", learners, ") is above --max-learners (",
      config.learners_max, ")"));
}

// The cluster's version in a member's answer to GET /version; nullopt: not known.
std::optional<Version> ClusterVersionOf(const absl::StatusOr<PeerReply>& reply) {
  if (!reply.ok() || reply->status != 200) return std::nullopt;
  const auto object = nlohmann::json::parse(reply->body, nullptr, /*allow_exceptions=*/false);
  if (!object.is_object() || !object.contains("etcdcluster")) return std::nullopt;
  const auto& text = object["etcdcluster"];
  return text.is_string() ? membership::ParseVersion(text.get<std::string>()) : std::nullopt;
}

// Whether a downgrade is under way: the first member that says so or not.
bool DowngradeEnabled(const std::vector<Member>& others, AskPeer ask) {
  for (const Member& member : others) {
    const auto reply = ask(member.peer_urls, PeerRequest{"GET", "/downgrade/enabled", {}, {}, {}},
                           kJoinTimeout);
    if (!reply.ok() || reply->status != 200) continue;
    if (reply->body == "true") return true;
    if (reply->body == "false") return false;
  }
  return false;
}

absl::Status CheckVersions(const RemoteCluster& cluster, uint64_t own_id, AskPeer ask) {
  std::vector<Member> others;
  for (const Member& member : cluster.members) {
    if (member.id != own_id) others.push_back(member);
  }
  const Version own = *membership::ParseVersion(kEtcdVersion);
  Version lowest = membership::kMinClusterVersion;
  Version highest = own;
  if (DowngradeEnabled(others, ask)) {
    lowest = {own.major, own.minor + 1};
    highest = lowest;
  }
  bool any = false;
  for (const Member& member : others) {
    const auto version = ClusterVersionOf(
        ask(member.peer_urls, PeerRequest{"GET", "/version", {}, {}, {}}, kJoinTimeout));
    if (!version.has_value()) continue;
    if (*version < lowest || *version > highest) {
      ETCDD_LOG(kWarn, "cluster version of remote member is not compatible; the range is wrong",
                {{"remote-member-id", base::LogId(member.id)},
                 {"remote-member-cluster-version", membership::ClusterVersionText(*version)},
                 {"minimum-cluster-version-supported", membership::ClusterVersionText(lowest)},
                 {"maximum-cluster-version-supported", membership::ClusterVersionText(highest)}});
      return absl::FailedPreconditionError("incompatible with current running cluster");
    }
    any = true;
  }
  return any ? absl::OkStatus()
             : absl::FailedPreconditionError("incompatible with current running cluster");
}

}  // namespace

std::vector<Member> OtherMembers(const Config& config) {
  std::vector<Member> others;
  for (const InitialMember& listed : config.initial_cluster) {
    if (listed.name == config.name) continue;
    Member member;
    member.name = listed.name;
    member.peer_urls = UrlTexts(listed.peer_urls);
    others.push_back(std::move(member));
  }
  return others;
}

absl::Status CheckNotBootstrapped(const Config& config, AskPeer ask) {
  const auto cluster = FetchCluster(OtherPeerUrls(config), kBootstrappedTimeout, ask);
  if (!cluster.ok()) return absl::OkStatus();
  const uint64_t own = membership::MakeMemberId(UrlTexts(config.initial_advertise_peer_urls),
                                                config.initial_cluster_token);
  for (const Member& member : cluster->members) {
    if (member.id == own && !member.client_urls.empty()) {
      return absl::FailedPreconditionError(
          absl::StrCat("member ", base::LogId(own), " has already been bootstrapped"));
    }
  }
  return absl::OkStatus();
}

absl::StatusOr<JoinedCluster> JoinCluster(const Config& config, AskPeer ask, SameUrls same) {
  const auto cluster = FetchCluster(OtherPeerUrls(config), kJoinTimeout, ask);
  if (!cluster.ok()) {
    return absl::UnavailableError(absl::StrCat("cannot fetch cluster info from peer urls: ",
                                               cluster.status().message()));
  }
  ETCDD_ASSIGN_OR_RETURN(const uint64_t own, MatchMembers(config, *cluster, same));
  ETCDD_RETURN_IF_ERROR(CheckLearners(config, *cluster));
  ETCDD_RETURN_IF_ERROR(CheckVersions(*cluster, own, ask));
  return JoinedCluster{cluster->cluster_id, own, cluster->members};
}

}  // namespace etcdd::server
