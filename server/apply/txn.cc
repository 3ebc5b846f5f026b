#include "server/apply/txn.h"

#include <string_view>
#include <vector>

#include "proto/rpc.pb.h"
#include "server/apply/wire.h"
#include "server/base/api_error.h"
#include "server/base/check.h"
#include "server/base/coding.h"
#include "server/base/status_macros.h"

namespace etcdd::apply {
namespace {

using base::ApiError;
using base::ErrorId;
using etcdserverpb::Compare;
using etcdserverpb::RequestOp;
using etcdserverpb::TxnRequest;

int CompareNumbers(int64_t have, int64_t want) { return have < want ? -1 : have > want ? 1 : 0; }

// KV-041: a value given in the field of another target counts as zero; an unknown target compares
// as equal, an unknown result is true. KV-042: a value compare on an absent key is false.
bool Holds(const Compare& compare, const mvcc::KeyState& state) {
  int order = 0;
  switch (compare.target()) {
    case Compare::VERSION:
      order = CompareNumbers(state.version, compare.version());
      break;
    case Compare::CREATE:
      order = CompareNumbers(state.create_revision, compare.create_revision());
      break;
    case Compare::MOD:
      order = CompareNumbers(state.mod_revision, compare.mod_revision());
      break;
    case Compare::LEASE:
      order = CompareNumbers(state.lease, compare.lease());
      break;
    case Compare::VALUE:
      if (!state.exists) return false;
      order = state.value.compare(compare.value());
      break;
    default:
      break;
  }
  switch (compare.result()) {
    case Compare::EQUAL:
      return order == 0;
    case Compare::GREATER:
      return order > 0;
    case Compare::LESS:
      return order < 0;
    case Compare::NOT_EQUAL:
      return order != 0;
    default:
      return true;
  }
}

bool WantsRecord(const Compare& compare) {
  return compare.target() == Compare::VALUE || compare.target() == Compare::LEASE;
}

absl::StatusOr<bool> HoldsForAll(const Compare& compare, const mvcc::ReadTxn& txn) {
  if (compare.range_end().empty()) {
    ETCDD_ASSIGN_OR_RETURN(auto found, txn.Lookup(compare.key(), WantsRecord(compare)));
    return Holds(compare, found.state);
  }
  bool any = false;
  bool all = true;
  ETCDD_RETURN_IF_ERROR(txn.ForEach(compare.key(), compare.range_end(), WantsRecord(compare),
                                    [&](const mvcc::KeyState& state) {
                                      any = true;
                                      all = Holds(compare, state);
                                      return all;
                                    }));
  return any ? all : Holds(compare, mvcc::KeyState());
}

// The branches taken, outer before inner, in the order the operations are walked.
using Path = std::vector<bool>;

// KV-044: every compare of the request looks at the state before the whole Txn.
absl::Status DecidePath(const TxnRequest& request, const mvcc::ReadTxn& txn, Path* path) {
  bool succeeded = true;
  for (const Compare& compare : request.compare()) {
    ETCDD_ASSIGN_OR_RETURN(bool holds, HoldsForAll(compare, txn));
    if (!holds) {
      succeeded = false;
      break;
    }
  }
  path->push_back(succeeded);
  for (const RequestOp& op : succeeded ? request.success() : request.failure()) {
    if (op.has_request_txn()) ETCDD_RETURN_IF_ERROR(DecidePath(op.request_txn(), txn, path));
  }
  return absl::OkStatus();
}

// KV-051: one pass over the chosen path in list order, depth first.
class Verifier {
 public:
  Verifier(const mvcc::ReadTxn& txn, const mvcc::LeaseAttacher* leases)
      : txn_(txn), leases_(leases) {}

  absl::Status Verify(const TxnRequest& request, const Path& path) {
    const bool succeeded = path[position_++];
    for (const RequestOp& op : succeeded ? request.success() : request.failure()) {
      if (op.has_request_range()) {
        ETCDD_RETURN_IF_ERROR(txn_.CheckRangeRevision(op.request_range().revision()));
      } else if (op.has_request_put()) {
        ETCDD_RETURN_IF_ERROR(VerifyPut(op.request_put()));
      } else if (op.has_request_delete_range()) {
        deletes_.push_back(&op.request_delete_range());
      } else if (op.has_request_txn()) {
        ETCDD_RETURN_IF_ERROR(Verify(op.request_txn(), path));
      }
    }
    return absl::OkStatus();
  }

