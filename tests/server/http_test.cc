// The HTTP pages against a real member, without a socket.

#include <cstdlib>
#include <fstream>
#include <iostream>
#include <set>
#include <sstream>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "gtest/gtest.h"
#include "server/http/health.h"
#include "server/http/pages.h"
#include "server/http/target.h"
#include "tests/server/member_fixture.h"
#include "tests/support/temp_dir.h"

namespace etcdd::http {
namespace {

using net::Http1Response;
using server::MemberFixture;

class FakeExchange final : public net::Http1Exchange {
 public:
  FakeExchange(std::string method, std::string target) {
    request_.method = std::move(method);
    request_.target = std::move(target);
  }
  const net::Http1Request& request() const override { return request_; }
  void Respond(Http1Response response) override {
    ++answers;
    answer = std::move(response);
  }
  void StartStream(Http1Response) override { FAIL(); }
  bool Write(std::string) override { return false; }
  void End() override {}
  void OnWritable(absl::AnyInvocable<void()>) override {}
  void OnCancel(absl::AnyInvocable<void()>) override {}

  int answers = 0;
  Http1Response answer;

 private:
  net::Http1Request request_;
};

std::string Field(const Http1Response& response, std::string_view name) {
  for (const auto& [key, value] : response.headers) {
    if (key == name) return value;
  }
  return "";
}

class PagesTest : public ::testing::Test {
 protected:
  void SetUp() override { ASSERT_TRUE(member_.Start().ok()); }

  std::shared_ptr<FakeExchange> Send(std::string method, std::string target,
                                     Pages::Audience audience) {
    auto exchange = std::make_shared<FakeExchange>(std::move(method), std::move(target));
    Pages(member_.server.get(), audience).Serve(exchange);
    member_.Run();
    return exchange;
  }
  Http1Response Get(std::string target,
                    Pages::Audience audience = Pages::Audience::kMonitoring) {
    auto exchange = Send("GET", std::move(target), audience);
    EXPECT_EQ(exchange->answers, 1);
    return exchange->answer;
  }
  void ExpectErrorText(const Http1Response& response, int status, std::string_view body) {
    EXPECT_EQ(response.status, status);
    EXPECT_EQ(response.content_type, "text/plain; charset=utf-8");
    EXPECT_EQ(Field(response, "X-Content-Type-Options"), "nosniff");
    EXPECT_EQ(response.body, body);
  }
  void Alarm(etcdserverpb::AlarmType type) {
    ASSERT_TRUE(member_.Alarm(etcdserverpb::AlarmRequest::ACTIVATE, type).ok());
  }
  // A member that has not become leader yet.
  void LoseLeader() {
    member_.Crash();
    ASSERT_TRUE(member_.Start(/*wait_until_ready=*/false).ok());
    ASSERT_FALSE(member_.server->has_leader());
  }

