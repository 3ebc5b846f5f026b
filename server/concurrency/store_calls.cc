#include "server/concurrency/store_calls.h"

#include <memory>
#include <string>
#include <utility>

#include "server/apply/txn.h"
#include "server/base/api_error.h"
#include "server/base/check.h"

namespace etcdd::concurrency {
namespace {

using server::EtcdServer;

// Passes an answer of the server on, decoded.
template <typename Response, typename Done>
auto Decoded(Done done) {
  return [done = std::move(done)](absl::Status status, const std::string& reply) mutable {
    if (!status.ok()) return done(AsUnknown(status));
    Response response;
    ETCDD_CHECK(response.ParseFromString(reply));
    done(std::move(response));
  };
}

// The code is that of the server, not yet Unknown.
void Read(EtcdServer* server, std::shared_ptr<const etcdserverpb::RangeRequest> request,
          server::Done done) {
  const apply::RangeView view = apply::ToRangeView(*request);
  server->Range(view, [request = std::move(request), done = std::move(done)](
                          absl::Status status, std::string reply) mutable {
    done(std::move(status), std::move(reply));
  });
}

}  // namespace

absl::Status AsUnknown(const absl::Status& status) {
  return status.ok() ? status : absl::UnknownError(status.message());
}

void EnsureLease(EtcdServer* server, int64_t lease, LeaseDone done) {
  if (lease != 0) return done(lease);
  server->LeaseGrant(0, kOwnLeaseTtlSeconds,
                     Decoded<etcdserverpb::LeaseGrantResponse>(
                         [done = std::move(done)](
                             absl::StatusOr<etcdserverpb::LeaseGrantResponse> granted) mutable {
                           if (!granted.ok()) return done(granted.status());
                           done(granted->id());
                         }));
}

void RunTxn(EtcdServer* server, const etcdserverpb::TxnRequest& request, TxnDone done) {
  server->Txn(request, request.SerializeAsString(),
              Decoded<etcdserverpb::TxnResponse>(std::move(done)));
}

void ReadRange(EtcdServer* server, etcdserverpb::RangeRequest request, RangeDone done) {
  Read(server, std::make_shared<const etcdserverpb::RangeRequest>(std::move(request)),
       Decoded<etcdserverpb::RangeResponse>(std::move(done)));
}

void ReadPatiently(EtcdServer* server, etcdserverpb::RangeRequest request, Wanted wanted,
                   RangeDone done) {
  auto shared = std::make_shared<const etcdserverpb::RangeRequest>(std::move(request));
  Read(server, shared,
       [server, shared, wanted = std::move(wanted), done = std::move(done)](
           absl::Status status, std::string reply) mutable {
         if (!wanted()) return;
         if (status.code() != absl::StatusCode::kUnavailable || server->stopped()) {
           auto decoded = Decoded<etcdserverpb::RangeResponse>(std::move(done));
           return decoded(std::move(status), reply);
         }
         server->strand().PostAfter(kRetryInterval, [server, shared, wanted = std::move(wanted),
                                                     done = std::move(done)]() mutable {
           if (!wanted()) return;
           ReadPatiently(server, *shared, std::move(wanted), std::move(done));
         });
       });
}

void DeleteKey(EtcdServer* server, std::string_view key, DeleteDone done) {
  if (key.empty()) return done(AsUnknown(base::ApiError(base::ErrorId::kEmptyKey)));
  etcdserverpb::DeleteRangeRequest request;
  request.set_key(std::string(key));
  server->DeleteRange(request.SerializeAsString(),
                      Decoded<etcdserverpb::DeleteRangeResponse>(std::move(done)));
}

}  // namespace etcdd::concurrency
