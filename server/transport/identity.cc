#include "server/transport/identity.h"

#include <array>

#include "absl/strings/numbers.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "absl/strings/string_view.h"
#include "server/base/check.h"
#include "server/base/log.h"

namespace etcdd::transport {
namespace {

absl::string_view Abseil(std::string_view text) { return {text.data(), text.size()}; }

constexpr uint32_t kVersion20 = 2 << 16;

}  // namespace

net::Http1Headers RequestHeaders(const Identity& self, raft::NodeId to) {
  net::Http1Headers headers = {
      {"X-Server-From", base::LogId(self.id)},
      {"X-Server-Version", self.server_version},
      {"X-Min-Cluster-Version", std::string(kMinClusterVersion)},
      {"X-Etcd-Cluster-ID", base::LogId(self.cluster_id)},
      {"X-PeerURLs", absl::StrJoin(self.peer_urls, ",")},
  };
  if (to != raft::kNoNode) headers.emplace_back("X-Raft-To", base::LogId(to));
  return headers;
}

net::Http1Headers AnswerHeaders(const Identity& self) {
  return {{"X-Etcd-Cluster-ID", base::LogId(self.cluster_id)},
          {"X-Server-Version", self.server_version}};
}

std::optional<uint32_t> ParseVersion(std::string_view text) {
  if (text.empty()) return kVersion20;
  const std::string_view numbers = text.substr(0, text.find_first_of("-+"));
  const std::vector<std::string> parts = absl::StrSplit(Abseil(numbers), '.');
  if (parts.size() != 3) return std::nullopt;
  std::array<uint32_t, 3> values{};
  for (size_t i = 0; i < parts.size(); ++i) {
    const bool digits = parts[i].find_first_not_of("0123456789") == std::string::npos;
    if (!digits || !absl::SimpleAtoi(parts[i], &values[i]) || values[i] > UINT16_MAX) {
      return std::nullopt;
    }
  }
  return values[0] << 16 | values[1];
}

std::optional<uint64_t> ParseId(std::string_view text) {
  uint64_t id = 0;
  if (text.empty() || text.find_first_not_of("0123456789abcdefABCDEF") != std::string_view::npos ||
      !absl::SimpleHexAtoi(Abseil(text), &id)) {
    return std::nullopt;
  }
  return id;
}

net::Http1Response Refusal(const Identity& self, int status, std::string_view text) {
  net::Http1Response response;
  response.status = status;
  response.content_type = "text/plain; charset=utf-8";
  response.headers = AnswerHeaders(self);
  response.headers.emplace_back("X-Content-Type-Options", "nosniff");
  response.body = std::string(text) + "\n";
  return response;
}

std::optional<net::Http1Response> CheckRequest(const Identity& self, std::string_view method,
                                               const net::Http1Request& request) {
  if (request.method != method) {
    net::Http1Response refusal = Refusal(self, 405, "Method Not Allowed");
    refusal.headers.emplace_back("Allow", std::string(method));
    return refusal;
  }
  const std::string_view their_version = request.header("X-Server-Version");
  const std::string_view their_cluster = request.header("X-Etcd-Cluster-ID");
  const auto theirs = ParseVersion(their_version);
  const auto their_min = ParseVersion(request.header("X-Min-Cluster-Version"));
  const auto ours = ParseVersion(self.server_version);
  const auto our_min = ParseVersion(kMinClusterVersion);
  ETCDD_CHECK(ours.has_value() && our_min.has_value());
  const bool compatible = theirs && their_min && *theirs >= *our_min && *their_min <= *ours;
  if (compatible && their_cluster == base::LogId(self.cluster_id)) return std::nullopt;
  const std::string_view text =
      compatible ? "request cluster ID mismatch" : "failed to check version compatibility";
  ETCDD_LOG(kWarn, text,
            {{"local-member-id", base::LogId(self.id)},
             {"local-member-cluster-id", base::LogId(self.cluster_id)},
             {"local-member-server-version", self.server_version},
             {"remote-peer-server-name", request.header("X-Server-From")},
             {"remote-peer-server-version", their_version},
             {"remote-peer-cluster-id", their_cluster}});
  return Refusal(self, 412, compatible ? "cluster ID mismatch" : "incompatible version");
}

bool SpeaksStreams(std::string_view server_version) {
  const auto version = ParseVersion(server_version);
  return version && *version > kVersion20;
}

}  // namespace etcdd::transport
