#include "server/net/health_service.h"

#include <optional>
#include <string>
#include <utility>

#include "absl/status/status.h"
#include "server/base/coding.h"

namespace etcdd::net {
namespace {

constexpr std::string_view kServicePrefix = "/grpc.health.v1.Health/";
constexpr std::string_view kCheck = "/grpc.health.v1.Health/Check";
constexpr std::string_view kWatch = "/grpc.health.v1.Health/Watch";

// HealthCheckResponse.ServingStatus.
enum class Serving : uint64_t { kServing = 1, kNotServing = 2, kServiceUnknown = 3 };

// HealthCheckRequest has one field, `string service = 1`. nullopt when it is no such message.
std::optional<std::string_view> ServiceOf(std::string_view request) {
  std::string_view service;
  while (!request.empty()) {
    const auto tag = base::TakeVarint(&request);
    if (!tag.has_value() || *tag != base::BytesTag(1)) return std::nullopt;
    const auto size = base::TakeVarint(&request);
    if (!size.has_value() || *size > request.size()) return std::nullopt;
    service = request.substr(0, *size);
    request.remove_prefix(*size);
  }
  return service;
}

// HealthCheckResponse { ServingStatus status = 1; }
std::string Response(Serving status) {
  std::string message;
  base::AppendVarintField(1, static_cast<uint64_t>(status), &message);
  return message;
}

absl::Status MalformedError() {
  return absl::InternalError("grpc: error unmarshalling request: not a HealthCheckRequest");
}

}  // namespace

struct HealthService::Watcher {
  std::shared_ptr<rpc::Stream> stream;
  bool asked = false;           // the request has come
  bool whole_server = false;    // it asked for the empty name
  bool behind = false;          // a change could not be sent yet
};

HealthService::~HealthService() {
  for (const auto& watcher : watchers_) watcher->stream->SetEvents({});
}

void HealthService::SetServing(bool serving) {
  if (serving == serving_) return;
  serving_ = serving;
  for (const auto& watcher : watchers_) {
    if (!watcher->whole_server) continue;
    watcher->behind = !watcher->stream->writable();
    if (!watcher->behind) {
      watcher->stream->Send(Response(serving ? Serving::kServing : Serving::kNotServing));
    }
  }
}

rpc::Dispatcher::MethodKind HealthService::Classify(std::string_view method) const {
  if (method.substr(0, kServicePrefix.size()) != kServicePrefix) return next_->Classify(method);
  if (method == kCheck) return MethodKind::kUnary;
  if (method == kWatch) return MethodKind::kStream;
  return MethodKind::kUnknownMethod;
}

void HealthService::Dispatch(std::shared_ptr<rpc::Call> call) {
  if (call->method() != kCheck) {
    next_->Dispatch(std::move(call));
    return;
  }
  const auto service = ServiceOf(call->request());
  if (!service.has_value()) {
    call->Finish(MalformedError(), "");
  } else if (!service->empty()) {
    call->Finish(absl::NotFoundError("unknown service"), "");
  } else {
    call->Finish(absl::OkStatus(),
                 Response(serving_ ? Serving::kServing : Serving::kNotServing));
  }
}

void HealthService::Dispatch(std::shared_ptr<rpc::Stream> stream) {
  if (stream->method() != kWatch) {
    next_->Dispatch(std::move(stream));
    return;
  }
  auto watcher = std::make_shared<Watcher>();
  watcher->stream = std::move(stream);
  const auto place = watchers_.insert(watchers_.end(), watcher);
  Watcher* const w = watcher.get();  // lives in watchers_ until on_done
  rpc::Stream::Events events;
  events.on_message = [this, w](std::string_view message) {
    if (std::exchange(w->asked, true)) return;
    const auto service = ServiceOf(message);
    if (!service.has_value()) {
      w->stream->Finish(MalformedError());
      return;
    }
    w->whole_server = service->empty();
    w->stream->Send(Response(!w->whole_server ? Serving::kServiceUnknown
                             : serving_       ? Serving::kServing
                                              : Serving::kNotServing));
  };
  events.on_writable = [this, w] {
    if (!std::exchange(w->behind, false)) return;
    w->stream->Send(Response(serving_ ? Serving::kServing : Serving::kNotServing));
  };
  events.on_done = [this, place] { watchers_.erase(place); };
  w->stream->SetEvents(std::move(events));
}

}  // namespace etcdd::net
