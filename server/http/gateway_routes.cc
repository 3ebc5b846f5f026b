#include "server/http/gateway_routes.h"

#include <algorithm>
#include <vector>

#include <google/protobuf/descriptor.h>

#include "proto/rpc.pb.h"
#include "proto/v3election.pb.h"
#include "proto/v3lock.pb.h"
#include "server/base/check.h"

namespace etcdd::http {
namespace {

constexpr struct {
  std::string_view path;
  std::string_view method;
} kPaths[] = {
    {"/v3/kv/range", "/etcdserverpb.KV/Range"},
    {"/v3/kv/put", "/etcdserverpb.KV/Put"},
    {"/v3/kv/deleterange", "/etcdserverpb.KV/DeleteRange"},
    {"/v3/kv/txn", "/etcdserverpb.KV/Txn"},
    {"/v3/kv/compaction", "/etcdserverpb.KV/Compact"},
    {"/v3/watch", "/etcdserverpb.Watch/Watch"},
    {"/v3/lease/grant", "/etcdserverpb.Lease/LeaseGrant"},
    {"/v3/lease/revoke", "/etcdserverpb.Lease/LeaseRevoke"},
    {"/v3/kv/lease/revoke", "/etcdserverpb.Lease/LeaseRevoke"},
    {"/v3/lease/keepalive", "/etcdserverpb.Lease/LeaseKeepAlive"},
    {"/v3/lease/timetolive", "/etcdserverpb.Lease/LeaseTimeToLive"},
    {"/v3/kv/lease/timetolive", "/etcdserverpb.Lease/LeaseTimeToLive"},
    {"/v3/lease/leases", "/etcdserverpb.Lease/LeaseLeases"},
    {"/v3/kv/lease/leases", "/etcdserverpb.Lease/LeaseLeases"},
    {"/v3/cluster/member/add", "/etcdserverpb.Cluster/MemberAdd"},
    {"/v3/cluster/member/remove", "/etcdserverpb.Cluster/MemberRemove"},
    {"/v3/cluster/member/update", "/etcdserverpb.Cluster/MemberUpdate"},
    {"/v3/cluster/member/list", "/etcdserverpb.Cluster/MemberList"},
    {"/v3/cluster/member/promote", "/etcdserverpb.Cluster/MemberPromote"},
    {"/v3/maintenance/alarm", "/etcdserverpb.Maintenance/Alarm"},
    {"/v3/maintenance/status", "/etcdserverpb.Maintenance/Status"},
    {"/v3/maintenance/defragment", "/etcdserverpb.Maintenance/Defragment"},
    {"/v3/maintenance/hash", "/etcdserverpb.Maintenance/Hash"},
    {"/v3/maintenance/hashkv", "/etcdserverpb.Maintenance/HashKV"},
    {"/v3/maintenance/snapshot", "/etcdserverpb.Maintenance/Snapshot"},
    {"/v3/maintenance/transfer-leadership", "/etcdserverpb.Maintenance/MoveLeader"},
    {"/v3/maintenance/downgrade", "/etcdserverpb.Maintenance/Downgrade"},
    {"/v3/auth/enable", "/etcdserverpb.Auth/AuthEnable"},
    {"/v3/auth/disable", "/etcdserverpb.Auth/AuthDisable"},
    {"/v3/auth/status", "/etcdserverpb.Auth/AuthStatus"},
    {"/v3/auth/authenticate", "/etcdserverpb.Auth/Authenticate"},
    {"/v3/auth/user/add", "/etcdserverpb.Auth/UserAdd"},
    {"/v3/auth/user/get", "/etcdserverpb.Auth/UserGet"},
    {"/v3/auth/user/list", "/etcdserverpb.Auth/UserList"},
    {"/v3/auth/user/delete", "/etcdserverpb.Auth/UserDelete"},
    {"/v3/auth/user/changepw", "/etcdserverpb.Auth/UserChangePassword"},
    {"/v3/auth/user/grant", "/etcdserverpb.Auth/UserGrantRole"},
    {"/v3/auth/user/revoke", "/etcdserverpb.Auth/UserRevokeRole"},
    {"/v3/auth/role/add", "/etcdserverpb.Auth/RoleAdd"},
    {"/v3/auth/role/get", "/etcdserverpb.Auth/RoleGet"},
    {"/v3/auth/role/list", "/etcdserverpb.Auth/RoleList"},
    {"/v3/auth/role/delete", "/etcdserverpb.Auth/RoleDelete"},
    {"/v3/auth/role/grant", "/etcdserverpb.Auth/RoleGrantPermission"},
    {"/v3/auth/role/revoke", "/etcdserverpb.Auth/RoleRevokePermission"},
    {"/v3/election/campaign", "/v3electionpb.Election/Campaign"},
    {"/v3/election/proclaim", "/v3electionpb.Election/Proclaim"},
    {"/v3/election/leader", "/v3electionpb.Election/Leader"},
    {"/v3/election/observe", "/v3electionpb.Election/Observe"},
    {"/v3/election/resign", "/v3electionpb.Election/Resign"},
    {"/v3/lock/lock", "/v3lockpb.Lock/Lock"},
    {"/v3/lock/unlock", "/v3lockpb.Lock/Unlock"},
};

// Sorted by path.
std::vector<GatewayRoute> MakeRoutes() {
  // The descriptors of these files are linked in through their messages.
  etcdserverpb::PutRequest::descriptor();
  v3lockpb::LockRequest::descriptor();
  v3electionpb::CampaignRequest::descriptor();
  auto* factory = google::protobuf::MessageFactory::generated_factory();
  std::vector<GatewayRoute> routes;
  for (const auto& [path, method] : kPaths) {
    std::string name(method.substr(1));
    std::replace(name.begin(), name.end(), '/', '.');
    const auto* found = google::protobuf::DescriptorPool::generated_pool()->FindMethodByName(name);
    ETCDD_CHECK(found != nullptr);
    routes.push_back({path, method, found->client_streaming(), found->server_streaming(),
                      factory->GetPrototype(found->input_type()),
                      factory->GetPrototype(found->output_type())});
  }
  std::sort(routes.begin(), routes.end(),
            [](const GatewayRoute& a, const GatewayRoute& b) { return a.path < b.path; });
  return routes;
}

}  // namespace

absl::Span<const GatewayRoute> GatewayRoutes() {
  static const auto& routes = *new std::vector<GatewayRoute>(MakeRoutes());
  return routes;
}

const GatewayRoute* FindGatewayRoute(std::string_view path) {
  const auto routes = GatewayRoutes();
  const auto found = std::lower_bound(
      routes.begin(), routes.end(), path,
      [](const GatewayRoute& route, std::string_view wanted) { return route.path < wanted; });
  return found != routes.end() && found->path == path ? &*found : nullptr;
}

std::string WithoutPathAlias(std::string_view target) {
  for (const std::string_view alias : {"/v3beta/", "/v3alpha/"}) {
    if (target.substr(0, alias.size()) != alias) continue;
    return "/v3/" + std::string(target.substr(alias.size()));
  }
  return std::string(target);
}

}  // namespace etcdd::http
