#pragma once

// The shape checks of requests before they go anywhere (KV-015, 027, 030, 046..050): the same for
// a plain RPC and for an operation inside a Txn. Errors are etcd's.
//
// Free functions, thread-safe.

#include "absl/status/status.h"
#include "server/apply/wire.h"

namespace etcdserverpb {
class TxnRequest;
}

namespace etcdd::rpc {

absl::Status CheckPut(const apply::PutView& put);
absl::Status CheckRange(const apply::RangeView& range);
absl::Status CheckDeleteRange(const apply::DeleteRangeView& request);
// Operation counts, then compares, then the success and failure operations, then duplicate keys.
absl::Status CheckTxn(const etcdserverpb::TxnRequest& txn, int ops_max);

// KV-054: every operation of both branches is a plain range.
bool IsReadOnlyTxn(const etcdserverpb::TxnRequest& txn);
// KV-055: a read-only Txn that needs no read index: all its ranges are serializable.
bool IsSerializableTxn(const etcdserverpb::TxnRequest& txn);

}  // namespace etcdd::rpc
