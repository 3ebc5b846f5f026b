#pragma once

// Whether the members of a cluster have come to the same state.
//
// Pure functions over running members, between their tasks. Requires: all but retired ones run.

#include <string>

#include "tests/sim/sim_cluster.h"

namespace etcdd::sim {

// All know the same leader and have applied all that any of them has committed.
bool ProgressEqual(SimCluster& cluster);
std::string DescribeProgress(SimCluster& cluster);

// What differs in members, leases, alarms, or stored pairs; empty: nothing.
std::string FindDifference(SimCluster& cluster);

// HashKV at the newest revision and at one in the middle of what is not compacted. Physical
// removal may be under way: the hash does not depend on it (MAINT-029). Empty: all equal.
std::string FindHashDifference(SimCluster& cluster);

}  // namespace etcdd::sim
