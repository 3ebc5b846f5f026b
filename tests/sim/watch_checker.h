#pragma once

// Judges what a watch delivered against the event log: ordered, unique, reliable (no gap), atomic
// per revision, bookmarkable (nothing at or below a progress revision comes later), filtered as
// asked, prev_kv as of the revision before, and cancelled for compaction only when that is true
// (WATCH-015..037). Resumable follows: a client that goes on elsewhere starts a new run at
// `next` of the old one.
//
// Pure functions over what was recorded.

#include <cstdint>
#include <deque>
#include <string>
#include <vector>

#include "absl/time/time.h"
#include "proto/rpc.pb.h"
#include "tests/sim/history.h"

namespace etcdd::sim {

// One watch on one stream of one member, as its client saw it.
struct WatchRun {
  int client = 0;
  int member = 0;
  uint64_t member_life = 0;
  absl::Duration created_at;
  etcdserverpb::WatchCreateRequest request;
  struct Response {
    absl::Duration time;
    etcdserverpb::WatchResponse response;
  };
  std::vector<Response> responses;
  // Still open at the end of the run, when everything had time to arrive.
  bool open_at_end = false;

  std::string Describe() const;
};

// Texts of what is wrong; empty: nothing.
std::vector<std::string> CheckWatch(const WatchRun& run, const History& history,
                                    const EventLog& log);

// Where a client goes on after this run: the revision after the last one it knows all about.
// 0: it knows nothing.
int64_t NextRevision(const WatchRun& run);

}  // namespace etcdd::sim
