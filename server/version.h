#pragma once

// The versions this build answers with.

#include <string_view>

namespace etcdd::server {

// The etcd release whose API and behaviour is spoken. Clients parse it, so it is a plain number:
// Status.version, GET /version and the first line of `etcdd --version`.
inline constexpr std::string_view kEtcdVersion = "3.7.1";

// etcdd's own version, from the top CMakeLists.txt.
inline constexpr std::string_view kEtcddVersion = ETCDD_VERSION;

}  // namespace etcdd::server
