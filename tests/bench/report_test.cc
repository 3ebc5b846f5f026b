#include "cmd/etcdd-bench/report.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include "cmd/etcdd-bench/options.h"
#include "cmd/etcdd-bench/process_stats.h"
#include "cmd/etcdd-bench/run.h"

namespace etcdd::bench {
namespace {

TEST(ProcessStats, CpuTicksAreFields14And15WhateverTheName) {
  EXPECT_EQ(ParseCpuTicks("12 (etcd) S 1 2 3 4 5 6 7 8 9 10 700 33 0 0 20"), 733u);
  EXPECT_EQ(ParseCpuTicks("12 (a) b) S 1 2 3 4 5 6 7 8 9 10 1 2 0 0 20"), 3u);
  EXPECT_EQ(ParseCpuTicks("12 (etcd) S 1 2 3"), std::nullopt);
  EXPECT_EQ(ParseCpuTicks(""), std::nullopt);
}

TEST(ProcessStats, StatusLinesAreFoundByWholeName) {
  const std::string_view status = "VmRSSx:\t 9 kB\nVmRSS:\t    1234 kB\nRssAnon:\t  1000 kB\n";
  EXPECT_EQ(ParseStatusKib(status, "VmRSS"), 1234u);
  EXPECT_EQ(ParseStatusKib(status, "RssAnon"), 1000u);
  EXPECT_EQ(ParseStatusKib(status, "RssFile"), 0u);
}

TEST(ProcessStats, ThisProcessRunsAndUsesMemory) {
  const auto stats = ReadProcessStats(getpid());
  ASSERT_TRUE(stats.has_value());
  EXPECT_GT(stats->rss_kib, 100u);
  EXPECT_GT(stats->rss_anon_kib, 0u);
  EXPECT_TRUE(ProcessRuns(getpid()));
  EXPECT_FALSE(ProcessRuns(0x7ffffff0)) << "above any pid_max";
}

TEST(Report, JsonIsFlatWithTextsFirst) {
  Report report;
  report.Add("rate", 1234.5);
  report.AddText("op", "put \"x\"\n");
  report.Add("ops", 3);
  EXPECT_EQ(report.ToJson(), "{\"op\":\"put \\\"x\\\"\\u000a\",\"rate\":1234.5000,\"ops\":3}\n");
  EXPECT_EQ(report.Find("ops"), 3);
  EXPECT_EQ(report.Find("p50_us"), std::nullopt);
}

TEST(Meter, CountsOnlyBetweenBeginAndEnd) {
  Meter meter(0);
  meter.Record(1);
  meter.Begin(1'000'000'000);
  for (int i = 0; i < 100; ++i) meter.Record(50);
  meter.End(3'000'000'000);
  meter.Record(1);
  Report report;
  meter.AppendTo("ops", &report);
  EXPECT_EQ(report.Find("ops"), 100);
  EXPECT_EQ(report.Find("seconds"), 2);
  EXPECT_EQ(report.Find("rate"), 50);
  EXPECT_EQ(report.Find("p99_us"), 0.05);
  EXPECT_EQ(report.Find("server_cpu_s"), std::nullopt) << "no server process was named";
}

TEST(Meter, KeepsTheFirstErrorAndCountsAll) {
  Meter meter(getpid());
  meter.RecordError("first");
  meter.Begin(0);
  meter.RecordError("second");
  meter.End(1);
  Report report;
  meter.AppendTo("ops", &report);
  EXPECT_EQ(report.Find("errors"), 2);
  EXPECT_EQ(report.texts.front().second, "first");
  EXPECT_TRUE(report.Find("server_rss_kib").has_value());
}

TEST(CheckOptions, RefusesWhatDoesNotFitTogether) {
  EXPECT_TRUE(CheckOptions(Options()).ok());
  Options options;
  options.key_bytes = 6;
  EXPECT_FALSE(CheckOptions(options).ok()) << "key number 100999 has six digits";
  options.keys = 90000;
  EXPECT_TRUE(CheckOptions(options).ok());
  options = Options();
  options.value_bytes = 7;
  EXPECT_FALSE(CheckOptions(options).ok());
  options = Options();
  options.op = "watch";
  options.watchers = 4;
  EXPECT_FALSE(CheckOptions(options).ok());
  options.op = "lease-keepalive";
  options.outstanding = 4;
  EXPECT_FALSE(CheckOptions(options).ok());
}

}  // namespace
}  // namespace etcdd::bench
