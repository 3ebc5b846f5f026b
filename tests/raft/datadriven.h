#pragma once

// Reads and runs data-driven test files (the format of cockroachdb/datadriven):
//
//   # comment
//   command arg key=value key=(v1, v2)
//   input lines
//   ----
//   expected output, up to a blank line
//
// A second "----" right after the first allows blank lines in the expected part, which then ends at
// two successive "----" lines.

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/status/statusor.h"

namespace etcdd::raft {

struct ScriptArgument {
  std::string key;
  std::vector<std::string> values;  // empty for a bare name
};

struct ScriptCase {
  std::string file;
  int line = 0;  // of the directive
  std::string command;
  std::vector<ScriptArgument> arguments;
  std::string input;     // trimmed
  std::string expected;  // each line ends in a newline

  // Null if there is none of this key.
  const ScriptArgument* Find(std::string_view key) const;
  // The single value of `key`, or `fallback`.
  std::string Value(std::string_view key, std::string_view fallback) const;
  bool Bool(std::string_view key, bool fallback) const;
  uint64_t Number(std::string_view key, uint64_t fallback) const;
};

// All cases of a file's text. InvalidArgument with "file:line" for broken syntax.
absl::StatusOr<std::vector<ScriptCase>> ParseScript(const std::string& file,
                                                    std::string_view text);

// Runs the cases in order until one's output differs. Returns an empty string if none did, else
// "file:line: command" and a line diff.
std::string RunScript(const std::string& file,
                      absl::FunctionRef<std::string(const ScriptCase&)> run);

// Removes white space at both ends.
std::string_view Trim(std::string_view text);
// Cut at white space; no empty parts.
std::vector<std::string> Words(std::string_view text);

}  // namespace etcdd::raft
