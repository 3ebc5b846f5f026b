#pragma once

// The registry of v3 discovery (behaviour BOOT-020): keys of an etcd cluster.
//
//   /_etcd/registry/TOKEN/_config/size     how many members the cluster begins with, decimal
//   /_etcd/registry/TOKEN/members/ID       "name=url,name=url", ID is the member's in hex
//
// Confined to one thread at a time.

#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "server/discovery/grpc_client.h"
#include "server/discovery/registry.h"

namespace etcdd::discovery {

struct EtcdRegistryOptions {
  std::string token;     // not empty
  std::string user;      // empty: requests carry no credentials
  std::string password;
};

// With a user the first request is preceded by Authenticate, and a token that the cluster no longer
// knows is replaced once per request. A cluster without authentication is asked without.
std::unique_ptr<Registry> NewEtcdRegistry(std::unique_ptr<GrpcClient> client,
                                          EtcdRegistryOptions options);

}  // namespace etcdd::discovery
