#pragma once

// The write-ahead log of one member: raft entries, hard states and snapshot marks, appended to
// segment files in etcd's format (README.md here), so that etcd's tools read our logs and we read
// theirs.
//
// What it promises: everything appended before a Sync that returned OK is read back by the next
// Open, whatever crash follows; what was appended after it is read back as a prefix. A torn tail is
// cut, damage anywhere else is refused with the file and the offset.
//
//   auto wal = Wal::Create(fs, options, dir, metadata);            // a new member
//   auto opened = Wal::Open(fs, options, dir, newest_snapshot);    // a restart
//   ...
//   ETCDD_ASSIGN_OR_RETURN(bool needs_sync, wal->Save(hard_state, entries));
//   if (needs_sync) ETCDD_RETURN_IF_ERROR(wal->Sync());            // perhaps on another thread
//
// Threads: one thread at a time calls a Wal, not always the same one; the caller orders the calls.
// Save and Sync are separate so that Sync can run elsewhere while nobody touches the Wal.
//
// Errors: after any failed write, sync, rename or cut the Wal is poisoned: every later call returns
// the first failure, because what the disk then holds is unknown. Arguments that are refused
// (InvalidArgument) write nothing and do not poison.

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "absl/types/span.h"
#include "server/base/clock.h"
#include "server/base/file_system.h"
#include "server/base/strand.h"
#include "wal/segment.h"
#include "wal/types.h"

namespace etcdd::wal {

struct Options {
  // Measures syncs. Required; must outlive the Wal.
  const base::Clock* clock = nullptr;
  // Where the next segment is made ready and segments are pre-written with zeros, which makes
  // syncs 1.5-1.8 times faster than on merely allocated blocks. Must outlive the Wal. Null: the
  // next segment is made inline and nothing is pre-written.
  base::Strand* background = nullptr;

  // A segment is cut at the end of the Save that reaches this size; it may be larger by that Save.
  uint64_t segment_bytes = 64'000'000;
  // Pre-writing: so many bytes of zeros are written and synced, then a pause. 0 bytes: off.
  uint64_t prewrite_chunk_bytes = 256 * 1024;
  absl::Duration prewrite_pause = absl::Milliseconds(2);
  // Pre-writing rests when it is so far ahead of the appends.
  uint64_t prewrite_ahead_bytes = 8 << 20;

  // Skips file syncs (not those of directories): a power failure may then lose acknowledged data.
  bool unsafe_no_fsync = false;
  // A sync that takes longer is logged as `slow fdatasync`.
  absl::Duration slow_sync = absl::Seconds(1);

  // Metrics; may be empty. Called on the thread of the call that did the work.
  std::function<void(absl::Duration)> on_sync;         // each sync of a segment by Sync or a cut
  std::function<void(uint64_t bytes)> on_write_bytes;  // each append
};

class Prewriter;
class RecordEncoder;
class SegmentPipeline;

class Wal {
 public:
  struct Opened;

  // True when `dir` holds a name ending in ".wal". This alone decides whether a member restarts.
  static bool Exists(base::FileSystem& fs, const std::string& dir);

  // Makes a new log in `dir` with `metadata` (encoded etcdserverpb.Metadata) and the snapshot mark
  // (0, 0). Atomic: it is made durable as DIR.tmp and then renamed; a leftover DIR.tmp is removed.
  // Missing directories above `dir` are made durably too; those that exist are taken for durable.
  // AlreadyExists when a log exists. FailedPrecondition when `dir` holds other files.
  static absl::StatusOr<std::unique_ptr<Wal>> Create(base::FileSystem& fs, Options options,
                                                     const std::string& dir,
                                                     std::string_view metadata);

  // Opens for appending and reads everything after `start`, which must be one of
  // ValidSnapshotRecords ((0, 0) in a log without snapshots).
  // A torn tail is repaired once: the last segment is copied to NAME.wal.broken and cut behind its
  // last valid record.
  // Errors: NotFound (no log, or no mark at `start`), DataLoss (damage, or a gap in segments or
  // entries; names file and offset), FailedPrecondition (a segment is locked by another process, or
  // the mark has another term).
  static absl::StatusOr<Opened> Open(base::FileSystem& fs, Options options, const std::string& dir,
                                     const SnapshotRecord& start);

