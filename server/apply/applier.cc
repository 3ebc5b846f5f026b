#include "server/apply/applier.h"

#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "proto/raft_internal.pb.h"
#include "proto/rpc.pb.h"
#include "server/apply/txn.h"
#include "server/base/api_error.h"
#include "server/base/coding.h"
#include "server/base/log.h"
#include "server/server_metrics.h"

namespace etcdd::apply {
namespace {

using base::ApiError;
using base::ErrorId;

// An entry whose request does not parse is the same garbage on every member: it fails without
// effect, and whoever waits for it hears why.
ApplyResult Unreadable(std::string_view what) {
  return {absl::InternalError(absl::StrCat("the log holds a ", absl::string_view(what.data(),
          what.size()), " request that cannot be read; it was skipped")), {}};
}

ApplyResult Refuse(absl::Status status) { return {std::move(status), {}}; }

template <typename Message>
bool Parse(std::string_view body, Message* message) {
  return message->ParseFromArray(body.data(), static_cast<int>(body.size()));
}

}  // namespace

bool Applier::IsMemberFailure(const absl::Status& status) {
  // Errors of the table carry etcd's prefix; anything else came from the backend.
  return !status.ok() && !absl::StartsWith(status.message(), "etcdserver: ") &&
         !absl::StartsWith(status.message(), "the log holds a ");
}

ApplyResult Applier::Apply(const InternalRequest& request, uint64_t raft_term,
                           mvcc::Batch& batch) {
  switch (request.kind) {
    case RequestKind::kPut:
      return ApplyPut(request.body, raft_term);
    case RequestKind::kDeleteRange:
      return ApplyDeleteRange(request.body, raft_term);
    case RequestKind::kTxn:
      return ApplyTxn(request.body, raft_term);
    case RequestKind::kCompaction:
      return ApplyCompaction(request.body, raft_term);
    case RequestKind::kLeaseGrant:
      return ApplyLeaseGrant(request.body, raft_term, batch);
    case RequestKind::kLeaseRevoke:
      return ApplyLeaseRevoke(request.body, raft_term, batch);
    case RequestKind::kLeaseCheckpoint:
      return ApplyLeaseCheckpoint(request.body, raft_term, batch);
    case RequestKind::kAlarm:
      return ApplyAlarm(request.body, raft_term, batch);
    case RequestKind::kClusterMemberAttrSet:
      return ApplyMemberAttributes(request.body, batch);
    case RequestKind::kClusterVersionSet:
      return ApplyClusterVersion(request.body, batch);
    case RequestKind::kDowngradeInfoSet:
      return ApplyDowngrade(request.body, batch);
    case RequestKind::kRange:  // read-only entries of other members' making: no effect
    case RequestKind::kNone:
      return {};
  }
  return Unreadable("newer");
}

ApplyResult Applier::ApplyPut(std::string_view body, uint64_t raft_term) {
  const auto put = ParsePut(body);
  if (!put) return Unreadable("put");
  if (parts_.alarms->Active(kAlarmCorrupt)) return Refuse(ApiError(ErrorId::kCorrupt));
  if (parts_.alarms->Active(kAlarmNoSpace)) return Refuse(ApiError(ErrorId::kNoSpace));
  const bool fits = parts_.quota->Available(PutCost(put->key.size(), put->value.size()));
  mvcc::WriteTxn txn = parts_.store->NewWriteTxn();
  auto result = txn.Put(put->key, put->value,
                        {put->lease, put->ignore_value, put->ignore_lease, put->prev_kv});
  txn.End();
  if (!result.ok()) return Refuse(result.status());
  parts_.metrics->puts.Add();
  parts_.metrics->put_bytes.Add(put->key.size() + put->value.size());
  ApplyResult applied;
  if (!fits) {
    applied.status = ApiError(ErrorId::kNoSpace);
    applied.raise_no_space = true;
    return applied;
  }
  AppendReplyHeader(raft_term, &applied.reply);
  if (!result->prev_kv.empty()) base::AppendBytesField(2, result->prev_kv.view(), &applied.reply);
  return applied;
}

ApplyResult Applier::ApplyDeleteRange(std::string_view body, uint64_t raft_term) {
  const auto request = ParseDeleteRange(body);
  if (!request) return Unreadable("delete");
  if (parts_.alarms->Active(kAlarmCorrupt)) return Refuse(ApiError(ErrorId::kCorrupt));
  std::string prev_kvs;
  mvcc::WriteTxn txn = parts_.store->NewWriteTxn();
  auto result = txn.DeleteRange(request->key, request->range_end,
                                request->prev_kv ? &prev_kvs : nullptr);
  txn.End();
  if (!result.ok()) return Refuse(result.status());
  parts_.metrics->deletes.Add();
  ApplyResult applied;
  AppendReplyHeader(raft_term, &applied.reply);
  base::AppendVarintField(2, static_cast<uint64_t>(result->deleted), &applied.reply);
  applied.reply.append(prev_kvs);
  return applied;
}

ApplyResult Applier::ApplyTxn(std::string_view body, uint64_t raft_term) {
  etcdserverpb::TxnRequest request;
  if (!Parse(body, &request)) return Unreadable("txn");
  if (parts_.alarms->Active(kAlarmCorrupt)) return Refuse(ApiError(ErrorId::kCorrupt));
  const int64_t cost = TxnCost(request);
  if (cost > 0 && parts_.alarms->Active(kAlarmNoSpace)) return Refuse(ApiError(ErrorId::kNoSpace));
  const bool fits = parts_.quota->Available(cost);
  mvcc::WriteTxn txn = parts_.store->NewWriteTxn();
  std::string responses;
  TxnCounts counts;
  auto status = RunTxn(request, txn, *parts_.lessor, &responses, &counts);
  txn.End();
  if (!status.ok()) return Refuse(std::move(status));
  parts_.metrics->puts.Add(counts.puts);
  parts_.metrics->put_bytes.Add(counts.put_bytes);
  parts_.metrics->deletes.Add(counts.deletes);
  parts_.metrics->ranges.Add(counts.ranges);
  if (counts.puts + counts.deletes + counts.ranges > 1) parts_.metrics->txns.Add();
  ApplyResult applied;
  if (!fits) {
    applied.status = ApiError(ErrorId::kNoSpace);
    applied.raise_no_space = true;
    return applied;
  }
  applied.reply.reserve(responses.size() + 48);
  AppendReplyHeader(raft_term, &applied.reply);
  applied.reply.append(responses);
  return applied;
}

ApplyResult Applier::ApplyCompaction(std::string_view body, uint64_t raft_term) {
  etcdserverpb::CompactionRequest request;
  if (!Parse(body, &request)) return Unreadable("compaction");
  if (parts_.alarms->Active(kAlarmCorrupt)) return Refuse(ApiError(ErrorId::kCorrupt));
  ApplyResult applied;
  applied.status = parts_.store->ScheduleCompaction(request.revision());
  applied.compaction_scheduled = applied.status.ok();
  const bool refused_as_done = base::IsApiError(applied.status, ErrorId::kCompacted);
  if (request.physical() && (applied.status.ok() || refused_as_done)) {
    applied.wait_for_compaction = parts_.store->latest_compact_revision();
  }
  if (applied.status.ok()) AppendReplyHeader(raft_term, &applied.reply);
  return applied;
}

ApplyResult Applier::ApplyLeaseGrant(std::string_view body, uint64_t raft_term,
                                     mvcc::Batch& batch) {
  etcdserverpb::LeaseGrantRequest request;
  if (!Parse(body, &request) || request.id() == 0) return Unreadable("lease grant");
  if (parts_.alarms->Active(kAlarmCorrupt)) return Refuse(ApiError(ErrorId::kCorrupt));
  if (parts_.alarms->Active(kAlarmNoSpace)) return Refuse(ApiError(ErrorId::kNoSpace));
  const bool fits = parts_.quota->Available(kLeaseGrantCostBytes);
  auto ttl = parts_.lessor->Grant(request.id(), request.ttl(), batch);
  if (!ttl.ok()) return Refuse(ttl.status());
  parts_.metrics->leases_granted.Add();
  parts_.metrics->lease_ttl_seconds.Observe(static_cast<double>(*ttl));
  ApplyResult applied;
  if (!fits) {
    applied.status = ApiError(ErrorId::kNoSpace);
    applied.raise_no_space = true;
    return applied;
  }
  AppendReplyHeader(raft_term, &applied.reply);
  base::AppendVarintField(2, static_cast<uint64_t>(request.id()), &applied.reply);
  base::AppendVarintField(3, static_cast<uint64_t>(*ttl), &applied.reply);
  return applied;
}

ApplyResult Applier::ApplyLeaseRevoke(std::string_view body, uint64_t raft_term,
                                      mvcc::Batch& batch) {
  etcdserverpb::LeaseRevokeRequest request;
  if (!Parse(body, &request)) return Unreadable("lease revoke");
  if (parts_.alarms->Active(kAlarmCorrupt)) return Refuse(ApiError(ErrorId::kCorrupt));
  auto keys = parts_.lessor->Keys(request.id());
  if (!keys.ok()) return Refuse(keys.status());
  // LEASE-005: all keys and the record go together, in ascending key order, in one revision.
  mvcc::WriteTxn txn = parts_.store->NewWriteTxn();
  for (const std::string& key : *keys) {
    auto deleted = txn.DeleteRange(key, "");
    if (!deleted.ok()) {
      txn.End();
      return Refuse(deleted.status());
    }
  }
  txn.End();
  parts_.lessor->Remove(request.id(), batch);
  parts_.metrics->leases_revoked.Add();
  parts_.metrics->deletes.Add(keys->size());
  ApplyResult applied;
  AppendReplyHeader(raft_term, &applied.reply);
  return applied;
}

ApplyResult Applier::ApplyLeaseCheckpoint(std::string_view body, uint64_t raft_term,
                                          mvcc::Batch& batch) {
  etcdserverpb::LeaseCheckpointRequest request;
  if (!Parse(body, &request)) return Unreadable("lease checkpoint");
  for (const auto& checkpoint : request.checkpoints()) {
    parts_.lessor->ApplyCheckpoint({checkpoint.id(), checkpoint.remaining_ttl()}, batch);
  }
  ApplyResult applied;
  AppendReplyHeader(raft_term, &applied.reply);
  return applied;
}

ApplyResult Applier::ApplyAlarm(std::string_view body, uint64_t raft_term, mvcc::Batch& batch) {
  etcdserverpb::AlarmRequest request;
  if (!Parse(body, &request)) return Unreadable("alarm");
  const Alarm alarm{request.alarm(), request.memberid()};
  std::vector<Alarm> listed;
  switch (request.action()) {
    case etcdserverpb::AlarmRequest::GET:
      listed = parts_.alarms->List(request.alarm());
      break;
    case etcdserverpb::AlarmRequest::ACTIVATE:
      if (alarm.type == kAlarmNone) break;  // MAINT-001: a no-op
      parts_.alarms->Activate(alarm, batch);
      listed.push_back(alarm);
      parts_.metrics->SetAlarm(alarm.member_id, AlarmName(alarm.type), true);
      ETCDD_LOG(kWarn, "alarm raised",
                {{"alarm", AlarmName(alarm.type)}, {"from", base::LogId(alarm.member_id)}});
      break;
    case etcdserverpb::AlarmRequest::DEACTIVATE:
      if (!parts_.alarms->Deactivate(alarm, batch)) break;
      listed.push_back(alarm);
      parts_.metrics->SetAlarm(alarm.member_id, AlarmName(alarm.type), false);
      break;
    default:
      return Unreadable("alarm");
  }
  ApplyResult applied;
  AppendReplyHeader(raft_term, &applied.reply);
  for (const Alarm& one : listed) {
    std::string member;
    base::AppendVarintField(1, one.member_id, &member);
    base::AppendVarintField(2, static_cast<uint64_t>(static_cast<int64_t>(one.type)), &member);
    base::AppendBytesField(2, member, &applied.reply);
  }
  return applied;
}

ApplyResult Applier::ApplyMemberAttributes(std::string_view body, mvcc::Batch& batch) {
  membershippb::ClusterMemberAttrSetRequest request;
  if (!Parse(body, &request)) return Unreadable("member attributes");
  const auto& attributes = request.member_attributes();
  parts_.cluster->SetAttributes(
      request.member_id(), attributes.name(),
      {attributes.client_urls().begin(), attributes.client_urls().end()}, batch);
  return {};
}

ApplyResult Applier::ApplyClusterVersion(std::string_view body, mvcc::Batch& batch) {
  membershippb::ClusterVersionSetRequest request;
  if (!Parse(body, &request)) return Unreadable("cluster version");
  const bool first = parts_.cluster->version().empty();
  parts_.metrics->SetClusterVersion(parts_.cluster->version(), request.ver());
  parts_.cluster->SetVersion(request.ver(), batch);
  ETCDD_LOG(kInfo, first ? "set initial cluster version" : "updated cluster version",
            {{"cluster-id", base::LogId(parts_.identity.cluster_id)},
             {"local-member-id", base::LogId(parts_.identity.member_id)},
             {"cluster-version", request.ver()}});
  ETCDD_LOG(kInfo, "enabled capabilities for version", {{"cluster-version", request.ver()}});
  return {};
}

ApplyResult Applier::ApplyDowngrade(std::string_view body, mvcc::Batch& batch) {
  membershippb::DowngradeInfoSetRequest request;
  if (!Parse(body, &request)) return Unreadable("downgrade");
  membership::Downgrade downgrade;
  downgrade.enabled = request.enabled();
  if (request.enabled()) downgrade.target_version = request.ver();
  if (request.enabled()) {
    ETCDD_LOG(kInfo, "The server is ready to downgrade",
              {{"target-version", request.ver()},
               {"local-member-id", base::LogId(parts_.identity.member_id)}});
  }
  parts_.cluster->SetDowngrade(std::move(downgrade), batch);
  return {};
}

void Applier::AppendReplyHeader(uint64_t raft_term, std::string* out) const {
  AppendHeader(parts_.identity, parts_.store->latest_revision(), raft_term, out);
}

}  // namespace etcdd::apply