  MemberFixture member_;
};

TEST_F(PagesTest, HealthyMember) {
  const Http1Response response = Get("/health");
  EXPECT_EQ(response.status, 200);
  EXPECT_EQ(response.body, R"({"health":"true","reason":""})");
  EXPECT_EQ(response.content_type, "text/plain; charset=utf-8");
  EXPECT_EQ(member_.metrics->health_successes.value(), 1u);
  EXPECT_EQ(member_.metrics->health_failures.value(), 0u);
}

TEST_F(PagesTest, AlarmsMakeHealthFalseUnlessExcluded) {
  Alarm(etcdserverpb::NOSPACE);
  ExpectErrorText(Get("/health"), 503, "{\"health\":\"false\",\"reason\":\"ALARM NOSPACE\"}\n");
  EXPECT_EQ(member_.metrics->health_failures.value(), 1u);
  EXPECT_EQ(Get("/health?exclude=NOSPACE").status, 200);
  Alarm(etcdserverpb::CORRUPT);
  ExpectErrorText(Get("/health?exclude=NOSPACE"), 503,
                  "{\"health\":\"false\",\"reason\":\"ALARM CORRUPT\"}\n");
  EXPECT_EQ(Get("/health?exclude=NOSPACE&exclude=CORRUPT").status, 200);
  EXPECT_EQ(Get("/health?exclude=nospace").status, 503);
}

TEST_F(PagesTest, NoLeaderMakesHealthFalseButNotASerializableOne) {
  LoseLeader();
  // Answered before the member gets to run.
  auto exchange = std::make_shared<FakeExchange>("GET", "/health");
  const Pages pages(member_.server.get(), Pages::Audience::kMonitoring);
  pages.Serve(exchange);
  ASSERT_EQ(exchange->answers, 1);
  ExpectErrorText(exchange->answer, 503,
                  "{\"health\":\"false\",\"reason\":\"RAFT NO LEADER\"}\n");
  exchange = std::make_shared<FakeExchange>("GET", "/health?serializable=true");
  pages.Serve(exchange);
  ASSERT_EQ(exchange->answers, 1);
  EXPECT_EQ(exchange->answer.status, 200);
}

TEST_F(PagesTest, ReadThatFailsIsTheReason) {
  auto exchange = std::make_shared<FakeExchange>("GET", "/health");
  Pages(member_.server.get(), Pages::Audience::kMonitoring).Serve(exchange);
  EXPECT_EQ(exchange->answers, 0);  // the read waits for its round
  member_.server->Stop(absl::UnavailableError("etcdserver: server stopped"));
  ASSERT_EQ(exchange->answers, 1);
  ExpectErrorText(
      exchange->answer, 503,
      "{\"health\":\"false\",\"reason\":\"RANGE ERROR:etcdserver: server stopped\"}\n");
}

TEST_F(PagesTest, LivezAndReadyzSayOk) {
  for (const char* path :
       {"/livez", "/readyz", "/livez/serializable_read", "/readyz/serializable_read",
        "/readyz/linearizable_read", "/readyz/data_corruption", "/readyz/non_learner"}) {
    ExpectErrorText(Get(path), 200, "ok\n");  // the same form as an error, in etcd too
  }
}

TEST_F(PagesTest, VerboseListsTheChecks) {
  EXPECT_EQ(Get("/readyz?verbose").body,
            "[+]data_corruption ok\n[+]serializable_read ok\n[+]linearizable_read ok\n"
            "[+]non_learner ok\nok\n");
  EXPECT_EQ(Get("/livez?verbose=false").body, "[+]serializable_read ok\nok\n");
  EXPECT_EQ(Get("/readyz?verbose&exclude=data_corruption&exclude=non_learner&exclude=what").body,
            "[+]serializable_read ok\n[+]linearizable_read ok\nok\n");
  // Only a page can leave out checks.
  EXPECT_EQ(Get("/readyz/non_learner?verbose&exclude=non_learner").body,
            "[+]non_learner ok\nok\n");
}

TEST_F(PagesTest, CorruptionMakesReadyzFailAndNoSpaceDoesNot) {
  Alarm(etcdserverpb::NOSPACE);
  EXPECT_EQ(Get("/readyz").status, 200);
  Alarm(etcdserverpb::CORRUPT);
  ExpectErrorText(Get("/readyz"), 503,
                  "[-]data_corruption failed: alarm activated: CORRUPT\n"
                  "[+]serializable_read ok\n[+]linearizable_read ok\n[+]non_learner ok\n\n");
  ExpectErrorText(Get("/readyz/data_corruption"), 503,
                  "[-]data_corruption failed: alarm activated: CORRUPT\n\n");
  EXPECT_EQ(Get("/readyz?exclude=data_corruption").status, 200);
  EXPECT_EQ(Get("/livez").status, 200);
}

TEST_F(PagesTest, StalledMemberIsAliveButNotReady) {
  LoseLeader();
  auto live = std::make_shared<FakeExchange>("GET", "/livez");
  auto ready = std::make_shared<FakeExchange>("GET", "/readyz");
  const Pages pages(member_.server.get(), Pages::Audience::kMonitoring);
  pages.Serve(live);
  pages.Serve(ready);
  EXPECT_EQ(live->answers, 1);
  EXPECT_EQ(live->answer.status, 200);
  EXPECT_EQ(ready->answers, 0);
  member_.server->Stop(absl::UnavailableError("etcdserver: server stopped"));
  ASSERT_EQ(ready->answers, 1);
  ExpectErrorText(ready->answer, 503,
                  "[+]data_corruption ok\n[+]serializable_read ok\n"
                  "[-]linearizable_read failed: etcdserver: server stopped\n"
                  "[+]non_learner ok\n\n");
}

TEST_F(PagesTest, ChecksAreCounted) {
  Get("/readyz/non_learner");
  Get("/readyz/non_learner");
  Alarm(etcdserverpb::CORRUPT);
  Get("/readyz/data_corruption");
  const std::string page = Get("/metrics").body;
  EXPECT_TRUE(absl::StrContains(
      page, "etcd_server_healthcheck{type=\"readyz\",name=\"non_learner\"} 1\n"));
  EXPECT_TRUE(absl::StrContains(page,
                                "etcd_server_healthchecks_total{type=\"readyz\","
                                "name=\"non_learner\",status=\"success\"} 2\n"));
  EXPECT_TRUE(absl::StrContains(
      page, "etcd_server_healthcheck{type=\"readyz\",name=\"data_corruption\"} 0\n"));
  EXPECT_TRUE(absl::StrContains(
      page, "etcd_debugging_server_alarms{server_id=\"8e9e05c52164694d\",alarm_type=\"CORRUPT\"} "
            "1\n"));
}

TEST_F(PagesTest, VersionIsForClientsAndSaysWhatIsNotKnownYet) {
  const Http1Response response = Get("/version", Pages::Audience::kClients);
  EXPECT_EQ(response.status, 200);
  EXPECT_EQ(response.content_type, "application/json");
  EXPECT_EQ(response.body,
            R"({"etcdserver":"3.7.1","etcdcluster":"3.7.0","storage":"3.7.0"})");
  EXPECT_EQ(Get("/version").status, 404);
  MemberFixture fresh;
  ASSERT_TRUE(fresh.Start(/*wait_until_ready=*/false).ok());
  auto exchange = std::make_shared<FakeExchange>("GET", "/version");
  Pages(fresh.server.get(), Pages::Audience::kClients).Serve(exchange);
  EXPECT_TRUE(absl::StrContains(exchange->answer.body, R"("etcdcluster":"not_decided")"));
}

TEST_F(PagesTest, OtherMethodsAndPathsAreRefused) {
  for (const char* path : {"/health", "/livez", "/readyz", "/readyz/non_learner"}) {
    for (const char* method : {"POST", "PUT", "DELETE", "HEAD"}) {
      const auto exchange = Send(method, path, Pages::Audience::kMonitoring);
      ExpectErrorText(exchange->answer, 405, "Method Not Allowed\n");
      EXPECT_EQ(Field(exchange->answer, "Allow"), "GET");
    }
  }
  EXPECT_EQ(Send("POST", "/version", Pages::Audience::kClients)->answer.status, 405);
  for (const char* path : {"/", "/nope", "/v2/keys", "/health/", "/healthy", "/livez/",
                           "/livez/linearizable_read", "/livezz", "/readyz/what"}) {
    ExpectErrorText(Get(path), 404, "404 page not found\n");
  }
}

TEST_F(PagesTest, MetricsPageHasTheTypePrometheusExpects) {
  const Http1Response response = Get("/metrics");
  EXPECT_EQ(response.status, 200);
  EXPECT_EQ(response.content_type, "text/plain; version=0.0.4; charset=utf-8");
  EXPECT_TRUE(absl::StrContains(response.body, "# TYPE etcd_server_has_leader gauge\n"));
}

// Each family is introduced once, with its help and type, before its samples. Where promtool is
// installed, its remarks must be about names, which are etcd's and stay as they are.
TEST_F(PagesTest, MetricsPageIsWellFormed) {
  base::AddProcessMetrics(member_.registry.get());
  std::set<std::string> families;
  std::string family;
  std::istringstream page(Get("/metrics").body);
  for (std::string line; std::getline(page, line);) {
    const std::vector<std::string> words = absl::StrSplit(line, absl::MaxSplits(' ', 3));
    if (words[0] == "#") {
      ASSERT_EQ(words.size(), 4u) << line;
      if (words[1] == "HELP") {
        EXPECT_TRUE(families.insert(words[2]).second) << "twice: " << line;
        family = words[2];
      }
      EXPECT_EQ(words[2], family) << line;
    } else {
      EXPECT_TRUE(absl::StartsWith(line, family)) << line;
    }
  }
  EXPECT_GT(families.size(), 60u);

  const char* promtool = std::getenv("PROMTOOL");
  const std::string tool = promtool != nullptr ? promtool : "promtool";
  if (std::system((tool + " --version >/dev/null 2>&1").c_str()) != 0) {
    std::cout << "promtool is not installed: its opinion is not asked\n";
    return;
  }
  testing::TempDir dir;
  std::ofstream(dir.Path("page")) << Get("/metrics").body;
  std::system(absl::StrCat(tool, " check metrics <", dir.Path("page"), " >", dir.Path("out"),
                           " 2>&1").c_str());
  std::ifstream remarks(dir.Path("out"));
  for (std::string line; std::getline(remarks, line);) {
    EXPECT_TRUE(absl::EndsWith(line, "non-counter metrics should not have \"_total\" suffix") ||
                absl::EndsWith(line, "counter metrics should have \"_total\" suffix") ||
                absl::EndsWith(line, "use base unit \"seconds\" instead of \"milliseconds\""))
        << line;
    EXPECT_TRUE(absl::StartsWith(line, "etcd_")) << line;
  }
}

TEST(ChecksOfTest, OnlyKnownPathsHaveChecks) {
  EXPECT_EQ(ChecksOf("/livez").size(), 1u);
  EXPECT_EQ(ChecksOf("/readyz").size(), 4u);
  EXPECT_TRUE(ChecksOf("").empty());
  EXPECT_TRUE(ChecksOf("/").empty());
  EXPECT_TRUE(ChecksOf("/readyz/linearizable_read/x").empty());
}

TEST(TargetTest, SplitsAndDecodes) {
  const Target target = ParseTarget("/a%2Fb?verbose&x=1&x=a%20b+c&&broken=%zz&y=");
  EXPECT_EQ(target.path, "/a/b");
  EXPECT_TRUE(target.Has("verbose"));
  EXPECT_EQ(target.Values("x"), (std::vector<std::string>{"1", "a b c"}));
  EXPECT_EQ(target.Values("y"), std::vector<std::string>{""});
  EXPECT_FALSE(target.Has("broken"));
  EXPECT_EQ(ParseTarget("/%").path, "/%");
  EXPECT_TRUE(ParseTarget("").path.empty());
}

}  // namespace
}  // namespace etcdd::http
