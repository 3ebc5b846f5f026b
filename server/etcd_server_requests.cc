// The requests of EtcdServer: what goes through raft, and what is read locally.

#include <utility>

#include "proto/rpc.pb.h"
#include "server/apply/txn.h"
#include "server/base/api_error.h"
#include "server/base/check.h"
#include "server/base/coding.h"
#include "server/base/log.h"
#include "server/base/status_macros.h"
#include "server/etcd_server.h"

namespace etcdd::server {
namespace {

using apply::RequestKind;
using base::ApiError;
using base::ErrorId;

int TimedKind(RequestKind kind) {
  const auto timed = [](TimedRequest request) { return static_cast<int>(request); };
  switch (kind) {
    case RequestKind::kPut: return timed(TimedRequest::kPut);
    case RequestKind::kDeleteRange: return timed(TimedRequest::kDeleteRange);
    case RequestKind::kTxn: return timed(TimedRequest::kTxn);
    case RequestKind::kCompaction: return timed(TimedRequest::kCompaction);
    case RequestKind::kLeaseGrant: return timed(TimedRequest::kLeaseGrant);
    case RequestKind::kLeaseRevoke: return timed(TimedRequest::kLeaseRevoke);
    case RequestKind::kLeaseCheckpoint: return timed(TimedRequest::kLeaseCheckpoint);
    case RequestKind::kAlarm: return timed(TimedRequest::kAlarm);
    case RequestKind::kClusterVersionSet: return timed(TimedRequest::kClusterVersionSet);
    case RequestKind::kClusterMemberAttrSet: return timed(TimedRequest::kClusterMemberAttrSet);
    case RequestKind::kDowngradeInfoSet: return kNotTimed;
    case RequestKind::kRange:
    case RequestKind::kNone: break;
  }
  ETCDD_CHECK_MSG(false, "this server does not propose such requests");
}

}  // namespace

// --- Writes --------------------------------------------------------------------------------------

void EtcdServer::Propose(RequestKind kind, std::string_view body, Done done, Proposer proposer) {
  if (stopped_) return done(ApiError(ErrorId::kStopped), {});
  const raft::RawNode& node = raft_->node();
  if (node.committed() > applied_ + kUnappliedEntriesMax ||
      waiter_.waiting_bytes() > kWaitingProposalBytesMax) {
    return done(ApiError(ErrorId::kTooManyRequests), {});
  }
  const uint64_t id = request_ids_.Next();
  base::Bytes data = apply::EncodeInternalRequest(id, kind, body);
  if (data.size() > options_.request_bytes_max) {  // KV-083
    return done(ApiError(ErrorId::kRequestTooLarge), {});
  }
  const absl::Duration now = parts_.clock->Monotonic();
  const absl::Duration timeout = options_.RequestTimeout();
  waiter_.Register(id, now, timeout, data.size(), TimedKind(kind),
                   std::move(done));
  if (proposer == Proposer::kLeaderOnly) return raft_->ProposeAsLeader(std::move(data));
  raft_->Propose(std::move(data), now + timeout);
}

void EtcdServer::ProposeWithinQuota(RequestKind kind, std::string_view body, int64_t cost,
                                    Done done) {
  if (quota_->Available(cost)) return Propose(kind, body, std::move(done));
  RaiseNoSpace([done = std::move(done)]() mutable { done(ApiError(ErrorId::kNoSpace), {}); });
}

// One alarm proposal at a time is enough however many requests hit the quota; all of them wait for
// it only if it is theirs, since the answer is the same.
void EtcdServer::RaiseNoSpace(absl::AnyInvocable<void()> then) {
  if (alarms_.Active(apply::kAlarmNoSpace) || no_space_pending_ || stopped_) return then();
  no_space_pending_ = true;
  etcdserverpb::AlarmRequest request;
  request.set_action(etcdserverpb::AlarmRequest::ACTIVATE);
  request.set_memberid(identity_.member_id);
  request.set_alarm(etcdserverpb::NOSPACE);
  Propose(RequestKind::kAlarm, request.SerializeAsString(),
          [this, then = std::move(then)](absl::Status, std::string) mutable {
            no_space_pending_ = false;
            then();
          });
}

void EtcdServer::Put(const apply::PutView& put, std::string_view body, Done done) {
  ProposeWithinQuota(RequestKind::kPut, body, apply::PutCost(put.key.size(), put.value.size()),
                     std::move(done));
}

void EtcdServer::DeleteRange(std::string_view body, Done done) {
  Propose(RequestKind::kDeleteRange, body, std::move(done));
}

void EtcdServer::Txn(const etcdserverpb::TxnRequest& request, std::string_view body, Done done) {
  ProposeWithinQuota(RequestKind::kTxn, body, apply::TxnCost(request), std::move(done));
}

void EtcdServer::Compact(std::string_view body, Done done) {
  Propose(RequestKind::kCompaction, body, std::move(done));
}

void EtcdServer::Alarm(std::string_view body, Done done) {
  Propose(RequestKind::kAlarm, body, std::move(done));
}

// --- Reads ---------------------------------------------------------------------------------------

void EtcdServer::Range(const apply::RangeView& range, Done done) {
  if (stopped_) return done(ApiError(ErrorId::kStopped), {});
  if (range.serializable) return DoRange(range, std::move(done));
  reader_->Read([this, range, done = std::move(done)](absl::Status status) mutable {
    if (!status.ok()) return done(std::move(status), {});
    DoRange(range, std::move(done));
  });
}

// A long range is read elsewhere, so that nobody else waits for it (architecture.md D17).
bool EtcdServer::IsLongRange(const apply::RangeView& range) const {
  if (range.range_end.empty()) return false;
  const bool plain = range.sort_order == 0 && range.min_mod_revision == 0 &&
                     range.max_mod_revision == 0 && range.min_create_revision == 0 &&
                     range.max_create_revision == 0;
  const bool newest = range.revision <= 0 || range.revision == store_->revision();
  // Counting at the newest revision costs O(log n).
  if (plain && newest && range.count_only) return false;
  if (plain && newest && range.limit > 0 && range.limit <= kInlineRangeKeysMax) return false;
  mvcc::RangeOptions count;
  count.key = range.key;
  count.range_end = range.range_end;
  count.count_only = true;
  std::string none;
  auto counted = store_->Range(count, &none);
  return !counted.ok() || counted->count > kInlineRangeKeysMax || !newest;
}

absl::StatusOr<std::string> EtcdServer::ReadRange(const apply::RangeView& range,
                                                  uint64_t raft_term) const {
  // The header comes first and needs the revision that is read; on the strand it cannot change,
  // elsewhere it seldom does between two lines.
  while (true) {
    const int64_t revision = store_->revision();
    std::string reply;
    apply::AppendHeader(identity_, revision, raft_term, &reply);
    ETCDD_ASSIGN_OR_RETURN(auto result,
                           store_->Range(apply::ToRangeOptions(range), &reply));
    if (result.revision != revision) continue;
    apply::AppendRangeBody("", result, &reply);
    return reply;
  }
}

void EtcdServer::DoRange(const apply::RangeView& range, Done done) {
  metrics_->ranges.Add();
  if (parts_.reader == nullptr || !IsLongRange(range)) {
    auto reply = ReadRange(range, applied_term_);
    if (!reply.ok()) return done(reply.status(), {});
    return done(absl::OkStatus(), *std::move(reply));
  }
  metrics_->long_reads.Add(1);
  // `done` travels with the work and back: what it holds belongs to the strand's thread.
  parts_.reader->Post([this, range, done = std::move(done), term = applied_term_]() mutable {
    const absl::Duration begin = parts_.clock->Monotonic();
    auto reply = ReadRange(range, term);
    const absl::Duration took = parts_.clock->Monotonic() - begin;
    metrics_->long_reads.Add(-1);
    if (took > options_.warning_apply_duration) LogSlowRange(range, took);
    parts_.strand->Post([done = std::move(done), reply = std::move(reply)]() mutable {
      if (!reply.ok()) return done(reply.status(), {});
      done(absl::OkStatus(), *std::move(reply));
    });
  });
}

void EtcdServer::ReadOnlyTxn(const etcdserverpb::TxnRequest& request, bool serializable,
                             Done done) {
  if (stopped_) return done(ApiError(ErrorId::kStopped), {});
  if (serializable) return DoReadOnlyTxn(request, std::move(done));
  reader_->Read([this, &request, done = std::move(done)](absl::Status status) mutable {
    if (!status.ok()) return done(std::move(status), {});
    DoReadOnlyTxn(request, std::move(done));
  });
}

bool EtcdServer::HasLongRange(const etcdserverpb::TxnRequest& request) const {
  for (const auto& compare : request.compare()) {
    apply::RangeView range;
    range.key = compare.key();
    range.range_end = compare.range_end();
    if (IsLongRange(range)) return true;
  }
  for (const auto* ops : {&request.success(), &request.failure()}) {
    for (const auto& op : *ops) {
      if (IsLongRange(apply::ToRangeView(op.request_range()))) return true;
    }
  }
  return false;
}

absl::StatusOr<std::string> EtcdServer::RunReadOnlyTxn(const etcdserverpb::TxnRequest& request,
                                                       uint64_t raft_term) const {
  while (true) {
    const mvcc::ReadTxn txn = store_->NewReadTxn();
    std::string body;
    apply::TxnCounts counts;
    const absl::Status status = apply::RunReadOnlyTxn(request, txn, &body, &counts);
    // Off the strand a compaction may overtake the pinned revision: pin a newer one.
    if (base::IsApiError(status, ErrorId::kCompacted) &&
        store_->compact_revision() > txn.compact_revision()) {
      continue;
    }
    if (!status.ok()) return status;
    metrics_->ranges.Add(counts.ranges);
    std::string reply;
    reply.reserve(body.size() + 48);
    apply::AppendHeader(identity_, txn.revision(), raft_term, &reply);
    reply.append(body);
    return reply;
  }
}

void EtcdServer::DoReadOnlyTxn(const etcdserverpb::TxnRequest& request, Done done) {
  if (parts_.reader == nullptr || !HasLongRange(request)) {
    auto reply = RunReadOnlyTxn(request, applied_term_);
    if (!reply.ok()) return done(reply.status(), {});
    return done(absl::OkStatus(), *std::move(reply));
  }
  parts_.reader->Post([this, &request, done = std::move(done), term = applied_term_]() mutable {
    auto reply = RunReadOnlyTxn(request, term);
    parts_.strand->Post([done = std::move(done), reply = std::move(reply)]() mutable {
      if (!reply.ok()) return done(reply.status(), {});
      done(absl::OkStatus(), *std::move(reply));
    });
  });
}

void EtcdServer::WhenApplied(uint64_t index, LinearizableReader::Ready done) {
  reader_->WhenApplied(index, kCatchUpTimeout, std::move(done));
}

// --- Maintenance ---------------------------------------------------------------------------------

MemberStatus EtcdServer::Status() const {
  const raft::RawNode& node = raft_->node();
  MemberStatus status;
  status.leader = leader_;
  status.raft_index = node.committed();
  status.raft_term = node.term();
  status.applied_index = applied_;
  status.db_size_bytes = backend_->SizeBytes();
  status.db_size_in_use_bytes = backend_->SizeInUseBytes();
  status.db_size_quota_bytes = quota_->limit_bytes();
  status.is_learner = node.IsLearner();
  status.storage_version = StorageVersion();
  if (!has_leader()) {
    status.errors.emplace_back(base::ApiErrorText(ErrorId::kNoLeader));
  }
  for (const apply::Alarm& alarm : alarms_.List(apply::kAlarmNone)) {
    status.errors.push_back(apply::AlarmText(alarm));
  }
  return status;
}

void EtcdServer::Hash(HashDone done) {
  parts_.hasher->Post([this, done = std::move(done), backend = backend_]() mutable {
    const absl::Duration begin = parts_.clock->Monotonic();
    auto hash = mvcc::HashBackend(*backend->NewView());
    metrics_->hash_seconds.Observe(absl::ToDoubleSeconds(parts_.clock->Monotonic() - begin));
    parts_.strand->Post([done = std::move(done), hash = std::move(hash)]() mutable {
      done(std::move(hash));
    });
  });
}

void EtcdServer::Defragment(absl::AnyInvocable<void()> done) {
  backend_->WhenCompacted([strand = parts_.strand, done = std::move(done)]() mutable {
    strand->Post(std::move(done));
  });
}

void EtcdServer::HashKv(int64_t revision, HashKvDone done) {
  parts_.hasher->Post([this, revision, done = std::move(done)]() mutable {
    const absl::Duration begin = parts_.clock->Monotonic();
    auto hash = store_->HashKv(revision);
    metrics_->hash_kv_seconds.Observe(absl::ToDoubleSeconds(parts_.clock->Monotonic() - begin));
    parts_.strand->Post([done = std::move(done), hash = std::move(hash)]() mutable {
      done(std::move(hash));
    });
  });
}

}  // namespace etcdd::server
