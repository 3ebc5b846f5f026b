#include "server/base/log.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <limits>
#include <string>
#include <thread>
#include <vector>

#include "absl/strings/str_split.h"
#include "server/base/file_system.h"
#include "tests/support/temp_dir.h"

namespace etcdd::base {
namespace {

using ::testing::ContainsRegex;
using ::testing::EndsWith;
using ::testing::HasSubstr;
using ::testing::MatchesRegex;
using ::testing::StartsWith;

class LogTest : public ::testing::Test {
 protected:
  void SetUp() override { ::testing::internal::CaptureStderr(); }
  void TearDown() override {
    SetLogLevel(LogLevel::kInfo);
    if (!taken_) ::testing::internal::GetCapturedStderr();
  }
  // All that was written since the test began.
  std::string Take() {
    taken_ = true;
    return ::testing::internal::GetCapturedStderr();
  }

 private:
  bool taken_ = false;
};

TEST_F(LogTest, LineHasEtcdsKeysInOrder) {
  Log(LogLevel::kInfo, "", "/home/x/server/embed/etcd.cc", 886, "serving metrics",
      {{"address", "http://127.0.0.1:2381"}});
  EXPECT_THAT(Take(), MatchesRegex(
      "\\{\"level\":\"info\","
      "\"ts\":\"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}\\.[0-9]{6}"
      "(Z|[-+][0-9]{4})\","
      "\"caller\":\"embed/etcd.cc:886\",\"msg\":\"serving metrics\","
      "\"address\":\"http://127.0.0.1:2381\"\\}\n"));
}

TEST_F(LogTest, LoggerNameStandsBeforeCaller) {
  Log(LogLevel::kInfo, "raft", "raft.cc", 1, "elected");
  EXPECT_THAT(Take(), ContainsRegex("\",\"logger\":\"raft\",\"caller\":\"raft.cc:1\","
                                    "\"msg\":\"elected\"\\}\n$"));
}

TEST_F(LogTest, MacroNamesItsPlace) {
  ETCDD_LOG(kWarn, "slow fdatasync", {{"took", LogDuration(absl::Milliseconds(1500))}});
  const std::string line = Take();
  EXPECT_THAT(line, StartsWith("{\"level\":\"warn\",\"ts\":\""));
  EXPECT_THAT(line, ContainsRegex("\"caller\":\"base/log_test.cc:[0-9]+\""));
  EXPECT_THAT(line, EndsWith("\"msg\":\"slow fdatasync\",\"took\":\"1.5s\"}\n"));
}

TEST_F(LogTest, FieldsOfEveryType) {
  const uint32_t small = 7;
  ETCDD_LOG(kInfo, "m",
            {{"s", std::string("text")},
             {"view", std::string_view("view")},
             {"int", -3},
             {"i64", std::numeric_limits<int64_t>::min()},
             {"u32", small},
             {"u64", std::numeric_limits<uint64_t>::max()},
             {"yes", true},
             {"double", 0.25},
             {"whole", 3.0},
             {"tiny", 1e-7},
             {"nan", std::numeric_limits<double>::quiet_NaN()},
             {"inf", -std::numeric_limits<double>::infinity()},
             {"list", std::vector<std::string>{"a", "b\""}},
             {"none", std::vector<std::string>{}},
             LogField(absl::NotFoundError("open /x: gone"))});
  EXPECT_THAT(
      Take(),
      EndsWith("\"msg\":\"m\",\"s\":\"text\",\"view\":\"view\",\"int\":-3,"
               "\"i64\":-9223372036854775808,\"u32\":7,\"u64\":18446744073709551615,"
               "\"yes\":true,\"double\":0.25,\"whole\":3,\"tiny\":0.0000001,"
               "\"nan\":\"NaN\",\"inf\":\"-Inf\","
               "\"list\":[\"a\",\"b\\\"\"],\"none\":[],\"error\":\"open /x: gone\"}\n"));
}

TEST_F(LogTest, EscapesOnlyWhatJsonMust) {
  ETCDD_LOG(kInfo, "quote \" back \\ <&>", {{"a\nb", "\r\t\x01\x1f\x7f grün 🦊"}});
  EXPECT_THAT(Take(), EndsWith("\"msg\":\"quote \\\" back \\\\ <&>\","
                               "\"a\\nb\":\"\\r\\t\\u0001\\u001f\x7f grün 🦊\"}\n"));
}

TEST_F(LogTest, BytesThatAreNotUtf8AreReplacedOneByOne) {
  // A lone continuation, an overlong slash, a surrogate, a cut-off sequence, one above U+10FFFF.
  ETCDD_LOG(kInfo, "m", {{"a", "\x80|"}, {"b", "\xc0\xaf|"}, {"c", "\xed\xa0\x80|"},
                         {"d", "\xe2\x82"}, {"e", "\xf4\x90\x80\x80|"}});
  EXPECT_THAT(Take(), EndsWith("\"a\":\"\\ufffd|\",\"b\":\"\\ufffd\\ufffd|\","
                               "\"c\":\"\\ufffd\\ufffd\\ufffd|\",\"d\":\"\\ufffd\\ufffd\","
                               "\"e\":\"\\ufffd\\ufffd\\ufffd\\ufffd|\"}\n"));
}

TEST_F(LogTest, FormatCharactersMeanNothing) {
  ETCDD_LOG(kInfo, "%v {} %s {0}");
  EXPECT_THAT(Take(), HasSubstr("\"msg\":\"%v {} %s {0}\""));
}

TEST_F(LogTest, LinesBelowTheLevelAreDropped) {
  bool evaluated = false;
  const auto text = [&evaluated] {
    evaluated = true;
    return "x";
  };
  ETCDD_LOG(kDebug, text());
  EXPECT_FALSE(evaluated);
  EXPECT_FALSE(LogEnabled(LogLevel::kDebug));
  SetLogLevel(LogLevel::kDebug);
  ETCDD_LOG(kDebug, "seen");
  SetLogLevel(LogLevel::kError);
  ETCDD_LOG(kWarn, "dropped");
  Log(LogLevel::kWarn, "", "f.cc", 1, "dropped too");
  ETCDD_LOG(kError, "failure");
  const std::string lines = Take();
  EXPECT_THAT(lines, HasSubstr("\"level\":\"debug\""));
  EXPECT_THAT(lines, HasSubstr("\"level\":\"error\""));
  EXPECT_THAT(lines, ::testing::Not(HasSubstr("dropped")));
  EXPECT_THAT(lines, ::testing::Not(HasSubstr("stacktrace")));
}

TEST_F(LogTest, ConsoleFormatHasTheSameValuesBetweenTabs) {
  SetLogFormat(LogFormat::kConsole);
  Log(LogLevel::kWarn, "", "wal/wal.cc", 7, "slow fdatasync",
      {{"took", "1.5s"}, {"bytes", 3}, {"list", std::vector<std::string>{"a", "b"}}});
  Log(LogLevel::kInfo, "raft", "raft/raft.cc", 8, "no fields");
  SetLogFormat(LogFormat::kJson);
  const std::vector<std::string> lines = absl::StrSplit(Take(), '\n', absl::SkipEmpty());
  ASSERT_EQ(lines.size(), 2u);
  EXPECT_THAT(lines[0], ContainsRegex("^[0-9]{4}-[^\t]*\twarn\twal/wal.cc:7\tslow fdatasync\t"
                                      "\\{\"took\": \"1.5s\", \"bytes\": 3, "
                                      "\"list\": \\[\"a\", \"b\"\\]\\}$"));
  EXPECT_THAT(lines[1], EndsWith("\tinfo\traft\traft/raft.cc:8\tno fields"));
}

TEST_F(LogTest, OutputsMayBeFilesAndAreAppendedTo) {
  const etcdd::testing::TempDir directory;
  const std::string path = directory.Path("etcdd.log");
  const auto fs = NewPosixFileSystem();
  for (const char* text : {"first", "second"}) {
    ASSERT_TRUE(SetLogOutputs({path, "stderr"}).ok());
    ETCDD_LOG(kInfo, text);
    ASSERT_TRUE(SetLogOutputs({"default"}).ok());
    ETCDD_LOG(kInfo, "not in the file");
  }
  const std::string content = *ReadFile(*fs, path);
  EXPECT_THAT(content, ContainsRegex("\"msg\":\"first\"\\}\n.*\"msg\":\"second\"\\}\n$"));
  EXPECT_THAT(content, ::testing::Not(HasSubstr("not in the file")));
  EXPECT_THAT(Take(), HasSubstr("\"msg\":\"second\""));
}

TEST_F(LogTest, DevNullAmongTheOutputsSilencesAll) {
  ASSERT_TRUE(SetLogOutputs({"stderr", "/dev/null"}).ok());
  ETCDD_LOG(kError, "unheard");
  ASSERT_TRUE(SetLogOutputs({"default"}).ok());
  ETCDD_LOG(kInfo, "heard");
  const std::string lines = Take();
  EXPECT_THAT(lines, HasSubstr("heard"));
  EXPECT_THAT(lines, ::testing::Not(HasSubstr("unheard")));
}

TEST_F(LogTest, RefusedOutputsChangeNothing) {
  const etcdd::testing::TempDir directory;
  EXPECT_TRUE(absl::IsInvalidArgument(SetLogOutputs({})));
  EXPECT_TRUE(absl::IsInvalidArgument(SetLogOutputs({"default", "stdout"})));
  // A directory cannot be written to.
  EXPECT_TRUE(absl::IsInvalidArgument(SetLogOutputs({"/dev/null", directory.path()})));
  ETCDD_LOG(kInfo, "still here");
  EXPECT_THAT(Take(), HasSubstr("still here"));
}

TEST_F(LogTest, TimeShowsTheLocalZone) {
  const char* const old = std::getenv("TZ");
  const std::string saved = old == nullptr ? "" : old;
  setenv("TZ", "UTC", 1);
  ETCDD_LOG(kInfo, "utc");
  setenv("TZ", "Fixed/UTC-03:30:00", 1);
  ETCDD_LOG(kInfo, "west");
  if (old == nullptr) {
    unsetenv("TZ");
  } else {
    setenv("TZ", saved.c_str(), 1);
  }
  const std::string lines = Take();
  EXPECT_THAT(lines, ContainsRegex("\\.[0-9]{6}Z\",\"caller\":\"[^\"]*\",\"msg\":\"utc\""));
  EXPECT_THAT(lines, ContainsRegex("\\.[0-9]{6}-0330\",\"caller\":\"[^\"]*\",\"msg\":\"west\""));
}

TEST_F(LogTest, LinesOfManyThreadsStayWhole) {
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([] {
      for (int i = 0; i < 250; ++i) ETCDD_LOG(kInfo, "line", {{"text", std::string(200, 'x')}});
    });
  }
  for (std::thread& thread : threads) thread.join();
  const std::vector<std::string> lines = absl::StrSplit(Take(), '\n', absl::SkipEmpty());
  ASSERT_EQ(lines.size(), 1000u);
  for (const std::string& line : lines) {
    ASSERT_THAT(line, StartsWith("{\"level\":\"info\""));
    ASSERT_THAT(line, EndsWith("xxx\"}"));
  }
}

TEST(LogText, DurationsAreGos) {
  const struct {
    absl::Duration duration;
    const char* text;
  } cases[] = {
      {absl::ZeroDuration(), "0s"},
      {absl::Nanoseconds(1), "1ns"},
      {absl::Nanoseconds(999), "999ns"},
      {absl::Nanoseconds(1100), "1.1µs"},
      {absl::Nanoseconds(2340), "2.34µs"},
      {absl::Microseconds(10), "10µs"},
      {absl::Microseconds(2200), "2.2ms"},
      {absl::Milliseconds(100), "100ms"},
      {absl::Nanoseconds(100'000'001), "100.000001ms"},
      {absl::Milliseconds(1500), "1.5s"},
      {absl::Milliseconds(3300), "3.3s"},
      {absl::Seconds(10), "10s"},
      {absl::Minutes(1), "1m0s"},
      {absl::Minutes(4) + absl::Milliseconds(5001), "4m5.001s"},
      {absl::Hours(1), "1h0m0s"},
      {absl::Hours(5) + absl::Minutes(6) + absl::Milliseconds(7001), "5h6m7.001s"},
      {absl::Hours(72) + absl::Nanoseconds(1), "72h0m0.000000001s"},
      {absl::Milliseconds(-1500), "-1.5s"},
      {absl::InfiniteDuration(), "2562047h47m16.854775807s"},
      {-absl::InfiniteDuration(), "-2562047h47m16.854775808s"},
  };
  for (const auto& c : cases) EXPECT_EQ(LogDuration(c.duration), c.text);
}

TEST(LogText, IdsAreHexWithoutPadding) {
  EXPECT_EQ(LogId(0x8e9e05c52164694du), "8e9e05c52164694d");
  EXPECT_EQ(LogId(0xab), "ab");
  EXPECT_EQ(LogId(0), "0");
}

}  // namespace
}  // namespace etcdd::base
