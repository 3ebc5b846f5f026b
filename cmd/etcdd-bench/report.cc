#include "cmd/etcdd-bench/report.h"

#include <cmath>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"

namespace etcdd::bench {
namespace {

std::string JsonText(std::string_view text) {
  std::string out = "\"";
  for (const char c : text) {
    if (c == '"' || c == '\\') out.push_back('\\');
    if (static_cast<unsigned char>(c) < 0x20) {
      absl::StrAppendFormat(&out, "\\u%04x", static_cast<unsigned>(c));
    } else {
      out.push_back(c);
    }
  }
  out.push_back('"');
  return out;
}

// Whole numbers without, others with four significant decimals.
std::string Number(double value) {
  if (value == std::floor(value) && std::fabs(value) < 1e15) return absl::StrFormat("%.0f", value);
  return absl::StrFormat("%.4f", value);
}

double Micros(uint64_t ns) { return static_cast<double>(ns) / 1e3; }

}  // namespace

void Report::AddText(std::string_view name, std::string_view value) {
  texts.emplace_back(std::string(name), std::string(value));
}

void Report::Add(std::string_view name, double value) {
  numbers.emplace_back(std::string(name), value);
}

std::optional<double> Report::Find(std::string_view name) const {
  for (const auto& [key, value] : numbers) {
    if (key == name) return value;
  }
  return std::nullopt;
}

std::string Report::ToJson() const {
  std::string out = "{";
  for (const auto& [key, value] : texts) {
    absl::StrAppend(&out, out.size() > 1 ? "," : "", JsonText(key), ":", JsonText(value));
  }
  for (const auto& [key, value] : numbers) {
    absl::StrAppend(&out, out.size() > 1 ? "," : "", JsonText(key), ":", Number(value));
  }
  return out + "}\n";
}

std::string Report::ToLines() const {
  std::string out;
  for (const auto& [key, value] : texts) absl::StrAppend(&out, key, ": ", value, "\n");
  for (const auto& [key, value] : numbers) absl::StrAppend(&out, key, ": ", Number(value), "\n");
  return out;
}

void Meter::Begin(uint64_t now_ns) {
  begin_ns_ = now_ns;
  own_cpu_begin_s_ = OwnCpuSeconds();
  if (server_pid_ > 0) server_begin_ = ReadProcessStats(server_pid_);
  running_ = true;
}

void Meter::End(uint64_t now_ns) {
  running_ = false;
  end_ns_ = now_ns;
  own_cpu_s_ = OwnCpuSeconds() - own_cpu_begin_s_;
  if (server_pid_ > 0) server_end_ = ReadProcessStats(server_pid_);
}

void Meter::RecordError(std::string_view reason) {
  if (errors_++ == 0) first_error_ = reason;
}

void Meter::AppendTo(std::string_view unit, Report* report) const {
  const double seconds = static_cast<double>(end_ns_ - begin_ns_) / 1e9;
  const auto count = static_cast<double>(latency_.count());
  if (errors_ > 0) report->AddText("first_error", first_error_);
  report->Add("seconds", seconds);
  report->Add(unit, count);
  report->Add("errors", static_cast<double>(errors_));
  report->Add("rate", seconds > 0 ? count / seconds : 0);
  report->Add("mean_us", latency_.mean() / 1e3);
  report->Add("p50_us", Micros(latency_.Percentile(50)));
  report->Add("p90_us", Micros(latency_.Percentile(90)));
  report->Add("p99_us", Micros(latency_.Percentile(99)));
  report->Add("max_us", Micros(latency_.max()));
  report->Add("client_cpu_share", seconds > 0 ? own_cpu_s_ / seconds : 0);
  report->Add("client_cpu_us_per_op", count > 0 ? own_cpu_s_ * 1e6 / count : 0);
  if (!server_begin_.has_value() || !server_end_.has_value()) return;
  const double server_cpu_s = server_end_->cpu_s - server_begin_->cpu_s;
  report->Add("server_cpu_s", server_cpu_s);
  report->Add("server_cpu_us_per_op", count > 0 ? server_cpu_s * 1e6 / count : 0);
  report->Add("server_cpu_s_per_100k", count > 0 ? server_cpu_s * 1e5 / count : 0);
  report->Add("server_rss_kib", static_cast<double>(server_end_->rss_kib));
  report->Add("server_rss_anon_kib", static_cast<double>(server_end_->rss_anon_kib));
}

}  // namespace etcdd::bench
