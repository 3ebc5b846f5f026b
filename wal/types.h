#pragma once

// What a write-ahead log holds, as plain values: wal/ knows nothing of raft/ or protobuf objects.

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "server/base/bytes.h"

namespace etcdd::wal {

// An entry to append. `data` must stay valid during the call it is passed to.
struct EntryView {
  int32_t type = 0;  // raftpb.EntryType: 0 normal, 1 conf change, 2 conf change v2
  uint64_t term = 0;
  uint64_t index = 0;
  std::string_view data;
};

// An entry read back.
struct Entry {
  int32_t type = 0;
  uint64_t term = 0;
  uint64_t index = 0;
  base::Bytes data;

  friend bool operator==(const Entry&, const Entry&) = default;
};

struct HardState {
  uint64_t term = 0;
  uint64_t vote = 0;
  uint64_t commit = 0;

  bool empty() const { return term == 0 && vote == 0 && commit == 0; }
  friend bool operator==(const HardState&, const HardState&) = default;
};

// The mark that a raft snapshot at (index, term) is durable elsewhere.
struct SnapshotRecord {
  uint64_t index = 0;
  uint64_t term = 0;
  std::string conf_state;  // encoded raftpb.ConfState; empty in records of etcd 3.4 and older

  friend bool operator==(const SnapshotRecord&, const SnapshotRecord&) = default;
};

// A log as read from its snapshot mark on.
struct Contents {
  std::string metadata;         // encoded etcdserverpb.Metadata, as given to Wal::Create
  HardState hard_state;         // the last one recorded; commit may lag behind what was applied
  SnapshotRecord snapshot;      // the matched mark
  std::vector<Entry> entries;   // entries[i].index == snapshot.index + 1 + i
};

}  // namespace etcdd::wal
