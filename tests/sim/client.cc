#include "tests/sim/client.h"

#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "server/apply/wire.h"
#include "server/base/api_error.h"

namespace etcdd::sim {

using etcdserverpb::TxnRequest;

struct Client::Pending {
  Operation* operation;
  std::function<void(const Operation&)> done;  // empty once called
  // Bytes the server borrows until it answers.
  std::string body;
  apply::RangeView range;

  void Done() {
    if (done) std::exchange(done, nullptr)(*operation);
  }
};

namespace {

// Errors that say: not done, and will not be. Others leave it open.
bool IsRefusal(const absl::Status& status) {
  using base::ErrorId;
  for (const ErrorId id :
       {ErrorId::kCompacted, ErrorId::kFutureRev, ErrorId::kLeaseNotFound, ErrorId::kLeaseExist,
        ErrorId::kTooManyRequests, ErrorId::kNoLeader, ErrorId::kNotSupportedForLearner,
        ErrorId::kKeyNotFound}) {
    if (base::IsApiError(status, id)) return true;
  }
  return false;
}

// The answer to a put, delete or range as that of a Txn of one operation.
template <typename Response>
int64_t Wrap(const std::string& reply, Operation* operation,
             Response* (etcdserverpb::ResponseOp::*slot)()) {
  operation->response.set_succeeded(true);
  Response* response = (operation->response.add_responses()->*slot)();
  if (!response->ParseFromString(reply)) return -1;
  return response->header().revision();
}

template <typename Response>
int64_t HeaderRevision(const std::string& reply, Response* response) {
  return response->ParseFromString(reply) ? response->header().revision() : -1;
}

}  // namespace

Client::Client(ClientSettings settings, uint64_t seed, Scheduler* scheduler, SimStrand* world,
               const std::vector<std::unique_ptr<SimMember>>* members, History* history)
    : settings_(settings),
      random_(base::NewSeededRandom(seed)),
      scheduler_(scheduler),
      world_(world),
      members_(members),
      history_(history) {}

void Client::Start() { Think(); }

void Client::Think() {
  const auto span = static_cast<uint64_t>(absl::ToInt64Microseconds(settings_.think_max));
  world_->PostAfter(absl::Microseconds(random_->Uniform(span) + 1), [this] {
    if (!stopped_) IssueRandom();
  });
}

absl::Duration Client::Delay() {
  const auto span = static_cast<uint64_t>(absl::ToInt64Microseconds(settings_.network_delay_max));
  return absl::Microseconds(random_->Uniform(span) + 1);
}

SimMember* Client::PickMember() {
  if (favourite_ == nullptr || !favourite_->running() || random_->Uniform(10) == 0) {
    favourite_ = (*members_)[random_->Uniform(members_->size())].get();
  }
  // A learner serves hardly anything (CLUS-031).
  if (!favourite_->running() || favourite_->server().is_learner()) return nullptr;
  return favourite_;
}

void Client::IssueRandom() {
  SimMember* const member = PickMember();
  if (member == nullptr) return Think();
  Send(member, RandomOperation(), [this](const Operation& operation) {
    Remember(operation);
    Think();
  });
}

void Client::Remember(const Operation& operation) {
  revision_ = std::max(revision_, operation.revision);
  if (operation.result == Result::kPending && random_->Uniform(2) == 0) favourite_ = nullptr;
  if (operation.kind == OperationKind::kLeaseGrant && operation.result == Result::kOk) {
    leases_.push_back(operation.lease);
    if (leases_.size() > 4) leases_.erase(leases_.begin());
  }
  if (operation.kind == OperationKind::kLeaseRevoke && operation.result == Result::kOk) {
    std::erase(leases_, operation.lease);
  }
}

void Client::Send(SimMember* member, Operation operation,
                  std::function<void(const Operation&)> done) {
  operation.client = settings_.number;
  operation.member = member->index();
  operation.member_life = member->life();
  operation.call = scheduler_->Now();
  auto pending = std::make_shared<Pending>();
  pending->operation = &history_->Begin(std::move(operation));
  pending->done = std::move(done);
  member->OnEnd([pending] { pending->Done(); });
  world_->PostAfter(settings_.patience, [pending] { pending->Done(); });
  world_->PostAfter(Delay(), [this, member, pending, life = member->life()] {
    if (!member->running() || member->life() != life) return;
    member->strand().Post([this, member, pending] { Execute(member, pending); });
  });
}

void Client::Answer(SimMember* member, PendingPointer pending, absl::Status status,
                    std::string reply) {
  if (member->ending()) return;
  world_->PostAfter(Delay(), [this, pending, status = std::move(status),
                              reply = std::move(reply)] { Finish(pending, status, reply); });
}

void Client::Execute(SimMember* member, PendingPointer pending) {
  server::EtcdServer& server = member->server();
  Operation& operation = *pending->operation;
  auto done = [this, member, pending](absl::Status status, std::string reply) {
    Answer(member, pending, std::move(status), std::move(reply));
  };
  if (settings_.planted.early_lease_ends && operation.kind == OperationKind::kLeaseRenew) {
    server.LeaseRevoke(operation.lease, [](absl::Status, std::string) {});
  }
  switch (operation.kind) {
    case OperationKind::kKv: return ExecuteKv(member, std::move(pending));
    case OperationKind::kCompact: {
      etcdserverpb::CompactionRequest request;
      request.set_revision(operation.compact_revision);
      request.set_physical(operation.id % 2 == 0);
      return server.Compact(request.SerializeAsString(), std::move(done));
    }
    case OperationKind::kLeaseGrant:
      return server.LeaseGrant(operation.lease, operation.ttl_seconds, std::move(done));
    case OperationKind::kLeaseRevoke: return server.LeaseRevoke(operation.lease, std::move(done));
    case OperationKind::kLeaseRenew:
      return server.LeaseRenew(
          operation.lease, [done = std::move(done)](absl::Status status, int64_t ttl) mutable {
            done(std::move(status), absl::StrCat(ttl));
          });
    case OperationKind::kLeaseTimeToLive:
      return server.LeaseTimeToLive(
          operation.lease, false,
          [done = std::move(done)](absl::StatusOr<server::LeaseInfo> info) mutable {
            done(info.status(), info.ok() ? absl::StrCat(info->ttl_seconds) : "");
          });
  }
}

void Client::ExecuteKv(SimMember* member, PendingPointer pending) {
  server::EtcdServer& server = member->server();
  Operation& operation = *pending->operation;
  auto done = [this, member, pending](absl::Status status, std::string reply) {
    Answer(member, pending, std::move(status), std::move(reply));
  };
  const TxnRequest& txn = operation.request;
  const bool single = txn.compare().empty() && txn.success_size() == 1 && txn.failure().empty();
  if (!single) {
    if (operation.read_only) {
      return server.ReadOnlyTxn(txn, operation.serializable, std::move(done));
    }
    pending->body = txn.SerializeAsString();
    return server.Txn(txn, pending->body, std::move(done));
  }
  const auto& op = txn.success(0);
  if (op.has_request_put()) {
    pending->body = op.request_put().SerializeAsString();
    return server.Put(*apply::ParsePut(pending->body), pending->body, std::move(done));
  }
  if (op.has_request_delete_range()) {
    pending->body = op.request_delete_range().SerializeAsString();
    return server.DeleteRange(pending->body, std::move(done));
  }
  pending->body = op.request_range().SerializeAsString();
  pending->range = *apply::ParseRange(pending->body);
  pending->range.serializable |= settings_.planted.stale_reads;
  server.Range(pending->range, std::move(done));
}

void Client::Finish(PendingPointer pending, const absl::Status& status,
                    const std::string& reply) {
  if (!pending->done) return;  // nobody listens any more
  Operation& operation = *pending->operation;
  operation.end = scheduler_->Now();
  operation.error = std::string(status.message());
  if (!status.ok()) {
    const bool definite = IsRefusal(status) || operation.read_only;
    operation.result = definite ? Result::kRefused : Result::kUnknown;
    return pending->Done();
  }
  operation.result = Result::kOk;
  switch (operation.kind) {
    case OperationKind::kKv: {
      const TxnRequest& txn = operation.request;
      if (!txn.compare().empty() || txn.success_size() != 1 || !txn.failure().empty()) {
        operation.revision = HeaderRevision(reply, &operation.response);
      } else if (txn.success(0).has_request_put()) {
        operation.revision =
            Wrap(reply, &operation, &etcdserverpb::ResponseOp::mutable_response_put);
      } else if (txn.success(0).has_request_delete_range()) {
        operation.revision =
            Wrap(reply, &operation, &etcdserverpb::ResponseOp::mutable_response_delete_range);
      } else {
        operation.revision =
            Wrap(reply, &operation, &etcdserverpb::ResponseOp::mutable_response_range);
      }
      break;
    }
    case OperationKind::kCompact: {
      etcdserverpb::CompactionResponse response;
      operation.revision = HeaderRevision(reply, &response);
      break;
    }
    case OperationKind::kLeaseGrant: {
      etcdserverpb::LeaseGrantResponse response;
      operation.revision = HeaderRevision(reply, &response);
      operation.ttl_seconds = response.ttl();
      break;
    }
    case OperationKind::kLeaseRevoke: {
      etcdserverpb::LeaseRevokeResponse response;
      operation.revision = HeaderRevision(reply, &response);
      break;
    }
    case OperationKind::kLeaseRenew:
    case OperationKind::kLeaseTimeToLive: operation.ttl_seconds = std::stoll(reply); break;
  }
  pending->Done();
}

}  // namespace etcdd::sim
