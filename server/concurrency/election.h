#pragma once

// What a leader says and what others ask (ELEC-003..005). Errors have the code Unknown.
//
// Confined to the server strand.

#include <string>
#include <string_view>

#include "absl/functional/any_invocable.h"
#include "absl/status/statusor.h"
#include "proto/v3election.pb.h"
#include "server/etcd_server.h"

namespace etcdd::concurrency {

using ProclaimDone = absl::AnyInvocable<void(absl::StatusOr<v3electionpb::ProclaimResponse>)>;
void Proclaim(server::EtcdServer* server, const v3electionpb::ProclaimRequest& request,
              ProclaimDone done);

// OK also when the leadership has ended before.
using ResignDone = absl::AnyInvocable<void(absl::StatusOr<v3electionpb::ResignResponse>)>;
void Resign(server::EtcdServer* server, const v3electionpb::ResignRequest& request,
            ResignDone done);

using LeaderDone = absl::AnyInvocable<void(absl::StatusOr<v3electionpb::LeaderResponse>)>;
void Leader(server::EtcdServer* server, std::string_view name, LeaderDone done);

}  // namespace etcdd::concurrency
