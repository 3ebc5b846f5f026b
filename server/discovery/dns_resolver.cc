#include "server/discovery/dns_resolver.h"

#include <arpa/inet.h>
#include <arpa/nameser.h>
#include <netdb.h>
#include <netinet/in.h>
#include <resolv.h>
#include <sys/socket.h>

#include <string>
#include <utility>
#include <vector>

#include "absl/cleanup/cleanup.h"
#include "absl/strings/str_cat.h"

namespace etcdd::discovery {
namespace {

constexpr size_t kAnswerBytesMax = NS_MAXMSG;  // the longest DNS message
constexpr int kSrvHeadBytes = 6;               // priority, weight, port

absl::Status LookupFailed(const std::string& name, int error) {
  const std::string text = absl::StrCat("lookup ", name, ": ", hstrerror(error));
  if (error == HOST_NOT_FOUND || error == NO_DATA) return absl::NotFoundError(text);
  return absl::UnavailableError(text);
}

// The SRV records in a DNS message.
absl::StatusOr<std::vector<SrvRecord>> ParseAnswer(const std::vector<unsigned char>& answer,
                                                   int size, const std::string& name) {
  const absl::Status unreadable =
      absl::UnavailableError(absl::StrCat("lookup ", name, ": unreadable answer"));
  ns_msg message{};
  if (ns_initparse(answer.data(), size, &message) != 0) return unreadable;
  std::vector<SrvRecord> records;
  for (int i = 0; i < ns_msg_count(message, ns_s_an); ++i) {
    ns_rr record{};
    if (ns_parserr(&message, ns_s_an, i, &record) != 0) return unreadable;
    if (ns_rr_type(record) != ns_t_srv) continue;
    if (ns_rr_rdlen(record) <= kSrvHeadBytes) return unreadable;
    const unsigned char* const data = ns_rr_rdata(record);
    char target[NS_MAXDNAME];
    if (ns_name_uncompress(ns_msg_base(message), ns_msg_end(message), data + kSrvHeadBytes, target,
                           sizeof target) < 0) {
      return unreadable;
    }
    // The target "." says that the service is decidedly not there (RFC 2782).
    if (target[0] == '\0' || std::string(target) == ".") continue;
    records.push_back({target, static_cast<uint16_t>(ns_get16(data + 4))});
  }
  if (records.empty()) return LookupFailed(name, NO_DATA);
  return records;
}

class DnsResolver final : public SrvResolver {
 public:
  explicit DnsResolver(std::optional<uint16_t> dns_port) : dns_port_(dns_port) {}

  absl::StatusOr<std::vector<SrvRecord>> LookupSrv(const std::string& name) override {
    struct __res_state state {};
    if (res_ninit(&state) != 0) {
      return absl::UnavailableError("the system's resolver cannot be set up");
    }
    const absl::Cleanup release = [&state] { res_nclose(&state); };
    if (dns_port_.has_value()) {
      state.nscount = 1;
      state.nsaddr_list[0].sin_family = AF_INET;
      state.nsaddr_list[0].sin_port = htons(*dns_port_);
      state.nsaddr_list[0].sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    }
    std::vector<unsigned char> answer(kAnswerBytesMax);
    const int size = res_nquery(&state, name.c_str(), ns_c_in, ns_t_srv, answer.data(),
                                static_cast<int>(answer.size()));
    if (size < 0) return LookupFailed(name, state.res_h_errno);
    return ParseAnswer(answer, size, name);
  }

  absl::StatusOr<std::vector<std::string>> LookupHost(const std::string& host) override {
    addrinfo hints{};
    hints.ai_family = AF_UNSPEC;
    hints.ai_socktype = SOCK_STREAM;
    addrinfo* found = nullptr;
    const int error = getaddrinfo(host.c_str(), nullptr, &hints, &found);
    if (error != 0) {
      return absl::UnavailableError(absl::StrCat("lookup ", host, ": ", gai_strerror(error)));
    }
    const absl::Cleanup release = [found] { freeaddrinfo(found); };
    std::vector<std::string> addresses;
    for (const addrinfo* each = found; each != nullptr; each = each->ai_next) {
      char text[NI_MAXHOST];
      if (getnameinfo(each->ai_addr, each->ai_addrlen, text, sizeof text, nullptr, 0,
                      NI_NUMERICHOST) == 0) {
        addresses.push_back(text);
      }
    }
    return addresses;
  }

 private:
  const std::optional<uint16_t> dns_port_;
};

}  // namespace

std::unique_ptr<SrvResolver> NewDnsResolver(std::optional<uint16_t> dns_port) {
  return std::make_unique<DnsResolver>(dns_port);
}

}  // namespace etcdd::discovery
