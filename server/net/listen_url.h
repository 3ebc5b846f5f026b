#pragma once

// URLs a server listens on: http://host:port, https://..., unix://path, unixs://path.
// Thread-safe.

#include <cstdint>
#include <string>
#include <string_view>

#include "absl/status/statusor.h"

namespace etcdd::net {

struct ListenUrl {
  bool tls = false;
  bool unix_socket = false;
  std::string host;  // without brackets; empty: all addresses
  uint16_t port = 0;  // 0: the kernel chooses
  std::string path;  // of a unix socket
};

// InvalidArgument with the URL in the text.
absl::StatusOr<ListenUrl> ParseListenUrl(std::string_view url);

}  // namespace etcdd::net
