#include "server/http/gateway_answer.h"

#include <climits>
#include <memory>
#include <utility>

#include "absl/strings/str_cat.h"
#include "server/base/status_macros.h"
#include "server/http/json_codec.h"

namespace etcdd::http {
namespace {

constexpr char kJson[] = "application/json";

}  // namespace

int HttpStatusOf(absl::StatusCode code) {
  switch (code) {
    case absl::StatusCode::kOk: return 200;
    case absl::StatusCode::kCancelled: return 499;
    case absl::StatusCode::kInvalidArgument:
    case absl::StatusCode::kFailedPrecondition:
    case absl::StatusCode::kOutOfRange: return 400;
    case absl::StatusCode::kDeadlineExceeded: return 504;
    case absl::StatusCode::kNotFound: return 404;
    case absl::StatusCode::kAlreadyExists:
    case absl::StatusCode::kAborted: return 409;
    case absl::StatusCode::kPermissionDenied: return 403;
    case absl::StatusCode::kResourceExhausted: return 429;
    case absl::StatusCode::kUnimplemented: return 501;
    case absl::StatusCode::kUnavailable: return 503;
    case absl::StatusCode::kUnauthenticated: return 401;
    case absl::StatusCode::kUnknown:
    case absl::StatusCode::kInternal:
    case absl::StatusCode::kDataLoss:
    default: return 500;
  }
}

std::string ErrorJson(const absl::Status& status) {
  std::string body = absl::StrCat("{\"code\":", static_cast<int>(status.code()), ",\"message\":");
  AppendJsonString({status.message().data(), status.message().size()}, &body);
  body.push_back('}');
  return body;
}

std::string ErrorLine(const absl::Status& status) {
  return absl::StrCat("{\"error\":", ErrorJson(status), "}\n");
}

net::Http1Response ErrorAnswer(const absl::Status& status) {
  net::Http1Response response;
  response.status = HttpStatusOf(status.code());
  response.content_type = kJson;
  if (response.status == 401) {
    // A header is one line.
    std::string text(status.message());
    for (char& c : text) c = c == '\r' || c == '\n' ? ' ' : c;
    response.headers.emplace_back("WWW-Authenticate", std::move(text));
  }
  response.body = ErrorJson(status);
  return response;
}

net::Http1Response StreamErrorAnswer(const absl::Status& status) {
  net::Http1Response response = ErrorAnswer(status);
  response.body = ErrorLine(status);
  return response;
}

net::Http1Response OkAnswer(std::string body) {
  net::Http1Response response;
  response.content_type = kJson;
  response.headers.emplace_back("Grpc-Metadata-Content-Type", "application/grpc");
  response.body = std::move(body);
  return response;
}

absl::StatusOr<std::string> WireFromJson(std::string_view json,
                                         const google::protobuf::Message& prototype) {
  const std::unique_ptr<google::protobuf::Message> message(prototype.New());
  ETCDD_RETURN_IF_ERROR(MessageFromJson(json, message.get()));
  return message->SerializeAsString();
}

absl::Status AppendJsonOfWire(std::string_view wire, const google::protobuf::Message& prototype,
                              std::string* out) {
  const std::unique_ptr<google::protobuf::Message> message(prototype.New());
  if (wire.size() > INT_MAX ||
      !message->ParseFromArray(wire.data(), static_cast<int>(wire.size()))) {
    return absl::InternalError("grpc: failed to unmarshal the received message");
  }
  AppendJson(*message, out);
  return absl::OkStatus();
}

}  // namespace etcdd::http
