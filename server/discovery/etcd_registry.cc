#include "server/discovery/etcd_registry.h"

#include <optional>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "proto/rpc.pb.h"
#include "server/base/status_macros.h"

namespace etcdd::discovery {
namespace {

constexpr char kPrefix[] = "/_etcd/registry/";
constexpr char kAuthNotEnabled[] = "etcdserver: authentication is not enabled";
constexpr char kInvalidToken[] = "etcdserver: invalid auth token";

class EtcdRegistry final : public Registry {
 public:
  EtcdRegistry(std::unique_ptr<GrpcClient> client, EtcdRegistryOptions options)
      : client_(std::move(client)),
        options_(std::move(options)),
        size_key_(absl::StrCat(kPrefix, options_.token, "/_config/size")),
        members_prefix_(absl::StrCat(kPrefix, options_.token, "/members/")) {}

  absl::StatusOr<std::optional<std::string>> ReadSize() override {
    etcdserverpb::RangeRequest request;
    request.set_key(size_key_);
    etcdserverpb::RangeResponse response;
    ETCDD_RETURN_IF_ERROR(Call("/etcdserverpb.KV/Range", request, &response));
    if (response.kvs().empty()) return std::nullopt;
    return response.kvs(0).value();
  }

  absl::StatusOr<std::vector<Registration>> ListMembers() override {
    etcdserverpb::RangeRequest request;
    request.set_key(members_prefix_);
    std::string end = members_prefix_;
    end.back() = '/' + 1;  // the first key behind all that begin with the prefix
    request.set_range_end(end);
    etcdserverpb::RangeResponse response;
    ETCDD_RETURN_IF_ERROR(Call("/etcdserverpb.KV/Range", request, &response));
    std::vector<Registration> members;
    for (const auto& kv : response.kvs()) {
      if (kv.key().compare(0, members_prefix_.size(), members_prefix_) != 0) {
        return absl::UnavailableError("the registry answered with keys that were not asked for");
      }
      members.push_back({kv.key().substr(members_prefix_.size()), kv.value(),
                         kv.create_revision()});
    }
    return members;
  }

  absl::Status Register(const std::string& member_id, const std::string& text) override {
    etcdserverpb::PutRequest request;
    request.set_key(members_prefix_ + member_id);
    request.set_value(text);
    etcdserverpb::PutResponse response;
    return Call("/etcdserverpb.KV/Put", request, &response);
  }

 private:
  template <typename Request, typename Response>
  absl::Status Call(const char* path, const Request& request, Response* response) {
    ETCDD_RETURN_IF_ERROR(Authenticate());
    absl::StatusOr<std::string> reply = Send(path, request.SerializeAsString());
    if (!reply.ok() && !auth_token_.empty() && reply.status().message() == kInvalidToken) {
      authenticated_ = false;
      ETCDD_RETURN_IF_ERROR(Authenticate());
      reply = Send(path, request.SerializeAsString());
    }
    if (!reply.ok()) return reply.status();
    if (response->ParseFromString(*reply)) return absl::OkStatus();
    return absl::UnavailableError(absl::StrCat("unreadable reply to ", path));
  }

  absl::StatusOr<std::string> Send(const char* path, std::string message) {
    GrpcRequest request{path, std::move(message), {}};
    if (!auth_token_.empty()) request.metadata = {{"token", auth_token_}};
    return client_->Call(request);
  }

  absl::Status Authenticate() {
    if (options_.user.empty() || authenticated_) return absl::OkStatus();
    etcdserverpb::AuthenticateRequest request;
    request.set_name(options_.user);
    request.set_password(options_.password);
    auth_token_.clear();
    const auto reply = Send("/etcdserverpb.Auth/Authenticate", request.SerializeAsString());
    if (!reply.ok() && reply.status().message() != kAuthNotEnabled) return reply.status();
    if (reply.ok()) {
      etcdserverpb::AuthenticateResponse response;
      if (!response.ParseFromString(*reply) || response.token().empty()) {
        return absl::UnavailableError("unreadable reply to Authenticate");
      }
      auth_token_ = response.token();
    }
    authenticated_ = true;
    return absl::OkStatus();
  }

  const std::unique_ptr<GrpcClient> client_;
  const EtcdRegistryOptions options_;
  const std::string size_key_;
  const std::string members_prefix_;
  bool authenticated_ = false;  // or known to need none
  std::string auth_token_;      // empty: none is sent
};

}  // namespace

std::unique_ptr<Registry> NewEtcdRegistry(std::unique_ptr<GrpcClient> client,
                                          EtcdRegistryOptions options) {
  return std::make_unique<EtcdRegistry>(std::move(client), std::move(options));
}

}  // namespace etcdd::discovery
