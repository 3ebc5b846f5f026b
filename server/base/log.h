#pragma once

// Structured log lines in etcd's JSON form, on stderr unless told otherwise (key order: level, ts,
// logger, caller, msg, then the fields in call order). Lifecycle events use etcd's own message
// texts, since people and tools wait for them.
//
//   ETCDD_LOG(kInfo, "ready to serve client requests");
//   ETCDD_LOG(kWarn, "slow fdatasync", {{"took", base::LogDuration(took)}, {"bytes", size}});
//
// Thread-safe.

#include <cstdint>
#include <initializer_list>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include "absl/status/status.h"
#include "absl/time/time.h"

namespace etcdd::base {

enum class LogLevel { kDebug, kInfo, kWarn, kError, kPanic, kFatal };

// One field's value. Strings are escaped; lists become arrays of strings.
using LogValue =
    std::variant<std::string, int64_t, uint64_t, double, bool, std::vector<std::string>>;

struct LogField {
  LogField(std::string_view k, std::string_view v) : key(k), value(std::string(v)) {}
  LogField(std::string_view k, const std::string& v) : key(k), value(v) {}
  LogField(std::string_view k, const char* v) : key(k), value(std::string(v)) {}
  LogField(std::string_view k, bool v) : key(k), value(v) {}
  LogField(std::string_view k, int v) : key(k), value(static_cast<int64_t>(v)) {}
  LogField(std::string_view k, uint32_t v) : key(k), value(static_cast<uint64_t>(v)) {}
  LogField(std::string_view k, int64_t v) : key(k), value(v) {}
  LogField(std::string_view k, uint64_t v) : key(k), value(v) {}
  LogField(std::string_view k, double v) : key(k), value(v) {}
  LogField(std::string_view k, std::vector<std::string> v) : key(k), value(std::move(v)) {}
  // The error text, under etcd's key "error".
  explicit LogField(const absl::Status& status)
      : key("error"), value(std::string(status.message())) {}

  std::string_view key;
  LogValue value;
};

// Lines below this level are dropped. Default kInfo.
void SetLogLevel(LogLevel level);
bool LogEnabled(LogLevel level);

enum class LogFormat {
  kJson,
  kConsole,  // the same values separated by tabs, the fields as one JSON object at the end
};

// These two are called at the start, before other threads write lines.
void SetLogFormat(LogFormat format);
// etcd's --log-outputs: "default" (alone) or "stderr", "stdout", file paths (appended to, created
// when absent). "systemd/journal" is stderr, which systemd reads too. A "/dev/null" among them
// silences everything. On an error the outputs stay as they were.
absl::Status SetLogOutputs(const std::vector<std::string>& outputs);

// Writes one line. `logger` is empty or etcd's sub-logger name ("raft").
void Log(LogLevel level, std::string_view logger, const char* file, int line, std::string_view msg,
         std::initializer_list<LogField> fields = {});

// Go's duration text: "1.5s", "100ms", "2.34µs", "1m0s", "0s".
std::string LogDuration(absl::Duration duration);
// Lower-case hex without padding, etcd's text form of member, cluster and lease ids.
std::string LogId(uint64_t id);

}  // namespace etcdd::base

#define ETCDD_LOG(level, ...)                                                           \
  do {                                                                                  \
    if (::etcdd::base::LogEnabled(::etcdd::base::LogLevel::level)) {                    \
      ::etcdd::base::Log(::etcdd::base::LogLevel::level, "", __FILE__, __LINE__, __VA_ARGS__); \
    }                                                                                   \
  } while (false)
