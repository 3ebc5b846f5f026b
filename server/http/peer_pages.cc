#include "server/http/peer_pages.h"

#include <charconv>
#include <nlohmann/json.hpp>
#include <string>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "proto/lease.pb.h"
#include "server/base/api_error.h"
#include "server/base/log.h"
#include "server/etcd_server.h"
#include "server/http/pages.h"
#include "server/http/response.h"

namespace etcdd::http {
namespace {

using base::ErrorId;
using base::IsApiError;

constexpr std::string_view kPromotePath = "/members/promote/";
constexpr char kJson[] = "application/json";
constexpr char kProtobuf[] = "application/protobuf";
constexpr char kClusterIdHeader[] = "X-Etcd-Cluster-ID";
// Requests about leases are a few bytes.
constexpr size_t kLeaseRequestBytesMax = 64 << 10;

absl::string_view Abseil(std::string_view text) { return {text.data(), text.size()}; }

net::Http1Response Ok(const char* type, std::string body) {
  net::Http1Response response;
  response.content_type = type;
  response.body = std::move(body);
  return response;
}

std::string Text(const absl::Status& status) { return std::string(status.message()); }

// A member's answer to a promotion that failed.
net::Http1Response PromotionRefused(const absl::Status& status) {
  if (IsApiError(status, ErrorId::kMemberNotFound)) {
    return ErrorText(404, "membership: ID not found");
  }
  if (IsApiError(status, ErrorId::kMemberNotLearner)) {
    return ErrorText(412, "membership: can only promote a learner member");
  }
  if (IsApiError(status, ErrorId::kLearnerNotReady)) return ErrorText(412, Text(status));
  net::Http1Response response = Ok(kJson, R"({"message":"Internal Server Error"})");
  response.status = 500;
  return response;
}

}  // namespace

void PeerPages::Serve(Exchange exchange) const {
  const Target target = ParseTarget(exchange->request().target);
  const std::string& method = exchange->request().method;
  const std::string& path = target.path;
  const bool is_lease = path == "/leases" || path == "/leases/internal";
  const bool is_promotion = absl::StartsWith(path, Abseil(kPromotePath));
  const bool is_question = path == "/members" || path == "/version" ||
                           path == "/downgrade/enabled" || path == "/members/hashkv";
  if (!is_lease && !is_promotion && !is_question) return exchange->Respond(NotFound());
  const char* const allowed = is_question ? "GET" : "POST";
  if (method != allowed) return exchange->Respond(MethodNotAllowed(allowed));
  if (path == "/members") return exchange->Respond(Members());
  if (path == "/version") return exchange->Respond(VersionPage(*server_));
  if (path == "/downgrade/enabled") return ServeDowngradeEnabled(std::move(exchange));
  if (path == "/members/hashkv") return ServeHashKv(std::move(exchange));
  if (is_promotion) {
    return ServePromote(std::string_view(path).substr(kPromotePath.size()), std::move(exchange));
  }
  if (exchange->request().body.size() > kLeaseRequestBytesMax) {
    return exchange->Respond(ErrorText(413, "request body too large"));
  }
  if (path == "/leases") return ServeLeaseRenewal(std::move(exchange));
  ServeLeaseInfo(std::move(exchange));
}

net::Http1Response PeerPages::Members() const {
  auto response = Ok(kJson, membership::MembersToJson(server_->cluster().members()) + "\n");
  response.headers.emplace_back(kClusterIdHeader, base::LogId(server_->identity().cluster_id));
  return response;
}

void PeerPages::ServeDowngradeEnabled(Exchange exchange) const {
  server_->LinearizableRead([this, exchange = std::move(exchange)](absl::Status status) {
    if (!status.ok()) {
      return exchange->Respond(
          ErrorText(500, absl::StrCat("failed linearized read: ", status.message())));
    }
    exchange->Respond(
        Ok("text/plain", server_->cluster().downgrade().enabled ? "true" : "false"));
  });
}

void PeerPages::ServePromote(std::string_view text, Exchange exchange) const {
  uint64_t id = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), id);
  if (error != std::errc() || end != text.data() + text.size()) {
    return exchange->Respond(
        ErrorText(404, absl::StrCat("member ", Abseil(text), " not found in cluster")));
  }
  server_->PromoteMemberHere(id, [this, exchange = std::move(exchange)](absl::Status status,
                                                                        std::string) {
    exchange->Respond(status.ok() ? Members() : PromotionRefused(status));
  });
}

