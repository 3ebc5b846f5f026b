#pragma once

// Whether URLs lead to the same places, though one names a host and the other its address. Asks the
// system's resolver and blocks.
//
// Thread-safe.

#include <string>
#include <vector>

namespace etcdd::server {

// In any order. URLs that are not equal as text are compared by scheme, port and the addresses of
// their hosts. A host that is not known equals only itself.
bool LeadToTheSame(const std::vector<std::string>& a, const std::vector<std::string>& b);

}  // namespace etcdd::server
