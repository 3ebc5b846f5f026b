// The process_... metrics, from proc(5).

#include <sys/resource.h>
#include <unistd.h>

#include <cstddef>
#include <string>
#include <vector>

#include "absl/strings/numbers.h"
#include "absl/strings/str_split.h"
#include "server/base/file_system.h"
#include "server/base/metrics.h"

namespace etcdd::base {
namespace {

// Files of /proc have no size: read until they end.
std::string ReadProc(const std::string& path) {
  std::string content;
  const auto files = NewPosixFileSystem();
  auto file = files->Open(path, OpenMode::kRead);
  if (!file.ok()) return content;
  constexpr size_t kBytesMax = 1 << 20;
  if (!(*file)->ReadAt(0, kBytesMax, &content).ok()) content.clear();
  return content;
}

// Field `number` of /proc/self/stat as proc(5) counts them, 0 when unreadable. The second field,
// the command in parentheses, may hold blanks, so counting starts behind it.
double StatField(size_t number) {
  const std::string stat = ReadProc("/proc/self/stat");
  const size_t command_end = stat.rfind(')');
  if (command_end == std::string::npos) return 0;
  const std::vector<std::string> fields =
      absl::StrSplit(stat.substr(command_end + 1), ' ', absl::SkipEmpty());
  double value = 0;
  if (number < 3 || number - 3 >= fields.size()) return 0;
  return absl::SimpleAtod(fields[number - 3], &value) ? value : 0;
}

double TicksPerSecond() { return static_cast<double>(sysconf(_SC_CLK_TCK)); }

double CpuSeconds() {
  rusage usage{};
  if (getrusage(RUSAGE_SELF, &usage) != 0) return 0;
  const auto seconds = [](const timeval& time) {
    return static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_usec) / 1e6;
  };
  return seconds(usage.ru_utime) + seconds(usage.ru_stime);
}

double StartTimeSeconds() {
  for (const absl::string_view line : absl::StrSplit(ReadProc("/proc/stat"), '\n')) {
    constexpr absl::string_view kBootTime = "btime ";
    double boot = 0;
    if (line.substr(0, kBootTime.size()) == kBootTime &&
        absl::SimpleAtod(line.substr(kBootTime.size()), &boot)) {
      return boot + StatField(22) / TicksPerSecond();
    }
  }
  return 0;
}

double OpenFiles() {
  const auto names = NewPosixFileSystem()->List("/proc/self/fd");
  // Listing them takes one more.
  return names.ok() && !names->empty() ? static_cast<double>(names->size() - 1) : 0;
}

double Limit(__rlimit_resource_t resource) {
  rlimit limit{};
  return getrlimit(resource, &limit) == 0 ? static_cast<double>(limit.rlim_cur) : 0;
}

}  // namespace

void AddProcessMetrics(Metrics* metrics) {
  metrics->AddCounterFunction("process_cpu_seconds_total",
                              "Total user and system CPU time spent in seconds.", {}, CpuSeconds);
  metrics->AddGaugeFunction("process_resident_memory_bytes", "Resident memory size in bytes.", {},
                            [] { return StatField(24) * static_cast<double>(getpagesize()); });
  metrics->AddGaugeFunction("process_virtual_memory_bytes", "Virtual memory size in bytes.", {},
                            [] { return StatField(23); });
  metrics->AddGaugeFunction("process_open_fds", "Number of open file descriptors.", {}, OpenFiles);
  metrics->AddGaugeFunction("process_max_fds", "Maximum number of open file descriptors.", {},
                            [] { return Limit(RLIMIT_NOFILE); });
  metrics->AddGaugeFunction("process_virtual_memory_max_bytes",
                            "Maximum amount of virtual memory available in bytes.", {},
                            [] { return Limit(RLIMIT_AS); });
  const double start = StartTimeSeconds();
  metrics->AddGaugeFunction("process_start_time_seconds",
                            "Start time of the process since unix epoch in seconds.", {},
                            [start] { return start; });
}

}  // namespace etcdd::base
