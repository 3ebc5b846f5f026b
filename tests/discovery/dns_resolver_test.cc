// libresolv against a DNS server on loopback that says what the test tells it.

#include "server/discovery/dns_resolver.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <map>
#include <memory>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "server/base/check.h"

namespace etcdd::discovery {
namespace {

void Append16(size_t value, std::string* out) {
  out->push_back(static_cast<char>(value >> 8));
  out->push_back(static_cast<char>(value & 0xff));
}

std::string Labels(const std::string& name) {
  std::string out;
  for (const auto& label : absl::StrSplit(name, '.', absl::SkipEmpty())) {
    out.push_back(static_cast<char>(label.size()));
    out.append(label.data(), label.size());
  }
  out.push_back('\0');
  return out;
}

// The data of an SRV record.
std::string SrvData(uint16_t port, const std::string& target) {
  std::string data;
  Append16(10, &data);  // priority
  Append16(0, &data);   // weight
  Append16(port, &data);
  return data + Labels(target);
}

struct Answer {
  int rcode = 0;
  std::vector<std::pair<int, std::string>> records;  // type and data
};

// Answers every question out of a table, or that there is no such name.
class DnsServer {
 public:
  explicit DnsServer(std::map<std::string, Answer> answers)
      : answers_(std::move(answers)), fd_(socket(AF_INET, SOCK_DGRAM, 0)) {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t size = sizeof address;
    ETCDD_CHECK(bind(fd_, reinterpret_cast<sockaddr*>(&address), size) == 0);
    ETCDD_CHECK(getsockname(fd_, reinterpret_cast<sockaddr*>(&address), &size) == 0);
    address_ = address;
    thread_ = std::thread([this] { Serve(); });
  }
  ~DnsServer() {
    // An empty message ends the thread.
    ETCDD_CHECK(sendto(fd_, "", 0, 0, reinterpret_cast<sockaddr*>(&address_), sizeof address_) ==
                0);
    thread_.join();
    close(fd_);
  }

  uint16_t port() const { return ntohs(address_.sin_port); }

 private:
  void Serve() {
    char buffer[2048];
    sockaddr_in from{};
    for (;;) {
      socklen_t size = sizeof from;
      const ssize_t got = recvfrom(fd_, buffer, sizeof buffer, 0,
                                   reinterpret_cast<sockaddr*>(&from), &size);
      if (got <= 0) return;
      const std::string reply = Reply({buffer, static_cast<size_t>(got)});
      sendto(fd_, reply.data(), reply.size(), 0, reinterpret_cast<sockaddr*>(&from), size);
    }
  }

  std::string Reply(const std::string& query) const {
    constexpr size_t kHeaderBytes = 12;
    std::string name;
    size_t at = kHeaderBytes;
    for (; query.at(at) != '\0'; at += 1 + static_cast<size_t>(query.at(at))) {
      absl::StrAppend(&name, name.empty() ? "" : ".",
                      query.substr(at + 1, static_cast<size_t>(query.at(at))));
    }
    const std::string question = query.substr(kHeaderBytes, at + 5 - kHeaderBytes);
    const auto found = answers_.find(name);
    const Answer answer = found == answers_.end() ? Answer{3, {}} : found->second;
    std::string reply = query.substr(0, 2);
    Append16(0x8580 | static_cast<size_t>(answer.rcode), &reply);  // an authority's reply
    Append16(1, &reply);
    Append16(answer.records.size(), &reply);
    Append16(0, &reply);
    Append16(0, &reply);
    reply += question;
    for (const auto& [type, data] : answer.records) {
      Append16(0xc00c, &reply);  // the name in the question
      Append16(static_cast<size_t>(type), &reply);
      Append16(1, &reply);
      Append16(0, &reply);
      Append16(60, &reply);  // seconds to live
      Append16(data.size(), &reply);
      reply += data;
    }
    return reply;
  }

