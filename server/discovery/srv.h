#pragma once

// The initial cluster from DNS SRV records (behaviour BOOT-024): _etcd-server-ssl._tcp.DOMAIN lists
// members that peers reach over https, _etcd-server._tcp.DOMAIN those over http.
//
// Thread-safe: no state.

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "server/config.h"

namespace etcdd::discovery {

struct SrvRecord {
  std::string target;  // a host name, without the dot at the end
  uint16_t port = 0;
};

// The DNS, or what a test makes of it. Blocks.
class SrvResolver {
 public:
  virtual ~SrvResolver() = default;
  // The SRV records of `name`, in any order; NotFound when there are none.
  virtual absl::StatusOr<std::vector<SrvRecord>> LookupSrv(const std::string& name) = 0;
  // The IP addresses of a host name, or of the address itself, as texts.
  virtual absl::StatusOr<std::vector<std::string>> LookupHost(const std::string& host) = 0;
};

struct SrvOptions {
  std::string domain;
  std::string service_suffix;  // --discovery-srv-name; "" or "x" for _etcd-server-x
  std::string name;            // of this member
  std::vector<server::Url> advertised_peer_urls;
};

// One member per record, sorted by name. The one whose host and port are those of an advertised
// peer URL (as texts, or once both are looked up) has the name of this member, the others are
// called 0, 1, ... by target and port. Names do not go into the members' ids, the URLs do; they are
// what the records say, also for this member.
//
// A record that is this member, but under the scheme it does not advertise, is left out with a
// warning. Errors: FailedPrecondition "cannot find local etcd member \"NAME\" in SRV records", the
// look-up's error when neither name has records, and when a target and port is listed twice.
absl::StatusOr<std::vector<server::InitialMember>> MembersFromSrv(SrvResolver& resolver,
                                                                  const SrvOptions& options);

}  // namespace etcdd::discovery
