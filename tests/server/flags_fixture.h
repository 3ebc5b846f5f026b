#pragma once

// What the tests of cmd/etcdd/flags share: run a command line, and read what came out.

#include <map>
#include <string>
#include <variant>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "cmd/etcdd/flags.h"

namespace etcdd::cmd {

using Words = std::vector<std::string>;

inline ParsedFlags Parse(const Words& flags, const Words& environment = {}) {
  Words arguments = {"/usr/bin/etcdd"};
  arguments.insert(arguments.end(), flags.begin(), flags.end());
  return ParseFlags(arguments, environment);
}

// The value of a notice's field; lists are joined.
inline std::string FieldText(const base::LogField& field) {
  if (const auto* text = std::get_if<std::string>(&field.value)) return *text;
  return absl::StrJoin(std::get<Words>(field.value), " ");
}

// "warn msg key=value".
inline Words NoticeLines(const ParsedFlags& parsed) {
  const std::map<base::LogLevel, std::string> levels = {{base::LogLevel::kInfo, "info"},
                                                        {base::LogLevel::kWarn, "warn"},
                                                        {base::LogLevel::kFatal, "fatal"}};
  Words lines;
  for (const Notice& notice : parsed.notices) {
    std::string line = absl::StrCat(levels.at(notice.level), " ", notice.message);
    for (const base::LogField& field : notice.fields) {
      absl::StrAppend(&line, " ", std::string(field.key), "=", FieldText(field));
    }
    lines.push_back(line);
  }
  return lines;
}

// The error of a refused start: what is in the log, or else on stderr in front of the usage.
inline std::string ErrorOf(const ParsedFlags& parsed) {
  for (const Notice& notice : parsed.notices) {
    if (notice.message == "failed to verify flags") return FieldText(notice.fields.at(0));
  }
  return parsed.standard_error.substr(0, parsed.standard_error.find('\n'));
}

}  // namespace etcdd::cmd
