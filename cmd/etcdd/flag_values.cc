#include "cmd/etcdd/flag_values.h"

#include <algorithm>
#include <limits>
#include <optional>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "absl/strings/str_split.h"
#include "server/base/check.h"
#include "server/base/status_macros.h"

namespace etcdd::cmd {
namespace {

using server::FeatureGates;

absl::Status ParseError() { return absl::InvalidArgumentError("parse error"); }
absl::Status RangeError() { return absl::OutOfRangeError("value out of range"); }

absl::string_view Absl(std::string_view text) { return {text.data(), text.size()}; }

int DigitOf(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return 99;
}

// Takes "0x", "0o", "0b" or a leading zero off and returns the base they stand for.
unsigned TakeBase(std::string_view* text) {
  if (text->size() < 2 || text->front() != '0') return 10;
  const char letter = absl::ascii_tolower(static_cast<unsigned char>((*text)[1]));
  const unsigned base = letter == 'x' ? 16 : letter == 'o' ? 8 : letter == 'b' ? 2 : 0;
  text->remove_prefix(base == 0 ? 1 : 2);
  return base == 0 ? 8 : base;
}

struct Gate {
  const char* name;
  bool FeatureGates::*field;
  bool beta;
};

constexpr Gate kGates[] = {
    {"StopGRPCServiceOnDefrag", &FeatureGates::stop_grpc_service_on_defrag, false},
    {"InitialCorruptCheck", &FeatureGates::initial_corrupt_check, false},
    {"CompactHashCheck", &FeatureGates::compact_hash_check, false},
    {"TxnModeWriteWithSharedBuffer", &FeatureGates::txn_mode_write_with_shared_buffer, true},
    {"LeaseCheckpoint", &FeatureGates::lease_checkpoint, false},
    {"LeaseCheckpointPersist", &FeatureGates::lease_checkpoint_persist, false},
    {"SetMemberLocalAddr", &FeatureGates::set_member_local_addr, false},
    {"FastLeaseKeepAlive", &FeatureGates::fast_lease_keep_alive, true},
    {"PriorityRequest", &FeatureGates::priority_request, false},
};

bool IsGate(const std::string& name) {
  return name == "AllAlpha" || name == "AllBeta" ||
         std::any_of(std::begin(kGates), std::end(kGates),
                     [&name](const Gate& gate) { return name == gate.name; });
}

// The value in a form in which equal meanings have equal texts.
std::string Canonical(const FlagRow& row, std::string_view text) {
  switch (row.type) {
    case FlagType::kBool:
      return *ParseBool(text) ? "true" : "false";
    case FlagType::kUint:
    case FlagType::kUint32:
      return absl::StrCat(*ParseUint(text));
    case FlagType::kInt:
      return absl::StrCat(*ParseInt(text));
    case FlagType::kDuration:
      return absl::FormatDuration(*ParseDuration(text));
    case FlagType::kString:
      // For these two, empty and "*" both mean: all.
      if ((row.name == "cors" || row.name == "host-whitelist") && text.empty()) return "*";
      return std::string(text);
    case FlagType::kUrls:
    case FlagType::kChoice:
    case FlagType::kFeatureGates:
    case FlagType::kDropped:
      return std::string(text);
  }
  return std::string(text);
}

}  // namespace

absl::StatusOr<bool> ParseBool(std::string_view text) {
  for (const char* yes : {"1", "t", "T", "true", "True", "TRUE"}) {
    if (text == yes) return true;
  }
  for (const char* no : {"0", "f", "F", "false", "False", "FALSE"}) {
    if (text == no) return false;
  }
  return ParseError();
}

absl::StatusOr<uint64_t> ParseUint(std::string_view text, uint64_t max) {
  if (text == "0") return 0;
  if (text.empty()) return ParseError();
  std::string_view digits = text;
  const unsigned base = TakeBase(&digits);
  uint64_t value = 0;
  // A "_" may stand behind a digit or a prefix, and not at the end.
  bool digit_before = digits.size() != text.size();
  bool overflow = false;
  for (const char c : digits) {
    if (c == '_') {
      if (!digit_before) return ParseError();
      digit_before = false;
      continue;
    }
    const auto digit = static_cast<unsigned>(DigitOf(c));
    if (digit >= base) return ParseError();
    digit_before = true;
    overflow = overflow || value > (max - digit) / base;
    if (!overflow) value = value * base + digit;
  }
  if (digits.empty() || !digit_before) return ParseError();
  if (overflow) return RangeError();
  return value;
}

absl::StatusOr<int64_t> ParseInt(std::string_view text) {
  const bool negative = !text.empty() && text.front() == '-';
  if (negative || (!text.empty() && text.front() == '+')) text.remove_prefix(1);
  const auto max = static_cast<uint64_t>(std::numeric_limits<int64_t>::max());
  ETCDD_ASSIGN_OR_RETURN(const uint64_t magnitude, ParseUint(text, negative ? max + 1 : max));
  if (!negative) return static_cast<int64_t>(magnitude);
  return magnitude > max ? std::numeric_limits<int64_t>::min() : -static_cast<int64_t>(magnitude);
}

absl::StatusOr<absl::Duration> ParseDuration(std::string_view text) {
  // Both micro signs of Unicode, as Go takes them; absl knows "us" only, and "inf", which Go does
  // not.
  const std::string plain =
      absl::StrReplaceAll(Absl(text), {{"\xC2\xB5s", "us"}, {"\xCE\xBCs", "us"}});
  absl::Duration duration;
  if (plain.find("inf") != std::string::npos || !absl::ParseDuration(plain, &duration)) {
    return ParseError();
  }
  if (duration > absl::Nanoseconds(std::numeric_limits<int64_t>::max()) ||
      duration < absl::Nanoseconds(std::numeric_limits<int64_t>::min())) {
    return ParseError();
  }
  return absl::Trunc(duration, absl::Nanoseconds(1));
}

absl::StatusOr<FeatureGates> ParseFeatureGates(std::string_view text) {
  std::map<std::string, bool> named;
  for (const auto& item : absl::StrSplit(Absl(text), ',', absl::SkipWhitespace())) {
    const std::pair<std::string, std::string> parts =
        absl::StrSplit(absl::StripAsciiWhitespace(item), absl::MaxSplits('=', 1));
    const std::string name(absl::StripAsciiWhitespace(parts.first));
    const std::string value(absl::StripAsciiWhitespace(parts.second));
    if (item.find('=') == absl::string_view::npos) {
      return absl::InvalidArgumentError(absl::StrCat("missing bool value for ", name));
    }
    if (!IsGate(name)) {
      return absl::InvalidArgumentError(absl::StrCat("unrecognized feature gate: ", name));
    }
    const absl::StatusOr<bool> on = ParseBool(value);
    if (!on.ok()) {
      return absl::InvalidArgumentError(
          absl::StrCat("invalid value of ", name, ": ", value, ", err: parse error"));
    }
    named[name] = *on;
  }
  FeatureGates gates;
  for (const Gate& gate : kGates) {
    const auto own = named.find(gate.name);
    const auto group = named.find(gate.beta ? "AllBeta" : "AllAlpha");
    if (own != named.end()) {
      gates.*gate.field = own->second;
    } else if (group != named.end()) {
      gates.*gate.field = group->second;
    }
  }
  return gates;
}

absl::Status CheckText(const FlagRow& row, std::string_view text) {
  switch (row.type) {
    case FlagType::kString:
    case FlagType::kDropped:
      return absl::OkStatus();
    case FlagType::kBool:
      return ParseBool(text).status();
    case FlagType::kUint:
      return ParseUint(text).status();
    case FlagType::kUint32: {
      // etcd's own type of flag passes the longer text of Go's number parser on.
      const absl::Status status = ParseUint(text, UINT32_MAX).status();
      if (status.ok()) return status;
      return absl::InvalidArgumentError(
          absl::StrCat("strconv.ParseUint: parsing \"", std::string(text), "\": ",
                       absl::IsOutOfRange(status) ? status.message() : "invalid syntax"));
    }
    case FlagType::kInt:
      return ParseInt(text).status();
    case FlagType::kDuration:
      return ParseDuration(text).status();
    case FlagType::kUrls:
      return server::ParseUrlList(text).status();
    case FlagType::kFeatureGates:
      return ParseFeatureGates(text).status();
    case FlagType::kChoice: {
      const std::vector<std::string> choices = absl::StrSplit(Absl(row.choices), '|');
      const bool known = std::find(choices.begin(), choices.end(), text) != choices.end();
      return known ? absl::OkStatus() : absl::InvalidArgumentError("invalid value");
    }
  }
  return absl::InternalError("unknown type of flag");
}

bool MeansDefault(const FlagRow& row, std::string_view text) {
  return Canonical(row, text) == Canonical(row, row.default_text);
}

void FlagValues::Set(const FlagRow& row, std::string_view text) {
  given_.insert_or_assign(std::string(row.name), std::string(text));
}

bool FlagValues::Given(std::string_view name) const { return given_.find(name) != given_.end(); }

std::string FlagValues::Text(std::string_view name) const {
  const auto found = given_.find(name);
  if (found != given_.end()) return found->second;
  const FlagRow* row = FindFlag(name);
  ETCDD_CHECK_MSG(row != nullptr, name);
  return std::string(row->default_text);
}

bool FlagValues::Bool(std::string_view name) const { return *ParseBool(Text(name)); }
uint64_t FlagValues::Uint(std::string_view name) const { return *ParseUint(Text(name)); }
int64_t FlagValues::Int(std::string_view name) const { return *ParseInt(Text(name)); }
absl::Duration FlagValues::Duration(std::string_view name) const {
  return *ParseDuration(Text(name));
}
std::vector<server::Url> FlagValues::Urls(std::string_view name) const {
  return *server::ParseUrlList(Text(name));
}

}  // namespace etcdd::cmd
