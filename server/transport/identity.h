#pragma once

// Who a member says it is: the X- headers of peer requests, and the checks that come before
// anything else (peer-protocol.md sections 2 and 3).
//
// Thread-safe (pure functions).

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "raft/types.h"
#include "server/net/http1.h"

namespace etcdd::transport {

inline constexpr std::string_view kMinClusterVersion = "3.0.0";

struct Identity {
  raft::NodeId id = raft::kNoNode;
  uint64_t cluster_id = 0;
  std::vector<std::string> peer_urls;  // advertised
  std::string server_version;          // three numbers, such as 3.7.1
};

// The headers of our requests; with X-Raft-To when `to` is a member.
net::Http1Headers RequestHeaders(const Identity& self, raft::NodeId to = raft::kNoNode);
// The headers of our answers.
net::Http1Headers AnswerHeaders(const Identity& self);

// major * 2^16 + minor of a version of three numbers (what follows - or + does not count). An empty
// text is 2.0.0, from before there were such headers; nullopt: it is no version.
std::optional<uint32_t> ParseVersion(std::string_view text);
// Lower-case hex as in headers and paths; nullopt: it is no id.
std::optional<uint64_t> ParseId(std::string_view text);

// An answer that refuses a request, as plain text with a new line.
net::Http1Response Refusal(const Identity& self, int status, std::string_view text);

// Whether the sender of a request may talk to us at all: its method, versions and cluster. A
// mismatch is logged.
std::optional<net::Http1Response> CheckRequest(const Identity& self, std::string_view method,
                                               const net::Http1Request& request);

// Whether a stream may be had from a server of this X-Server-Version.
bool SpeaksStreams(std::string_view server_version);

}  // namespace etcdd::transport
