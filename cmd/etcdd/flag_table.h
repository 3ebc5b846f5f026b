#pragma once

// etcd's flags in one table: what etcdd knows of each, and how far it goes. Parsing, help, the
// refusal of what is not there yet and docs/compatibility.md all follow this table.

#include <string_view>

#include "absl/types/span.h"

namespace etcdd::cmd {

enum class FlagType {
  kString,
  kBool,
  kUint,
  kUint32,
  kInt,
  kDuration,
  kUrls,          // comma separated, see server/url.h
  kChoice,        // one of FlagRow::choices
  kFeatureGates,  // "Name=true,Name=false"
  kDropped,       // once a flag of etcd; takes no value, or any after "="
};

enum class FlagGroup {
  kGeneral,
  kMember,
  kClustering,
  kSecurity,
  kAuth,
  kLogging,
  kMonitoring,
  kTracing,
  kFeatures,
  kUnsafe,
  kHidden,  // not in the help
};

enum class FlagSupport {
  kWorks,
  kNoEffect,  // accepted; tunes something that etcdd does not have or need
  kNotYet,    // refused unless it is set to its default
  kDropped,   // accepted with a warning, as etcd does
};

struct FlagRow {
  std::string_view name;
  FlagType type;
  std::string_view default_text;
  std::string_view choices;  // of kChoice, separated by '|'
  FlagGroup group;
  FlagSupport support;
  std::string_view help;
};

absl::Span<const FlagRow> AllFlags();

// Null when etcd has no such flag.
const FlagRow* FindFlag(std::string_view name);

std::string_view GroupTitle(FlagGroup group);

}  // namespace etcdd::cmd
