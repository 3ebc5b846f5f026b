#pragma once

// What mvcc asks of leases: which exist, and to be told which keys hang on them. Called on the
// apply strand (and during restore, before the server runs).

#include <cstdint>
#include <string_view>

namespace etcdd::mvcc {

class LeaseAttacher {
 public:
  virtual ~LeaseAttacher() = default;
  virtual bool Exists(int64_t lease_id) const = 0;
  // The key hangs on the lease from now on. Unknown leases are ignored (behaviour: a restored key
  // whose lease is gone only logs).
  virtual void Attach(int64_t lease_id, std::string_view key) = 0;
  virtual void Detach(int64_t lease_id, std::string_view key) = 0;
};

}  // namespace etcdd::mvcc
