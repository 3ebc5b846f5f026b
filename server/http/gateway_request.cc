#include "server/http/gateway_request.h"

#include <algorithm>
#include <iterator>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "server/base/status_macros.h"
#include "server/http/base64.h"

namespace etcdd::http {
namespace {

constexpr char kMetadataPrefix[] = "grpc-metadata-";

absl::string_view Abseil(std::string_view text) { return {text.data(), text.size()}; }

// Headers that the gateway hands on under its own prefix: the permanent ones of HTTP.
bool IsPermanentHeader(std::string_view lower_name) {
  static constexpr std::string_view kNames[] = {
      "accept",       "accept-charset", "accept-language",   "accept-ranges",
      "authorization", "cache-control", "content-type",      "cookie",
      "date",         "expect",         "from",              "host",
      "if-match",     "if-modified-since", "if-none-match",  "if-schedule-tag-match",
      "if-unmodified-since", "max-forwards", "origin",       "pragma",
      "referer",      "user-agent",     "via",               "warning"};
  return std::find(std::begin(kNames), std::end(kNames), lower_name) != std::end(kNames);
}

// "3S": a number and one unit of H M S m u n.
absl::StatusOr<absl::Duration> ReadTimeout(std::string_view text) {
  int64_t count = 0;
  const auto error = [text] {
    return absl::InvalidArgumentError(absl::StrCat("invalid grpc-timeout: ", Abseil(text)));
  };
  if (text.size() < 2 || !absl::SimpleAtoi(Abseil(text.substr(0, text.size() - 1)), &count)) {
    return error();
  }
  switch (text.back()) {
    case 'H': return absl::Hours(count);
    case 'M': return absl::Minutes(count);
    case 'S': return absl::Seconds(count);
    case 'm': return absl::Milliseconds(count);
    case 'u': return absl::Microseconds(count);
    case 'n': return absl::Nanoseconds(count);
    default: return error();
  }
}

void AddForwarded(const net::Http1Request& request, GatewayRequest* out) {
  if (const auto host = request.header("x-forwarded-host"); !host.empty()) {
    out->metadata.emplace_back("x-forwarded-host", host);
  } else if (const auto own = request.header("host"); !own.empty()) {
    out->metadata.emplace_back("x-forwarded-host", own);
  }
  std::string address = request.remote.substr(0, request.remote.rfind(':'));
  std::erase_if(address, [](char c) { return c == '[' || c == ']'; });
  const auto before = request.header("x-forwarded-for");
  out->metadata.emplace_back("x-forwarded-for", before.empty()
                                                    ? address
                                                    : absl::StrCat(Abseil(before), ", ", address));
}

}  // namespace

std::optional<std::string_view> GatewayRequest::Find(std::string_view name) const {
  for (const auto& [key, value] : metadata) {
    if (key == name) return value;
  }
  return std::nullopt;
}

absl::StatusOr<GatewayRequest> ReadGatewayHeaders(const net::Http1Request& request) {
  GatewayRequest out;
  out.peer = request.remote;
  for (const auto& [name, value] : request.headers) {
    std::string lower = absl::AsciiStrToLower(name);
    if (lower == "authorization") out.metadata.emplace_back(lower, value);
    if (IsPermanentHeader(lower)) {
      out.metadata.emplace_back("grpcgateway-" + lower, value);
    } else if (absl::StartsWith(lower, kMetadataPrefix)) {
      lower.erase(0, sizeof kMetadataPrefix - 1);
      if (!absl::EndsWith(lower, "-bin")) {
        out.metadata.emplace_back(std::move(lower), value);
      } else if (auto bytes = DecodeBase64(value)) {
        out.metadata.emplace_back(std::move(lower), *std::move(bytes));
      }
    } else if (lower == "grpc-timeout") {
      ETCDD_ASSIGN_OR_RETURN(const absl::Duration timeout, ReadTimeout(value));
      // As etcd's gateway has it: nothing in particular is meant by zero.
      if (timeout != absl::ZeroDuration()) out.timeout = timeout;
    }
  }
  AddForwarded(request, &out);
  return out;
}

}  // namespace etcdd::http
