#include "server/url.h"

#include <arpa/inet.h>

#include <algorithm>

#include "absl/strings/ascii.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "server/base/status_macros.h"

namespace etcdd::server {
namespace {

constexpr char kNoAddress[] = "URL address does not have the form \"host:port\"";

absl::Status Invalid(const char* what, std::string_view text) {
  return absl::InvalidArgumentError(absl::StrCat(what, ": ", std::string(text)));
}

// What Go's parser of URLs says, through which etcd's users know these mistakes.
absl::Status Unparsable(std::string_view text, const std::string& why) {
  return absl::InvalidArgumentError(absl::StrCat("parse \"", std::string(text), "\": ", why));
}

// Splits "host:port" and "[v6]:port".
bool SplitHostPort(std::string_view address, std::string* host, std::string_view* port) {
  const size_t colon = address.rfind(':');
  if (colon == std::string_view::npos) return false;
  std::string_view name = address.substr(0, colon);
  *port = address.substr(colon + 1);
  if (!name.empty() && name.front() == '[') {
    if (name.back() != ']') return false;
    name = name.substr(1, name.size() - 2);
  } else if (name.find(':') != std::string_view::npos) {
    return false;
  }
  *host = std::string(name);
  return true;
}

bool ParsePort(std::string_view text, uint16_t* port) {
  uint32_t number = 0;
  const bool digits = !text.empty() && std::all_of(text.begin(), text.end(), absl::ascii_isdigit);
  if (!digits || !absl::SimpleAtoi(absl::string_view(text.data(), text.size()), &number) ||
      number > UINT16_MAX) {
    return false;
  }
  *port = static_cast<uint16_t>(number);
  return true;
}

bool IsIpAddress(const std::string& host) {
  unsigned char bytes[sizeof(in6_addr)];
  const std::string without_zone = host.substr(0, host.find('%'));
  return inet_pton(AF_INET, host.c_str(), bytes) == 1 ||
         inet_pton(AF_INET6, without_zone.c_str(), bytes) == 1;
}

}  // namespace

absl::StatusOr<Url> ParseUrl(std::string_view text) {
  const size_t separator = text.find("://");
  Url url;
  if (separator != std::string_view::npos) {
    url.scheme = absl::AsciiStrToLower(std::string(text.substr(0, separator)));
  }
  if (url.scheme != "http" && url.scheme != "https" && !url.IsUnix()) {
    const std::string_view first = text.substr(0, text.find('/'));
    if (!first.empty() && !absl::ascii_isalpha(static_cast<unsigned char>(first.front())) &&
        first.find(':') != std::string_view::npos) {
      return Unparsable(text, "first path segment in URL cannot contain colon");
    }
    return Invalid("URL scheme must be http, https, unix, or unixs", text);
  }
  url.address = std::string(text.substr(separator + 3));
  if (url.IsUnix()) {
    if (url.address.empty()) return Invalid(kNoAddress, text);
    return url;
  }
  if (url.address.find('/') != std::string::npos) {
    return Invalid("URL must not contain a path", text);
  }
  std::string_view port;
  if (url.address.find_first_of("?#@ ") != std::string::npos ||
      !SplitHostPort(url.address, &url.host, &port) || port.empty()) {
    return Invalid(kNoAddress, text);
  }
  if (!ParsePort(port, &url.port)) {
    return Unparsable(text, absl::StrCat("invalid port \":", std::string(port), "\" after host"));
  }
  return url;
}

absl::StatusOr<std::vector<Url>> ParseUrlList(std::string_view text) {
  std::vector<Url> urls;
  if (text.empty()) return urls;
  for (const auto& item : absl::StrSplit(absl::string_view(text.data(), text.size()), ',')) {
    ETCDD_ASSIGN_OR_RETURN(Url url, ParseUrl(std::string(absl::StripAsciiWhitespace(item))));
    urls.push_back(std::move(url));
  }
  std::sort(urls.begin(), urls.end(),
            [](const Url& a, const Url& b) { return a.ToString() < b.ToString(); });
  urls.erase(std::unique(urls.begin(), urls.end()), urls.end());
  return urls;
}

std::vector<std::string> UrlTexts(const std::vector<Url>& urls) {
  std::vector<std::string> texts;
  texts.reserve(urls.size());
  for (const Url& url : urls) texts.push_back(url.ToString());
  return texts;
}

absl::Status CheckBindable(const Url& url) {
  if (url.IsUnix() || url.host == "localhost" || IsIpAddress(url.host)) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrCat("expected IP in URL for binding (", url.ToString(), ")"));
}

absl::Status CheckAdvertisable(const Url& url) {
  if (url.IsUnix() || !url.host.empty()) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat("unexpected empty host (", url.ToString(), ")"));
}

}  // namespace etcdd::server
