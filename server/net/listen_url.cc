#include "server/net/listen_url.h"

#include "absl/status/status.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"

namespace etcdd::net {
namespace {

absl::Status Invalid(std::string_view url, std::string_view why) {
  return absl::InvalidArgumentError(absl::StrCat("cannot listen on \"",
                                                 absl::string_view(url.data(), url.size()), "\": ",
                                                 absl::string_view(why.data(), why.size())));
}

}  // namespace

absl::StatusOr<ListenUrl> ParseListenUrl(std::string_view url) {
  const size_t colon = url.find("://");
  if (colon == std::string_view::npos) return Invalid(url, "missing scheme");
  const std::string_view scheme = url.substr(0, colon);
  std::string_view rest = url.substr(colon + 3);
  ListenUrl result;
  if (scheme == "unix" || scheme == "unixs") {
    result.unix_socket = true;
    result.tls = scheme == "unixs";
    result.path = rest;
    if (rest.empty()) return Invalid(url, "missing path");
    return result;
  }
  if (scheme != "http" && scheme != "https") return Invalid(url, "unknown scheme");
  result.tls = scheme == "https";
  if (!rest.empty() && rest.back() == '/') rest.remove_suffix(1);
  const size_t port_colon = rest.rfind(':');
  if (port_colon == std::string_view::npos) return Invalid(url, "missing port");
  const std::string_view port = rest.substr(port_colon + 1);
  uint32_t number = 0;
  if (!absl::SimpleAtoi(absl::string_view(port.data(), port.size()), &number) || number > 65535) {
    return Invalid(url, "invalid port");
  }
  result.port = static_cast<uint16_t>(number);
  std::string_view host = rest.substr(0, port_colon);
  if (host.size() >= 2 && host.front() == '[' && host.back() == ']') {
    host = host.substr(1, host.size() - 2);
  } else if (host.find(':') != std::string_view::npos) {
    return Invalid(url, "IPv6 addresses need brackets");
  }
  result.host = host;
  return result;
}

}  // namespace etcdd::net
