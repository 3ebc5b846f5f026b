// The joining of a new cluster, with a registry in memory.

#include "server/discovery/cluster_join.h"

#include <functional>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "absl/strings/str_cat.h"
#include "server/base/log.h"
#include "server/membership/member.h"

namespace etcdd::discovery {
namespace {

using server::InitialMember;

constexpr char kToken[] = "token-1";

class FakeRegistry final : public Registry {
 public:
  explicit FakeRegistry(std::optional<std::string> size) : size_(std::move(size)) {}

  absl::StatusOr<std::optional<std::string>> ReadSize() override {
    calls.push_back("size");
    if (absl::Status failure = NextFailure(size_failures); !failure.ok()) return failure;
    return size_;
  }
  absl::StatusOr<std::vector<Registration>> ListMembers() override {
    calls.push_back("list");
    if (absl::Status failure = NextFailure(list_failures); !failure.ok()) return failure;
    std::vector<Registration> all;
    for (const auto& [id, each] : members_) all.push_back(each);
    return all;
  }
  absl::Status Register(const std::string& id, const std::string& text) override {
    calls.push_back("register");
    if (on_register) std::exchange(on_register, nullptr)();
    if (absl::Status failure = NextFailure(register_failures); !failure.ok()) return failure;
    Put(id, text);
    return absl::OkStatus();
  }

  void Put(const std::string& id, const std::string& text) {
    const auto [found, is_new] = members_.try_emplace(id, Registration{id, text, ++revision_});
    if (!is_new) found->second.text = text;
  }
  void Remove(const std::string& id) { members_.erase(id); }
  std::string TextOf(const std::string& id) const { return members_.at(id).text; }
  size_t member_count() const { return members_.size(); }

  // Each is what the next call returns, first to last.
  std::vector<absl::Status> size_failures;
  std::vector<absl::Status> list_failures;
  std::vector<absl::Status> register_failures;
  std::function<void()> on_register;  // once, just before
  std::vector<std::string> calls;

 private:
  static absl::Status NextFailure(std::vector<absl::Status>& failures) {
    if (failures.empty()) return absl::OkStatus();
    absl::Status first = failures.front();
    failures.erase(failures.begin());
    return first;
  }

  const std::optional<std::string> size_;
  std::map<std::string, Registration> members_;
  int64_t revision_ = 100;
};

InitialMember MemberCalled(const std::string& name) {
  return {name, {*server::ParseUrl(absl::StrCat("http://", name, ":2380"))}};
}

std::string IdOf(const InitialMember& member) {
  return base::LogId(membership::MakeMemberId(server::UrlTexts(member.peer_urls), kToken));
}

void PutMember(FakeRegistry& registry, const std::string& name) {
  registry.Put(IdOf(MemberCalled(name)), absl::StrCat(name, "=http://", name, ":2380"));
}

std::string TextOf(const std::vector<InitialMember>& members) {
  std::string text;
  for (const InitialMember& member : members) {
    for (const server::Url& url : member.peer_urls) {
      absl::StrAppend(&text, text.empty() ? "" : ",", member.name, "=", url.ToString());
    }
  }
  return text;
}

// Joins under a name; every pause is written down, and calls `on_pause` with its number.
class ClusterJoin : public testing::Test {
 protected:
  absl::StatusOr<std::string> Join(FakeRegistry& registry, const InitialMember& self) {
    options_.self = self;
    options_.cluster_token = kToken;
    options_.wait = [this](absl::Duration pause) {
      pauses_.push_back(pause);
      if (on_pause_) on_pause_(pauses_.size());
      return pauses_.size() == stop_at_pause_;
    };
    auto members = JoinCluster(registry, options_);
    if (!members.ok()) return members.status();
    return TextOf(*members);
  }
  absl::StatusOr<std::string> Join(FakeRegistry& registry, const std::string& name) {
    return Join(registry, MemberCalled(name));
  }

