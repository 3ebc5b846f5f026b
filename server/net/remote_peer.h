#pragma once

// Who is at the other end of a connection. Shared by its requests, which may outlive it; fixed once
// the first request exists.

#include <string>

namespace etcdd::net {

struct RemotePeer {
  std::string address;                  // as text, "127.0.0.1:41234"
  std::string certificate_common_name;  // of the verified client certificate; empty without one
  bool tls = false;                     // it came over TLS
};

}  // namespace etcdd::net
