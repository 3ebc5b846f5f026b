#include "cmd/etcdd/flags.h"

#include <unistd.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cstdio>
#include <optional>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/escaping.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "server/base/check.h"
#include "server/version.h"

namespace etcdd::cmd {
namespace {

constexpr char kUsage[] = R"(Usage:

  etcdd [flags]
    Start a member. It speaks etcd's API and takes etcd's flags and ETCD_* variables.

  etcdd --version
    Show the versions.

  etcdd -h | --help
    Show the flags.
)";

#if defined(__clang__)
constexpr char kCompiler[] = __VERSION__;
#else
constexpr char kCompiler[] = "GCC " __VERSION__;
#endif

#if defined(__x86_64__)
constexpr char kArchitecture[] = "amd64";
#elif defined(__aarch64__)
constexpr char kArchitecture[] = "arm64";
#else
constexpr char kArchitecture[] = "unknown";
#endif

constexpr char kShadowed[] =
    "conflicting environment variable is shadowed by corresponding command-line flag (either unset "
    "environment variable or disable flag))";

std::string Quoted(const std::string& text) {
  return absl::StrCat("\"", absl::Utf8SafeCEscape(text), "\"");
}

// The command line as assignments, or the first thing that is wrong with it.
struct ScannedLine {
  std::vector<std::pair<const FlagRow*, std::string>> assignments;
  std::string error;  // of the flag library: exit code 2
  bool help = false;
  std::vector<std::string> words;  // what is not a flag, and all behind it
};

// Go's rules: one dash or two, the value behind "=" or in the next argument, flags of type bool
// take one behind "=" only, "--" and the first word end the flags.
ScannedLine ScanLine(const std::vector<std::string>& arguments) {
  ScannedLine scanned;
  for (size_t i = 1; i < arguments.size(); ++i) {
    const std::string& argument = arguments[i];
    if (argument.size() < 2 || argument[0] != '-' || argument == "--") {
      const size_t first = argument == "--" ? i + 1 : i;
      scanned.words.assign(arguments.begin() + static_cast<std::ptrdiff_t>(first),
                           arguments.end());
      return scanned;
    }
    std::string name = argument.substr(argument[1] == '-' ? 2 : 1);
    if (name.empty() || name[0] == '-' || name[0] == '=') {
      scanned.error = "bad flag syntax: " + argument;
      return scanned;
    }
    std::optional<std::string> value;
    if (const size_t equals = name.find('='); equals != std::string::npos) {
      value = name.substr(equals + 1);
      name.resize(equals);
    }
    const FlagRow* row = FindFlag(name);
    if (row == nullptr) {
      scanned.help = name == "help" || name == "h";
      if (!scanned.help) scanned.error = "flag provided but not defined: -" + name;
      return scanned;
    }
    if (!value && (row->type == FlagType::kBool || row->type == FlagType::kDropped)) value = "true";
    if (!value && ++i < arguments.size()) value = arguments[i];
    if (!value) {
      scanned.error = "flag needs an argument: -" + name;
      return scanned;
    }
    scanned.assignments.emplace_back(row, *std::move(value));
  }
  return scanned;
}

std::string ValueError(const FlagRow& row, const std::string& text, const std::string& target,
                       const absl::Status& reason) {
  const bool from_flag = absl::StartsWith(target, "flag ") && row.type == FlagType::kBool;
  // Go words this differently for a bool flag, and only for a flag.
  return from_flag ? absl::StrCat("invalid boolean value ", Quoted(text), " for ",
                                  target.substr(5), ": ", reason.message())
                   : absl::StrCat("invalid value ", Quoted(text), " for ", target, ": ",
                                  reason.message());
}

std::string TypeLabel(const FlagRow& row) {
  switch (row.type) {
    case FlagType::kBool: return "BOOL";
    case FlagType::kUint:
    case FlagType::kUint32:
    case FlagType::kInt: return "NUMBER";
    case FlagType::kDuration: return "DURATION";
    case FlagType::kUrls: return "URLS";
    case FlagType::kFeatureGates: return "GATES";
    case FlagType::kString:
    case FlagType::kChoice:
    case FlagType::kDropped: return "TEXT";
  }
  return "TEXT";
}

// One option of the parser for each row of the table. Values land in `values`, the first bad one in
// `error`.
void AddOptions(CLI::App* app, FlagValues* values, std::string* error) {
  for (const FlagRow& row : AllFlags()) {
    const auto take = [&row, values, error](const CLI::results_t& results) {
      // Without the sign that ToParser put in front.
      const std::string text = results.back().substr(1);
      if (const absl::Status status = CheckText(row, text); !status.ok()) {
        *error = ValueError(row, text, absl::StrCat("flag -", std::string(row.name)), status);
        return false;
      }
      values->Set(row, text);
      return true;
    };
    const char* note = row.support == FlagSupport::kNotYet ? " (only the default so far)" : "";
    app->add_option("--" + std::string(row.name), take, std::string(row.help) + note)
        ->group(std::string(GroupTitle(row.group)))
        ->type_name(TypeLabel(row))
        ->default_str(std::string(row.default_text))
        ->multi_option_policy(CLI::MultiOptionPolicy::TakeLast)
        ->trigger_on_parse();
  }
}

// "--name==text". The second sign keeps the parser from seeing a meaning in an empty value, in
// quotes or in brackets.
std::vector<std::string> ToParser(const ScannedLine& scanned) {
  std::vector<std::string> lines;
  for (const auto& [row, text] : scanned.assignments) {
    lines.push_back(absl::StrCat("--", std::string(row->name), "==", text));
  }
  // CLI11 takes its arguments from the back.
  std::reverse(lines.begin(), lines.end());
  return lines;
}

ParsedFlags LibraryError(const std::string& error) {
  ParsedFlags parsed;
  parsed.exit_code = 2;
  parsed.standard_error = absl::StrCat(error, "\n", kUsage);
  return parsed;
}

// Adds what the variables say to `values`. Returns the flag that is shadowed, or an error.
absl::StatusOr<std::string> AddVariables(const std::vector<std::string>& environment,
                                         FlagValues* values, std::vector<Notice>* notices) {
  std::vector<const FlagRow*> rows;
  for (const FlagRow& row : AllFlags()) rows.push_back(&row);
  std::sort(rows.begin(), rows.end(),
            [](const FlagRow* a, const FlagRow* b) { return a->name < b->name; });
  std::vector<std::string> known;
  for (const FlagRow* row : rows) {
    const std::string name = VariableName(row->name);
    known.push_back(name + "=");
    const auto found = std::find_if(
        environment.begin(), environment.end(),
        [&](const std::string& each) { return absl::StartsWith(each, known.back()); });
    if (found == environment.end()) continue;
    const std::string text = found->substr(known.back().size());
    // ETCD_VERSION is a common variable of images and scripts, not a wish to see the version.
    if (row->name == "version" || text.empty()) continue;
    if (values->Given(row->name)) return name;
    if (const absl::Status status = CheckText(*row, text); !status.ok()) {
      return absl::InvalidArgumentError(ValueError(*row, text, name, status));
    }
    values->Set(*row, text);
  }
  for (const std::string& each : environment) {
    if (!absl::StartsWith(each, "ETCD_")) continue;
    const bool is_known =
        std::any_of(known.begin(), known.end(), [&each](const std::string& prefix) {
          return absl::StartsWith(each, prefix) && prefix != "ETCD_VERSION=";
        });
    if (is_known) continue;
    notices->push_back({base::LogLevel::kWarn, "unrecognized environment variable",
                        {base::LogField("environment-variable", each)}});
  }
  return std::string();
}

// What etcd says about flags that were given, whatever their values.
void AddGivenNotices(const FlagValues& values, const server::Config& config,
                     std::vector<Notice>* notices) {
  for (const FlagRow& row : AllFlags()) {
    if (row.support != FlagSupport::kDropped || !values.Given(row.name)) continue;
    notices->push_back({base::LogLevel::kWarn, "flag is no longer supported - ignoring",
                        {base::LogField("flag-name", row.name)}});
  }
  if (config.name == "default") {
    notices->push_back(
        {base::LogLevel::kWarn,
         "it isn't recommended to use default name, please set a value for --name. Note that etcd "
         "might run into issue when multiple members have the same default name",
         {base::LogField("name", config.name)}});
  }
  if (values.Given("max-snapshots")) {
    notices->push_back({base::LogLevel::kWarn,
                        "--max-snapshots is deprecated in 3.6 and will be decommissioned in 3.8.",
                        {}});
  }
  if (values.Given("v2-deprecation")) {
    notices->push_back({base::LogLevel::kWarn,
                        "--v2-deprecation is deprecated and scheduled for removal in v3.8. The "
                        "default value is enforced, ignoring user input.",
                        {}});
  }
}

void AddRunning(const std::vector<std::string>& arguments, std::vector<Notice>* notices) {
  notices->push_back(
      {base::LogLevel::kInfo, "Running: ", {base::LogField("args", arguments)}});
}

void AddRefusal(const absl::Status& status, ParsedFlags* parsed) {
  parsed->exit_code = 1;
  parsed->notices.push_back(
      {base::LogLevel::kWarn, "failed to verify flags", {base::LogField(status)}});
  if (absl::StartsWith(status.message(), "--advertise-client-urls is required")) {
    parsed->notices.push_back(
        {base::LogLevel::kWarn, "advertise client URLs are not set", {}});
  }
}

std::string VersionText() {
  return absl::StrCat("etcd Version: ", std::string(server::kEtcdVersion), "\n",
                      "etcdd Version: ", std::string(server::kEtcddVersion), "\n",
                      "Compiler: ", kCompiler, "\n",
                      "OS/Arch: linux/", kArchitecture, "\n");
}

// Everything behind the command line itself: variables, rules, and the config.
void Conclude(const std::vector<std::string>& arguments,
              const std::vector<std::string>& environment, FlagValues values,
              const std::vector<std::string>& words, ParsedFlags* parsed) {
  const absl::StatusOr<std::string> shadowed =
      AddVariables(environment, &values, &parsed->notices);
  if (shadowed.ok() && !shadowed->empty()) {
    parsed->exit_code = 1;
    parsed->notices.push_back({base::LogLevel::kFatal, kShadowed,
                               {base::LogField("environment-variable", *shadowed)}});
    return;
  }
  absl::Status status = shadowed.status();
  if (status.ok() && !words.empty()) {
    status = absl::InvalidArgumentError(Quoted(words.front()) + " is not a valid flag");
  }
  absl::StatusOr<server::Config> config;
  if (status.ok()) status = CheckFlagRules(values);
  if (status.ok()) {
    config = MakeConfig(values);
    status = config.status();
  }
  if (status.ok()) status = CheckFlagSupport(values);
  if (!status.ok()) {
    AddRunning(arguments, &parsed->notices);
    AddRefusal(status, parsed);
    return;
  }
  parsed->run = true;
  parsed->config = *std::move(config);
  AddGivenNotices(values, parsed->config, &parsed->notices);
  AddRunning(arguments, &parsed->notices);
  if (values.Text("data-dir").empty()) {
    parsed->notices.push_back({base::LogLevel::kWarn, "'data-dir' was empty; using default",
                               {base::LogField("data-dir", parsed->config.data_dir)}});
  }
}

}  // namespace

