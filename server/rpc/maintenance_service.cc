#include <memory>
#include <utility>

#include "absl/strings/str_cat.h"
#include "proto/rpc.pb.h"
#include "server/base/api_error.h"
#include "server/base/log.h"
#include "server/rpc/services.h"
#include "server/version.h"

namespace etcdd::rpc {
namespace {

using server::EtcdServer;

template <typename Request>
bool Parse(std::string_view body, Request* request) {
  return request->ParseFromArray(body.data(), static_cast<int>(body.size()));
}

void FillHeader(const EtcdServer& server, int64_t revision, etcdserverpb::ResponseHeader* header) {
  header->set_cluster_id(server.identity().cluster_id);
  header->set_member_id(server.identity().member_id);
  header->set_revision(revision);
  header->set_raft_term(server.applied_term());
}

void Status(EtcdServer* server, std::shared_ptr<Call> call) {
  const server::MemberStatus status = server->Status();
  etcdserverpb::StatusResponse response;
  FillHeader(*server, server->store().revision(), response.mutable_header());
  response.set_version(std::string(server::kEtcdVersion));
  response.set_dbsize(static_cast<int64_t>(status.db_size_bytes));
  response.set_dbsizeinuse(static_cast<int64_t>(status.db_size_in_use_bytes));
  response.set_leader(status.leader);
  response.set_raftindex(status.raft_index);
  response.set_raftterm(status.raft_term);
  response.set_raftappliedindex(status.applied_index);
  for (const std::string& error : status.errors) response.add_errors(error);
  response.set_islearner(status.is_learner);
  response.set_storageversion(status.storage_version);
  response.set_dbsizequota(status.db_size_quota_bytes);
  const membership::Downgrade& downgrade = server->cluster().downgrade();
  response.mutable_downgradeinfo()->set_enabled(downgrade.enabled);
  response.mutable_downgradeinfo()->set_targetversion(downgrade.target_version);
  call->Finish(absl::OkStatus(), response.SerializeAsString());
}

void Alarm(EtcdServer* server, std::shared_ptr<Call> call) {
  etcdserverpb::AlarmRequest request;
  if (!Parse(call->request(), &request)) return call->Finish(MalformedRequest(), {});
  if (request.action() < 0 || request.action() > 2) {  // OPEN-5
    return call->Finish(absl::InvalidArgumentError(absl::StrCat(
                            "etcdserver: unknown alarm action ", request.action())),
                        {});
  }
  const std::string_view body = call->request();
  server->Alarm(body, [call = std::move(call)](absl::Status status, std::string reply) {
    call->Finish(std::move(status), std::move(reply));
  });
}

void Hash(EtcdServer* server, std::shared_ptr<Call> call) {
  server->Hash([server, call = std::move(call)](absl::StatusOr<uint32_t> hash) {
    if (!hash.ok()) return call->Finish(hash.status(), {});
    etcdserverpb::HashResponse response;
    FillHeader(*server, server->store().revision(), response.mutable_header());
    response.set_hash(*hash);
    call->Finish(absl::OkStatus(), response.SerializeAsString());
  });
}

void HashKv(EtcdServer* server, std::shared_ptr<Call> call) {
  etcdserverpb::HashKVRequest request;
  if (!Parse(call->request(), &request)) return call->Finish(MalformedRequest(), {});
  server->HashKv(request.revision(),
                 [server, call = std::move(call)](absl::StatusOr<mvcc::HashKvResult> result) {
                   if (!result.ok()) return call->Finish(result.status(), {});
                   etcdserverpb::HashKVResponse response;
                   FillHeader(*server, result->revision, response.mutable_header());
                   response.set_hash(result->hash);
                   response.set_compact_revision(result->compact_revision);
                   response.set_hash_revision(result->hash_revision);
                   call->Finish(absl::OkStatus(), response.SerializeAsString());
                 });
}

// Nothing to rewrite: the storage engine gives space back by itself after a compaction. The answer
// waits for that, so that "compact, defrag, alarm disarm, put" works as with etcd.
void Defragment(EtcdServer* server, std::shared_ptr<Call> call) {
  ETCDD_LOG(kInfo, "defragmentation is not needed: freed space is returned in the background");
  server->Defragment([call = std::move(call)] { call->Finish(absl::OkStatus(), {}); });
}

void MoveLeader(EtcdServer* server, std::shared_ptr<Call> call) {
  etcdserverpb::MoveLeaderRequest request;
  if (!Parse(call->request(), &request)) return call->Finish(MalformedRequest(), {});
  server->MoveLeader(request.targetid(), [call = std::move(call)](absl::Status status,
                                                                  std::string reply) {
    call->Finish(std::move(status), std::move(reply));
  });
}

void Downgrade(EtcdServer* server, std::shared_ptr<Call> call) {
  etcdserverpb::DowngradeRequest request;
  if (!Parse(call->request(), &request)) return call->Finish(MalformedRequest(), {});
  using Action = etcdserverpb::DowngradeRequest;
  auto done = [server, call = std::move(call)](absl::StatusOr<std::string> version) {
    if (!version.ok()) return call->Finish(version.status(), {});
    etcdserverpb::DowngradeResponse response;
    FillHeader(*server, server->store().revision(), response.mutable_header());
    response.set_version(*std::move(version));
    call->Finish(absl::OkStatus(), response.SerializeAsString());
  };
  switch (request.action()) {
    case Action::VALIDATE: return server->ValidateDowngrade(request.version(), std::move(done));
    case Action::ENABLE: return server->EnableDowngrade(request.version(), std::move(done));
    case Action::CANCEL: return server->CancelDowngrade(std::move(done));
    default: return done(absl::UnknownError("etcdserver: unknown method"));
  }
}

void Snapshot(std::shared_ptr<Stream> stream) {
  stream->SetEvents({});
  stream->Finish(absl::UnimplementedError(
      "etcdserver: backups are not supported yet by this version of etcdd; to back up, stop the "
      "server and copy its data directory"));
}

}  // namespace

void RegisterMaintenance(EtcdServer* server, ServiceDispatcher* dispatcher) {
  const auto unary = [&](const char* method, void (*handler)(EtcdServer*, std::shared_ptr<Call>)) {
    dispatcher->Handle(method, UnaryHandler([server, handler](std::shared_ptr<Call> call) {
                         handler(server, std::move(call));
                       }));
  };
  unary("/etcdserverpb.Maintenance/Status", Status);
  unary("/etcdserverpb.Maintenance/Alarm", Alarm);
  unary("/etcdserverpb.Maintenance/Hash", Hash);
  unary("/etcdserverpb.Maintenance/HashKV", HashKv);
  unary("/etcdserverpb.Maintenance/Defragment", Defragment);
  unary("/etcdserverpb.Maintenance/MoveLeader", MoveLeader);
  unary("/etcdserverpb.Maintenance/Downgrade", Downgrade);
  dispatcher->Handle("/etcdserverpb.Maintenance/Snapshot", StreamHandler(Snapshot));
}

}  // namespace etcdd::rpc