  const std::map<std::string, Answer> answers_;
  const int fd_;
  sockaddr_in address_{};
  std::thread thread_;
};

constexpr int kSrv = 33;
constexpr int kTxt = 16;
constexpr char kName[] = "_etcd-server._tcp.example.com";

// "target:port ...", or the error.
std::string Lookup(Answer answer, const std::string& name = kName) {
  const DnsServer server({{kName, std::move(answer)}});
  const auto resolver = NewDnsResolver(server.port());
  const auto records = resolver->LookupSrv(name);
  if (!records.ok()) return records.status().ToString();
  std::string text;
  for (const SrvRecord& record : *records) {
    absl::StrAppend(&text, text.empty() ? "" : " ", record.target, ":", record.port);
  }
  return text;
}

TEST(DnsResolver, Records) {
  EXPECT_EQ(Lookup({0, {{kSrv, SrvData(2380, "a.example.com")}, {kSrv, SrvData(65535, "b.c")}}}),
            "a.example.com:2380 b.c:65535");
}

TEST(DnsResolver, ManyRecords) {
  Answer answer;
  for (uint16_t i = 1; i <= 11; ++i) {
    answer.records.emplace_back(kSrv, SrvData(i, "h"));
  }
  EXPECT_EQ(Lookup(answer), "h:1 h:2 h:3 h:4 h:5 h:6 h:7 h:8 h:9 h:10 h:11");
}

TEST(DnsResolver, OtherRecordsAndDenialsAreNoMembers) {
  EXPECT_EQ(Lookup({0,
                    {{kTxt, std::string("\x02hi")},
                     {kSrv, SrvData(1, "")},
                     {kSrv, SrvData(2380, "a")}}}),
            "a:2380");
}

TEST(DnsResolver, NoSuchName) {
  EXPECT_EQ(Lookup({}, "_etcd-server._tcp.example.net"),
            "NOT_FOUND: lookup _etcd-server._tcp.example.net: Unknown host");
}

TEST(DnsResolver, ANameWithoutSrvRecords) {
  EXPECT_EQ(Lookup({}),
            "NOT_FOUND: lookup _etcd-server._tcp.example.com: No address associated with name");
  EXPECT_EQ(Lookup({0, {{kSrv, SrvData(1, "")}}}),
            "NOT_FOUND: lookup _etcd-server._tcp.example.com: No address associated with name");
}

TEST(DnsResolver, AServerThatFails) {
  EXPECT_EQ(Lookup({2, {}}),
            "UNAVAILABLE: lookup _etcd-server._tcp.example.com: Host name lookup failure");
}

TEST(DnsResolver, DamagedRecords) {
  const std::string unreadable =
      "UNAVAILABLE: lookup _etcd-server._tcp.example.com: unreadable answer";
  const std::string good = SrvData(2380, "a.b");
  EXPECT_EQ(Lookup({0, {{kSrv, good.substr(0, 6)}}}), unreadable);
  // A name that points behind the message.
  EXPECT_EQ(Lookup({0, {{kSrv, good.substr(0, 6) + "\xff\xff"}}}), unreadable);
  EXPECT_EQ(Lookup({0, {{kSrv, good.substr(0, 8)}}}), unreadable);
}

TEST(DnsResolver, Hosts) {
  const auto resolver = NewDnsResolver();
  EXPECT_THAT(*resolver->LookupHost("127.0.0.2"), testing::ElementsAre("127.0.0.2"));
  EXPECT_THAT(*resolver->LookupHost("::1"), testing::ElementsAre("::1"));
  EXPECT_THAT(*resolver->LookupHost("localhost"), testing::Contains("127.0.0.1"));
}

TEST(DnsResolver, AClusterOutOfTheDns) {
  const DnsServer server({{kName,
                           {0,
                            {{kSrv, SrvData(2380, "localhost")},
                             {kSrv, SrvData(12380, "localhost")},
                             {kSrv, SrvData(22380, "localhost")}}}}});
  const auto resolver = NewDnsResolver(server.port());
  const auto members = MembersFromSrv(
      *resolver, {"example.com", "", "me", {*server::ParseUrl("http://127.0.0.1:12380")}});
  ASSERT_TRUE(members.ok()) << members.status();
  ASSERT_EQ(members->size(), 3u);
  EXPECT_EQ((*members)[2].name, "me");
  EXPECT_EQ((*members)[2].peer_urls[0].ToString(), "http://localhost:12380");
  EXPECT_EQ((*members)[0].name, "0");
  EXPECT_EQ((*members)[1].name, "1");
}

}  // namespace
}  // namespace etcdd::discovery
