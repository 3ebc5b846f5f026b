// Config without flags, URLs, and the data directory.

#include "server/config.h"

#include <memory>
#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "server/base/file_system.h"
#include "server/data_dir.h"
#include "server/url.h"
#include "tests/support/fault_file_system.h"
#include "tests/support/temp_dir.h"

namespace etcdd::server {
namespace {

std::vector<Url> Urls(const std::string& text) { return ParseUrlList(text).value(); }

std::string ErrorOf(const absl::Status& status) { return std::string(status.message()); }

TEST(Url, PartsAreFound) {
  const Url plain = ParseUrl("HTTP://example.com:2379").value();
  EXPECT_EQ(plain.scheme, "http");
  EXPECT_EQ(plain.host, "example.com");
  EXPECT_EQ(plain.port, 2379);
  EXPECT_EQ(plain.ToString(), "http://example.com:2379");
  EXPECT_FALSE(plain.IsTls());

  const Url v6 = ParseUrl("https://[fe80::1%eth0]:1").value();
  EXPECT_EQ(v6.host, "fe80::1%eth0");
  EXPECT_EQ(v6.address, "[fe80::1%eth0]:1");
  EXPECT_TRUE(v6.IsTls());

  const Url socket = ParseUrl("unix:///run/etcdd.sock").value();
  EXPECT_TRUE(socket.IsUnix());
  EXPECT_EQ(socket.address, "/run/etcdd.sock");
  EXPECT_EQ(socket.ToString(), "unix:///run/etcdd.sock");
}

TEST(Url, WhatIsNotAUrlIsRefused) {
  for (const char* text :
       {"", "localhost:2379", "http:/a:1", "http://", "http://a", "http://a:", "http://a:b",
        "http://a:65536", "http://::1:2379", "http://[::1:2379", "http://a:1?q", "http://u@a:1",
        "http://a:1/", "http://a:-1", "unix://", "http://[::1]x:2"}) {
    EXPECT_EQ(ParseUrl(text).status().code(), absl::StatusCode::kInvalidArgument) << text;
  }
}

TEST(Url, BindingNeedsAnAddress) {
  for (const char* text : {"http://localhost:1", "http://127.0.0.1:1", "http://0.0.0.0:0",
                           "http://[::]:1", "http://[fe80::1%eth0]:1", "unix://a"}) {
    EXPECT_TRUE(CheckBindable(ParseUrl(text).value()).ok()) << text;
  }
  for (const char* text : {"http://example.com:1", "http://:1", "http://1.2.3:1"}) {
    EXPECT_EQ(ErrorOf(CheckBindable(ParseUrl(text).value())),
              std::string("expected IP in URL for binding (") + text + ")");
  }
}

TEST(Config, DefaultsAreValid) {
  const Config config;
  EXPECT_TRUE(config.Validate().ok()) << config.Validate();
  EXPECT_TRUE(CheckInitialCluster(config).ok()) << CheckInitialCluster(config);
}

TEST(Config, ElectionTimeoutBounds) {
  Config config;
  config.heartbeat_interval_ms = 10000;
  config.election_timeout_ms = 50000;
  EXPECT_TRUE(config.Validate().ok());
  config.election_timeout_ms = 50001;
  EXPECT_FALSE(config.Validate().ok());
  config.election_timeout_ms = 49999;
  EXPECT_EQ(ErrorOf(config.Validate()),
            "--election-timeout[49999ms] should be at least as 5 times as "
            "--heartbeat-interval[10000ms]");
}

TEST(Config, UnknownClusterStateIsRefused) {
  Config config;
  config.initial_cluster_state = "old";
  EXPECT_EQ(ErrorOf(config.Validate()), "unexpected clusterState \"old\"");
}

TEST(Config, ShortestLeaseOutlivesAnElection) {
  Config config;
  config.heartbeat_interval_ms = 100;
  config.election_timeout_ms = 1000;
  EXPECT_EQ(config.MinLeaseTtlSeconds(), 2);  // 15 ticks of 100 ms
  config.heartbeat_interval_ms = 10;
  config.election_timeout_ms = 100;
  EXPECT_EQ(config.MinLeaseTtlSeconds(), 1);
  config.heartbeat_interval_ms = 1000;
  config.election_timeout_ms = 10000;
  EXPECT_EQ(config.MinLeaseTtlSeconds(), 15);
}

TEST(InitialCluster, OwnNameMustBeListed) {
  Config config;
  config.name = "me";
  EXPECT_EQ(ErrorOf(CheckInitialCluster(config)),
            "couldn't find local name \"me\" in the initial cluster configuration");
}

TEST(InitialCluster, AdvertisedUrlsMustMatchBothWays) {
  Config config;
  config.name = "a";
  config.initial_cluster = ParseInitialCluster("a=http://h:1,a=http://h:2").value();
  config.initial_advertise_peer_urls = Urls("http://h:1");
  EXPECT_EQ(ErrorOf(CheckInitialCluster(config)),
            "--initial-cluster has a=http://h:2 but missing from "
            "--initial-advertise-peer-urls=http://h:1");
  config.initial_advertise_peer_urls = Urls("http://h:1,http://h:2,http://h:3");
  EXPECT_EQ(ErrorOf(CheckInitialCluster(config)),
            "--initial-advertise-peer-urls has http://h:3 but missing from "
            "--initial-cluster=a=http://h:1,a=http://h:2");
  config.initial_advertise_peer_urls = Urls("http://h:2,http://h:1");
  EXPECT_TRUE(CheckInitialCluster(config).ok());
}

TEST(InitialCluster, DuplicateUrlsAreRefused) {
  Config config;
  config.name = "a";
  config.initial_advertise_peer_urls = Urls("http://h:1");
  for (const char* text : {"a=http://h:1,b=http://h:1", "a=http://h:1,a=http://h:1"}) {
    config.initial_cluster = ParseInitialCluster(text).value();
    EXPECT_EQ(ErrorOf(CheckInitialCluster(config)),
              std::string("initial cluster ") + text + " has duplicate url");
  }
}

class DataDirTest : public ::testing::Test {
 protected:
  void SetUp() override { ASSERT_TRUE(fs_->CreateDirs(dir_.root()).ok()); }