  // Stops background work, removes the prepared segment and releases all locks. Does not sync.
  ~Wal();
  Wal(const Wal&) = delete;
  Wal& operator=(const Wal&) = delete;

  // Appends `entries`, then `hard_state` if it is neither empty nor equal to the last saved one.
  // One write, no sync; cuts the segment when it is full (then everything is durable on return).
  // Returns whether Sync must succeed before the state and entries may be relied upon: true when
  // there are entries or term or vote changed; a commit-only change needs none.
  // Entries may overwrite earlier ones: the log then ends with the last entry given.
  // InvalidArgument: entries not consecutive, or the first one beyond last_index() + 1; an entry of
  // type 1 or 2 without data; a hard state whose term or commit goes back.
  absl::StatusOr<bool> Save(const HardState& hard_state, absl::Span<const EntryView> entries);

  // Makes everything appended durable.
  absl::Status Sync();

  // Appends a snapshot mark and syncs. The snapshot itself must be durable before.
  // InvalidArgument: index or term is 0, or conf_state is empty.
  absl::Status SaveSnapshot(const SnapshotRecord& record);

  // Gives up the segments that hold only entries before `index`, so that PurgeSegments may delete
  // them. The segment that may hold `index` is kept.
  absl::Status ReleaseTo(uint64_t index);

  // Syncs and releases everything; afterwards every call fails. Idempotent.
  absl::Status Close();

  // The last entry appended, or the last snapshot mark if that is larger.
  uint64_t last_index() const { return last_index_; }
  const HardState& hard_state() const { return hard_state_; }
  const std::string& metadata() const { return metadata_; }

 private:
  // Where a log stands when it is made or opened.
  struct Position {
    std::vector<Segment> segments;
    uint64_t offset = 0;
    uint32_t crc = 0;
    uint64_t last_index = 0;
    HardState hard_state;
  };
  Wal(base::FileSystem& fs, Options options, std::string dir, std::string metadata,
      Position position);

  absl::Status StartBackgroundWork();
  absl::Status StopBackgroundWork();
  absl::Status CheckSave(const HardState& state, absl::Span<const EntryView> entries) const;
  // Appends what the encoder holds to the tail.
  absl::Status WriteEncoded();
  absl::Status SyncFile(base::File& file);
  // Ends the tail and begins the next segment.
  absl::Status Cut();
  // Remembers the first failure; returns `status`.
  absl::Status Poison(absl::Status status);

  base::FileSystem& fs_;
  const Options options_;
  const std::string dir_;
  const std::string metadata_;

  std::vector<Segment> segments_;  // the locked ones, oldest first; the last one is the tail
  uint64_t position_ = 0;          // end of the tail's last record; multiple of 8; only grows
  uint64_t last_index_ = 0;
  HardState hard_state_;  // the last one saved
  absl::Status failed_;   // not OK: poisoned or closed
  bool closed_ = false;
  std::unique_ptr<RecordEncoder> encoder_;
  std::unique_ptr<SegmentPipeline> pipeline_;
  std::shared_ptr<Prewriter> prewriter_;  // of the tail; shared with its task on the strand
};

struct Wal::Opened {
  std::unique_ptr<Wal> wal;
  Contents contents;
};

// The snapshot marks at or below the last recorded commit, in log order: the candidates for Open.
// Reads all segments without locking or changing anything; accepts a torn tail. Never empty for a
// log made by Wal::Create whose first segments are there or whose purge followed ReleaseTo.
absl::StatusOr<std::vector<SnapshotRecord>> ValidSnapshotRecords(base::FileSystem& fs,
                                                                 const std::string& dir);

// Reads a log from `start` on as Wal::Open does, without locking or changing anything; accepts a
// torn tail.
absl::StatusOr<Contents> ReadContents(base::FileSystem& fs, const std::string& dir,
                                      const SnapshotRecord& start);

// Deletes the oldest segments while there are more than `max_wals` (0: unlimited), stopping at the
// first one that is locked. Returns the deleted names. Thread-safe; may run beside an open Wal.
absl::StatusOr<std::vector<std::string>> PurgeSegments(base::FileSystem& fs, const std::string& dir,
                                                       size_t max_wals);

}  // namespace etcdd::wal
