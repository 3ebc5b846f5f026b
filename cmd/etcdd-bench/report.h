#pragma once

// The result of one run, its measuring, and its two forms: lines for people, one flat JSON object
// for scripts.

#include <sys/types.h>

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "cmd/etcdd-bench/histogram.h"
#include "cmd/etcdd-bench/process_stats.h"

namespace etcdd::bench {

struct Report {
  // In output order. Values are numbers except those in `texts`, which come first.
  std::vector<std::pair<std::string, std::string>> texts;
  std::vector<std::pair<std::string, double>> numbers;

  void AddText(std::string_view name, std::string_view value);
  void Add(std::string_view name, double value);
  std::optional<double> Find(std::string_view name) const;

  std::string ToJson() const;   // {"op":"put","rate":123.4,...} and a newline
  std::string ToLines() const;  // name: value
};

// Counts operations between Begin and End and samples both processes' CPU at these moments.
class Meter {
 public:
  // 0: no server process to look at.
  explicit Meter(pid_t server_pid) : server_pid_(server_pid) {}

  void Begin(uint64_t now_ns);
  void End(uint64_t now_ns);

  // One operation that took this long. Ignored outside Begin..End.
  void Record(uint64_t latency_ns) {
    if (running_) latency_.Record(latency_ns);
  }
  // Counts an operation that failed, at any time; keeps the first reason.
  void RecordError(std::string_view reason);

  uint64_t operations() const { return latency_.count(); }
  uint64_t errors() const { return errors_; }
  const std::string& first_error() const { return first_error_; }

  // Appends the figures; `unit` names what was counted: "ops" or "events".
  void AppendTo(std::string_view unit, Report* report) const;

 private:
  const pid_t server_pid_;
  bool running_ = false;
  uint64_t begin_ns_ = 0;
  uint64_t end_ns_ = 0;
  double own_cpu_begin_s_ = 0;
  double own_cpu_s_ = 0;
  std::optional<ProcessStats> server_begin_;
  std::optional<ProcessStats> server_end_;
  Histogram latency_;
  uint64_t errors_ = 0;
  std::string first_error_;
};

}  // namespace etcdd::bench
