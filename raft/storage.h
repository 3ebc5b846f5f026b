#pragma once

// What the library reads of the stable log: everything the application has been told to persist and
// has acknowledged. The application implements it over its WAL and cache; MemoryStorage is the
// simple one.
//
// Called on the raft strand only, from inside RawNode's methods, and must not block for long.
// A storage that was told to append (through a Ready) must show the new entries before the
// acknowledgement reaches the node (Advance, or the MsgStorageAppendResp).

#include <cstdint>
#include <memory>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "raft/errors.h"
#include "raft/types.h"

namespace etcdd::raft {

class Storage {
 public:
  struct InitialState {
    HardState hard_state;
    ConfState conf_state;  // of the newest snapshot, or of the last applied configuration change
  };

  virtual ~Storage() = default;

  // State as of the last persisted write. Read once, by RawNode::Create.
  virtual absl::StatusOr<InitialState> GetInitialState() const = 0;

  // Appends entries [low, high) to *entries, stopping before the encoded sizes of this call's
  // entries exceed bytes_max; the first is always returned however large. Fewer entries than the
  // limit allows is fine as long as there is one.
  // Errors: CompactedError() if low < FirstIndex(); UnavailableError() if high > LastIndex() + 1.
  // Requires: low < high.
  virtual absl::Status Entries(uint64_t low, uint64_t high, uint64_t bytes_max,
                               std::vector<Entry>* entries) const = 0;

  // Term of entry `index`, for FirstIndex() - 1 <= index <= LastIndex(). (The term at
  // FirstIndex() - 1 is kept for matching.) Errors: CompactedError() below, UnavailableError()
  // above.
  virtual absl::StatusOr<uint64_t> Term(uint64_t index) const = 0;

  // Index of the first entry possibly available; 1 for an empty storage.
  virtual uint64_t FirstIndex() const = 0;

  // Index of the last entry; FirstIndex() - 1 when there is none.
  virtual uint64_t LastIndex() const = 0;

  // A snapshot for a peer that lags behind FirstIndex(). Its conf_state is the one ApplyConfChange
  // returned last at or before its index. It should be recent: a peer its conf_state does not name
  // refuses it and is then sent it again; so either answer with one made of what is applied now, or
  // replace it while sending, as etcd does.
  // Errors: SnapshotTemporarilyUnavailableError() (asked again later).
  virtual absl::StatusOr<std::shared_ptr<const Snapshot>> GetSnapshot() const = 0;
};

}  // namespace etcdd::raft
