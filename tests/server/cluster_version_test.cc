// The version a cluster agrees on, and the rules of a downgrade (CLUS-040..052).

#include "server/membership/cluster_version.h"

#include <string>
#include <vector>

#include "gtest/gtest.h"
#include "mvcc/backend/mem_backend.h"
#include "server/base/api_error.h"

namespace etcdd::membership {
namespace {

using base::ErrorId;
using Versions = std::vector<std::optional<Version>>;

constexpr Version k35{3, 5};
constexpr Version k36{3, 6};
constexpr Version k37{3, 7};

TEST(ClusterVersion, ParsesWhatMembersSay) {
  EXPECT_EQ(ParseVersion("3.7"), k37);
  EXPECT_EQ(ParseVersion("3.7.1"), k37);
  EXPECT_EQ(ParseVersion("3.7.0-rc.1"), k37);
  EXPECT_EQ(ParseVersion("3.7.0+etcdd.1"), k37);
  for (const char* bad : {"", "3", "3.", "3.x", "not_decided", "-3.7", "3.7.", "3.7.1x", "3.7x"}) {
    EXPECT_EQ(ParseVersion(bad), std::nullopt) << bad;
  }
}

TEST(ClusterVersion, FirstIsTheLowestIfAllAreKnownElseTheOldest) {
  EXPECT_EQ(DecideClusterVersion("", {}, {k37, k36, k37}), "3.6.0");
  EXPECT_EQ(DecideClusterVersion("", {}, {k37, std::nullopt}), "3.0.0");
}

TEST(ClusterVersion, IsRaisedWhenTheLastMemberIsUpgradedAndNeverLowered) {
  EXPECT_EQ(DecideClusterVersion("3.6.0", {}, {k37, k37}), "3.7.0");
  EXPECT_EQ(DecideClusterVersion("3.6.0", {}, {k37, k36}), std::nullopt);
  EXPECT_EQ(DecideClusterVersion("3.6.0", {}, {k37, std::nullopt}), std::nullopt);
  EXPECT_EQ(DecideClusterVersion("3.7.0", {}, {k37, k36}), std::nullopt);
}

TEST(ClusterVersion, ADowngradeLowersItOnceAndKeepsItThere) {
  const Downgrade job{true, "3.6.0"};
  EXPECT_EQ(DecideClusterVersion("3.7.0", job, {k37, k37}), "3.6.0");
  EXPECT_EQ(DecideClusterVersion("3.6.0", job, {k37, k37}), std::nullopt);
  EXPECT_FALSE(DowngradeIsDone(job, {k37, k36}));
  EXPECT_FALSE(DowngradeIsDone(job, {std::nullopt, k36}));
  EXPECT_TRUE(DowngradeIsDone(job, {k36, k36}));
  EXPECT_FALSE(DowngradeIsDone({}, {k36, k36}));
}

TEST(ClusterVersion, TargetOfADowngradeIsExactlyOneMinorBelow) {
  mvcc::MemBackend backend;
  auto batch = backend.NewBatch();
  Cluster cluster(1, 2);
  const auto check = [&](const char* target) {
    return CheckDowngradeTarget(cluster, target).status();
  };
  EXPECT_TRUE(base::IsApiError(check("3.6"), ErrorId::kClusterVersionUnavailable));
  cluster.SetVersion("3.7.0", *batch);
  EXPECT_TRUE(check("3.6").ok());
  EXPECT_TRUE(check("3.6.4").ok());
  for (const char* bad : {"", "3", "3.6.x", "v3.6", "3.6.0-rc.1"}) {
    EXPECT_TRUE(base::IsApiError(check(bad), ErrorId::kWrongDowngradeVersionFormat)) << bad;
  }
  for (const char* other : {"3.5", "3.7", "3.8", "2.6"}) {
    EXPECT_TRUE(base::IsApiError(check(other), ErrorId::kInvalidDowngradeTargetVersion)) << other;
  }
  cluster.SetDowngrade({true, "3.6.0"}, *batch);
  EXPECT_TRUE(base::IsApiError(check("3.6"), ErrorId::kDowngradeInProcess));
}

TEST(ClusterVersion, TheDowngradeIsPartOfTheRestoredCluster) {
  mvcc::MemBackend backend;
  auto batch = backend.NewBatch();
  Cluster cluster(1, 2);
  cluster.SetDowngrade({true, "3.6.0"}, *batch);
  ASSERT_TRUE(backend.Write(*batch).ok());
  EXPECT_EQ(backend.Get(mvcc::Bucket::kCluster, "downgrade").value(),
            R"({"target-version":"3.6.0","enabled":true})");
  Cluster restored(1, 2);
  ASSERT_TRUE(restored.Restore(*backend.NewView()).ok());
  EXPECT_TRUE(restored.downgrade().enabled);
  EXPECT_EQ(restored.downgrade().target_version, "3.6.0");
}

}  // namespace
}  // namespace etcdd::membership