 private:
  absl::Status VerifyPut(const etcdserverpb::PutRequest& put) {
    if (put.lease() != 0 && !leases_->Exists(put.lease())) {
      return ApiError(ErrorId::kLeaseNotFound);
    }
    if (!put.ignore_value() && !put.ignore_lease()) return absl::OkStatus();
    ETCDD_ASSIGN_OR_RETURN(auto found, txn_.Lookup(put.key(), /*want_value=*/false));
    // KV-049: the key may exist now and yet be deleted by this Txn before the put's turn; relying
    // on the old value would then find nothing.
    if (!found.state.exists || DeletedBefore(put.key())) return ApiError(ErrorId::kKeyNotFound);
    return absl::OkStatus();
  }

  bool DeletedBefore(std::string_view key) const {
    constexpr std::string_view kToTheEnd("\0", 1);
    for (const auto* request : deletes_) {
      const std::string_view begin = request->key();
      const std::string_view end = request->range_end();
      if (end.empty() ? key == begin : key >= begin && (end == kToTheEnd || key < end)) return true;
    }
    return false;
  }

  const mvcc::ReadTxn& txn_;
  const mvcc::LeaseAttacher* leases_;  // null for a read-only Txn, which has no puts
  size_t position_ = 0;
  std::vector<const etcdserverpb::DeleteRangeRequest*> deletes_;
};

// Response fields of RequestOp and ResponseOp share their numbers.
constexpr uint32_t kRangeField = 1;
constexpr uint32_t kPutField = 2;
constexpr uint32_t kDeleteRangeField = 3;
constexpr uint32_t kTxnField = 4;
constexpr uint32_t kResponsesField = 3;

class Executor {
 public:
  Executor(const mvcc::ReadTxn& read, mvcc::WriteTxn* write, const Path& path, TxnCounts* counts)
      : read_(read), write_(write), path_(path), counts_(counts) {}

  absl::Status Run(const TxnRequest& request, std::string* body) {
    const bool succeeded = path_[position_++];
    base::AppendVarintField(2, succeeded ? 1 : 0, body);
    for (const RequestOp& op : succeeded ? request.success() : request.failure()) {
      std::string response;
      ETCDD_ASSIGN_OR_RETURN(uint32_t field, RunOp(op, &response));
      const size_t size = base::VarintSize(base::BytesTag(field)) +
                          base::VarintSize(response.size()) + response.size();
      base::AppendVarint(base::BytesTag(kResponsesField), body);
      base::AppendVarint(size, body);
      base::AppendBytesField(field, response, body);
    }
    return absl::OkStatus();
  }

 private:
  absl::StatusOr<uint32_t> RunOp(const RequestOp& op, std::string* out) {
    switch (op.request_case()) {
      case RequestOp::kRequestRange: {
        ++counts_->ranges;
        std::string kvs;
        ETCDD_ASSIGN_OR_RETURN(auto result,
                               read_.Range(ToRangeOptions(op.request_range()), &kvs));
        AppendRevisionHeader(read_.revision(), out);
        AppendRangeBody(kvs, result, out);
        return kRangeField;
      }
      case RequestOp::kRequestPut: {
        const auto& put = op.request_put();
        ++counts_->puts;
        counts_->put_bytes += put.key().size() + put.value().size();
        ETCDD_ASSIGN_OR_RETURN(auto result,
                               write_->Put(put.key(), put.value(),
                                           {put.lease(), put.ignore_value(), put.ignore_lease(),
                                            put.prev_kv()}));
        AppendRevisionHeader(read_.revision(), out);
        if (!result.prev_kv.empty()) base::AppendBytesField(2, result.prev_kv.view(), out);
        return kPutField;
      }
      case RequestOp::kRequestDeleteRange: {
        const auto& request = op.request_delete_range();
        ++counts_->deletes;
        std::string prev_kvs;
        ETCDD_ASSIGN_OR_RETURN(auto result,
                               write_->DeleteRange(request.key(), request.range_end(),
                                                   request.prev_kv() ? &prev_kvs : nullptr));
        AppendRevisionHeader(read_.revision(), out);
        base::AppendVarintField(2, static_cast<uint64_t>(result.deleted), out);
        out->append(prev_kvs);
        return kDeleteRangeField;
      }
      case RequestOp::kRequestTxn:
        base::AppendBytesField(1, "", out);  // KV-009: present and empty
        ETCDD_RETURN_IF_ERROR(Run(op.request_txn(), out));
        return kTxnField;
      case RequestOp::REQUEST_NOT_SET:
        break;
    }
    return absl::InternalError("an operation without a body passed validation");
  }

