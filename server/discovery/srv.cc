#include "server/discovery/srv.h"

#include <algorithm>
#include <set>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "server/base/log.h"
#include "server/base/status_macros.h"
#include "server/url.h"

namespace etcdd::discovery {
namespace {

using server::InitialMember;
using server::Url;

// "host:port", an IPv6 address in brackets.
std::string AddressText(const std::string& host, uint16_t port) {
  const bool v6 = host.find(':') != std::string::npos;
  return v6 ? absl::StrCat("[", host, "]:", port) : absl::StrCat(host, ":", port);
}

std::string HostKey(std::string host) {
  if (!host.empty() && host.back() == '.') host.pop_back();
  return absl::AsciiStrToLower(host);
}

// A URL of this member, and where it leads.
struct OwnUrl {
  Url url;
  std::set<std::string> addresses;  // empty when the look-up failed
};

std::vector<OwnUrl> ResolveOwn(SrvResolver& resolver, const std::vector<Url>& urls) {
  std::vector<OwnUrl> own;
  for (const Url& url : urls) {
    OwnUrl each{url, {}};
    auto addresses = resolver.LookupHost(url.host);
    if (addresses.ok()) {
      each.addresses.insert(addresses->begin(), addresses->end());
    } else {
      ETCDD_LOG(kWarn, "failed to resolve an advertised peer URL",
                {{"url", url.ToString()}, base::LogField(addresses.status())});
    }
    own.push_back(std::move(each));
  }
  return own;
}

// The advertised URL that `record` is about; null for another member's.
const OwnUrl* FindOwn(SrvResolver& resolver, const std::vector<OwnUrl>& own,
                      const SrvRecord& record) {
  for (const OwnUrl& each : own) {
    if (each.url.port == record.port && HostKey(each.url.host) == HostKey(record.target)) {
      return &each;
    }
  }
  const bool port_known = std::any_of(own.begin(), own.end(), [&record](const OwnUrl& each) {
    return each.url.port == record.port;
  });
  if (!port_known) return nullptr;
  const auto addresses = resolver.LookupHost(record.target);
  if (!addresses.ok()) {
    // It is still a member: others may be able to look it up, and all must see the same cluster.
    ETCDD_LOG(kWarn, "failed to resolve the target of an SRV record",
              {{"target", record.target}, base::LogField(addresses.status())});
    return nullptr;
  }
  for (const OwnUrl& each : own) {
    if (each.url.port != record.port) continue;
    for (const std::string& address : *addresses) {
      if (each.addresses.count(address) > 0) return &each;
    }
  }
  return nullptr;
}

struct Service {
  const char* scheme;
  const char* service;
};
constexpr Service kServices[] = {{"https", "etcd-server-ssl"}, {"http", "etcd-server"}};

class SrvMembers {
 public:
  SrvMembers(SrvResolver& resolver, const SrvOptions& options)
      : resolver_(resolver),
        options_(options),
        own_(ResolveOwn(resolver, options.advertised_peer_urls)) {}

  absl::StatusOr<std::vector<InitialMember>> Run() {
    absl::Status look_up;
    for (const Service& service : kServices) {
      const std::string name = absl::StrCat(
          service.service, options_.service_suffix.empty() ? "" : "-", options_.service_suffix);
      auto records = resolver_.LookupSrv(absl::StrCat("_", name, "._tcp.", options_.domain));
      if (!records.ok()) {
        const absl::Status failed(records.status().code(),
                                  absl::StrCat("error querying DNS SRV records for _", name, " ",
                                               records.status().message()));
        ETCDD_LOG(kWarn, "failed to resolve during SRV discovery", {base::LogField(failed)});
        if (look_up.ok()) look_up = failed;
        continue;
      }
      ETCDD_RETURN_IF_ERROR(Take(service.scheme, *std::move(records)));
    }
    if (members_.empty() && !look_up.ok()) return look_up;
    if (!found_own_) {
      return absl::FailedPreconditionError(absl::StrCat(
          "cannot find local etcd member \"", options_.name, "\" in SRV records"));
    }
    std::sort(members_.begin(), members_.end(),
              [](const auto& a, const auto& b) { return a.name < b.name; });
    return std::move(members_);
  }

 private:
  absl::Status Take(const std::string& scheme, std::vector<SrvRecord> records) {
    std::sort(records.begin(), records.end(), [](const SrvRecord& a, const SrvRecord& b) {
      return std::pair(a.target, a.port) < std::pair(b.target, b.port);
    });
    for (const SrvRecord& record : records) {
      const std::string address = AddressText(record.target, record.port);
      const std::string text = absl::StrCat(scheme, "://", address);
      const OwnUrl* const own = FindOwn(resolver_, own_, record);
      if (own != nullptr && own->url.scheme != scheme) {
        ETCDD_LOG(kWarn, "an SRV record of this member has another scheme than it advertises",
                  {{"record", text}, {"advertised", own->url.ToString()}});
        continue;
      }
      if (!taken_.insert(HostKey(address)).second) {
        return absl::FailedPreconditionError(
            absl::StrCat("SRV records list ", address, " more than once"));
      }
      ETCDD_ASSIGN_OR_RETURN(Url url, server::ParseUrl(text));
      ETCDD_LOG(kInfo, "got bootstrap from DNS for etcd-server",
                {{"url", text}, {"local", own != nullptr}});
      Add(own != nullptr, std::move(url));
    }
    return absl::OkStatus();
  }

  // A member with several URLs has a record for each; only its own can be told from others'.
  void Add(bool own, Url url) {
    if (own && found_own_) {
      auto member = std::find_if(members_.begin(), members_.end(), [this](const auto& each) {
        return each.name == options_.name;
      });
      member->peer_urls.push_back(std::move(url));
      return;
    }
    found_own_ = found_own_ || own;
    std::string name = own ? options_.name : NextName();
    members_.push_back({std::move(name), {std::move(url)}});
  }

  // A number that is not this member's own name.
  std::string NextName() {
    std::string name = absl::StrCat(next_number_++);
    return name == options_.name ? absl::StrCat(next_number_++) : name;
  }

  SrvResolver& resolver_;
  const SrvOptions& options_;
  const std::vector<OwnUrl> own_;
  std::vector<InitialMember> members_;
  std::set<std::string> taken_;
  bool found_own_ = false;
  int next_number_ = 0;
};

}  // namespace

absl::StatusOr<std::vector<InitialMember>> MembersFromSrv(SrvResolver& resolver,
                                                          const SrvOptions& options) {
  return SrvMembers(resolver, options).Run();
}

}  // namespace etcdd::discovery
