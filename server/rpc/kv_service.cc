#include <memory>
#include <utility>

#include "proto/rpc.pb.h"
#include "server/base/api_error.h"
#include "server/rpc/range_stream.h"
#include "server/rpc/services.h"
#include "server/rpc/validation.h"

namespace etcdd::rpc {
namespace {

using server::EtcdServer;

// Answers the call with whatever the server says.
auto FinishWith(std::shared_ptr<Call> call) {
  return [call = std::move(call)](absl::Status status, std::string reply) {
    call->Finish(std::move(status), std::move(reply));
  };
}

void Range(EtcdServer* server, std::shared_ptr<Call> call) {
  const auto range = apply::ParseRange(call->request());
  if (!range) return call->Finish(MalformedRequest(), {});
  absl::Status status = CheckRange(*range);
  if (!status.ok()) return call->Finish(std::move(status), {});
  if (server->is_learner() && !range->serializable) {  // CLUS-031
    return call->Finish(base::ApiError(base::ErrorId::kNotSupportedForLearner), {});
  }
  server->Range(*range, FinishWith(std::move(call)));
}

void Put(EtcdServer* server, std::shared_ptr<Call> call) {
  const std::string_view body = call->request();
  const auto put = apply::ParsePut(body);
  if (!put) return call->Finish(MalformedRequest(), {});
  absl::Status status = CheckPut(*put);
  if (!status.ok()) return call->Finish(std::move(status), {});
  server->Put(*put, body, FinishWith(std::move(call)));
}

void DeleteRange(EtcdServer* server, std::shared_ptr<Call> call) {
  const std::string_view body = call->request();
  const auto request = apply::ParseDeleteRange(body);
  if (!request) return call->Finish(MalformedRequest(), {});
  absl::Status status = CheckDeleteRange(*request);
  if (!status.ok()) return call->Finish(std::move(status), {});
  server->DeleteRange(body, FinishWith(std::move(call)));
}

void Txn(EtcdServer* server, std::shared_ptr<Call> call) {
  const std::string_view body = call->request();
  auto request = std::make_shared<etcdserverpb::TxnRequest>();
  if (!request->ParseFromArray(body.data(), static_cast<int>(body.size()))) {
    return call->Finish(MalformedRequest(), {});
  }
  absl::Status status = CheckTxn(*request, server->options().txn_ops_max);
  if (!status.ok()) return call->Finish(std::move(status), {});
  if (!IsReadOnlyTxn(*request)) return server->Txn(*request, body, FinishWith(std::move(call)));
  const etcdserverpb::TxnRequest& borrowed = *request;
  server->ReadOnlyTxn(
      borrowed, IsSerializableTxn(borrowed),
      [call = std::move(call), request = std::move(request)](absl::Status answer,
                                                             std::string reply) {
        call->Finish(std::move(answer), std::move(reply));
      });
}

void Compact(EtcdServer* server, std::shared_ptr<Call> call) {
  const std::string_view body = call->request();
  etcdserverpb::CompactionRequest request;
  if (!request.ParseFromArray(body.data(), static_cast<int>(body.size()))) {
    return call->Finish(MalformedRequest(), {});
  }
  server->Compact(body, FinishWith(std::move(call)));
}

}  // namespace

void RegisterKv(EtcdServer* server, base::Strand* strand, ServiceDispatcher* dispatcher) {
  const auto unary = [&](const char* method, void (*handler)(EtcdServer*, std::shared_ptr<Call>)) {
    dispatcher->Handle(method, UnaryHandler([server, handler](std::shared_ptr<Call> call) {
                         handler(server, std::move(call));
                       }));
  };
  unary("/etcdserverpb.KV/Range", Range);
  unary("/etcdserverpb.KV/Put", Put);
  unary("/etcdserverpb.KV/DeleteRange", DeleteRange);
  unary("/etcdserverpb.KV/Txn", Txn);
  unary("/etcdserverpb.KV/Compact", Compact);
  dispatcher->Handle("/etcdserverpb.KV/RangeStream",
                     StreamHandler([server, strand](std::shared_ptr<Stream> stream) {
                       ServeRangeStream(server, strand, std::move(stream));
                     }));
}

}  // namespace etcdd::rpc
