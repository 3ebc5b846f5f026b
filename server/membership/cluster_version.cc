#include "server/membership/cluster_version.h"

#include <algorithm>
#include <charconv>

#include "absl/strings/str_cat.h"
#include "server/base/api_error.h"

namespace etcdd::membership {
namespace {

using base::ApiError;
using base::ErrorId;

// Takes a number off the front of `text`.
bool TakeNumber(std::string_view* text, int* number) {
  const char* const end = text->data() + text->size();
  const auto [rest, error] = std::from_chars(text->data(), end, *number);
  if (error != std::errc() || *number < 0) return false;
  text->remove_prefix(static_cast<size_t>(rest - text->data()));
  return true;
}

bool TakeDot(std::string_view* text) {
  if (text->empty() || text->front() != '.') return false;
  text->remove_prefix(1);
  return true;
}

}  // namespace

std::optional<Version> ParseVersion(std::string_view text) {
  Version version;
  int patch = 0;
  if (!TakeNumber(&text, &version.major) || !TakeDot(&text)) return std::nullopt;
  if (!TakeNumber(&text, &version.minor)) return std::nullopt;
  if (text.empty()) return version;
  if (!TakeDot(&text) || !TakeNumber(&text, &patch)) return std::nullopt;
  if (!text.empty() && text.front() != '-' && text.front() != '+') return std::nullopt;
  return version;
}

std::string ClusterVersionText(Version version) {
  return absl::StrCat(version.major, ".", version.minor, ".0");
}

std::string ShortText(Version version) {
  return absl::StrCat(version.major, ".", version.minor);
}

std::optional<std::string> DecideClusterVersion(
    std::string_view current, const Downgrade& downgrade,
    const std::vector<std::optional<Version>>& server_versions) {
  std::optional<Version> lowest;
  for (const auto& version : server_versions) {
    if (!version.has_value()) {
      lowest.reset();
      break;
    }
    lowest = lowest.has_value() ? std::min(*lowest, *version) : *version;
  }
  if (current.empty()) return ClusterVersionText(lowest.value_or(kMinClusterVersion));
  const auto now = ParseVersion(current);
  if (!now.has_value()) return std::nullopt;
  if (downgrade.enabled) {
    const auto target = ParseVersion(downgrade.target_version);
    if (target.has_value() && *target < *now) return ClusterVersionText(*target);
    return std::nullopt;
  }
  if (lowest.has_value() && *now < *lowest) return ClusterVersionText(*lowest);
  return std::nullopt;
}

bool DowngradeIsDone(const Downgrade& downgrade,
                     const std::vector<std::optional<Version>>& server_versions) {
  const auto target = ParseVersion(downgrade.target_version);
  if (!downgrade.enabled || !target.has_value()) return false;
  return std::all_of(server_versions.begin(), server_versions.end(),
                     [&](const auto& version) { return version == target; });
}

absl::StatusOr<Version> CheckDowngradeTarget(const Cluster& cluster, std::string_view target) {
  const auto version = ParseVersion(target);
  const bool plain = target.find_first_not_of("0123456789.") == target.npos;
  if (!version.has_value() || !plain) return ApiError(ErrorId::kWrongDowngradeVersionFormat);
  const auto current = ParseVersion(cluster.version());
  if (!current.has_value()) return ApiError(ErrorId::kClusterVersionUnavailable);
  if (*version != Version{current->major, current->minor - 1}) {
    return ApiError(ErrorId::kInvalidDowngradeTargetVersion);
  }
  if (cluster.downgrade().enabled) return ApiError(ErrorId::kDowngradeInProcess);
  return *version;
}

}  // namespace etcdd::membership
