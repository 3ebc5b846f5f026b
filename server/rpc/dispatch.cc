#include "server/rpc/dispatch.h"

#include <utility>

#include <google/protobuf/descriptor.h>

#include "absl/strings/str_cat.h"
#include "proto/rpc.pb.h"
#include "proto/v3election.pb.h"
#include "proto/v3lock.pb.h"
#include "server/base/api_error.h"
#include "server/base/check.h"
#include "server/etcd_server.h"
#include "server/server_metrics.h"

namespace etcdd::rpc {
namespace {

absl::Status NotServed(std::string_view method) {
  return absl::UnimplementedError(
      absl::StrCat("etcdserver: ", absl::string_view(method.data(), method.size()),
                   " is not supported yet by this version of etcdd"));
}

bool IsUtf8(std::string_view text) {
  for (size_t i = 0; i < text.size();) {
    const auto lead = static_cast<unsigned char>(text[i]);
    const size_t size = lead < 0x80 ? 1 : lead >> 5 == 6 ? 2 : lead >> 4 == 14 ? 3
                        : lead >> 3 == 30 ? 4 : 0;
    if (size == 0 || i + size > text.size()) return false;
    for (size_t k = 1; k < size; ++k) {
      if ((static_cast<unsigned char>(text[i + k]) >> 6) != 2) return false;
    }
    i += size;
  }
  return true;
}

// Names of gRPC's codes as its metrics show them, by number.
constexpr std::string_view kCodeNames[] = {
    "OK",            "Canceled",          "Unknown",            "InvalidArgument",
    "DeadlineExceeded", "NotFound",       "AlreadyExists",      "PermissionDenied",
    "ResourceExhausted", "FailedPrecondition", "Aborted",       "OutOfRange",
    "Unimplemented", "Internal",          "Unavailable",        "DataLoss",
    "Unauthenticated"};

base::Metrics::Labels MethodLabels(const google::protobuf::MethodDescriptor& method) {
  const char* type = method.client_streaming()
                         ? (method.server_streaming() ? "bidi_stream" : "client_stream")
                         : (method.server_streaming() ? "server_stream" : "unary");
  return {{"grpc_type", type},
          {"grpc_service", method.service()->full_name()},
          {"grpc_method", method.name()}};
}

std::unique_ptr<MethodCounters> MakeCounters(const google::protobuf::MethodDescriptor& method,
                                             server::ServerMetrics& metrics) {
  const base::Metrics::Labels labels = MethodLabels(method);
  auto counters = std::make_unique<MethodCounters>();
  counters->received = &metrics.registry.AddCounter(
      "grpc_server_msg_received_total", "Messages received, by method.", labels);
  counters->sent = &metrics.registry.AddCounter("grpc_server_msg_sent_total",
                                                "Messages sent, by method.", labels);
  counters->received_bytes = &metrics.client_received_bytes;
  counters->sent_bytes = &metrics.client_sent_bytes;
  for (size_t code = 0; code < counters->handled.size(); ++code) {
    base::Metrics::Labels with_code = labels;
    with_code.emplace_back("grpc_code", kCodeNames[code]);
    counters->handled[code] = &metrics.registry.AddCounter(
        "grpc_server_handled_total", "Requests that came to an end, by method and code.",
        with_code);
  }
  return counters;
}

// What a learner serves (CLUS-031). Of ranges only the serializable ones, which their handler sees.
bool IsForLearners(std::string_view method) {
  return method == "/etcdserverpb.KV/Range" || method == "/etcdserverpb.Maintenance/Status" ||
         method == "/etcdserverpb.Maintenance/Snapshot";
}

constexpr int kChecksWithoutLeaderMax = 3;

bool RequiresLeader(const CallContext& context) {
  const auto leader = context.metadata("hasleader");
  return leader.has_value() && *leader == "true";
}

}  // namespace

absl::Status MalformedRequest() {
  return absl::InternalError("grpc: error unmarshalling request: cannot parse invalid wire-format "
                             "data");
}

ServiceDispatcher::ServiceDispatcher(server::EtcdServer* server) : server_(server) {
  for (const auto* file :
       {etcdserverpb::PutRequest::descriptor()->file(), v3lockpb::LockRequest::descriptor()->file(),
        v3electionpb::CampaignRequest::descriptor()->file()}) {
    for (int i = 0; i < file->service_count(); ++i) {
      const auto* service = file->service(i);
      services_.insert(service->full_name());
      for (int k = 0; k < service->method_count(); ++k) {
        const auto* method = service->method(k);
        const std::string path = absl::StrCat("/", service->full_name(), "/", method->name());
        Method entry;
        entry.is_stream = method->client_streaming() || method->server_streaming();
        entry.started = &server->metrics().registry.AddCounter(
            "grpc_server_started_total", "Requests received, by method.", MethodLabels(*method));
        entry.counters = MakeCounters(*method, server->metrics());
        entry.unary = [](std::shared_ptr<Call> call) {
          call->Finish(NotServed(call->method()), {});
        };
        entry.stream = [](std::shared_ptr<Stream> stream) {
          stream->SetEvents({});
          stream->Finish(NotServed(stream->method()));
        };
        methods_.emplace(path, std::move(entry));
      }
    }
  }
}

void ServiceDispatcher::Handle(std::string_view method, UnaryHandler handler) {
  auto found = methods_.find(method);
  ETCDD_CHECK(found != methods_.end() && !found->second.is_stream);
  found->second.unary = std::move(handler);
}

void ServiceDispatcher::Handle(std::string_view method, StreamHandler handler) {
  auto found = methods_.find(method);
  ETCDD_CHECK(found != methods_.end() && found->second.is_stream);
  found->second.stream = std::move(handler);
}

Dispatcher::MethodKind ServiceDispatcher::Classify(std::string_view method) const {
  auto found = methods_.find(method);
  if (found != methods_.end()) {
    return found->second.is_stream ? MethodKind::kStream : MethodKind::kUnary;
  }
  const size_t slash = method.rfind('/');
  if (slash == std::string_view::npos || slash == 0 || method[0] != '/') {
    return MethodKind::kUnknownService;
  }
  const std::string_view service = method.substr(1, slash - 1);
  return services_.find(service) != services_.end() ? MethodKind::kUnknownMethod
                                                    : MethodKind::kUnknownService;
}

void ServiceDispatcher::Dispatch(std::shared_ptr<Call> call) {
  const Method& method = methods_.find(call->method())->second;
  method.started->Add();
  call->set_counters(method.counters.get());
  call->CountReceived(call->request().size());
  const absl::Status admitted = Admit(*call);
  if (!admitted.ok()) return call->Finish(admitted, {});
  method.unary(std::move(call));
}

void ServiceDispatcher::Dispatch(std::shared_ptr<Stream> stream) {
  const Method& method = methods_.find(stream->method())->second;
  method.started->Add();
  stream->set_counters(method.counters.get());
  const absl::Status admitted = Admit(*stream);
  if (!admitted.ok()) {
    stream->SetEvents({});
    return stream->Finish(admitted);
  }
  if (RequiresLeader(*stream)) WatchForLeader(stream);
  method.stream(std::move(stream));
}

void ServiceDispatcher::WatchForLeader(std::shared_ptr<Stream> stream) {
  leader_required_.push_back(std::move(stream));
  if (!std::exchange(checking_leader_, true)) {
    checks_without_leader_ = 0;
    CheckLeader();
  }
}

// Every election timeout, while there are such streams.
void ServiceDispatcher::CheckLeader() {
  const server::EtcdServerOptions& options = server_->options();
  server_->strand().PostAfter(options.election_ticks * options.tick_interval,
                              [this, alive = alive_] {
    if (!*alive || server_->stopped()) return;
    std::erase_if(leader_required_, [](const auto& stream) { return stream.expired(); });
    checking_leader_ = !leader_required_.empty();
    if (!checking_leader_) return;
    checks_without_leader_ = server_->has_leader() ? 0 : checks_without_leader_ + 1;
    if (checks_without_leader_ >= kChecksWithoutLeaderMax) {
      checks_without_leader_ = 0;
      for (const auto& weak : std::exchange(leader_required_, {})) {
        if (auto stream = weak.lock()) {
          stream->Finish(base::ApiError(base::ErrorId::kNoLeader));
        }
      }
    }
    CheckLeader();
  });
}

absl::Status ServiceDispatcher::Admit(const CallContext& context) const {
  if (server_->stopped()) return base::ApiError(base::ErrorId::kStopped);
  if (server_->is_learner() && !IsForLearners(context.method())) {
    return base::ApiError(base::ErrorId::kNotSupportedForLearner);
  }
  if (auto version = context.metadata("client-api-version"); version && !IsUtf8(*version)) {
    return base::ApiError(base::ErrorId::kInvalidClientAPIVersion);
  }
  if (RequiresLeader(context) && !server_->has_leader()) {
    return base::ApiError(base::ErrorId::kNoLeader);
  }
  return absl::OkStatus();
}

}  // namespace etcdd::rpc
