#pragma once

// When to take a raft snapshot, and in which order (BOOT-050, architecture.md section 3): flush the
// backend, write the .snap file, mark it in the WAL, give up old WAL segments and keep a tail of
// entries in memory. The chain "backend durable at >= index, then mark, then truncation" is what
// makes a crash at any point harmless.
//
// One snapshot at a time: under load the next one starts when the last one is on disk, so a slow
// disk makes snapshots rarer, never a queue.
//
// Confined to the server strand; the blocking parts run on the background strand.

#include <algorithm>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "absl/status/status.h"
#include "mvcc/backend/backend.h"
#include "raft/types.h"
#include "server/base/strand.h"
#include "server/consensus/raft_loop.h"

namespace etcdd::server {

struct SnapshotPoint {
  uint64_t index = 0;
  uint64_t term = 0;
  raft::ConfState conf_state;
  // The members as of `index`, for the .snap file (snap/membership_json.h).
  std::string membership_document;
  // Contains everything up to `index`.
  std::shared_ptr<mvcc::Backend> backend;
};

class SnapshotPolicy {
 public:
  struct Parts {
    base::Strand* strand = nullptr;
    base::Strand* background = nullptr;
    // Writes the .snap file durably. Called on `background`, after the backend was flushed.
    std::function<absl::Status(const SnapshotPoint&)> save_snapshot;
    // Deletes files that are no longer needed. Called on `background`, after the mark.
    std::function<void()> purge;
    std::function<void(const absl::Status&)> on_fatal;
  };

  // `last_index`: of the newest snapshot on disk. `count`, `catch_up_entries`: --snapshot-count and
  // --snapshot-catchup-entries.
  SnapshotPolicy(Parts parts, uint64_t count, uint64_t catch_up_entries, uint64_t last_index);
  ~SnapshotPolicy() { *alive_ = false; }

  // The loop marks go to; set before the first OnApplied.
  void set_raft_loop(consensus::RaftLoop* loop) { loop_ = loop; }

  bool Due(uint64_t applied) const { return !running_ && applied > last_index_ + count_; }
  // Takes a snapshot at `point`, which is applied and written to the backend. Requires: not
  // running().
  void Start(SnapshotPoint point);
  bool running() const { return running_; }
  // A snapshot of another member's was installed: what is applied is durable up to `index`.
  void OnInstalled(uint64_t index) { last_index_ = std::max(last_index_, index); }
  uint64_t last_index() const { return last_index_; }

 private:
  void OnSaved(SnapshotPoint point, const absl::Status& status);

  const Parts parts_;
  const uint64_t count_;
  const uint64_t catch_up_entries_;
  consensus::RaftLoop* loop_ = nullptr;
  uint64_t last_index_;
  bool running_ = false;
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

}  // namespace etcdd::server
