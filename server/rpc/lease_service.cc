#include <deque>
#include <memory>
#include <utility>

#include "proto/rpc.pb.h"
#include "server/base/api_error.h"
#include "server/base/coding.h"
#include "server/rpc/services.h"

namespace etcdd::rpc {
namespace {

using server::EtcdServer;

// Requests of one KeepAlive stream that wait while an earlier one is answered; it ends beyond.
constexpr size_t kWaitingRenewalsMax = 10000;

template <typename Request>
bool Parse(std::string_view body, Request* request) {
  return request->ParseFromArray(body.data(), static_cast<int>(body.size()));
}

auto FinishWith(std::shared_ptr<Call> call) {
  return [call = std::move(call)](absl::Status status, std::string reply) {
    call->Finish(std::move(status), std::move(reply));
  };
}

void Grant(EtcdServer* server, std::shared_ptr<Call> call) {
  etcdserverpb::LeaseGrantRequest request;
  if (!Parse(call->request(), &request)) return call->Finish(MalformedRequest(), {});
  server->LeaseGrant(request.id(), request.ttl(), FinishWith(std::move(call)));
}

void Revoke(EtcdServer* server, std::shared_ptr<Call> call) {
  etcdserverpb::LeaseRevokeRequest request;
  if (!Parse(call->request(), &request)) return call->Finish(MalformedRequest(), {});
  server->LeaseRevoke(request.id(), FinishWith(std::move(call)));
}

void TimeToLive(EtcdServer* server, std::shared_ptr<Call> call) {
  etcdserverpb::LeaseTimeToLiveRequest request;
  if (!Parse(call->request(), &request)) return call->Finish(MalformedRequest(), {});
  server->LeaseTimeToLive(
      request.id(), request.keys(),
      [server, id = request.id(), call = std::move(call)](absl::StatusOr<server::LeaseInfo> lease) {
        if (!lease.ok()) return call->Finish(lease.status(), {});
        std::string reply;
        server->AppendHeader(&reply);
        base::AppendVarintField(2, static_cast<uint64_t>(id), &reply);
        base::AppendVarintField(3, static_cast<uint64_t>(lease->ttl_seconds), &reply);
        base::AppendVarintField(4, static_cast<uint64_t>(lease->granted_ttl_seconds), &reply);
        for (const std::string& key : lease->keys) base::AppendBytesField(5, key, &reply);
        call->Finish(absl::OkStatus(), std::move(reply));
      });
}

void List(EtcdServer* server, std::shared_ptr<Call> call) {
  std::string reply;
  server->AppendHeader(&reply);
  for (int64_t id : server->Leases()) {
    std::string status;
    base::AppendVarintField(1, static_cast<uint64_t>(id), &status);
    base::AppendBytesField(2, status, &reply);
  }
  call->Finish(absl::OkStatus(), std::move(reply));
}

// One KeepAlive stream: one answer per request, in order (LEASE-007), though a renewal may have to
// wait. Owned by the events set on the stream and by renewals under way.
class KeepAliveSession : public std::enable_shared_from_this<KeepAliveSession> {
 public:
  KeepAliveSession(EtcdServer* server, std::shared_ptr<Stream> stream)
      : server_(server), stream_(std::move(stream)) {}

  void Start() {
    auto self = shared_from_this();
    Stream::Events events;
    events.on_message = [self](std::string_view message) { self->OnMessage(message); };
    events.on_half_close = [self] {
      self->half_closed_ = true;
      self->Next();
    };
    events.on_writable = [] {};
    events.on_done = [self] { self->done_ = true; };
    stream_->SetEvents(std::move(events));
  }

 private:
  void OnMessage(std::string_view message) {
    etcdserverpb::LeaseKeepAliveRequest request;
    if (!Parse(message, &request)) return Finish(MalformedRequest());
    if (waiting_.size() >= kWaitingRenewalsMax) {
      return Finish(base::ApiError(base::ErrorId::kTooManyRequests));
    }
    waiting_.push_back(request.id());
    Next();
  }

  // A renewal that finishes at once calls back into Next, which then leaves the work to the loop.
  void Next() {
    if (std::exchange(running_, true)) return;
    while (!busy_ && !done_ && !waiting_.empty()) {
      const int64_t id = waiting_.front();
      waiting_.pop_front();
      busy_ = true;
      std::string reply;
      server_->AppendHeader(&reply);  // taken before the renewal
      base::AppendVarintField(2, static_cast<uint64_t>(id), &reply);
      server_->LeaseRenew(id, [self = shared_from_this(), reply = std::move(reply)](
                                  absl::Status status, int64_t ttl) mutable {
        self->OnRenewed(std::move(status), ttl, std::move(reply));
      });
    }
    running_ = false;
    if (!busy_ && half_closed_) Finish(absl::OkStatus());
  }

  void OnRenewed(absl::Status status, int64_t ttl, std::string reply) {
    busy_ = false;
    if (done_) return;
    if (!status.ok()) return Finish(std::move(status));
    base::AppendVarintField(3, static_cast<uint64_t>(ttl), &reply);
    stream_->Send(std::move(reply));
    Next();
  }

  void Finish(absl::Status status) {
    if (std::exchange(done_, true)) return;
    stream_->Finish(std::move(status));
  }

  EtcdServer* const server_;
  const std::shared_ptr<Stream> stream_;
  std::deque<int64_t> waiting_;
  bool running_ = false;  // inside Next
  bool busy_ = false;     // a renewal is under way
  bool half_closed_ = false;
  bool done_ = false;
};

}  // namespace

void RegisterLease(EtcdServer* server, ServiceDispatcher* dispatcher) {
  const auto unary = [&](const char* method, void (*handler)(EtcdServer*, std::shared_ptr<Call>)) {
    dispatcher->Handle(method, UnaryHandler([server, handler](std::shared_ptr<Call> call) {
                         handler(server, std::move(call));
                       }));
  };
  unary("/etcdserverpb.Lease/LeaseGrant", Grant);
  unary("/etcdserverpb.Lease/LeaseRevoke", Revoke);
  unary("/etcdserverpb.Lease/LeaseTimeToLive", TimeToLive);
  unary("/etcdserverpb.Lease/LeaseLeases", List);
  dispatcher->Handle("/etcdserverpb.Lease/LeaseKeepAlive",
                     StreamHandler([server](std::shared_ptr<Stream> stream) {
                       std::make_shared<KeepAliveSession>(server, std::move(stream))->Start();
                     }));
}

}  // namespace etcdd::rpc
