#pragma once

// Transactions of the store: a read one is pinned to a revision, a write one is an applied entry.
// Both answer compares and ranges the same way, so the code that runs a Txn request needs only a
// ReadTxn& for everything but puts and deletes.

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "mvcc/event.h"
#include "mvcc/read_options.h"
#include "server/base/bytes.h"

namespace etcdd::mvcc {

class StoreState;
struct IndexChange;

// A KeyState with the bytes it points into.
struct KeyLookup {
  KeyState state;
  base::Bytes record;
};

// Confined to one thread; cheap to make and to drop. Must not outlive the store. Copying copies
// the pin.
class ReadTxn {
 public:
  // The store revision as this transaction's headers show it (KV-009): of a write transaction the
  // new revision from its first change on.
  int64_t revision() const { return revision_; }
  // The compact revision when the transaction began.
  int64_t compact_revision() const { return compact_revision_; }

  // Checks the revision of a range operation of a Txn before anything is executed (KV-051..053):
  // kFutureRev, kCompacted.
  absl::Status CheckRangeRevision(int64_t rev) const;

  // As Store::Range. options.revision <= 0 reads this transaction's state with its own writes; an
  // explicit one reads that old state. result.revision is revision().
  absl::StatusOr<RangeResult> Range(const RangeOptions& options, std::string* kvs) const;

  // State of one key. With `want_value` false the value may be left empty, which saves reading a
  // record that is not in memory.
  absl::StatusOr<KeyLookup> Lookup(std::string_view key, bool want_value) const;

  // Calls `visit` for each live pair of the range (KV-012) in key order until it says false.
  // The state is valid during the call only. `visit` must not use the store.
  absl::Status ForEach(std::string_view key, std::string_view range_end, bool want_value,
                       absl::FunctionRef<bool(const KeyState&)> visit) const;

 protected:
  friend class Store;
  ReadTxn(StoreState* state, int64_t revision, int64_t compact_revision, int64_t read_at)
      : state_(state), base_revision_(revision), revision_(revision),
        compact_revision_(compact_revision), read_at_(read_at) {}

  StoreState* state_;
  int64_t base_revision_;  // before the transaction
  int64_t revision_;
  int64_t compact_revision_;
  int64_t read_at_;  // revision at which reads without one of their own look
};

struct PutOptions {
  int64_t lease = 0;
  bool ignore_value = false;
  bool ignore_lease = false;
  bool want_prev = false;
};

struct PutResult {
  // Encoded previous KeyValue; empty when not wanted or there was none (KV-034).
  base::Bytes prev_kv;
};

struct DeleteRangeResult {
  int64_t deleted = 0;  // KV-035
};

// Changes with one revision. Confined to the apply strand. End must be called, also when nothing
// was changed; a failed Put changes nothing, the transaction may go on.
class WriteTxn : public ReadTxn {
 public:
  WriteTxn(WriteTxn&& other) noexcept;
  WriteTxn(const WriteTxn&) = delete;
  WriteTxn& operator=(const WriteTxn&) = delete;
  ~WriteTxn();

  // kLeaseNotFound, then kKeyNotFound of an ignore flag (KV-031, KV-032). Other errors come from
  // the backend and mean the member must stop.
  absl::StatusOr<PutResult> Put(std::string_view key, std::string_view value,
                                const PutOptions& options = {});

  // Deletes the range (KV-012). When `prev_kvs` is not null the old pairs are appended to it, each
  // as the field DeleteRangeResponse.prev_kvs (tag 3, length, KeyValue), in key order.
  absl::StatusOr<DeleteRangeResult> DeleteRange(std::string_view key, std::string_view range_end,
                                                std::string* prev_kvs = nullptr);

  bool changed() const { return changes_ > 0; }

  // Closes the transaction: with changes it takes the revision and queues the events for the
  // observer. Returns the store's revision.
  int64_t End();

 private:
  friend class Store;
  WriteTxn(StoreState* state, int64_t revision, int64_t compact_revision);

  Revision NextRevision() const { return {base_revision_ + 1, changes_}; }
  // Books a change that is in the index already: lease, batch, event.
  void Record(const IndexChange& change, int64_t lease, int64_t old_lease);
  // Deletes the keys of these records, all alive.
  void DeleteKeys(const std::vector<base::Bytes>& records);

  int64_t changes_ = 0;  // also the next sub revision
  std::vector<Event> events_;
  bool ended_ = false;
};

}  // namespace etcdd::mvcc
