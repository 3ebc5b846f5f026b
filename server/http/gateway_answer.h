#pragma once

// The forms of the gateway's answers: gRPC's codes as HTTP's, errors as google.rpc.Status in JSON.
//
// Free functions, thread-safe.

#include <string>
#include <string_view>

#include <google/protobuf/message.h>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "server/net/http1.h"

namespace etcdd::http {

int HttpStatusOf(absl::StatusCode code);

// {"code":5,"message":"..."}
std::string ErrorJson(const absl::Status& status);
// {"error":{"code":5,"message":"..."}} and a line end: the last line of a stream.
std::string ErrorLine(const absl::Status& status);

// An answer that says why there is no other.
net::Http1Response ErrorAnswer(const absl::Status& status);
// The same before the first message of a stream.
net::Http1Response StreamErrorAnswer(const absl::Status& status);
// 200, with the headers that both kinds of answers have.
net::Http1Response OkAnswer(std::string body);

// The JSON text of a request as serialized message. Errors: MessageFromJson's.
absl::StatusOr<std::string> WireFromJson(std::string_view json,
                                         const google::protobuf::Message& prototype);
// Appends the JSON text of a serialized message. Internal when `wire` is none.
absl::Status AppendJsonOfWire(std::string_view wire, const google::protobuf::Message& prototype,
                              std::string* out);

}  // namespace etcdd::http
