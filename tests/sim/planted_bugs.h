#pragma once

// Bugs that a run can be given on purpose. The checkers must find each of them: one that finds
// nothing in a broken cluster proves nothing about a good one.

namespace etcdd::sim {

struct PlantedBugs {
  // Reads that were asked for as linearizable are answered from the member's own state.
  bool stale_reads = false;
  // Now and then a watch response does not reach its client.
  bool lost_watch_responses = false;
  // Leases are revoked although nobody asked for it and their time is not over.
  bool early_lease_ends = false;
  // The network doubles forwarded proposals, so that requests are applied twice.
  bool doubled_proposals = false;
};

}  // namespace etcdd::sim
