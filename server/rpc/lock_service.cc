#include <memory>
#include <string>
#include <utility>

#include "proto/v3lock.pb.h"
#include "server/concurrency/contender.h"
#include "server/rpc/services.h"

namespace etcdd::rpc {
namespace {

using concurrency::Claims;
using concurrency::Contender;
using server::EtcdServer;

void Lock(EtcdServer* server, std::shared_ptr<Claims> claims, std::shared_ptr<Call> call) {
  const std::string_view body = call->request();
  v3lockpb::LockRequest request;
  if (!request.ParseFromArray(body.data(), static_cast<int>(body.size()))) {
    return call->Finish(MalformedRequest(), {});
  }
  Contender::Options options;
  options.kind = Contender::Kind::kLock;
  options.name = std::move(*request.mutable_name());
  options.lease = request.lease();
  auto contender = Contender::Start(
      server, std::move(claims), std::move(options),
      [call](absl::StatusOr<Contender::Place> place) {
        if (!place.ok()) return call->Finish(place.status(), {});
        v3lockpb::LockResponse response;
        *response.mutable_header() = place->header;
        response.set_key(place->key);
        call->Finish(absl::OkStatus(), response.SerializeAsString());
      });
  call->OnCancel([contender = std::move(contender)] { contender->Cancel(); });
}

void Unlock(EtcdServer* server, std::shared_ptr<Call> call) {
  const std::string_view body = call->request();
  v3lockpb::UnlockRequest request;
  if (!request.ParseFromArray(body.data(), static_cast<int>(body.size()))) {
    return call->Finish(MalformedRequest(), {});
  }
  concurrency::DeleteKey(
      server, request.key(),
      [call](absl::StatusOr<etcdserverpb::DeleteRangeResponse> deleted) {
        if (!deleted.ok()) return call->Finish(deleted.status(), {});
        v3lockpb::UnlockResponse response;
        *response.mutable_header() = deleted->header();
        call->Finish(absl::OkStatus(), response.SerializeAsString());
      });
}

}  // namespace

void RegisterLock(EtcdServer* server, ServiceDispatcher* dispatcher) {
  auto claims = std::make_shared<Claims>();
  dispatcher->Handle("/v3lockpb.Lock/Lock",
                     UnaryHandler([server, claims](std::shared_ptr<Call> call) {
                       Lock(server, claims, std::move(call));
                     }));
  dispatcher->Handle("/v3lockpb.Lock/Unlock", UnaryHandler([server](std::shared_ptr<Call> call) {
                       Unlock(server, std::move(call));
                     }));
}

}  // namespace etcdd::rpc
