// The initial cluster out of SRV records, with a DNS in memory.

#include "server/discovery/srv.h"

#include <map>
#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "absl/strings/str_cat.h"

namespace etcdd::discovery {
namespace {

constexpr char kSsl[] = "_etcd-server-ssl._tcp.example.com";
constexpr char kPlain[] = "_etcd-server._tcp.example.com";

class FakeResolver final : public SrvResolver {
 public:
  absl::StatusOr<std::vector<SrvRecord>> LookupSrv(const std::string& name) override {
    const auto found = services.find(name);
    if (found != services.end()) return found->second;
    return absl::NotFoundError(absl::StrCat("lookup ", name, ": Unknown host"));
  }
  absl::StatusOr<std::vector<std::string>> LookupHost(const std::string& host) override {
    const auto found = hosts.find(host);
    if (found != hosts.end()) return found->second;
    return absl::UnavailableError(absl::StrCat("lookup ", host, ": try again"));
  }

  std::map<std::string, absl::StatusOr<std::vector<SrvRecord>>> services;
  std::map<std::string, std::vector<std::string>> hosts;
};

class Srv : public testing::Test {
 protected:
  // "name=url,..." or the error's text.
  std::string Found(const std::string& name, const std::vector<std::string>& advertised,
                    const std::string& suffix = "") {
    SrvOptions options{"example.com", suffix, name, {}};
    for (const std::string& url : advertised) {
      options.advertised_peer_urls.push_back(*server::ParseUrl(url));
    }
    const auto members = MembersFromSrv(dns_, options);
    if (!members.ok()) return std::string(members.status().message());
    std::string text;
    for (const server::InitialMember& member : *members) {
      for (const server::Url& url : member.peer_urls) {
        absl::StrAppend(&text, text.empty() ? "" : ",", member.name, "=", url.ToString());
      }
    }
    return text;
  }

