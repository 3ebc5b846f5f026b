#pragma once

// What a process has used so far, from /proc (man 5 proc).

#include <sys/types.h>

#include <cstdint>
#include <optional>
#include <string_view>

namespace etcdd::bench {

struct ProcessStats {
  double cpu_s = 0;  // user and system; in steps of one clock tick, normally 10 ms
  uint64_t rss_kib = 0;
  uint64_t rss_anon_kib = 0;
};

// nullopt when there is no such process.
std::optional<ProcessStats> ReadProcessStats(pid_t pid);

// CPU clock ticks (utime + stime) out of the text of /proc/PID/stat; nullopt when malformed.
std::optional<uint64_t> ParseCpuTicks(std::string_view stat);
// The number after "name:" in the text of /proc/PID/status; 0 when absent.
uint64_t ParseStatusKib(std::string_view status, std::string_view name);

// CPU seconds of this process so far.
double OwnCpuSeconds();

// False once the process is gone (or a zombie).
bool ProcessRuns(pid_t pid);

}  // namespace etcdd::bench
