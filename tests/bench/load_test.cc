// The load loops against a server whose answers are known, right and wrong.

#include <gtest/gtest.h>

#include <string>

#include "cmd/etcdd-bench/run.h"
#include "tests/bench/canned_server.h"

namespace etcdd::bench {
namespace {

const std::string kHeader = "\x0a\x04\x18\x05\x20\x02";

Options ShortRun(const CannedServer& server, const std::string& op) {
  Options options;
  options.endpoint = server.endpoint();
  options.op = op;
  options.seconds = 0.05;
  options.warmup_s = 0.01;
  return options;
}

TEST(Load, RightAnswersCount) {
  const CannedServer server({.message = kHeader});
  const auto report = RunOp(ShortRun(server, "put"));
  ASSERT_TRUE(report.ok()) << report.status();
  EXPECT_EQ(report->Find("errors"), 0);
  EXPECT_GT(report->Find("ops").value_or(0), 10);
  EXPECT_GT(report->Find("p50_us").value_or(0), 0);
}

TEST(Load, MoreOutstandingThanTheConnectionWindowAdmits) {
  const CannedServer server({.message = kHeader});
  Options options = ShortRun(server, "put");
  options.connections = 1;
  options.outstanding = 1000;  // 290 kB of requests in a window of 64 KiB
  const auto report = RunOp(options);
  ASSERT_TRUE(report.ok()) << report.status();
  EXPECT_EQ(report->Find("errors"), 0);
  EXPECT_GT(report->Find("ops").value_or(0), 1000);
}

TEST(Load, MoreOutstandingThanStreamsAdmitted) {
  const CannedServer server({.message = kHeader, .streams_max = 3});
  Options options = ShortRun(server, "put");
  options.connections = 2;
  options.outstanding = 50;
  const auto report = RunOp(options);
  ASSERT_TRUE(report.ok()) << report.status();
  EXPECT_EQ(report->Find("errors"), 0);
  EXPECT_GT(report->Find("ops").value_or(0), 50);
}

TEST(Load, WrongAnswersAreErrors) {
  const CannedServer server({.message = kHeader});
  const auto report = RunOp(ShortRun(server, "range"));
  ASSERT_TRUE(report.ok()) << report.status();
  EXPECT_EQ(report->Find("ops"), 0) << "the reply has no key-value";
  EXPECT_GT(report->Find("errors").value_or(0), 10);
}

TEST(Load, MissingMessagesAreErrors) {
  const CannedServer server({.message = ""});
  const auto report = RunOp(ShortRun(server, "put"));
  ASSERT_TRUE(report.ok()) << report.status();
  EXPECT_EQ(report->Find("ops"), 0);
  EXPECT_GT(report->Find("errors").value_or(0), 10);
}

TEST(Load, FailedCallsAreErrors) {
  const CannedServer server({.message = kHeader, .grpc_status = '8'});
  const auto report = RunOp(ShortRun(server, "put"));
  ASSERT_TRUE(report.ok()) << report.status();
  EXPECT_EQ(report->Find("ops"), 0);
  ASSERT_FALSE(report->texts.empty());
  EXPECT_EQ(report->texts.back().second, "grpc-status 8: ");
}

TEST(Load, FillPutsEveryKeyOnce) {
  const CannedServer server({.message = kHeader});
  Options options = ShortRun(server, "put");
  options.keys = 5000;
  options.random_order = true;
  const auto report = RunFill(options);
  ASSERT_TRUE(report.ok()) << report.status();
  EXPECT_EQ(report->Find("ops"), 5000);
  EXPECT_EQ(report->Find("errors"), 0);
}

TEST(Load, NobodyThereIsAnError) {
  Options options;
  {
    const CannedServer server({.message = kHeader});
    options.endpoint = server.endpoint();
  }
  EXPECT_FALSE(RunOp(options).ok());
  options.timeout_s = 0.05;
  EXPECT_FALSE(RunRestartProbe(options).ok());
}

TEST(Watch, StrangeEventsAreErrors) {
  // Created, watch id 0, and an event of a put that nobody made.
  const std::string event = "\x5a\x10\x12\x0e\x20\x07\x2a\x0a" + std::string(10, 'v');
  const CannedServer server(
      {.message = kHeader + "\x18\x01" + event, .keep_open = true});
  Options options = ShortRun(server, "watch");
  options.connections = 1;
  options.streams = 1;
  options.watchers = 1;
  const auto report = RunOp(options);
  EXPECT_FALSE(report.ok() && report->Find("errors") == 0);
}

TEST(Probe, AnswersOnceTheServerDoes) {
  const CannedServer server({.message = kHeader});
  Options options;
  options.endpoint = server.endpoint();
  const auto report = RunRestartProbe(options);
  ASSERT_TRUE(report.ok()) << report.status();
  EXPECT_EQ(report->Find("attempts"), 1);
  EXPECT_EQ(report->Find("revision"), 5);
}

TEST(Compact, GoesToTheCurrentRevision) {
  const CannedServer server({.message = kHeader});
  Options options;
  options.endpoint = server.endpoint();
  const auto report = RunCompact(options);
  ASSERT_TRUE(report.ok()) << report.status();
  EXPECT_EQ(report->Find("revision"), 5);
  EXPECT_EQ(report->Find("errors"), 0);
}

}  // namespace
}  // namespace etcdd::bench
