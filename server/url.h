#pragma once

// The URLs of flags and of members: http, https, unix or unixs, and nothing behind the address.
// Error texts are etcd's.

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace etcdd::server {

struct Url {
  std::string scheme;   // lower case
  std::string address;  // "host:port" as written; for unix sockets the path of the socket
  std::string host;     // without brackets; may be empty; empty for unix sockets
  uint16_t port = 0;    // 0 for unix sockets, and where the system shall choose

  bool IsUnix() const { return scheme == "unix" || scheme == "unixs"; }
  bool IsTls() const { return scheme == "https" || scheme == "unixs"; }
  std::string ToString() const { return scheme + "://" + address; }

  friend bool operator==(const Url& a, const Url& b) {
    return a.scheme == b.scheme && a.address == b.address;
  }
};

absl::StatusOr<Url> ParseUrl(std::string_view text);

// Parses a comma separated list; blanks around items are dropped. The result is sorted by text and
// free of duplicates. An empty text gives an empty list.
absl::StatusOr<std::vector<Url>> ParseUrlList(std::string_view text);

std::vector<std::string> UrlTexts(const std::vector<Url>& urls);

// OK when a listener can be bound to the URL without asking the DNS: an IP address, "localhost" or
// a unix socket.
absl::Status CheckBindable(const Url& url);

// OK when others can be told the URL: it names a host.
absl::Status CheckAdvertisable(const Url& url);

}  // namespace etcdd::server
