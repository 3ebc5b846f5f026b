#include "cmd/etcdd-bench/process_stats.h"

#include <sys/resource.h>
#include <unistd.h>

#include <fstream>
#include <sstream>
#include <string>
#include <vector>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"

namespace etcdd::bench {
namespace {

std::string ReadProcFile(pid_t pid, std::string_view name) {
  std::ifstream in(absl::StrCat("/proc/", pid, "/", absl::string_view(name.data(), name.size())));
  std::stringstream text;
  text << in.rdbuf();
  return text.str();
}

// The fields after the command name, which may itself hold blanks and brackets.
std::vector<std::string> StatFields(std::string_view stat) {
  const size_t bracket = stat.rfind(')');
  if (bracket == std::string_view::npos) return {};
  const std::string_view rest = stat.substr(bracket + 1);
  return absl::StrSplit(absl::string_view(rest.data(), rest.size()), ' ', absl::SkipWhitespace());
}

double Seconds(const timeval& time) {
  return static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_usec) / 1e6;
}

}  // namespace

std::optional<uint64_t> ParseCpuTicks(std::string_view stat) {
  const std::vector<std::string> fields = StatFields(stat);
  uint64_t user = 0;
  uint64_t system = 0;
  // utime and stime are fields 14 and 15; the state, field 3, is the first one here.
  if (fields.size() < 13 || !absl::SimpleAtoi(fields[11], &user) ||
      !absl::SimpleAtoi(fields[12], &system)) {
    return std::nullopt;
  }
  return user + system;
}

uint64_t ParseStatusKib(std::string_view status, std::string_view name) {
  for (const absl::string_view line :
       absl::StrSplit(absl::string_view(status.data(), status.size()), '\n')) {
    const std::vector<absl::string_view> words =
        absl::StrSplit(line, absl::ByAnyChar(": \t"), absl::SkipEmpty());
    uint64_t value = 0;
    if (words.size() >= 2 && words[0] == absl::string_view(name.data(), name.size()) &&
        absl::SimpleAtoi(words[1], &value)) {
      return value;
    }
  }
  return 0;
}

std::optional<ProcessStats> ReadProcessStats(pid_t pid) {
  const auto ticks = ParseCpuTicks(ReadProcFile(pid, "stat"));
  if (!ticks.has_value()) return std::nullopt;
  const std::string status = ReadProcFile(pid, "status");
  ProcessStats stats;
  stats.cpu_s = static_cast<double>(*ticks) / static_cast<double>(sysconf(_SC_CLK_TCK));
  stats.rss_kib = ParseStatusKib(status, "VmRSS");
  stats.rss_anon_kib = ParseStatusKib(status, "RssAnon");
  return stats;
}

double OwnCpuSeconds() {
  rusage usage;
  getrusage(RUSAGE_SELF, &usage);
  return Seconds(usage.ru_utime) + Seconds(usage.ru_stime);
}

bool ProcessRuns(pid_t pid) {
  const std::vector<std::string> fields = StatFields(ReadProcFile(pid, "stat"));
  return !fields.empty() && fields[0] != "Z";
}

}  // namespace etcdd::bench