  const mvcc::ReadTxn& read_;
  mvcc::WriteTxn* const write_;  // null for a read-only Txn
  const Path& path_;
  TxnCounts* const counts_;
  size_t position_ = 0;
};

absl::Status Run(const TxnRequest& request, const mvcc::ReadTxn& read, mvcc::WriteTxn* write,
                 const mvcc::LeaseAttacher* leases, std::string* body, TxnCounts* counts) {
  TxnCounts unwanted;
  Path path;
  ETCDD_RETURN_IF_ERROR(DecidePath(request, read, &path));
  ETCDD_RETURN_IF_ERROR(Verifier(read, leases).Verify(request, path));
  return Executor(read, write, path, counts != nullptr ? counts : &unwanted).Run(request, body);
}

mvcc::SortOrder ToSortOrder(int order) {
  ETCDD_CHECK(order >= 0 && order <= 2);
  return static_cast<mvcc::SortOrder>(order);
}

mvcc::SortTarget ToSortTarget(int target) {
  ETCDD_CHECK(target >= 0 && target <= 4);
  return static_cast<mvcc::SortTarget>(target);
}

}  // namespace

mvcc::RangeOptions ToRangeOptions(const RangeView& range) {
  mvcc::RangeOptions options;
  options.key = range.key;
  options.range_end = range.range_end;
  options.revision = range.revision;
  options.limit = range.limit;
  options.count_only = range.count_only;
  options.keys_only = range.keys_only;
  options.sort_order = ToSortOrder(range.sort_order);
  options.sort_target = ToSortTarget(range.sort_target);
  options.min_mod_revision = range.min_mod_revision;
  options.max_mod_revision = range.max_mod_revision;
  options.min_create_revision = range.min_create_revision;
  options.max_create_revision = range.max_create_revision;
  return options;
}

RangeView ToRangeView(const etcdserverpb::RangeRequest& range) {
  RangeView view;
  view.key = range.key();
  view.range_end = range.range_end();
  view.limit = range.limit();
  view.revision = range.revision();
  view.sort_order = range.sort_order();
  view.sort_target = range.sort_target();
  view.keys_only = range.keys_only();
  view.count_only = range.count_only();
  view.min_mod_revision = range.min_mod_revision();
  view.max_mod_revision = range.max_mod_revision();
  view.min_create_revision = range.min_create_revision();
  view.max_create_revision = range.max_create_revision();
  return view;
}

mvcc::RangeOptions ToRangeOptions(const etcdserverpb::RangeRequest& range) {
  return ToRangeOptions(ToRangeView(range));
}

void AppendRangeBody(std::string_view kvs, const mvcc::RangeResult& result, std::string* out) {
  out->append(kvs);
  base::AppendVarintField(3, result.more ? 1 : 0, out);
  base::AppendVarintField(4, static_cast<uint64_t>(result.count), out);
}

absl::Status RunTxn(const TxnRequest& request, mvcc::WriteTxn& txn,
                    const mvcc::LeaseAttacher& leases, std::string* body, TxnCounts* counts) {
  return Run(request, txn, &txn, &leases, body, counts);
}

absl::Status RunReadOnlyTxn(const TxnRequest& request, const mvcc::ReadTxn& txn,
                            std::string* body, TxnCounts* counts) {
  return Run(request, txn, nullptr, nullptr, body, counts);
}

}  // namespace etcdd::apply
