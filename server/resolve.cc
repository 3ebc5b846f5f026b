#include "server/resolve.h"

#include <netdb.h>
#include <sys/socket.h>

#include <algorithm>
#include <set>

#include "server/url.h"

namespace etcdd::server {
namespace {

// The numeric addresses of a host; empty when it is not known.
std::set<std::string> Addresses(const std::string& host) {
  addrinfo hints{};
  hints.ai_socktype = SOCK_STREAM;
  addrinfo* found = nullptr;
  std::set<std::string> addresses;
  if (getaddrinfo(host.c_str(), nullptr, &hints, &found) != 0) return addresses;
  for (const addrinfo* one = found; one != nullptr; one = one->ai_next) {
    char text[NI_MAXHOST];
    if (getnameinfo(one->ai_addr, one->ai_addrlen, text, sizeof text, nullptr, 0,
                    NI_NUMERICHOST) == 0) {
      addresses.insert(text);
    }
  }
  freeaddrinfo(found);
  return addresses;
}

bool LeadsToTheSame(const std::string& a, const std::string& b) {
  if (a == b) return true;
  const auto left = ParseUrl(a);
  const auto right = ParseUrl(b);
  if (!left.ok() || !right.ok() || left->IsUnix() || right->IsUnix()) return false;
  if (left->scheme != right->scheme || left->port != right->port) return false;
  const std::set<std::string> addresses = Addresses(left->host);
  return !addresses.empty() && addresses == Addresses(right->host);
}

}  // namespace

bool LeadToTheSame(const std::vector<std::string>& a, const std::vector<std::string>& b) {
  if (a.size() != b.size()) return false;
  std::vector<std::string> left = b;
  for (const std::string& url : a) {
    const auto found = std::find_if(left.begin(), left.end(), [&](const std::string& other) {
      return LeadsToTheSame(url, other);
    });
    if (found == left.end()) return false;
    left.erase(found);
  }
  return true;
}

}  // namespace etcdd::server
