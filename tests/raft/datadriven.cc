#include "tests/raft/datadriven.h"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <fstream>
#include <sstream>
#include <utility>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"

namespace etcdd::raft {
namespace {

constexpr std::string_view kBlank = " \t\r\n\v\f";

bool IsBlank(char c) { return kBlank.find(c) != std::string_view::npos; }

class LineReader {
 public:
  explicit LineReader(std::string_view text) : text_(text) {}

  bool Next(std::string_view* line) {
    if (text_.empty()) return false;
    const size_t end = text_.find('\n');
    *line = text_.substr(0, end);
    text_ = end == std::string_view::npos ? std::string_view() : text_.substr(end + 1);
    ++number_;
    return true;
  }
  // The next line without taking it.
  bool Peek(std::string_view* line) const {
    LineReader copy = *this;
    return copy.Next(line);
  }
  int number() const { return number_; }

 private:
  std::string_view text_;
  int number_ = 0;
};

// Values between parentheses, cut at top-level commas.
std::vector<std::string> SplitValues(std::string_view list) {
  std::vector<std::string> values;
  int depth = 0;
  std::string value;
  for (char c : list) {
    if (c == ',' && depth == 0) {
      values.push_back(std::exchange(value, ""));
      continue;
    }
    if (c == '(') ++depth;
    if (c == ')') --depth;
    if (value.empty() && IsBlank(c)) continue;
    value.push_back(c);
  }
  values.push_back(value);
  if (values.size() == 1 && values[0].empty()) values.clear();
  return values;
}

// One argument from the front of *rest. False if the parentheses are not closed.
bool TakeArgument(std::string_view* rest, ScriptArgument* argument) {
  size_t end = 0;
  while (end < rest->size() && !IsBlank((*rest)[end]) && (*rest)[end] != '=') ++end;
  argument->key = std::string(rest->substr(0, end));
  *rest = rest->substr(end);
  if (rest->empty() || (*rest)[0] != '=') return true;
  rest->remove_prefix(1);
  if (rest->empty() || (*rest)[0] != '(') {
    end = 0;
    while (end < rest->size() && !IsBlank((*rest)[end])) ++end;
    argument->values.emplace_back(rest->substr(0, end));
    *rest = rest->substr(end);
    return true;
  }
  int depth = 0;
  for (end = 0; end < rest->size(); ++end) {
    if ((*rest)[end] == '(') ++depth;
    if ((*rest)[end] == ')' && --depth == 0) break;
  }
  if (end == rest->size()) return false;
  argument->values = SplitValues(rest->substr(1, end - 1));
  *rest = rest->substr(end + 1);
  return true;
}

bool ParseDirective(std::string_view line, ScriptCase* result) {
  size_t end = 0;
  while (end < line.size() && !IsBlank(line[end])) ++end;
  result->command = std::string(line.substr(0, end));
  std::string_view rest = Trim(line.substr(end));
  while (!rest.empty()) {
    ScriptArgument argument;
    if (!TakeArgument(&rest, &argument)) return false;
    result->arguments.push_back(std::move(argument));
    rest = Trim(rest);
  }
  return true;
}

void ReadExpected(LineReader* reader, ScriptCase* result) {
  std::string_view line;
  std::string_view next;
  if (reader->Peek(&line) && line == "----") {
    reader->Next(&line);
    while (reader->Next(&line)) {
      if (line == "----" && reader->Peek(&next) && next == "----") {
        reader->Next(&next);
        return;
      }
      absl::StrAppend(&result->expected, std::string(line), "\n");
    }
    return;
  }
  while (reader->Next(&line) && !Trim(line).empty()) {
    absl::StrAppend(&result->expected, std::string(line), "\n");
  }
}

std::vector<std::string> Lines(std::string_view text) {
  std::vector<std::string> lines;
  LineReader reader(text);
  std::string_view line;
  while (reader.Next(&line)) lines.emplace_back(line);
  return lines;
}

// Longest common subsequence; scripts' outputs are short.
std::string Diff(const std::vector<std::string>& a, const std::vector<std::string>& b) {
  std::vector<std::vector<size_t>> common(a.size() + 1, std::vector<size_t>(b.size() + 1, 0));
  for (size_t i = a.size(); i-- > 0;) {
    for (size_t j = b.size(); j-- > 0;) {
      common[i][j] = a[i] == b[j] ? common[i + 1][j + 1] + 1
                                  : std::max(common[i + 1][j], common[i][j + 1]);
    }
  }
  std::string out;
  size_t i = 0;
  size_t j = 0;
  while (i < a.size() || j < b.size()) {
    if (i < a.size() && j < b.size() && a[i] == b[j]) {
      absl::StrAppend(&out, "  ", a[i], "\n");
      ++i;
      ++j;
    } else if (j == b.size() || (i < a.size() && common[i + 1][j] >= common[i][j + 1])) {
      absl::StrAppend(&out, "- ", a[i++], "\n");
    } else {
      absl::StrAppend(&out, "+ ", b[j++], "\n");
    }
  }
  return out;
}

}  // namespace

std::string_view Trim(std::string_view text) {
  while (!text.empty() && IsBlank(text.front())) text.remove_prefix(1);
  while (!text.empty() && IsBlank(text.back())) text.remove_suffix(1);
  return text;
}

std::vector<std::string> Words(std::string_view text) {
  std::istringstream stream{std::string(text)};
  std::vector<std::string> words;
  std::string word;
  while (stream >> word) words.push_back(word);
  return words;
}

const ScriptArgument* ScriptCase::Find(std::string_view key) const {
  for (const ScriptArgument& argument : arguments) {
    if (argument.key == key) return &argument;
  }
  return nullptr;
}

std::string ScriptCase::Value(std::string_view key, std::string_view fallback) const {
  const ScriptArgument* argument = Find(key);
  if (argument == nullptr || argument->values.empty()) return std::string(fallback);
  return argument->values[0];
}

bool ScriptCase::Bool(std::string_view key, bool fallback) const {
  const std::string value = Value(key, fallback ? "true" : "false");
  return value == "true" || value == "t" || value == "1" || value == "True" || value == "TRUE" ||
         value == "T";
}

uint64_t ScriptCase::Number(std::string_view key, uint64_t fallback) const {
  uint64_t number = 0;
  return absl::SimpleAtoi(Value(key, ""), &number) ? number : fallback;
}

absl::StatusOr<std::vector<ScriptCase>> ParseScript(const std::string& file,
                                                    std::string_view text) {
  std::vector<ScriptCase> cases;
  LineReader reader(text);
  std::string_view line;
  while (reader.Next(&line)) {
    line = Trim(line);
    if (line.empty() || line.front() == '#') continue;
    ScriptCase one;
    one.file = file;
    one.line = reader.number();
    std::string directive(line);
    while (!directive.empty() && directive.back() == '\\' && reader.Next(&line)) {
      directive.pop_back();
      absl::StrAppend(&directive, " ", std::string(Trim(line)));
    }
    if (!ParseDirective(Trim(directive), &one)) {
      return absl::InvalidArgumentError(absl::StrCat(file, ":", one.line, ": bad arguments"));
    }
    if (one.command == "subtest") continue;
    bool separated = false;
    while (reader.Next(&line)) {
      separated = line == "----";
      if (separated) break;
      absl::StrAppend(&one.input, std::string(line), "\n");
    }
    if (!separated) {
      return absl::InvalidArgumentError(absl::StrCat(file, ":", one.line, ": no ---- line"));
    }
    one.input = std::string(Trim(one.input));
    ReadExpected(&reader, &one);
    cases.push_back(std::move(one));
  }
  return cases;
}

std::string RunScript(const std::string& file,
                      absl::FunctionRef<std::string(const ScriptCase&)> run) {
  std::ifstream stream(file, std::ios::binary);
  if (!stream) return absl::StrCat(file, ": cannot be read\n");
  std::ostringstream text;
  text << stream.rdbuf();
  const absl::StatusOr<std::vector<ScriptCase>> cases = ParseScript(file, text.str());
  if (!cases.ok()) return std::string(cases.status().message());
  for (const ScriptCase& one : *cases) {
    std::string actual = run(one);
    if (!actual.empty() && actual.back() != '\n') actual.push_back('\n');
    if (actual == one.expected) continue;
    return absl::StrCat(file, ":", one.line, ": ", one.command,
                        "\n(- expected, + actual)\n", Diff(Lines(one.expected), Lines(actual)));
  }
  return {};
}

}  // namespace etcdd::raft
