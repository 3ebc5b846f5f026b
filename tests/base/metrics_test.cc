#include "server/base/metrics.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <set>
#include <thread>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_split.h"

namespace etcdd::base {
namespace {

using ::testing::HasSubstr;

// The page's values by "name{labels}", without comments.
std::map<std::string, double> Values(const std::string& page) {
  std::map<std::string, double> values;
  for (const absl::string_view line : absl::StrSplit(page, '\n', absl::SkipEmpty())) {
    if (line.front() == '#') continue;
    const size_t blank = line.rfind(' ');
    double value = 0;
    EXPECT_TRUE(absl::SimpleAtod(line.substr(blank + 1), &value)) << line;
    values[std::string(line.substr(0, blank))] = value;
  }
  return values;
}

TEST(Metrics, CountersGaugesAndLabels) {
  Metrics metrics;
  Counter& puts = metrics.AddCounter("etcd_mvcc_put_total", "Total number of puts.");
  Gauge& size = metrics.AddGauge("etcd_mvcc_db_total_size_in_bytes", "Size of the store.");
  puts.Add();
  puts.Add(41);
  size.Set(20480);
  size.Add(-480.5);
  metrics.AddCounter("grpc_server_handled_total", "RPCs finished.",
                     {{"grpc_method", "Put"}, {"grpc_code", "OK"}}).Add(3);
  const auto values = Values(metrics.TextPage());
  EXPECT_EQ(values.at("etcd_mvcc_put_total"), 42);
  EXPECT_EQ(values.at("etcd_mvcc_db_total_size_in_bytes"), 19999.5);
  EXPECT_EQ(values.at("grpc_server_handled_total{grpc_method=\"Put\",grpc_code=\"OK\"}"), 3);
}

TEST(Metrics, TheSameNameAndLabelsGiveTheSameHandle) {
  Metrics metrics;
  Counter& first = metrics.AddCounter("a_total", "A.", {{"to", "1"}});
  EXPECT_EQ(&metrics.AddCounter("a_total", "A.", {{"to", "1"}}), &first);
  EXPECT_NE(&metrics.AddCounter("a_total", "A.", {{"to", "2"}}), &first);
  Histogram& histogram = metrics.AddHistogram("h", "H.", {1, 2});
  EXPECT_EQ(&metrics.AddHistogram("h", "H.", {1, 2}), &histogram);
}

TEST(Metrics, HistogramsAreCumulativeOnThePage) {
  Metrics metrics;
  Histogram& histogram = metrics.AddHistogram("etcd_disk_wal_fsync_duration_seconds", "Fsync.",
                                              ExponentialBuckets(0.001, 2, 14));
  histogram.Observe(0.001);  // a bound belongs to its own bucket
  histogram.Observe(0.0015);
  histogram.Observe(5);
  histogram.Observe(100);
  const std::string page = metrics.TextPage();
  const auto values = Values(page);
  const std::string name = "etcd_disk_wal_fsync_duration_seconds";
  EXPECT_EQ(values.at(name + "_bucket{le=\"0.001\"}"), 1);
  EXPECT_EQ(values.at(name + "_bucket{le=\"0.002\"}"), 2);
  EXPECT_EQ(values.at(name + "_bucket{le=\"4.096\"}"), 2);
  EXPECT_EQ(values.at(name + "_bucket{le=\"8.192\"}"), 3);
  EXPECT_EQ(values.at(name + "_bucket{le=\"+Inf\"}"), 4);
  EXPECT_EQ(values.at(name + "_count"), 4);
  EXPECT_DOUBLE_EQ(values.at(name + "_sum"), 105.0025);
}

TEST(Metrics, FunctionsAreAskedWhenThePageIsMade) {
  Metrics metrics;
  double value = 1;
  // A function may use the registry itself: no lock is held.
  metrics.AddGaugeFunction("asked", "Asked.", {{"who", "me"}}, [&] {
    metrics.AddCounter("side_total", "Side.").Add();
    return value;
  });
  EXPECT_EQ(Values(metrics.TextPage()).at("asked{who=\"me\"}"), 1);
  value = 2.5;
  const auto values = Values(metrics.TextPage());
  EXPECT_EQ(values.at("asked{who=\"me\"}"), 2.5);
  metrics.AddGaugeFunction("asked", "Asked.", {{"who", "me"}}, [] { return 9.0; });
  EXPECT_EQ(Values(metrics.TextPage()).at("asked{who=\"me\"}"), 9);
}

// What `promtool check metrics` asks of the form of a page: each family has one HELP with text and
// one TYPE before its values, families do not repeat, and label values are escaped.
TEST(Metrics, EveryFamilyHasHelpAndTypeAndStandsTogether) {
  Metrics metrics;
  AddProcessMetrics(&metrics);
  metrics.AddCounter("b_total", "B.", {{"k", "quote\" back\\ line\n"}}).Add();
  metrics.AddHistogram("a_seconds", "A.", {0.1}, {{"k", "v"}}).Observe(1);
  const std::string page = metrics.TextPage();
  EXPECT_THAT(page, HasSubstr("b_total{k=\"quote\\\" back\\\\ line\\n\"} 1"));
  std::set<std::string> families;
  std::string family;
  bool typed = false;
  for (const absl::string_view line : absl::StrSplit(page, '\n', absl::SkipEmpty())) {
    const std::vector<std::string> words = absl::StrSplit(line, absl::MaxSplits(' ', 3));
    if (absl::StartsWith(line, "# HELP ")) {
      family = words[2];
      EXPECT_TRUE(families.insert(family).second) << line;
      ASSERT_EQ(words.size(), 4u) << line;
      EXPECT_FALSE(words[3].empty()) << line;
      typed = false;
    } else if (absl::StartsWith(line, "# TYPE ")) {
      EXPECT_EQ(words[2], family);
      EXPECT_FALSE(typed);
      typed = true;
    } else {
      EXPECT_TRUE(typed) << line;
      EXPECT_TRUE(absl::StartsWith(line, family)) << line;
    }
  }
  EXPECT_TRUE(std::is_sorted(families.begin(), families.end()));
  EXPECT_EQ(families.size(), 9u);
}

TEST(Metrics, ProcessMetricsAreThisProcess) {
  Metrics metrics;
  AddProcessMetrics(&metrics);
  const auto values = Values(metrics.TextPage());
  EXPECT_GT(values.at("process_resident_memory_bytes"), 1e6);
  EXPECT_GT(values.at("process_virtual_memory_bytes"),
            values.at("process_resident_memory_bytes"));
  EXPECT_GE(values.at("process_open_fds"), 3);
  EXPECT_GE(values.at("process_max_fds"), values.at("process_open_fds"));
  EXPECT_GT(values.at("process_start_time_seconds"), 1.5e9);
  EXPECT_GT(values.at("process_cpu_seconds_total"), 0);
}

TEST(Metrics, HandlesMayBeUsedByManyThreads) {
  Metrics metrics;
  Counter& counter = metrics.AddCounter("n_total", "N.");
  Gauge& gauge = metrics.AddGauge("g", "G.");
  Histogram& histogram = metrics.AddHistogram("h", "H.", {1});
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&] {
      for (int i = 0; i < 5000; ++i) {
        counter.Add();
        gauge.Add(1);
        histogram.Observe(0.5);
        if (i % 1000 == 0) {
          EXPECT_THAT(metrics.TextPage(), HasSubstr("n_total"));
        }
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  const auto values = Values(metrics.TextPage());
  EXPECT_EQ(values.at("n_total"), 20000);
  EXPECT_EQ(values.at("g"), 20000);
  EXPECT_EQ(values.at("h_sum"), 10000);
}

TEST(MetricsDeathTest, OurMistakesAreNamed) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  Metrics metrics;
  metrics.AddCounter("a_total", "A.", {{"k", "v"}});
  EXPECT_DEATH(metrics.AddGauge("a_total", "A.", {{"k", "v"}}), "check failed");
  EXPECT_DEATH(metrics.AddCounter("a_total", "Other.", {{"k", "v"}}), "check failed");
  EXPECT_DEATH(metrics.AddCounter("a_total", "A.", {{"other", "v"}}), "check failed");
  EXPECT_DEATH(metrics.AddCounter("b_total", ""), "check failed");
  EXPECT_DEATH(metrics.AddCounter("0bad", "Bad."), "check failed");
  EXPECT_DEATH(metrics.AddHistogram("h", "H.", {2, 1}), "check failed");
}

}  // namespace
}  // namespace etcdd::base
