// What a member without a WAL asks the others (BOOT-003, BOOT-004, CLUS-013, CLUS-043).

#include "server/join.h"

#include <map>
#include <string>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "gtest/gtest.h"
#include "server/base/log.h"

namespace etcdd::server {
namespace {

// Peers that answer what the test says, by URL and path; all others are down.
class JoinTest : public ::testing::Test {
 protected:
  JoinTest() {
    config_.name = "c";
    config_.initial_cluster =
        ParseInitialCluster("a=http://h:1,b=http://h:2,c=http://h:3").value();
    config_.initial_advertise_peer_urls = {ParseUrl("http://h:3").value()};
    config_.initial_cluster_state = "existing";
  }
  static std::string MemberJson(uint64_t id, int port, bool learner = false,
                                const char* client_urls = "") {
    return absl::StrCat(R"({"id":)", id, R"(,"peerURLs":["http://h:)", port, R"("])",
                        learner ? R"(,"isLearner":true)" : "", client_urls, "}");
  }
  void Serve(const std::string& url, const std::string& path, std::string body) {
    PeerReply reply;
    reply.status = 200;
    reply.body = std::move(body);
    reply.cluster_id = "beef";
    answers_[url + path] = std::move(reply);
  }
  // Members 1 and 2 run, 3 was added.
  void ServeCluster(const std::string& version = "3.7.0") {
    for (const char* url : {"http://h:1", "http://h:2"}) {
      Serve(url, "/members",
            absl::StrCat("[", MemberJson(11, 1), ",", MemberJson(12, 2), ",", MemberJson(13, 3),
                         "]\n"));
      Serve(url, "/version", absl::StrCat(R"({"etcdserver":"3.7.1","etcdcluster":")", version,
                                          R"("})"));
      Serve(url, "/downgrade/enabled", "false");
    }
  }
  absl::StatusOr<JoinedCluster> Join() {
    return JoinCluster(
        config_, [this](auto urls, auto request, auto) { return Ask(urls, request); },
        [](const auto& a, const auto& b) { return a == b; });
  }
  absl::Status NotBootstrapped() {
    return CheckNotBootstrapped(
        config_, [this](auto urls, auto request, auto) { return Ask(urls, request); });
  }
  absl::StatusOr<PeerReply> Ask(const std::vector<std::string>& urls, const PeerRequest& request) {
    for (const std::string& url : urls) {
      EXPECT_NE(url, "http://h:3") << "asked itself";
      auto found = answers_.find(url + request.path);
      if (found != answers_.end()) return found->second;
    }
    return absl::UnavailableError("connection refused");
  }

  Config config_;
  std::map<std::string, PeerReply> answers_;
};

TEST_F(JoinTest, TakesOverTheIdsOfTheCluster) {
  ServeCluster();
  const auto joined = Join();
  ASSERT_TRUE(joined.ok()) << joined.status();
  EXPECT_EQ(joined->cluster_id, 0xbeefu);
  EXPECT_EQ(joined->member_id, 13u);
  EXPECT_EQ(joined->members.size(), 3u);
}

TEST_F(JoinTest, AsksTheNextPeerWhenOneIsDown) {
  ServeCluster();
  for (const char* path : {"/members", "/version", "/downgrade/enabled"}) {
    answers_.erase(std::string("http://h:1") + path);
  }
  EXPECT_TRUE(Join().ok());
}

TEST_F(JoinTest, NobodyAnswers) {
  const absl::Status status = Join().status();
  EXPECT_TRUE(absl::StrContains(status.message(), "cannot fetch cluster info from peer urls: "))
      << status;
}

TEST_F(JoinTest, AnotherNumberOfMembersIsRefused) {
  ServeCluster();
  config_.initial_cluster = ParseInitialCluster("a=http://h:1,c=http://h:3").value();
  EXPECT_EQ(Join().status().message(),
            "error validating peerURLs a=http://h:1,c=http://h:3: member count is unequal");
}

TEST_F(JoinTest, MembersElsewhereAreRefused) {
  ServeCluster();
  config_.initial_cluster = ParseInitialCluster("a=http://h:1,b=http://h:9,c=http://h:3").value();
  const absl::Status status = Join().status();
  EXPECT_TRUE(absl::StrContains(status.message(), "PeerURLs: no match found for existing member ("))
      << status;
}

TEST_F(JoinTest, TooManyLearnersForItsOwnLimit) {
  ServeCluster();
  Serve("http://h:1", "/members",
        absl::StrCat("[", MemberJson(11, 1), ",", MemberJson(12, 2, true), ",",
                     MemberJson(13, 3, true), "]"));
  EXPECT_TRUE(absl::IsFailedPrecondition(Join().status()));
  config_.learners_max = 2;
  EXPECT_TRUE(Join().ok());
}

TEST_F(JoinTest, VersionsOfTheClusterItCanLiveWith) {
  const std::pair<const char*, bool> cases[] = {
      {"3.7.0", true}, {"3.4.0", true}, {"3.0.0", true}, {"3.8.0", false}, {"2.3.0", false}};
  for (const auto& [version, accepted] : cases) {
    ServeCluster(version);
    const auto joined = Join();
    EXPECT_EQ(joined.ok(), accepted) << version;
    if (!accepted) {
      EXPECT_EQ(joined.status().message(), "incompatible with current running cluster");
    }
  }
}

TEST_F(JoinTest, UndecidedMembersAreSkippedButOneMustKnow) {
  ServeCluster("not_decided");
  EXPECT_FALSE(Join().ok());
  Serve("http://h:2", "/version", R"({"etcdserver":"3.7.1","etcdcluster":"3.7.0"})");
  EXPECT_TRUE(Join().ok());
}

TEST_F(JoinTest, DuringADowngradeOnlyTheNextVersionFits) {
  ServeCluster("3.7.0");
  Serve("http://h:1", "/downgrade/enabled", "true");
  EXPECT_FALSE(Join().ok());
}

TEST_F(JoinTest, NewMemberThatWasHereBeforeIsRefused) {
  config_.initial_cluster_state = "new";
  const uint64_t own = membership::MakeMemberId({"http://h:3"}, config_.initial_cluster_token);
  EXPECT_TRUE(NotBootstrapped().ok()) << "nobody answers";
  Serve("http://h:1", "/members", absl::StrCat("[", MemberJson(own, 3), "]"));
  EXPECT_TRUE(NotBootstrapped().ok()) << "known, but never started";
  Serve("http://h:1", "/members",
        absl::StrCat("[", MemberJson(own, 3, false, R"(,"clientURLs":["http://h:4"])"), "]"));
  EXPECT_EQ(NotBootstrapped().message(),
            absl::StrCat("member ", base::LogId(own), " has already been bootstrapped"));
}

}  // namespace
}  // namespace etcdd::server
