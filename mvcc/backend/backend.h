#pragma once

// The small store below mvcc, lease, alarm and membership: buckets of ordered byte strings, atomic
// batches, stable views, an explicit flush. The raft WAL is the durability; what was written but
// not flushed may be lost by a crash, always as a suffix of whole batches (architecture.md D6).
//
// Buckets are etcd's: alarm auth authRoles authUsers cluster key lease members members_removed
// meta.
//
// Thread-safe unless said otherwise; Write is called by one thread at a time.

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "server/base/strand.h"

namespace etcdd::mvcc {

enum class Bucket : uint8_t {
  kAlarm,
  kAuth,
  kAuthRoles,
  kAuthUsers,
  kCluster,
  kKey,
  kLease,
  kMembers,
  kMembersRemoved,
  kMeta,
};
inline constexpr int kBucketCount = 10;
// etcd's bucket name, "key", "members_removed"; buckets in enum order are in name order.
std::string_view BucketName(Bucket bucket);

// Changes that become visible together, in the order given. Confined to one thread. The bytes are
// copied into the batch.
class Batch {
 public:
  virtual ~Batch() = default;
  virtual void Put(Bucket bucket, std::string_view key, std::string_view value) = 0;
  virtual void Delete(Bucket bucket, std::string_view key) = 0;
  // Number of operations and bytes put in since it was made or cleared.
  virtual size_t count() const = 0;
  virtual size_t bytes() const = 0;
  virtual void Clear() = 0;
};

// One consistent state of all buckets; later writes do not show. Keep it short-lived: it holds
// memory and disk space. Const methods may race.
class View {
 public:
  virtual ~View() = default;
  // NotFound when absent.
  virtual absl::StatusOr<std::string> Get(Bucket bucket, std::string_view key) const = 0;
  // Visits keys in [begin, end) in byte order; empty end = to the end of the bucket. Stops early
  // when `visit` says false. The string views are valid during the call only.
  virtual absl::Status Scan(
      Bucket bucket, std::string_view begin, std::string_view end,
      absl::FunctionRef<bool(std::string_view key, std::string_view value)> visit) const = 0;
};

class Backend {
 public:
  virtual ~Backend() = default;

  virtual std::unique_ptr<Batch> NewBatch() = 0;
  // Applies the batch atomically; visible to views made afterwards. Not durable until Flush. An
  // error means the store is broken and the member must stop.
  virtual absl::Status Write(Batch& batch) = 0;

  // Point read of the newest state. NotFound when absent.
  virtual absl::StatusOr<std::string> Get(Bucket bucket, std::string_view key) const = 0;
  virtual std::unique_ptr<View> NewView() const = 0;

  // Makes everything written before the call durable. Blocks; call it on a worker strand. Writes
  // may go on meanwhile.
  virtual absl::Status Flush() = 0;

  // Drops the storage of deleted records of the key bucket up to and including `end` soon, in the
  // background. A hint after a compaction.
  virtual void CompactHint(std::string_view key_bucket_end) = 0;

  // Runs `done` on any thread once the work hinted so far is finished: SizeBytes has fallen then.
  virtual void WhenCompacted(base::Task done) = 0;

  // Bytes allocated on disk (memtables included), and the part of it that holds live data, by
  // estimate. For Status, quota and metrics (behaviour.md OPEN-2).
  virtual uint64_t SizeBytes() const = 0;
  virtual uint64_t SizeInUseBytes() const = 0;
};

}  // namespace etcdd::mvcc
