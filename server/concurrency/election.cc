#include "server/concurrency/election.h"

#include <utility>

#include "server/base/api_error.h"
#include "server/concurrency/key_queue.h"
#include "server/concurrency/store_calls.h"

namespace etcdd::concurrency {
namespace {

using server::EtcdServer;

template <typename Request>
absl::Status CheckLeader(const Request& request) {
  if (!request.has_leader()) {
    return absl::UnknownError("\"leader\" field must be provided");
  }
  if (request.leader().key().empty()) {
    return AsUnknown(base::ApiError(base::ErrorId::kEmptyKey));
  }
  return absl::OkStatus();
}

}  // namespace

void Proclaim(EtcdServer* server, const v3electionpb::ProclaimRequest& request,
              ProclaimDone done) {
  absl::Status status = CheckLeader(request);
  if (!status.ok()) return done(std::move(status));
  const v3electionpb::LeaderKey& leader = request.leader();
  etcdserverpb::TxnRequest txn = IfCreatedAt(leader.key(), leader.rev());
  auto* put = txn.add_success()->mutable_request_put();
  put->set_key(leader.key());
  put->set_value(request.value());
  EnsureLease(server, leader.lease(),
              [server, txn = std::move(txn),
               done = std::move(done)](absl::StatusOr<int64_t> lease) mutable {
    if (!lease.ok()) return done(lease.status());
    txn.mutable_success(0)->mutable_request_put()->set_lease(*lease);
    RunTxn(server, txn, [done = std::move(done)](
                            absl::StatusOr<etcdserverpb::TxnResponse> proclaimed) mutable {
      if (!proclaimed.ok()) return done(proclaimed.status());
      if (!proclaimed->succeeded()) return done(absl::UnknownError("election: not leader"));
      v3electionpb::ProclaimResponse response;
      *response.mutable_header() = std::move(*proclaimed->mutable_header());
      done(std::move(response));
    });
  });
}

void Resign(EtcdServer* server, const v3electionpb::ResignRequest& request, ResignDone done) {
  absl::Status status = CheckLeader(request);
  if (!status.ok()) return done(std::move(status));
  const v3electionpb::LeaderKey& leader = request.leader();
  etcdserverpb::TxnRequest txn = IfCreatedAt(leader.key(), leader.rev());
  txn.add_success()->mutable_request_delete_range()->set_key(leader.key());
  RunTxn(server, txn, [done = std::move(done)](
                          absl::StatusOr<etcdserverpb::TxnResponse> resigned) mutable {
    if (!resigned.ok()) return done(resigned.status());
    v3electionpb::ResignResponse response;
    *response.mutable_header() = std::move(*resigned->mutable_header());
    done(std::move(response));
  });
}

void Leader(EtcdServer* server, std::string_view name, LeaderDone done) {
  ReadRange(server, OldestKey(name), [done = std::move(done)](
                                absl::StatusOr<etcdserverpb::RangeResponse> oldest) mutable {
    if (!oldest.ok()) return done(oldest.status());
    if (oldest->kvs_size() == 0) return done(absl::UnknownError("election: no leader"));
    v3electionpb::LeaderResponse response;
    *response.mutable_header() = std::move(*oldest->mutable_header());
    *response.mutable_kv() = std::move(*oldest->mutable_kvs(0));
    done(std::move(response));
  });
}

}  // namespace etcdd::concurrency
