#include <algorithm>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "proto/rpc.pb.h"
#include "server/base/api_error.h"
#include "server/rpc/services.h"
#include "server/url.h"

namespace etcdd::rpc {
namespace {

using server::EtcdServer;

// The header and the members, as every answer of this service has them.
template <typename Response>
void Fill(const EtcdServer& server, Response* response) {
  // KV-008: revision 0.
  response->mutable_header()->set_cluster_id(server.identity().cluster_id);
  response->mutable_header()->set_member_id(server.identity().member_id);
  response->mutable_header()->set_raft_term(server.applied_term());
  for (const membership::Member& member : server.cluster().members()) {
    auto* out = response->add_members();
    out->set_id(member.id);
    out->set_name(member.name);
    for (const std::string& url : member.peer_urls) out->add_peerurls(url);
    for (const std::string& url : member.client_urls) out->add_clienturls(url);
    out->set_islearner(member.is_learner);
  }
}

std::string MemberListReply(const EtcdServer& server) {
  etcdserverpb::MemberListResponse response;
  Fill(server, &response);
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

template <typename Request>
bool Parse(const std::shared_ptr<Call>& call, Request* request) {
  const std::string_view body = call->request();
  return request->ParseFromArray(body.data(), static_cast<int>(body.size()));
}

// CLUS-010, CLUS-011. Sorted and without duplicates, as everywhere.
template <typename Request>
absl::StatusOr<std::vector<std::string>> PeerUrls(const Request& request) {
  std::vector<std::string> texts;
  for (const std::string& text : request.peerurls()) {
    const auto url = server::ParseUrl(text);
    if (!url.ok() || (!url->IsUnix() && url->port == 0)) {
      return base::ApiError(base::ErrorId::kMemberBadURLs);
    }
    texts.push_back(url->ToString());
  }
  if (texts.empty()) return base::ApiError(base::ErrorId::kMemberBadURLs);
  std::sort(texts.begin(), texts.end());
  return texts;
}

void MemberAdd(EtcdServer* server, std::shared_ptr<Call> call) {
  etcdserverpb::MemberAddRequest request;
  if (!Parse(call, &request)) return call->Finish(MalformedRequest(), {});
  auto urls = PeerUrls(request);
  if (!urls.ok()) return call->Finish(urls.status(), {});
  server->AddMember(*std::move(urls), request.islearner(),
                    [server, call = std::move(call)](absl::StatusOr<uint64_t> id) {
                      if (!id.ok()) return call->Finish(id.status(), {});
                      etcdserverpb::MemberAddResponse response;
                      Fill(*server, &response);
                      for (const auto& member : response.members()) {
                        if (member.id() == *id) *response.mutable_member() = member;
                      }
                      call->Finish(absl::OkStatus(), response.SerializeAsString());
                    });
}

template <typename Response>
server::Done FinishWithMembers(EtcdServer* server, std::shared_ptr<Call> call) {
  return [server, call = std::move(call)](absl::Status status, std::string) {
    if (!status.ok()) return call->Finish(std::move(status), {});
    Response response;
    Fill(*server, &response);
    call->Finish(absl::OkStatus(), response.SerializeAsString());
  };
}

void MemberRemove(EtcdServer* server, std::shared_ptr<Call> call) {
  etcdserverpb::MemberRemoveRequest request;
  if (!Parse(call, &request)) return call->Finish(MalformedRequest(), {});
  server->RemoveMember(
      request.id(),
      FinishWithMembers<etcdserverpb::MemberRemoveResponse>(server, std::move(call)));
}

void MemberUpdate(EtcdServer* server, std::shared_ptr<Call> call) {
  etcdserverpb::MemberUpdateRequest request;
  if (!Parse(call, &request)) return call->Finish(MalformedRequest(), {});
  auto urls = PeerUrls(request);
  if (!urls.ok()) return call->Finish(urls.status(), {});
  server->UpdateMember(
      request.id(), *std::move(urls),
      FinishWithMembers<etcdserverpb::MemberUpdateResponse>(server, std::move(call)));
}

void MemberPromote(EtcdServer* server, std::shared_ptr<Call> call) {
  etcdserverpb::MemberPromoteRequest request;
  if (!Parse(call, &request)) return call->Finish(MalformedRequest(), {});
  server->PromoteMember(
      request.id(),
      FinishWithMembers<etcdserverpb::MemberPromoteResponse>(server, std::move(call)));
}

}  // namespace

void RegisterCluster(EtcdServer* server, ServiceDispatcher* dispatcher) {
  const auto unary = [&](const char* method, void (*handler)(EtcdServer*, std::shared_ptr<Call>)) {
    dispatcher->Handle(method, UnaryHandler([server, handler](std::shared_ptr<Call> call) {
                         handler(server, std::move(call));
                       }));
  };
  unary("/etcdserverpb.Cluster/MemberList", MemberList);
  unary("/etcdserverpb.Cluster/MemberAdd", MemberAdd);
  unary("/etcdserverpb.Cluster/MemberRemove", MemberRemove);
  unary("/etcdserverpb.Cluster/MemberUpdate", MemberUpdate);
  unary("/etcdserverpb.Cluster/MemberPromote", MemberPromote);
}

}  // namespace etcdd::rpc