void PeerPages::ServeHashKv(Exchange exchange) const {
  const net::Http1Request& request = exchange->request();
  const std::string own = base::LogId(server_->identity().cluster_id);
  const std::string_view asked = request.header(kClusterIdHeader);
  if (!asked.empty() && asked != own) {
    return exchange->Respond(ErrorText(412, "cluster ID mismatch"));
  }
  const auto body = nlohmann::json::parse(request.body, nullptr, /*allow_exceptions=*/false);
  if (!body.is_object()) return exchange->Respond(ErrorText(400, "error unmarshalling request"));
  int64_t revision = 0;
  if (auto found = body.find("revision"); found != body.end() && found->is_number_integer()) {
    revision = found->get<int64_t>();
  }
  server_->HashKv(revision, [this, own, exchange = std::move(exchange)](
                                absl::StatusOr<mvcc::HashKvResult> result) {
    if (!result.ok()) {
      const char* text = IsApiError(result.status(), ErrorId::kCompacted)
                             ? "mvcc: required revision has been compacted"
                         : IsApiError(result.status(), ErrorId::kFutureRev)
                             ? "mvcc: required revision is a future revision"
                             : "internal error";
      return exchange->Respond(ErrorText(400, text));
    }
    nlohmann::ordered_json object;
    object["header"]["revision"] = server_->store().revision();
    object["hash"] = result->hash;
    if (result->compact_revision != 0) object["compact_revision"] = result->compact_revision;
    if (result->hash_revision != 0) object["hash_revision"] = result->hash_revision;
    auto response = Ok(kJson, object.dump());
    response.headers.emplace_back(kClusterIdHeader, own);
    exchange->Respond(std::move(response));
  });
}

void PeerPages::WhenCaughtUp(Exchange exchange, absl::AnyInvocable<void(Exchange)> then) const {
  server_->WhenApplied(server_->Status().raft_index,
                       [exchange = std::move(exchange),
                        then = std::move(then)](absl::Status status) mutable {
                         if (status.ok()) return then(std::move(exchange));
                         exchange->Respond(ErrorText(
                             408, "waiting for node to catch up its applied index has timed out"));
                       });
}

void PeerPages::ServeLeaseRenewal(Exchange exchange) const {
  etcdserverpb::LeaseKeepAliveRequest request;
  if (!request.ParseFromString(exchange->request().body)) {
    return exchange->Respond(ErrorText(400, "error unmarshalling request"));
  }
  WhenCaughtUp(std::move(exchange), [this, id = request.id()](Exchange caught_up) {
    server_->LeaseRenewHere(id, [id, caught_up](absl::Status status, int64_t ttl) {
      if (!status.ok()) return caught_up->Respond(ErrorText(400, Text(status)));
      if (ttl <= 0) return caught_up->Respond(ErrorText(404, "lease not found"));
      etcdserverpb::LeaseKeepAliveResponse response;
      response.set_id(id);
      response.set_ttl(ttl);
      caught_up->Respond(Ok(kProtobuf, response.SerializeAsString()));
    });
  });
}

void PeerPages::ServeLeaseInfo(Exchange exchange) const {
  leasepb::LeaseInternalRequest request;
  if (!request.ParseFromString(exchange->request().body)) {
    return exchange->Respond(ErrorText(400, "error unmarshalling request"));
  }
  WhenCaughtUp(std::move(exchange), [this, request = std::move(request)](Exchange caught_up) {
    const auto& asked = request.leasetimetoliverequest();
    const auto lease = server_->LeaseTimeToLiveHere(asked.id(), asked.keys());
    if (!lease.ok()) return caught_up->Respond(ErrorText(500, Text(lease.status())));
    if (lease->ttl_seconds < 0) return caught_up->Respond(ErrorText(404, "lease not found"));
    leasepb::LeaseInternalResponse response;
    auto* out = response.mutable_leasetimetoliveresponse();
    out->mutable_header()->set_cluster_id(server_->identity().cluster_id);
    out->mutable_header()->set_member_id(server_->identity().member_id);
    out->mutable_header()->set_revision(server_->store().revision());
    out->mutable_header()->set_raft_term(server_->applied_term());
    out->set_id(asked.id());
    out->set_ttl(lease->ttl_seconds);
    out->set_grantedttl(lease->granted_ttl_seconds);
    for (const std::string& key : lease->keys) out->add_keys(key);
    caught_up->Respond(Ok(kProtobuf, response.SerializeAsString()));
  });
}

}  // namespace etcdd::http
