#include "tests/net/echo_service.h"

#include <cstdlib>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/cord.h"

namespace etcdd::net {
namespace {

constexpr std::string_view kPrefix = "/test.Echo/";

std::string_view MethodName(std::string_view path) {
  return path.substr(0, kPrefix.size()) == kPrefix ? path.substr(kPrefix.size()) : "";
}

void Answer(rpc::Call* call) {
  const std::string request(call->request());
  const std::string_view method = MethodName(call->method());
  if (method == "Big") {
    call->Finish(absl::OkStatus(), std::string(std::strtoull(request.c_str(), nullptr, 10), 'b'));
  } else if (method == "Fail") {
    char* text = nullptr;
    const long code = std::strtol(request.c_str(), &text, 10);
    absl::Status status(static_cast<absl::StatusCode>(code), *text == ' ' ? text + 1 : text);
    if (call->metadata("want-details").has_value()) {
      status.SetPayload("grpc-status-details-bin", absl::Cord("\xff\xfe details"));
    }
    call->Finish(status, "");
  } else if (method == "Meta") {
    const auto value = call->metadata(request);
    call->Finish(absl::OkStatus(), value.has_value() ? std::string(*value) : "<none>");
  } else {
    call->Finish(absl::OkStatus(), request);
  }
}

}  // namespace

rpc::Dispatcher::MethodKind EchoService::Classify(std::string_view method) const {
  if (method.substr(0, kPrefix.size()) != kPrefix) return MethodKind::kUnknownService;
  const std::string_view name = MethodName(method);
  if (name == "Unary" || name == "Big" || name == "Fail" || name == "Meta" || name == "Hold") {
    return MethodKind::kUnary;
  }
  if (name == "Stream" || name == "Flood") return MethodKind::kStream;
  return MethodKind::kUnknownMethod;
}

void EchoService::Dispatch(std::shared_ptr<rpc::Call> call) {
  ++calls;
  if (MethodName(call->method()) != "Hold") {
    Answer(call.get());
    return;
  }
  call->OnCancel([this] { ++cancelled; });
  held_.push_back(std::move(call));
}

void EchoService::ReleaseHeld() {
  std::vector<std::shared_ptr<rpc::Call>> held;
  held.swap(held_);
  for (const auto& call : held) Answer(call.get());
}

void EchoService::Dispatch(std::shared_ptr<rpc::Stream> stream) {
  last_stream = stream;
  if (MethodName(stream->method()) == "Flood") {
    StartFlood(stream);
  } else {
    StartEcho(stream);
  }
}

void EchoService::StartEcho(const std::shared_ptr<rpc::Stream>& stream) {
  rpc::Stream::Events events;
  events.on_message = [this, stream](std::string_view message) {
    ++messages;
    stream->Send("", base::Bytes::Copy(message));
  };
  events.on_half_close = [stream] { stream->Finish(absl::OkStatus()); };
  events.on_done = [this] { ++streams_done; };
  stream->SetEvents(std::move(events));
}

void EchoService::StartFlood(const std::shared_ptr<rpc::Stream>& stream) {
  constexpr size_t kMessageBytes = 1024;
  auto left = std::make_shared<int64_t>(0);
  auto send = [this, stream, left] {
    while (*left > 0) {
      --*left;
      ++flood_sent;
      if (!stream->Send(std::string(kMessageBytes, 'f'))) break;
    }
    if (*left == 0) stream->Finish(absl::OkStatus());
  };
  rpc::Stream::Events events;
  events.on_message = [this, left, send](std::string_view message) mutable {
    ++messages;
    *left = std::strtoll(std::string(message).c_str(), nullptr, 10);
    send();
  };
  events.on_writable = send;
  events.on_done = [this] { ++streams_done; };
  stream->SetEvents(std::move(events));
}

}  // namespace etcdd::net