  FakeResolver dns_;
};

TEST_F(Srv, OwnEntryByNameOfTheHost) {
  dns_.services[kPlain] = std::vector<SrvRecord>{{"c.example.com", 2380},
                                                 {"a.example.com", 2380},
                                                 {"b.example.com", 2380}};
  EXPECT_EQ(Found("m2", {"http://B.example.com:2380"}),
            "0=http://a.example.com:2380,1=http://c.example.com:2380,"
            "m2=http://b.example.com:2380");
}

TEST_F(Srv, OwnEntryByAddress) {
  dns_.services[kSsl] = std::vector<SrvRecord>{{"a.example.com", 2380}, {"b.example.com", 2380}};
  dns_.hosts = {{"10.0.0.2", {"10.0.0.2"}},
                {"a.example.com", {"10.0.0.1"}},
                {"b.example.com", {"fd00::2", "10.0.0.2"}}};
  EXPECT_EQ(Found("m2", {"https://10.0.0.2:2380"}),
            "0=https://a.example.com:2380,m2=https://b.example.com:2380");
  // The port counts as well.
  EXPECT_EQ(Found("m2", {"https://10.0.0.2:2381"}),
            "cannot find local etcd member \"m2\" in SRV records");
}

TEST_F(Srv, MembersOnOneHostDifferByPort) {
  dns_.services[kPlain] = std::vector<SrvRecord>{{"h", 2380}, {"h", 12380}, {"h", 22380}};
  dns_.hosts = {{"h", {"127.0.0.1"}}, {"127.0.0.1", {"127.0.0.1"}}};
  EXPECT_EQ(Found("infra1", {"http://127.0.0.1:12380"}),
            "0=http://h:2380,1=http://h:22380,infra1=http://h:12380");
}

TEST_F(Srv, BothServicesMakeOneCluster) {
  dns_.services[kSsl] = std::vector<SrvRecord>{{"a", 1}, {"b", 1}};
  dns_.services[kPlain] = std::vector<SrvRecord>{{"c", 1}, {"d", 1}};
  EXPECT_EQ(Found("m", {"http://d:1"}), "0=https://a:1,1=https://b:1,2=http://c:1,m=http://d:1");
}

TEST_F(Srv, TheSuffixIsPartOfTheService) {
  dns_.services["_etcd-server-ssl-east._tcp.example.com"] = std::vector<SrvRecord>{{"a", 1}};
  dns_.services["_etcd-server-east._tcp.example.com"] = std::vector<SrvRecord>{{"b", 1}};
  dns_.services[kPlain] = std::vector<SrvRecord>{{"elsewhere", 1}};
  EXPECT_EQ(Found("m", {"http://b:1"}, "east"), "0=https://a:1,m=http://b:1");
}

TEST_F(Srv, SeveralUrlsOfOneMember) {
  dns_.services[kPlain] = std::vector<SrvRecord>{{"a", 1}, {"a", 2}, {"b", 1}};
  EXPECT_EQ(Found("m", {"http://a:1", "http://a:2"}), "0=http://b:1,m=http://a:1,m=http://a:2");
}

TEST_F(Srv, Ipv6Targets) {
  dns_.services[kPlain] = std::vector<SrvRecord>{{"fd00::1", 1}};
  EXPECT_EQ(Found("m", {"http://[fd00::1]:1"}), "m=http://[fd00::1]:1");
}

TEST_F(Srv, OwnNameIsNotGivenToAnother) {
  dns_.services[kPlain] = std::vector<SrvRecord>{{"a", 1}, {"b", 1}, {"c", 1}};
  EXPECT_EQ(Found("1", {"http://c:1"}), "0=http://a:1,1=http://c:1,2=http://b:1");
}

TEST_F(Srv, ARecordUnderTheOtherSchemeIsNotThisMember) {
  dns_.services[kSsl] = std::vector<SrvRecord>{{"a", 1}, {"b", 1}};
  EXPECT_EQ(Found("m", {"http://a:1"}), "cannot find local etcd member \"m\" in SRV records");
  // Both records are there: the right one counts.
  dns_.services[kPlain] = std::vector<SrvRecord>{{"a", 1}};
  EXPECT_EQ(Found("m", {"http://a:1"}), "0=https://b:1,m=http://a:1");
}

TEST_F(Srv, AMemberUnderBothSchemesIsRefused) {
  dns_.services[kSsl] = std::vector<SrvRecord>{{"a", 1}, {"b", 1}};
  dns_.services[kPlain] = std::vector<SrvRecord>{{"a", 1}, {"b", 1}};
  EXPECT_EQ(Found("m", {"https://a:1"}), "SRV records list b:1 more than once");
  dns_.services.erase(kPlain);
  dns_.services[kSsl] = std::vector<SrvRecord>{{"a", 1}, {"b", 1}, {"B", 1}};
  EXPECT_EQ(Found("m", {"https://a:1"}), "SRV records list b:1 more than once");
}

TEST_F(Srv, ATargetThatCannotBeLookedUpRemainsAMember) {
  dns_.services[kPlain] = std::vector<SrvRecord>{{"gone", 1}, {"a", 1}};
  EXPECT_EQ(Found("m", {"http://a:1"}), "0=http://gone:1,m=http://a:1");
}

TEST_F(Srv, NoRecords) {
  EXPECT_EQ(Found("m", {"http://a:1"}),
            "error querying DNS SRV records for _etcd-server-ssl lookup "
            "_etcd-server-ssl._tcp.example.com: Unknown host");
}

TEST_F(Srv, AFailedLookUpCountsOnlyWhenTheOtherFindsNothing) {
  dns_.services[kSsl] = absl::UnavailableError("timed out");
  EXPECT_EQ(Found("m", {"http://a:1"}),
            "error querying DNS SRV records for _etcd-server-ssl timed out");
  dns_.services[kPlain] = std::vector<SrvRecord>{{"a", 1}};
  EXPECT_EQ(Found("m", {"http://a:1"}), "m=http://a:1");
}

TEST_F(Srv, ATargetThatIsNoHost) {
  dns_.services[kPlain] = std::vector<SrvRecord>{{"a/b", 1}};
  EXPECT_EQ(Found("m", {"http://a:1"}), "URL must not contain a path: http://a/b:1");
}

}  // namespace
}  // namespace etcdd::discovery
