#pragma once

// The forms etcd's HTTP answers take (http-endpoints: "err-text", "405-text").
//
// Free functions, thread-safe.

#include <string>
#include <string_view>

#include "server/net/http1.h"

namespace etcdd::http {

inline constexpr char kPlainText[] = "text/plain; charset=utf-8";

// An error as plain text; a newline is added.
net::Http1Response ErrorText(int status, std::string_view text);
// Only `allowed` is a method of this path.
net::Http1Response MethodNotAllowed(std::string_view allowed);
net::Http1Response NotFound();

}  // namespace etcdd::http
