#pragma once

// The rare branches that a full run over many seeds must have reached. One that is never reached is
// not tested, whatever the checkers say.

#include <cstdint>
#include <map>
#include <string>
#include <vector>

namespace etcdd::sim {

// Names of the expected probes that were not counted.
std::vector<std::string> MissingProbes(const std::map<std::string, int64_t>& counts);

}  // namespace etcdd::sim
