#pragma once

// Judges leases: never early, in true time and across changes of leader (LEASE-015, 016); gone
// means gone; a lease that nobody keeps alive ends.
//
// What is known of a lease's end: its keys are deleted in one revision that nobody asked for, or a
// client is told that it does not exist.
//
// Pure functions over what was recorded.

#include <cstdint>
#include <string>
#include <vector>

#include "tests/sim/history.h"

namespace etcdd::sim {

struct LeaseFacts {
  int64_t ended_by_time = 0;
  int64_t prolonged = 0;  // of these, seconds after their time: a new leader began anew
};

// Texts of what is wrong; empty: nothing. `facts` may be null.
std::vector<std::string> CheckLeases(const History& history, const EventLog& log,
                                     LeaseFacts* facts = nullptr);

}  // namespace etcdd::sim
