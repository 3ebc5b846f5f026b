#pragma once

// Protobuf's JSON mapping as etcd's gateway applies it (http-endpoints.md section 3).
//
// Read: original or lowerCamelCase field names, 64-bit numbers as numbers or strings, bytes in
// either alphabet of base64, enums by name or number, null for unset, unknown fields and names of
// enum values ignored. Written: original names in the order of declaration, 64-bit numbers as
// strings, bytes in padded base64, enums by name, zero values left out, no white space.
//
// Free functions, thread-safe. Messages have no maps and no floating point fields (etcd's have
// none); asking for one is a bug of ours.

#include <cstddef>
#include <string>
#include <string_view>

#include <google/protobuf/message.h>

#include "absl/status/status.h"

namespace etcdd::http {

// Fills `message`, which is empty, from the first JSON value in `json`; what follows it is not
// looked at, and no value at all is an empty message. Errors: InvalidArgument; `message` is then
// partly filled.
absl::Status MessageFromJson(std::string_view json, google::protobuf::Message* message);

void AppendJson(const google::protobuf::Message& message, std::string* out);

// `text` in quotes; bytes that are no UTF-8 become U+FFFD.
void AppendJsonString(std::string_view text, std::string* out);

}  // namespace etcdd::http
