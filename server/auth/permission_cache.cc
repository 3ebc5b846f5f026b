#include "server/auth/permission_cache.h"

#include <algorithm>
#include <utility>

#include "proto/auth.pb.h"

namespace etcdd::auth {
namespace {

constexpr std::string_view kToTheEnd("\0", 1);

// The first key after `key`.
std::string Successor(std::string_view key) {
  std::string next(key);
  next.push_back('\0');
  return next;
}

}  // namespace

void RangeSet::Add(const KeyRange& range) {
  Range added{std::string(range.key), {}, range.range_end == kToTheEnd};
  if (!added.open) {
    added.end = range.range_end.empty() ? Successor(range.key) : std::string(range.range_end);
    if (added.end <= added.begin) return;  // holds no key; old members stored such
  }
  ranges_.push_back(std::move(added));
}

void RangeSet::Merge() {
  std::sort(ranges_.begin(), ranges_.end(),
            [](const Range& a, const Range& b) { return a.begin < b.begin; });
  std::vector<Range> merged;
  for (Range& range : ranges_) {
    if (merged.empty() || (!merged.back().open && merged.back().end < range.begin)) {
      merged.push_back(std::move(range));
      continue;
    }
    Range& last = merged.back();
    if (last.open) continue;
    last.open = range.open;
    if (last.end < range.end) last.end = std::move(range.end);
  }
  ranges_ = std::move(merged);
}

bool RangeSet::Covers(const KeyRange& range) const {
  // The last range that begins at or before the key is the only one that can hold it.
  auto after = std::upper_bound(
      ranges_.begin(), ranges_.end(), range.key,
      [](std::string_view key, const Range& candidate) { return key < candidate.begin; });
  if (after == ranges_.begin()) return false;
  const Range& holder = *std::prev(after);
  if (holder.open) return true;
  if (range.range_end == kToTheEnd) return false;
  return range.key < holder.end && range.range_end <= holder.end;
}

void MergedPermissions::Add(const authpb::Permission& permission) {
  const KeyRange range{permission.key(), permission.range_end()};
  const auto type = permission.permtype();
  if (type == authpb::Permission::READ || type == authpb::Permission::READWRITE) reads.Add(range);
  if (type == authpb::Permission::WRITE || type == authpb::Permission::READWRITE) {
    writes.Add(range);
  }
}

}  // namespace etcdd::auth
