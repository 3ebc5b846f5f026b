#include "server/apply/quota.h"

#include <algorithm>

#include "proto/rpc.pb.h"

namespace etcdd::apply {
namespace {

int64_t BranchCost(const google::protobuf::RepeatedPtrField<etcdserverpb::RequestOp>& ops) {
  int64_t cost = 0;
  for (const auto& op : ops) {
    if (op.has_request_put()) {
      cost += PutCost(op.request_put().key().size(), op.request_put().value().size());
    } else if (op.has_request_txn()) {
      cost += TxnCost(op.request_txn());
    }
  }
  return cost;
}

}  // namespace

int64_t PutCost(size_t key_bytes, size_t value_bytes) {
  return kPutCostBytes + static_cast<int64_t>(key_bytes + value_bytes);
}

int64_t TxnCost(const etcdserverpb::TxnRequest& txn) {
  return std::max(BranchCost(txn.success()), BranchCost(txn.failure()));
}

}  // namespace etcdd::apply