  JoinOptions options_;
  std::vector<absl::Duration> pauses_;
  std::function<void(size_t)> on_pause_;
  size_t stop_at_pause_ = 1000;  // a test that comes here would wait for ever
};

MATCHER_P2(Fails, code, message, "") {
  *result_listener << arg.status();
  return arg.status().code() == code && arg.status().message() == message;
}

TEST_F(ClusterJoin, OneMemberIsAClusterAtOnce) {
  FakeRegistry registry("1");
  InitialMember self = MemberCalled("a");
  self.peer_urls.push_back(*server::ParseUrl("http://10.0.0.1:2380"));
  EXPECT_EQ(*Join(registry, self), "a=http://10.0.0.1:2380,a=http://a:2380");
  EXPECT_EQ(registry.TextOf(IdOf(self)), "a=http://10.0.0.1:2380,a=http://a:2380");
  EXPECT_THAT(registry.calls,
              testing::ElementsAre("size", "list", "register", "size", "list"));
  EXPECT_THAT(pauses_, testing::IsEmpty());
}

TEST_F(ClusterJoin, WaitsUntilAllAreThere) {
  FakeRegistry registry("3");
  on_pause_ = [&registry](size_t pause) {
    if (pause == 2) PutMember(registry, "c");
    if (pause == 5) PutMember(registry, "b");
  };
  EXPECT_EQ(*Join(registry, "a"), "a=http://a:2380,b=http://b:2380,c=http://c:2380");
  EXPECT_THAT(pauses_, testing::ElementsAre(options_.poll_interval, options_.poll_interval,
                                            options_.poll_interval, options_.poll_interval,
                                            options_.poll_interval));
}

TEST_F(ClusterJoin, TheFirstByCreateRevisionAreTheCluster) {
  FakeRegistry registry("2");
  PutMember(registry, "z");
  on_pause_ = [](size_t) { FAIL() << "nothing to wait for"; };
  ASSERT_EQ(*Join(registry, "m"), "m=http://m:2380,z=http://z:2380");
  // A third one is too late, and leaves no trace.
  EXPECT_THAT(Join(registry, "a"),
              Fails(absl::StatusCode::kFailedPrecondition, "discovery: cluster is full"));
  EXPECT_EQ(registry.member_count(), 2u);
}

TEST_F(ClusterJoin, WhoIsOvertakenWhileRegisteringIsOut) {
  FakeRegistry registry("2");
  PutMember(registry, "a");
  registry.on_register = [&registry] { PutMember(registry, "b"); };
  EXPECT_THAT(Join(registry, "c"),
              Fails(absl::StatusCode::kFailedPrecondition, "discovery: cluster is full"));
  // Those who were in time are not disturbed by its key.
  EXPECT_EQ(*Join(registry, "a"), "a=http://a:2380,b=http://b:2380");
}

TEST_F(ClusterJoin, WhoWasInTimeBeforeGetsTheSameAnswerAgain) {
  FakeRegistry registry("2");
  PutMember(registry, "a");
  PutMember(registry, "b");
  PutMember(registry, "c");
  EXPECT_EQ(*Join(registry, "b"), "a=http://a:2380,b=http://b:2380");
  EXPECT_THAT(registry.calls, testing::ElementsAre("size", "list"));
}

TEST_F(ClusterJoin, RegistersAgainWhenItsKeyWasRemoved) {
  FakeRegistry registry("2");
  on_pause_ = [&registry](size_t pause) {
    if (pause == 1) registry.Remove(IdOf(MemberCalled("a")));
    if (pause == 2) PutMember(registry, "b");
  };
  EXPECT_EQ(*Join(registry, "a"), "a=http://a:2380,b=http://b:2380");
}

TEST_F(ClusterJoin, SizeKeyMissing) {
  FakeRegistry registry(std::nullopt);
  EXPECT_THAT(Join(registry, "a"),
              Fails(absl::StatusCode::kNotFound, "discovery: size key not found"));
  EXPECT_EQ(registry.member_count(), 0u);
}

TEST_F(ClusterJoin, SizeKeyBad) {
  for (const char* size : {"", "0", "-1", "three", "3 ", " 3", "3\n", "0x3", "3.0",
                           "99999999999999999999999"}) {
    FakeRegistry registry(size);
    EXPECT_THAT(Join(registry, "a"),
                Fails(absl::StatusCode::kInvalidArgument, "discovery: size key is bad"))
        << size;
    EXPECT_EQ(registry.member_count(), 0u);
  }
}

TEST_F(ClusterJoin, FailuresAreRetriedEverLaterUpTo256Seconds) {
  FakeRegistry registry("1");
  registry.size_failures.assign(6, absl::UnavailableError("nobody there"));
  registry.list_failures.assign(4, absl::DeadlineExceededError("deadline exceeded"));
  EXPECT_EQ(*Join(registry, "a"), "a=http://a:2380");
  std::vector<absl::Duration> expected;
  for (int seconds : {2, 4, 8, 16, 32, 64, 128, 256, 256, 256}) {
    expected.push_back(absl::Seconds(seconds));
  }
  EXPECT_EQ(pauses_, expected);
}

TEST_F(ClusterJoin, ARegistrationThatFailsIsRetriedEverLater) {
  FakeRegistry registry("1");
  registry.register_failures.assign(3, absl::UnavailableError("no leader"));
  EXPECT_EQ(*Join(registry, "a"), "a=http://a:2380");
  EXPECT_THAT(pauses_, testing::ElementsAre(absl::Seconds(2), absl::Seconds(4), absl::Seconds(8)));
}

TEST_F(ClusterJoin, ARegistrationThatWasExecutedButNotAnsweredCounts) {
  FakeRegistry registry("1");
  registry.on_register = [&registry] { PutMember(registry, "a"); };
  registry.register_failures = {absl::DeadlineExceededError("deadline exceeded")};
  EXPECT_EQ(*Join(registry, "a"), "a=http://a:2380");
  EXPECT_THAT(registry.calls,
              testing::ElementsAre("size", "list", "register", "size", "list"));
}

TEST_F(ClusterJoin, PausesBeginAnewAfterASuccess) {
  FakeRegistry registry("2");
  registry.size_failures = {absl::UnavailableError("x"), absl::UnavailableError("x")};
  on_pause_ = [&registry](size_t pause) {
    if (pause == 3) registry.list_failures = {absl::UnavailableError("x")};
    if (pause == 4) PutMember(registry, "b");
  };
  EXPECT_EQ(*Join(registry, "a"), "a=http://a:2380,b=http://b:2380");
  EXPECT_THAT(pauses_, testing::ElementsAre(absl::Seconds(2), absl::Seconds(4),
                                            options_.poll_interval, absl::Seconds(2)));
}

TEST_F(ClusterJoin, TooManyRetries) {
  options_.retries_max = 3;
  for (auto list : {&FakeRegistry::size_failures, &FakeRegistry::list_failures,
                    &FakeRegistry::register_failures}) {
    FakeRegistry registry("1");
    pauses_.clear();
    (registry.*list).assign(4, absl::UnavailableError("nobody there"));
    EXPECT_THAT(Join(registry, "a"),
                Fails(absl::StatusCode::kUnavailable, "discovery: too many retries"));
    EXPECT_EQ(pauses_.size(), 3u);
  }
}

TEST_F(ClusterJoin, StopsWhileWaiting) {
  FakeRegistry registry("2");
  stop_at_pause_ = 3;
  EXPECT_THAT(Join(registry, "a"),
              Fails(absl::StatusCode::kCancelled, "discovery: stopped while waiting"));
  EXPECT_EQ(pauses_.size(), 3u);
  registry.size_failures = {absl::UnavailableError("x")};
  stop_at_pause_ = 4;
  EXPECT_THAT(Join(registry, "a"),
              Fails(absl::StatusCode::kCancelled, "discovery: stopped while waiting"));
}

TEST_F(ClusterJoin, LastingFailuresAreNotRetried) {
  for (auto list : {&FakeRegistry::size_failures, &FakeRegistry::list_failures,
                    &FakeRegistry::register_failures}) {
    FakeRegistry registry("1");
    (registry.*list) = {absl::PermissionDeniedError("etcdserver: permission denied")};
    EXPECT_THAT(Join(registry, "a"),
                Fails(absl::StatusCode::kPermissionDenied, "etcdserver: permission denied"));
  }
  EXPECT_THAT(pauses_, testing::IsEmpty());
}

TEST_F(ClusterJoin, WhatOneOfTheFirstRegisteredMustBeReadable) {
  for (const char* text : {"", "b", "b=", "=http://b:2380", "b=ftp://b:2380", "b=http://b",
                           "b=http://b:2380,c=http://c:2380", "b=http://b:2380/path"}) {
    FakeRegistry registry("2");
    registry.Put("b0b", text);
    EXPECT_THAT(Join(registry, "a"),
                Fails(absl::StatusCode::kInvalidArgument, "discovery: invalid peer URL"))
        << text;
  }
  // Behind the first N nobody looks at it.
  FakeRegistry registry("1");
  PutMember(registry, "a");
  registry.Put("b0b", "nonsense");
  EXPECT_EQ(*Join(registry, "a"), "a=http://a:2380");
}

TEST_F(ClusterJoin, ANameThatTheOthersCouldNotReadIsNotRegistered) {
  for (const char* name : {"a=b", "a,b", "", " a"}) {
    FakeRegistry registry("1");
    InitialMember self = MemberCalled("a");
    self.name = name;
    EXPECT_THAT(Join(registry, self),
                Fails(absl::StatusCode::kInvalidArgument, "discovery: invalid peer URL"))
        << name;
    EXPECT_EQ(registry.member_count(), 0u);
  }
}

TEST_F(ClusterJoin, DuplicateNamesAndUrlsAreRefused) {
  {
    FakeRegistry registry("2");
    registry.Put("b0b", "a=http://b:2380");
    EXPECT_THAT(
        Join(registry, "a"),
        Fails(absl::StatusCode::kFailedPrecondition,
              "discovery cluster a=http://b:2380,a=http://a:2380 has duplicate name"));
  }
  FakeRegistry registry("2");
  registry.Put("b0b", "b=http://a:2380,b=http://b:2380");
  EXPECT_THAT(Join(registry, "a"),
              Fails(absl::StatusCode::kFailedPrecondition,
                    "discovery cluster a=http://a:2380,b=http://a:2380,b=http://b:2380 has "
                    "duplicate url"));
}

TEST_F(ClusterJoin, TheIdDerivesFromTokenAndUrls) {
  // SHA-1("http://127.0.0.1:2380token-1"), first 8 bytes.
  FakeRegistry registry("1");
  InitialMember self{"m", {*server::ParseUrl("http://127.0.0.1:2380")}};
  ASSERT_TRUE(Join(registry, self).ok());
  EXPECT_EQ(registry.TextOf("998233b1aae70a64"), "m=http://127.0.0.1:2380");
}

}  // namespace
}  // namespace etcdd::discovery
