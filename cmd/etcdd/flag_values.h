#pragma once

// Texts of flags and variables as values, by the rules of Go's flag library: those are what people
// and scripts write for etcd.
//
// Thread-safe: no state; FlagValues is const after parsing.

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "cmd/etcdd/flag_table.h"
#include "server/config.h"
#include "server/url.h"

namespace etcdd::cmd {

// "1", "t", "T", "true", "True", "TRUE" and their opposites.
absl::StatusOr<bool> ParseBool(std::string_view text);
// Decimal, or 0x, 0o, 0b, 0 as a prefix; digits may be grouped with "_".
// Errors: "parse error", "value out of range".
absl::StatusOr<uint64_t> ParseUint(std::string_view text, uint64_t max = UINT64_MAX);
absl::StatusOr<int64_t> ParseInt(std::string_view text);
// "1h2m3.5s", "-5ms", "10us" or "10µs", "0". A number without unit is an error.
absl::StatusOr<absl::Duration> ParseDuration(std::string_view text);

// "Name=true,Name=false" on top of the defaults. AllAlpha and AllBeta set each gate of their group
// which is not named itself.
absl::StatusOr<server::FeatureGates> ParseFeatureGates(std::string_view text);

// OK when `text` is a value for the flag; the message is the reason ("parse error", ...).
absl::Status CheckText(const FlagRow& row, std::string_view text);

// True when `text` means the same as the default of the flag. Requires: CheckText is OK.
bool MeansDefault(const FlagRow& row, std::string_view text);

// What was given, by flag name; each text was checked. Getters return the default otherwise.
class FlagValues {
 public:
  // Requires: CheckText(row, text) is OK. A later call replaces an earlier one.
  void Set(const FlagRow& row, std::string_view text);

  bool Given(std::string_view name) const;
  std::string Text(std::string_view name) const;
  bool Bool(std::string_view name) const;
  uint64_t Uint(std::string_view name) const;
  int64_t Int(std::string_view name) const;
  absl::Duration Duration(std::string_view name) const;
  std::vector<server::Url> Urls(std::string_view name) const;

 private:
  std::map<std::string, std::string, std::less<>> given_;
};

}  // namespace etcdd::cmd
