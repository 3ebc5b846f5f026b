#include "server/rpc/validation.h"

#include <algorithm>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/container/btree_set.h"
#include "proto/rpc.pb.h"
#include "server/base/api_error.h"
#include "server/base/status_macros.h"

namespace etcdd::rpc {
namespace {

using base::ApiError;
using base::ErrorId;
using etcdserverpb::RequestOp;
using Ops = google::protobuf::RepeatedPtrField<RequestOp>;

constexpr int kSortOrderMax = 2;   // DESCEND
constexpr int kSortTargetMax = 4;  // VALUE

// A half-open range of keys as the duplicate check sees it. A range_end of one zero byte is taken
// literally and so covers nothing (KV-049): such a delete never conflicts.
struct Interval {
  std::string_view begin;
  std::string_view end;  // empty: exactly `begin`
  bool Covers(std::string_view key) const {
    if (end.empty()) return key == begin;
    return begin <= key && key < end;
  }
};

// What one list of operations writes, nested Txns included.
struct Writes {
  absl::btree_set<std::string_view> puts;
  std::vector<Interval> deletes;
  bool Deletes(std::string_view key) const {
    return std::any_of(deletes.begin(), deletes.end(),
                       [&](const Interval& interval) { return interval.Covers(key); });
  }
};

absl::Status CollectWrites(const Ops& ops, Writes* writes);

// Joins what a nested Txn writes. Its two branches exclude each other, so they may put the same
// key; against everything before it each branch counts alone. Deletes join after the puts were
// checked: a delete does not look back at puts of an earlier sibling (KV-049).
absl::Status JoinNested(const etcdserverpb::TxnRequest& txn, Writes* writes) {
  Writes then_writes;
  Writes else_writes;
  ETCDD_RETURN_IF_ERROR(CollectWrites(txn.success(), &then_writes));
  ETCDD_RETURN_IF_ERROR(CollectWrites(txn.failure(), &else_writes));
  for (const Writes* branch : {&then_writes, &else_writes}) {
    for (std::string_view key : branch->puts) {
      if (writes->puts.contains(key) || writes->Deletes(key)) {
        return ApiError(ErrorId::kDuplicateKey);
      }
    }
  }
  for (Writes* branch : {&then_writes, &else_writes}) {
    writes->puts.insert(branch->puts.begin(), branch->puts.end());
    writes->deletes.insert(writes->deletes.end(), branch->deletes.begin(), branch->deletes.end());
  }
  return absl::OkStatus();
}

absl::Status CollectWrites(const Ops& ops, Writes* writes) {
  for (const RequestOp& op : ops) {
    if (!op.has_request_delete_range()) continue;
    const auto& request = op.request_delete_range();
    writes->deletes.push_back({request.key(), request.range_end()});
  }
  for (const RequestOp& op : ops) {
    if (op.has_request_txn()) ETCDD_RETURN_IF_ERROR(JoinNested(op.request_txn(), writes));
  }
  for (const RequestOp& op : ops) {
    if (!op.has_request_put()) continue;
    const std::string_view key = op.request_put().key();
    if (writes->Deletes(key) || !writes->puts.insert(key).second) {
      return ApiError(ErrorId::kDuplicateKey);
    }
  }
  return absl::OkStatus();
}

absl::Status CheckOps(const etcdserverpb::TxnRequest& txn, int ops_max);

absl::Status CheckOp(const RequestOp& op, int nested_ops_max) {
  switch (op.request_case()) {
    case RequestOp::kRequestRange: {
      const auto& range = op.request_range();
      apply::RangeView view;
      view.key = range.key();
      view.sort_order = range.sort_order();
      view.sort_target = range.sort_target();
      return CheckRange(view);
    }
    case RequestOp::kRequestPut: {
      const auto& put = op.request_put();
      return CheckPut({put.key(), put.value(), put.lease(), put.prev_kv(), put.ignore_value(),
                       put.ignore_lease()});
    }
    case RequestOp::kRequestDeleteRange:
      return CheckDeleteRange({op.request_delete_range().key(), {}, false});
    case RequestOp::kRequestTxn:
      return CheckOps(op.request_txn(), nested_ops_max);
    case RequestOp::REQUEST_NOT_SET:
      return ApiError(ErrorId::kKeyNotFound);  // KV-047
  }
  return ApiError(ErrorId::kKeyNotFound);
}

absl::Status CheckOps(const etcdserverpb::TxnRequest& txn, int ops_max) {
  const int largest = std::max({txn.compare_size(), txn.success_size(), txn.failure_size()});
  if (largest > ops_max) return ApiError(ErrorId::kTooManyOps);
  for (const auto& compare : txn.compare()) {
    if (compare.key().empty()) return ApiError(ErrorId::kEmptyKey);
  }
  for (const auto* ops : {&txn.success(), &txn.failure()}) {
    for (const RequestOp& op : *ops) {
      ETCDD_RETURN_IF_ERROR(CheckOp(op, ops_max - largest));
    }
  }
  return absl::OkStatus();
}

}  // namespace

absl::Status CheckPut(const apply::PutView& put) {
  if (put.key.empty()) return ApiError(ErrorId::kEmptyKey);
  if (put.ignore_value && !put.value.empty()) return ApiError(ErrorId::kValueProvided);
  if (put.ignore_lease && put.lease != 0) return ApiError(ErrorId::kLeaseProvided);
  return absl::OkStatus();
}

absl::Status CheckRange(const apply::RangeView& range) {
  if (range.key.empty()) return ApiError(ErrorId::kEmptyKey);
  if (range.sort_order < 0 || range.sort_order > kSortOrderMax || range.sort_target < 0 ||
      range.sort_target > kSortTargetMax) {
    return ApiError(ErrorId::kInvalidSortOption);
  }
  return absl::OkStatus();
}

absl::Status CheckDeleteRange(const apply::DeleteRangeView& request) {
  if (request.key.empty()) return ApiError(ErrorId::kEmptyKey);
  return absl::OkStatus();
}

absl::Status CheckTxn(const etcdserverpb::TxnRequest& txn, int ops_max) {
  ETCDD_RETURN_IF_ERROR(CheckOps(txn, ops_max));
  for (const auto* ops : {&txn.success(), &txn.failure()}) {
    Writes writes;
    ETCDD_RETURN_IF_ERROR(CollectWrites(*ops, &writes));
  }
  return absl::OkStatus();
}

bool IsReadOnlyTxn(const etcdserverpb::TxnRequest& txn) {
  for (const auto* ops : {&txn.success(), &txn.failure()}) {
    for (const RequestOp& op : *ops) {
      if (!op.has_request_range()) return false;
    }
  }
  return true;
}

bool IsSerializableTxn(const etcdserverpb::TxnRequest& txn) {
  for (const auto* ops : {&txn.success(), &txn.failure()}) {
    for (const RequestOp& op : *ops) {
      if (!op.has_request_range() || !op.request_range().serializable()) return false;
    }
  }
  return true;
}

}  // namespace etcdd::rpc