std::string VariableName(std::string_view flag) {
  std::string name = absl::AsciiStrToUpper(std::string(flag));
  return "ETCD_" + absl::StrReplaceAll(name, {{"-", "_"}});
}

ParsedFlags ParseFlags(const std::vector<std::string>& arguments,
                       const std::vector<std::string>& environment) {
  const ScannedLine scanned = ScanLine(arguments);
  FlagValues values;
  std::string value_error;
  CLI::App app("etcdd: a key-value store that speaks etcd's API.", "etcdd");
  app.set_help_flag();
  app.get_formatter()->column_width(46);
  AddOptions(&app, &values, &value_error);
  try {
    app.parse(ToParser(scanned));
  } catch (const CLI::ParseError& error) {
    return LibraryError(value_error.empty() ? error.what() : value_error);
  }
  if (!scanned.error.empty()) return LibraryError(scanned.error);

  ParsedFlags parsed;
  if (scanned.help) {
    parsed.standard_error = kUsage;
    parsed.standard_output = app.help();
    return parsed;
  }
  if (values.Bool("version")) {
    parsed.standard_output = VersionText();
    return parsed;
  }
  if (!scanned.words.empty() &&
      (scanned.words.front() == "gateway" || scanned.words.front() == "grpc-proxy")) {
    parsed.exit_code = 1;
    parsed.standard_error = absl::StrCat(
        server::NotSupportedYet("the command " + scanned.words.front()).message(), "\n");
    return parsed;
  }
  Conclude(arguments, environment, std::move(values), scanned.words, &parsed);
  return parsed;
}

void Report(const ParsedFlags& parsed) {
  base::SetLogLevel(parsed.config.log_level);
  std::fputs(parsed.standard_output.c_str(), stdout);
  std::fflush(stdout);
  std::fputs(parsed.standard_error.c_str(), stderr);
  for (const Notice& notice : parsed.notices) {
    ETCDD_CHECK(notice.fields.size() <= 1);
    if (!base::LogEnabled(notice.level)) continue;
    if (notice.fields.empty()) {
      base::Log(notice.level, "", __FILE__, __LINE__, notice.message);
    } else {
      base::Log(notice.level, "", __FILE__, __LINE__, notice.message, {notice.fields.front()});
    }
  }
}

std::vector<std::string> ProcessEnvironment() {
  std::vector<std::string> variables;
  for (char** variable = environ; *variable != nullptr; ++variable) {
    variables.emplace_back(*variable);
  }
  return variables;
}

}  // namespace etcdd::cmd
