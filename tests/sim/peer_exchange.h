#pragma once

// A question to a simulated member over its peer URLs: the true pages (server/http/peer_pages.h)
// behind the simulated network.
//
// Called on the member's strand.

#include "absl/functional/any_invocable.h"
#include "server/http/peer_pages.h"
#include "server/peer_client.h"

namespace etcdd::sim {

// `done` is called once, perhaps at once, perhaps never if the server stops before.
void ServePeer(const http::PeerPages& pages, const server::PeerRequest& request,
               absl::AnyInvocable<void(server::PeerReply)> done);

}  // namespace etcdd::sim
