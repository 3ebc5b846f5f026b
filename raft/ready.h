#pragma once

// Ready: what the application must do next. Taking one hands it over for good (TakeReady accepts).
//
// Synchronous mode (Config::async_storage_writes = false). In this order:
//   1. persist `snapshot` (it replaces the log; entries beside it follow it), then `entries`, then
//      `hard_state`; or all in one atomic batch. Never the hard state before the others: a crash
//      between would leave commit beyond the log. If must_sync, make it durable; a snapshot must be
//      durable in any case before step 2;
//   2. send `messages`;
//   3. apply `committed_entries` (for a configuration change call RawNode::ApplyConfChange, or do
//      not, to refuse it);
//   4. RawNode::Advance(). No second Ready before that.
//
// Asynchronous mode. The writes travel in two messages and their order is the application's:
//   * send `messages` at once, even before the node's own disk write;
//   * give `storage_append` to the append thread and `storage_apply` to the apply thread. Each
//     thread works strictly in order; the two are independent of each other. `entries`, `snapshot`
//     and `committed_entries` of the Ready are empty: they are in these messages;
//   * storage_append: persist its snapshot, its entries, then (if term, vote or commit is not 0)
//     the hard state {term, vote, commit}; all must be durable before any of its responses is
//     delivered. Without responses no sync is needed. Consecutive ones may share one sync;
//   * storage_apply: apply its entries as above; needs no sync;
//   * deliver responses in order: those addressed to this node through RawNode::Step, the others
//     over the network;
//   * Advance is forbidden; Readies may be taken as soon as HasReady.
//
// A MsgSnap in `messages` obliges the application to call ReportSnapshot when its fate is known.

#include <memory>
#include <optional>
#include <vector>

#include "absl/types/span.h"
#include "raft/types.h"

namespace etcdd::raft {

struct Ready {
  std::optional<SoftState> soft_state;  // set if changed
  std::optional<HardState> hard_state;  // set if changed; in both modes
  std::vector<ReadState> read_states;
  std::vector<Entry> entries;                // synchronous mode
  std::shared_ptr<const Snapshot> snapshot;  // synchronous mode; null = none
  std::vector<Entry> committed_entries;      // synchronous mode
  std::vector<Message> messages;
  std::optional<Message> storage_append;  // asynchronous mode
  std::optional<Message> storage_apply;   // asynchronous mode
  // Entries present, or term or vote changed. A commit index alone may be written lazily.
  bool must_sync = false;

  // The entries to persist, and those to apply, wherever the mode keeps them.
  absl::Span<const Entry> EntriesToPersist() const {
    return storage_append.has_value() ? storage_append->entries : entries;
  }
  absl::Span<const Entry> EntriesToApply() const {
    return storage_apply.has_value() ? storage_apply->entries : committed_entries;
  }
  const Snapshot* SnapshotToPersist() const {
    return storage_append.has_value() ? storage_append->snapshot.get() : snapshot.get();
  }

  // Empties all parts, keeping the vectors' memory for the next TakeReady(Ready*).
  void Clear();
};

}  // namespace etcdd::raft
