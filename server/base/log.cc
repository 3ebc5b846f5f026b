#include "server/base/log.h"

#include <spdlog/common.h>
#include <spdlog/logger.h>
#include <spdlog/sinks/basic_file_sink.h>
#include <spdlog/sinks/stdout_sinks.h>

#include <array>
#include <atomic>
#include <charconv>
#include <cmath>
#include <cstddef>
#include <memory>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"

namespace etcdd::base {
namespace {

std::atomic<LogLevel> level_min{LogLevel::kInfo};
std::atomic<LogFormat> format_now{LogFormat::kJson};

std::string_view LevelText(LogLevel level) {
  switch (level) {
    case LogLevel::kDebug:
      return "debug";
    case LogLevel::kInfo:
      return "info";
    case LogLevel::kWarn:
      return "warn";
    case LogLevel::kError:
      return "error";
    case LogLevel::kPanic:
      return "panic";
    case LogLevel::kFatal:
      return "fatal";
  }
  return "unknown";
}

// Length of the well-formed UTF-8 sequence at the start of `text`, 0 when there is none
// (RFC 3629: no overlong forms, no surrogates, nothing above U+10FFFF).
size_t Utf8Length(std::string_view text) {
  const auto at = [text](size_t i) { return static_cast<uint8_t>(text[i]); };
  const uint8_t lead = at(0);
  if (lead < 0x80) return 1;
  const size_t length = lead >= 0xf0 ? 4 : lead >= 0xe0 ? 3 : 2;
  if (lead < 0xc2 || lead > 0xf4 || text.size() < length) return 0;
  const uint8_t second_min = lead == 0xe0 ? 0xa0 : lead == 0xf0 ? 0x90 : 0x80;
  const uint8_t second_max = lead == 0xed ? 0x9f : lead == 0xf4 ? 0x8f : 0xbf;
  if (at(1) < second_min || at(1) > second_max) return 0;
  for (size_t i = 2; i < length; ++i) {
    if ((at(i) & 0xc0) != 0x80) return 0;
  }
  return length;
}

// Appends `text` as a JSON string. '<', '>' and '&' stay; a byte that is not UTF-8 becomes U+FFFD.
void AppendString(std::string_view text, std::string* out) {
  static constexpr char kHex[] = "0123456789abcdef";
  out->push_back('"');
  while (!text.empty()) {
    const char c = text.front();
    size_t length = 1;
    if (c == '"' || c == '\\') {
      out->push_back('\\');
      out->push_back(c);
    } else if (c == '\n') {
      out->append("\\n");
    } else if (c == '\r') {
      out->append("\\r");
    } else if (c == '\t') {
      out->append("\\t");
    } else if (static_cast<uint8_t>(c) < 0x20) {
      out->append("\\u00");
      out->push_back(kHex[static_cast<uint8_t>(c) >> 4]);
      out->push_back(kHex[static_cast<uint8_t>(c) & 0xf]);
    } else if ((length = Utf8Length(text)) == 0) {
      out->append("\\ufffd");
      length = 1;
    } else {
      out->append(text.substr(0, length));
    }
    text.remove_prefix(length);
  }
  out->push_back('"');
}

void AppendDouble(double value, std::string* out) {
  // JSON has no words for these, so they are strings, as etcd writes them.
  if (std::isnan(value)) {
    out->append("\"NaN\"");
    return;
  }
  if (std::isinf(value)) {
    out->append(value > 0 ? "\"+Inf\"" : "\"-Inf\"");
    return;
  }
  std::array<char, 400> buffer;  // the longest double without exponent has about 330 characters
  const auto end = std::to_chars(buffer.data(), buffer.data() + buffer.size(), value,
                                 std::chars_format::fixed);
  out->append(buffer.data(), end.ptr);
}

// `comma` is what stands between elements.
struct AppendValue {
  std::string* out;
  std::string_view comma;
  void operator()(const std::string& value) const { AppendString(value, out); }
  void operator()(int64_t value) const { absl::StrAppend(out, value); }
  void operator()(uint64_t value) const { absl::StrAppend(out, value); }
  void operator()(double value) const { AppendDouble(value, out); }
  void operator()(bool value) const { out->append(value ? "true" : "false"); }
  void operator()(const std::vector<std::string>& values) const {
    out->push_back('[');
    for (size_t i = 0; i < values.size(); ++i) {
      if (i > 0) out->append(comma);
      AppendString(values[i], out);
    }
    out->push_back(']');
  }
};

void AppendField(const LogField& field, std::string_view comma, std::string_view colon,
                 std::string* out) {
  AppendString(field.key, out);
  out->append(colon);
  std::visit(AppendValue{out, comma}, field.value);
}

void AppendTime(absl::Time time, std::string* out) {
  std::string text = absl::FormatTime("%Y-%m-%dT%H:%M:%E6S%z", time, absl::LocalTimeZone());
  constexpr std::string_view kUtc = "+0000";
  if (text.ends_with(kUtc)) text.replace(text.size() - kUtc.size(), kUtc.size(), "Z");
  out->append(text);
}

// "dir/file.cc" of a path.
std::string_view ShortPath(std::string_view path) {
  const size_t last = path.rfind('/');
  if (last == std::string_view::npos || last == 0) return path;
  const size_t before = path.rfind('/', last - 1);
  return before == std::string_view::npos ? path : path.substr(before + 1);
}

// Never destroyed: static objects may log while the process ends.
spdlog::logger& Sink() {
  static spdlog::logger* const logger = [] {
    auto* made = new spdlog::logger("etcdd", std::make_shared<spdlog::sinks::stderr_sink_mt>());
    made->set_pattern("%v");
    made->set_level(spdlog::level::trace);
    made->flush_on(spdlog::level::trace);
    return made;
  }();
  return *logger;
}

std::string JsonLine(LogLevel level, std::string_view logger, std::string_view caller,
                     std::string_view msg, std::initializer_list<LogField> fields) {
  std::string text = "{\"level\":\"";
  text.append(LevelText(level));
  text.append("\",\"ts\":\"");
  AppendTime(absl::Now(), &text);
  text.push_back('"');
  if (!logger.empty()) {
    text.append(",\"logger\":");
    AppendString(logger, &text);
  }
  text.append(",\"caller\":");
  AppendString(caller, &text);
  text.append(",\"msg\":");
  AppendString(msg, &text);
  for (const LogField& field : fields) {
    text.push_back(',');
    AppendField(field, ",", ":", &text);
  }
  text.push_back('}');
  return text;
}

std::string ConsoleLine(LogLevel level, std::string_view logger, std::string_view caller,
                        std::string_view msg, std::initializer_list<LogField> fields) {
  std::string text;
  AppendTime(absl::Now(), &text);
  const std::string_view parts[] = {LevelText(level), logger, caller, msg};
  for (const std::string_view part : parts) {
    if (part.empty()) continue;
    text.push_back('\t');
    text.append(part);
  }
  std::string_view separator = "\t{";
  for (const LogField& field : fields) {
    text.append(separator);
    AppendField(field, ", ", ": ", &text);
    separator = ", ";
  }
  if (fields.size() > 0) text.push_back('}');
  return text;
}

}  // namespace

void SetLogLevel(LogLevel level) { level_min.store(level, std::memory_order_relaxed); }

bool LogEnabled(LogLevel level) { return level >= level_min.load(std::memory_order_relaxed); }

void SetLogFormat(LogFormat format) { format_now.store(format, std::memory_order_relaxed); }

absl::Status SetLogOutputs(const std::vector<std::string>& outputs) {
  if (outputs.empty()) return absl::InvalidArgumentError("no log output given");
  std::vector<spdlog::sink_ptr> sinks;
  bool silent = false;
  for (const std::string& output : outputs) {
    if (output == "default" && outputs.size() > 1) {
      return absl::InvalidArgumentError("log output \"default\" cannot be combined with others");
    }
    if (output == "/dev/null") {
      silent = true;
    } else if (output == "default" || output == "stderr" || output == "systemd/journal") {
      sinks.push_back(std::make_shared<spdlog::sinks::stderr_sink_mt>());
    } else if (output == "stdout") {
      sinks.push_back(std::make_shared<spdlog::sinks::stdout_sink_mt>());
    } else {
      try {  // the library's exceptions end here
        sinks.push_back(std::make_shared<spdlog::sinks::basic_file_sink_mt>(output));
      } catch (const spdlog::spdlog_ex& error) {
        return absl::InvalidArgumentError(error.what());
      }
    }
  }
  if (silent) sinks.clear();
  for (const spdlog::sink_ptr& sink : sinks) sink->set_pattern("%v");
  Sink().sinks() = std::move(sinks);
  return absl::OkStatus();
}

void Log(LogLevel level, std::string_view logger, const char* file, int line, std::string_view msg,
         std::initializer_list<LogField> fields) {
  if (!LogEnabled(level)) return;
  std::string caller(ShortPath(file));
  absl::StrAppend(&caller, ":", line);
  const std::string text = format_now.load(std::memory_order_relaxed) == LogFormat::kJson
                               ? JsonLine(level, logger, caller, msg, fields)
                               : ConsoleLine(level, logger, caller, msg, fields);
  Sink().log(spdlog::level::info, spdlog::string_view_t(text.data(), text.size()));
}

std::string LogDuration(absl::Duration duration) {
  const int64_t total = absl::ToInt64Nanoseconds(duration);
  if (total == 0) return "0s";
  uint64_t rest = total < 0 ? uint64_t{0} - static_cast<uint64_t>(total)
                            : static_cast<uint64_t>(total);
  std::string text = total < 0 ? "-" : "";
  // `rest` in units of `unit` nanoseconds, without trailing zeros.
  const auto append_decimal = [&text](uint64_t value, uint64_t unit) {
    absl::StrAppend(&text, value / unit);
    uint64_t fraction = value % unit;
    if (fraction == 0) return;
    text.push_back('.');
    for (uint64_t digit = unit / 10; fraction != 0; digit /= 10) {
      text.push_back(static_cast<char>('0' + fraction / digit));
      fraction %= digit;
    }
  };
  constexpr uint64_t kSecond = 1'000'000'000;
  if (rest < 1000) {
    absl::StrAppend(&text, rest, "ns");
  } else if (rest < 1'000'000) {
    append_decimal(rest, 1000);
    text.append("µs");
  } else if (rest < kSecond) {
    append_decimal(rest, 1'000'000);
    text.append("ms");
  } else {
    const uint64_t minutes = rest / (60 * kSecond);
    rest %= 60 * kSecond;
    if (minutes >= 60) absl::StrAppend(&text, minutes / 60, "h");
    if (minutes > 0) absl::StrAppend(&text, minutes % 60, "m");
    append_decimal(rest, kSecond);
    text.push_back('s');
  }
  return text;
}

std::string LogId(uint64_t id) { return absl::StrCat(absl::Hex(id)); }

}  // namespace etcdd::base