  void WriteFile(const std::string& path, const std::string& content) {
    ASSERT_TRUE(fs_->CreateDirs(path.substr(0, path.rfind('/'))).ok());
    auto file = fs_->Open(path, base::OpenMode::kTruncate);
    ASSERT_TRUE(file.ok()) << file.status();
    ASSERT_TRUE((*file)->WriteAt(0, content).ok());
  }
  DataDirFindings Inspect(const DataDir& dir) {
    auto findings = InspectDataDir(*fs_, dir);
    EXPECT_TRUE(findings.ok()) << findings.status();
    return findings.ok() ? *findings : DataDirFindings();
  }
  DataDirFindings Inspect() { return Inspect(dir_); }

  testing::TempDir temp_;
  std::unique_ptr<base::FileSystem> fs_ = base::NewPosixFileSystem();
  DataDir dir_{temp_.Path("data")};
};

TEST_F(DataDirTest, PathsAreThoseOfTheLayout) {
  const DataDir dir("/var/lib/etcd/");
  EXPECT_EQ(dir.root(), "/var/lib/etcd");
  EXPECT_EQ(dir.MemberDir(), "/var/lib/etcd/member");
  EXPECT_EQ(dir.WalDir(), "/var/lib/etcd/member/wal");
  EXPECT_EQ(dir.SnapDir(), "/var/lib/etcd/member/snap");
  EXPECT_EQ(dir.BackendDir(), "/var/lib/etcd/member/snap/etcdd.db");
  EXPECT_EQ(DataDir("d", "/fast/wal").WalDir(), "/fast/wal");
}

TEST_F(DataDirTest, AbsentAndEmptyDirectoriesAreEmpty) {
  EXPECT_EQ(Inspect(DataDir(temp_.Path("absent"))).kind, DataDirKind::kEmpty);
  EXPECT_EQ(Inspect().kind, DataDirKind::kEmpty);
  // A crash right after the first directory was made.
  ASSERT_TRUE(fs_->CreateDirs(dir_.SnapDir()).ok());
  EXPECT_EQ(Inspect().kind, DataDirKind::kEmpty);
  EXPECT_TRUE(CheckUsable(Inspect(), dir_).ok());
}

TEST_F(DataDirTest, WhatInitMakesIsOurs) {
  const DataDir deep(temp_.Path("a/b/c"));
  ASSERT_TRUE(InitDataDir(*fs_, deep).ok());
  EXPECT_EQ(Inspect(deep).kind, DataDirKind::kEtcdd);
  EXPECT_EQ(Inspect(deep).format, kDataDirFormat);
  EXPECT_TRUE(fs_->Exists(deep.SnapDir()));
  EXPECT_FALSE(fs_->Exists(deep.WalDir()));
  EXPECT_TRUE(CheckUsable(Inspect(deep), deep).ok());
  EXPECT_TRUE(InitDataDir(*fs_, deep).ok());
}

TEST_F(DataDirTest, InitLeavesAnExistingVersionFileAlone) {
  const std::string content = "{\"created-by\":\"etcdd 9\",\"format\": 1 }\n";
  WriteFile(dir_.VersionFile(), content);
  ASSERT_TRUE(InitDataDir(*fs_, dir_).ok());
  EXPECT_EQ(base::ReadFile(*fs_, dir_.VersionFile()).value(), content);
  EXPECT_EQ(Inspect().kind, DataDirKind::kEtcdd);
}

TEST_F(DataDirTest, ANewerFormatIsRefused) {
  WriteFile(dir_.VersionFile(), "{\"format\":2,\"created-by\":\"etcdd 5.0\"}");
  EXPECT_EQ(Inspect().kind, DataDirKind::kEtcddNewer);
  const absl::Status status = CheckUsable(Inspect(), dir_);
  EXPECT_EQ(status.code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_THAT(ErrorOf(status), ::testing::HasSubstr("has format 2"));
  EXPECT_THAT(ErrorOf(status), ::testing::HasSubstr("written by a newer etcdd"));
}

TEST_F(DataDirTest, ADamagedVersionFileIsAnError) {
  for (const char* content : {"", "{}", "{\"format\":}", "{\"format\":0}", "{\"format\":\"x\"}",
                              "{\"format\":1", "format: 1"}) {
    WriteFile(dir_.VersionFile(), content);
    EXPECT_EQ(InspectDataDir(*fs_, dir_).status().code(), absl::StatusCode::kDataLoss) << content;
  }
}

TEST_F(DataDirTest, AnEtcdDirectoryIsRecognisedAndRefused) {
  WriteFile(dir_.EtcdDbFile(), "bbolt");
  WriteFile(dir_.WalDir() + "/0000000000000000-0000000000000000.wal", "");
  EXPECT_EQ(Inspect().kind, DataDirKind::kEtcd);
  EXPECT_THAT(ErrorOf(CheckUsable(Inspect(), dir_)), ::testing::HasSubstr("belongs to etcd"));
}

TEST_F(DataDirTest, AWalWithoutAnOwnerIsRefused) {
  WriteFile(dir_.WalDir() + "/0000000000000000-0000000000000000.wal", "");
  EXPECT_EQ(Inspect().kind, DataDirKind::kUnknown);
  EXPECT_THAT(ErrorOf(CheckUsable(Inspect(), dir_)), ::testing::HasSubstr("restore"));
}

TEST_F(DataDirTest, ABackendWithoutAnOwnerIsRefused) {
  WriteFile(dir_.SnapDir() + "/etcdd.db.00000000000000ff/CURRENT", "");
  EXPECT_EQ(Inspect().kind, DataDirKind::kUnknown);
}

TEST_F(DataDirTest, ADedicatedWalWithoutTheRestIsRefused) {
  const DataDir dir(temp_.Path("data"), temp_.Path("wal"));
  WriteFile(dir.WalDir() + "/0000000000000000-0000000000000000.wal", "");
  EXPECT_EQ(Inspect(dir).kind, DataDirKind::kUnknown);
}

TEST_F(DataDirTest, MemberAndProxyTogetherAreRefused) {
  ASSERT_TRUE(fs_->CreateDirs(dir_.root() + "/proxy").ok());
  EXPECT_EQ(Inspect().kind, DataDirKind::kProxy);
  EXPECT_FALSE(CheckUsable(Inspect(), dir_).ok());
  ASSERT_TRUE(InitDataDir(*fs_, dir_).ok());
  EXPECT_EQ(Inspect().kind, DataDirKind::kMemberAndProxy);
  EXPECT_THAT(ErrorOf(CheckUsable(Inspect(), dir_)),
              ::testing::StartsWith("invalid datadir; both member and proxy directories exist"));
}

TEST_F(DataDirTest, UnknownNamesAreReported) {
  WriteFile(dir_.root() + "/lost+found", "");
  ASSERT_TRUE(InitDataDir(*fs_, dir_).ok());
  EXPECT_THAT(Inspect().unknown_names, ::testing::ElementsAre("lost+found"));
  EXPECT_EQ(Inspect().kind, DataDirKind::kEtcdd);
}

TEST_F(DataDirTest, OnlyOneCanHoldTheLock) {
  ASSERT_TRUE(InitDataDir(*fs_, dir_).ok());
  auto first = TryLockDataDir(*fs_, dir_);
  ASSERT_TRUE(first.ok()) << first.status();
  EXPECT_NE(*first, nullptr);
  auto second = TryLockDataDir(*fs_, dir_);
  ASSERT_TRUE(second.ok()) << second.status();
  EXPECT_EQ(*second, nullptr);
  first->reset();
  auto third = TryLockDataDir(*fs_, dir_);
  ASSERT_TRUE(third.ok()) << third.status();
  EXPECT_NE(*third, nullptr);
}

// Power fails after each number of disk operations: the directory is then empty or ours, and a
// second start brings it up.
TEST(DataDirCrash, EveryCrashDuringInitCanBeRepeated) {
  const DataDir dir("/lib/etcdd");
  bool finished = false;
  for (uint64_t operations = 0; !finished; ++operations) {
    ASSERT_LT(operations, 100u);
    testing::FaultFileSystem fs;
    fs.PowerOffAfter(operations);
    finished = InitDataDir(fs, dir).ok();
    fs.Crash();
    const auto findings = InspectDataDir(fs, dir);
    ASSERT_TRUE(findings.ok()) << operations << ": " << findings.status();
    if (finished) {
      EXPECT_EQ(findings->kind, DataDirKind::kEtcdd);
    }
    ASSERT_TRUE(CheckUsable(*findings, dir).ok()) << operations;
    ASSERT_TRUE(InitDataDir(fs, dir).ok()) << operations;
    EXPECT_EQ(InspectDataDir(fs, dir)->kind, DataDirKind::kEtcdd) << operations;
  }
}

}  // namespace
}  // namespace etcdd::server
