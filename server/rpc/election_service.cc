#include <memory>
#include <string>
#include <utility>

#include "proto/v3election.pb.h"
#include "server/concurrency/contender.h"
#include "server/concurrency/election.h"
#include "server/concurrency/observer.h"
#include "server/rpc/services.h"

namespace etcdd::rpc {
namespace {

using concurrency::Claims;
using concurrency::Contender;
using concurrency::Observer;
using server::EtcdServer;

template <typename Request>
bool Parse(std::string_view body, Request* request) {
  return request->ParseFromArray(body.data(), static_cast<int>(body.size()));
}

// Answers the call with whatever the recipe says.
template <typename Response>
auto FinishWith(std::shared_ptr<Call> call) {
  return [call = std::move(call)](const absl::StatusOr<Response>& response) {
    if (!response.ok()) return call->Finish(response.status(), {});
    call->Finish(absl::OkStatus(), response->SerializeAsString());
  };
}

void Campaign(EtcdServer* server, std::shared_ptr<Claims> claims, std::shared_ptr<Call> call) {
  v3electionpb::CampaignRequest request;
  if (!Parse(call->request(), &request)) return call->Finish(MalformedRequest(), {});
  Contender::Options options;
  options.kind = Contender::Kind::kCampaign;
  options.name = request.name();
  options.lease = request.lease();
  options.value = std::move(*request.mutable_value());
  auto contender = Contender::Start(
      server, std::move(claims), std::move(options),
      [call, name = request.name()](absl::StatusOr<Contender::Place> place) {
        if (!place.ok()) return call->Finish(place.status(), {});
        v3electionpb::CampaignResponse response;
        *response.mutable_header() = place->header;
        v3electionpb::LeaderKey& leader = *response.mutable_leader();
        leader.set_name(name);
        leader.set_key(place->key);
        leader.set_rev(place->create_revision);
        leader.set_lease(place->lease);
        call->Finish(absl::OkStatus(), response.SerializeAsString());
      });
  call->OnCancel([contender = std::move(contender)] { contender->Cancel(); });
}

void Proclaim(EtcdServer* server, std::shared_ptr<Call> call) {
  v3electionpb::ProclaimRequest request;
  if (!Parse(call->request(), &request)) return call->Finish(MalformedRequest(), {});
  concurrency::Proclaim(server, request,
                        FinishWith<v3electionpb::ProclaimResponse>(std::move(call)));
}

void Resign(EtcdServer* server, std::shared_ptr<Call> call) {
  v3electionpb::ResignRequest request;
  if (!Parse(call->request(), &request)) return call->Finish(MalformedRequest(), {});
  concurrency::Resign(server, request, FinishWith<v3electionpb::ResignResponse>(std::move(call)));
}

void Leader(EtcdServer* server, std::shared_ptr<Call> call) {
  v3electionpb::LeaderRequest request;
  if (!Parse(call->request(), &request)) return call->Finish(MalformedRequest(), {});
  concurrency::Leader(server, request.name(),
                      FinishWith<v3electionpb::LeaderResponse>(std::move(call)));
}

// One Observe stream. Owned by the events set on the stream.
class ObserveSession : public std::enable_shared_from_this<ObserveSession> {
 public:
  ObserveSession(EtcdServer* server, std::shared_ptr<Stream> stream)
      : server_(server), stream_(std::move(stream)) {}

  void Start() {
    auto self = shared_from_this();
    Stream::Events events;
    events.on_message = [self](std::string_view message) { self->OnMessage(message); };
    events.on_half_close = [] {};
    events.on_writable = [self] {
      if (self->observer_ != nullptr) self->observer_->OnWritable();
    };
    events.on_done = [self] {
      if (self->observer_ != nullptr) self->observer_->Stop();
    };
    stream_->SetEvents(std::move(events));
  }

 private:
  void OnMessage(std::string_view message) {
    v3electionpb::LeaderRequest request;
    if (!Parse(message, &request)) return stream_->Finish(MalformedRequest());
    Observer::Client client;
    client.send = [stream = stream_](const v3electionpb::LeaderResponse& response) {
      return stream->Send(response.SerializeAsString());
    };
    client.end = [stream = stream_](const absl::Status& status) { stream->Finish(status); };
    observer_ = std::make_shared<Observer>(server_, request.name(), std::move(client));
    observer_->Start();
  }

  EtcdServer* const server_;
  const std::shared_ptr<Stream> stream_;
  std::shared_ptr<Observer> observer_;
};

}  // namespace

void RegisterElection(EtcdServer* server, ServiceDispatcher* dispatcher) {
  auto claims = std::make_shared<Claims>();
  dispatcher->Handle("/v3electionpb.Election/Campaign",
                     UnaryHandler([server, claims](std::shared_ptr<Call> call) {
                       Campaign(server, claims, std::move(call));
                     }));
  const auto unary = [&](const char* method, void (*handler)(EtcdServer*, std::shared_ptr<Call>)) {
    dispatcher->Handle(method, UnaryHandler([server, handler](std::shared_ptr<Call> call) {
                         handler(server, std::move(call));
                       }));
  };
  unary("/v3electionpb.Election/Proclaim", Proclaim);
  unary("/v3electionpb.Election/Resign", Resign);
  unary("/v3electionpb.Election/Leader", Leader);
  dispatcher->Handle("/v3electionpb.Election/Observe",
                     StreamHandler([server](std::shared_ptr<Stream> stream) {
                       std::make_shared<ObserveSession>(server, std::move(stream))->Start();
                     }));
}

}  // namespace etcdd::rpc
