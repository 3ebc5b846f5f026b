#pragma once

// The backend's size limit (KV-080): a request is let through while the backend's allocated size
// plus the request's cost stays below it.
//
// Thread-safe apart from the backend pointer, which the server strand sets.

#include <cstdint>

#include "mvcc/backend/backend.h"

namespace etcdserverpb {
class TxnRequest;
}

namespace etcdd::apply {

inline constexpr int64_t kQuotaBytesDefault = int64_t{2} << 30;
inline constexpr int64_t kQuotaBytesWarning = int64_t{8} << 30;

inline constexpr int64_t kPutCostBytes = 256;
inline constexpr int64_t kLeaseGrantCostBytes = 64;

int64_t PutCost(size_t key_bytes, size_t value_bytes);
// The larger branch's sum, nested puts included.
int64_t TxnCost(const etcdserverpb::TxnRequest& txn);

class Quota {
 public:
  // `limit_bytes` 0 = kQuotaBytesDefault, negative = no limit.
  Quota(const mvcc::Backend& backend, int64_t limit_bytes)
      : backend_(&backend), limit_bytes_(limit_bytes == 0 ? kQuotaBytesDefault : limit_bytes) {}

  // Another backend took the place of the one so far.
  void SetBackend(const mvcc::Backend& backend) { backend_ = &backend; }

  // Cost 0 always passes.
  bool Available(int64_t cost) const {
    if (cost == 0 || limit_bytes_ < 0) return true;
    return static_cast<int64_t>(backend_->SizeBytes()) + cost < limit_bytes_;
  }
  int64_t limit_bytes() const { return limit_bytes_; }

 private:
  const mvcc::Backend* backend_;
  const int64_t limit_bytes_;
};

}  // namespace etcdd::apply
