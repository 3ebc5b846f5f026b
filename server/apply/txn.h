#pragma once

// Runs one Txn request: decide the path by the compares, verify it, execute it (KV-040..056).
// Nothing is changed unless all of the chosen path can be carried out, on every member alike.
//
// Confined to one thread per call: the apply strand for a write Txn, any for a read-only one.

#include <cstdint>
#include <string>

#include "absl/status/status.h"
#include "mvcc/lease_attacher.h"
#include "mvcc/store_txn.h"

namespace etcdserverpb {
class RangeRequest;
class TxnRequest;
}  // namespace etcdserverpb

namespace etcdd::apply {

struct RangeView;

// The views point into the request.
RangeView ToRangeView(const etcdserverpb::RangeRequest& range);

// A RangeRequest as the store wants it. The views point into the request.
mvcc::RangeOptions ToRangeOptions(const RangeView& range);
mvcc::RangeOptions ToRangeOptions(const etcdserverpb::RangeRequest& range);

// Appends RangeResponse's fields after the header: kvs (already encoded), more, count.
void AppendRangeBody(std::string_view kvs, const mvcc::RangeResult& result, std::string* out);

// Operations a Txn carried out.
struct TxnCounts {
  uint64_t puts = 0;
  uint64_t put_bytes = 0;
  uint64_t deletes = 0;
  uint64_t ranges = 0;
};

// Appends TxnResponse's fields after the header (succeeded, responses) to `*body`.
// Requires: the request passed rpc/validation. On error nothing was changed.
// Errors: kLeaseNotFound, kKeyNotFound, kFutureRev, kCompacted; others come from the backend.
absl::Status RunTxn(const etcdserverpb::TxnRequest& request, mvcc::WriteTxn& txn,
                    const mvcc::LeaseAttacher& leases, std::string* body,
                    TxnCounts* counts = nullptr);
// The same for a read-only Txn. kCompacted may also mean that a compaction overtook it.
absl::Status RunReadOnlyTxn(const etcdserverpb::TxnRequest& request, const mvcc::ReadTxn& txn,
                            std::string* body, TxnCounts* counts = nullptr);

}  // namespace etcdd::apply
