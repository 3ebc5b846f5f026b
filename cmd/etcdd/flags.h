#pragma once

// From the command line and ETCD_* variables to a checked Config, as etcd does it: the same flags,
// the same texts for mistakes, the same exit codes (behaviour BOOT-010 to BOOT-016). Pure: the
// arguments and the environment come in, texts and log lines go out, and the caller prints them.
//
// Thread-safe: no state.

#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "cmd/etcdd/flag_values.h"
#include "server/base/log.h"
#include "server/config.h"

namespace etcdd::cmd {

// A log line to be written once the parsing is over.
struct Notice {
  base::LogLevel level = base::LogLevel::kInfo;
  std::string message;
  std::vector<base::LogField> fields;  // at most one
};

struct ParsedFlags {
  // True: run a member with `config`. False: print and end with `exit_code`.
  bool run = false;
  int exit_code = 0;
  std::string standard_output;
  std::string standard_error;
  std::vector<Notice> notices;  // in this order
  server::Config config;
};

// `arguments` begins with the program's name. `environment` holds "NAME=value" texts.
//
// A flag wins over nothing: when its variable is set as well, that is a mistake. An empty variable
// counts as not set. Exit codes: 0 for help and version, 2 for what the flag library refuses, 1 for
// values that do not fit together, are not supported yet, or come from a variable.
ParsedFlags ParseFlags(const std::vector<std::string>& arguments,
                       const std::vector<std::string>& environment);

// Sets the log level and writes everything that `parsed` holds to where it belongs.
void Report(const ParsedFlags& parsed);

// The environment of this process.
std::vector<std::string> ProcessEnvironment();

// "ETCD_DATA_DIR" for "data-dir".
std::string VariableName(std::string_view flag);

// --- flag_rules.cc

// etcd's refusals that need to know which flags were given, or that concern flags which fill no
// field of Config.
absl::Status CheckFlagRules(const FlagValues& values);

// Fills a Config. Errors: texts that make no sense (--log-level, --auto-compaction-retention), and
// those of Config::Validate.
absl::StatusOr<server::Config> MakeConfig(const FlagValues& values);

// Refuses what etcd can do and this version cannot: flags that are kNotYet in the table and differ
// from their default, and values of --log-outputs and the like.
absl::Status CheckFlagSupport(const FlagValues& values);

}  // namespace etcdd::cmd
