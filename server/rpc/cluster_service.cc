#include <memory>
#include <utility>

#include "proto/rpc.pb.h"
#include "server/rpc/services.h"

namespace etcdd::rpc {
namespace {

using server::EtcdServer;

std::string MemberListReply(const EtcdServer& server) {
  etcdserverpb::MemberListResponse response;
  // KV-008: revision 0.
  response.mutable_header()->set_cluster_id(server.identity().cluster_id);
  response.mutable_header()->set_member_id(server.identity().member_id);
  response.mutable_header()->set_raft_term(server.applied_term());
  for (const membership::Member& member : server.cluster().members()) {
    auto* out = response.add_members();
    out->set_id(member.id);
    out->set_name(member.name);
    for (const std::string& url : member.peer_urls) out->add_peerurls(url);
    for (const std::string& url : member.client_urls) out->add_clienturls(url);
    out->set_islearner(member.is_learner);
  }
  return response.SerializeAsString();
}

void MemberList(EtcdServer* server, std::shared_ptr<Call> call) {
  etcdserverpb::MemberListRequest request;
  const std::string_view body = call->request();
  if (!request.ParseFromArray(body.data(), static_cast<int>(body.size()))) {
    return call->Finish(MalformedRequest(), {});
  }
  if (!request.linearizable()) return call->Finish(absl::OkStatus(), MemberListReply(*server));
  server->LinearizableRead([server, call = std::move(call)](absl::Status status) {
    if (!status.ok()) return call->Finish(std::move(status), {});
    call->Finish(absl::OkStatus(), MemberListReply(*server));
  });
}

}  // namespace

void RegisterCluster(EtcdServer* server, ServiceDispatcher* dispatcher) {
  dispatcher->Handle("/etcdserverpb.Cluster/MemberList",
                     UnaryHandler([server](std::shared_ptr<Call> call) {
                       MemberList(server, std::move(call));
                     }));
}

}  // namespace etcdd::rpc
