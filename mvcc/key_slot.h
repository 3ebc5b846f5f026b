#pragma once

// KeySlot: everything the index knows about one key, in 8 bytes: a pointer with four tag bits. It
// points either at the key's record (one revision, sub 0, alive) or at a KeyHistory (the record and
// all revisions). Key, create and mod revision and version are decoded from the record in place, so
// no second copy of the key exists; the key of a dead key is in the encoding of its deletion event
// (key and mod revision).
//
// Invariants: revisions ascend strictly; the last one is the current state; a slot without history
// is alive; `resident` is false only for live keys whose record is a stub (record.h).
//
// A slot is a handle without ownership: it is copied bytewise inside the tree, and whoever removes
// it calls Free. Changing calls need exclusion; const ones may race with each other (Touch sets a
// bit atomically).

#include <cstdint>
#include <string_view>
#include <vector>

#include "mvcc/record.h"
#include "mvcc/revision.h"
#include "server/base/bytes.h"

namespace etcdd::mvcc {

// A revision of a key's history.
struct KeyRevision {
  Revision revision;
  bool tombstone = false;
  friend auto operator<=>(const KeyRevision&, const KeyRevision&) = default;
};

class KeySlot {
 public:
  KeySlot() = default;

  // A key with these revisions, at least one, ascending. `record` is that of the last one: a live
  // pair, or key and mod revision of a deletion. `resident` false: it is a stub.
  static KeySlot Make(base::Bytes record, const std::vector<KeyRevision>& revisions,
                      bool resident = true);
  static KeySlot Make(base::Bytes record, const KeyRevision& only);
  void Free();

  std::string_view record() const;
  std::string_view key() const { return RecordKey(record()); }
  base::Bytes ShareRecord() const;
  bool dead() const { return (Load() & kDead) != 0; }
  bool resident() const { return (Load() & kNotResident) == 0; }
  bool has_history() const { return (Load() & kHistory) != 0; }

  size_t revision_count() const;
  KeyRevision revision_at(size_t index) const;
  KeyRevision current() const { return revision_at(revision_count() - 1); }
  // Number of revisions with main <= `main`: the newest of them is at that number minus one.
  size_t CountUpTo(int64_t main) const;

  // Adds a revision after the current one and takes the new record; returns the old one.
  base::Bytes Append(base::Bytes record, KeyRevision revision);

  // Takes the record's stub (resident false) or the whole record again (true); returns the old one.
  base::Bytes ReplaceRecord(base::Bytes record, bool resident);

  // Drops what a compaction at `main` makes unreachable and appends it to `garbage`: all before the
  // newest revision <= main, and that one too if it is a deletion older than main (KV-071). Sets
  // `kept` when a revision <= main stays. True when nothing is left: the caller removes the slot.
  bool Compact(int64_t main, std::vector<KeyRevision>* garbage, bool* kept);

  // Asks the processor to fetch the record, or the history, before it is needed.
  void Prefetch() const {
    const char* block = reinterpret_cast<const char*>(Load() & ~kTags);
    for (size_t line = 0; line < kPrefetchBytes; line += 64) __builtin_prefetch(block + line);
  }

  // The clock of the value cache: marks the slot as used; says whether it was since the last call.
  void Touch() const;
  bool TestAndClearTouched();

  // Heap bytes of the history, 0 without one.
  size_t history_bytes() const;

  // Aborts when an invariant of one slot is broken.
  void Check() const;

 private:
  struct History;

  static constexpr uint64_t kHistory = 1;
  static constexpr uint64_t kNotResident = 2;
  static constexpr uint64_t kTouched = 4;
  static constexpr uint64_t kDead = 8;
  static constexpr uint64_t kTags = 15;
  static constexpr size_t kPrefetchBytes = 320;

  uint64_t Load() const { return __atomic_load_n(&word_, __ATOMIC_RELAXED); }
  History* history() const { return reinterpret_cast<History*>(Load() & ~kTags); }
  uint64_t record_word() const;
  void SetRecordWord(uint64_t word);
  void SetTag(uint64_t tag, bool on) { word_ = on ? word_ | tag : word_ & ~tag; }
  // Gives a slot without history one.
  void Expand(bool wide, size_t capacity);

  uint64_t word_ = 0;
};

}  // namespace etcdd::mvcc
