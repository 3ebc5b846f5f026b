#pragma once

// May this user read, or write, this key or range? All permissions of all roles of a user count
// together: their ranges are merged once into two sorted lists without overlaps, so that a question
// costs one binary search, and ranges that touch each other cover a request together (AUTH-026,
// AUTH-027).
//
// Confined to the server strand.

#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/strings/string_view.h"

namespace authpb {
class Permission;
}

namespace etcdd::auth {

// A key, or a range of keys, named as in RangeRequest: `range_end` empty = that key, the zero byte
// = from `key` to the end. Views of the caller's bytes.
struct KeyRange {
  std::string_view key = {};
  std::string_view range_end = {};
};

// Disjoint ranges of keys. Add all, then Merge, then ask.
class RangeSet {
 public:
  void Add(const KeyRange& range);
  // Joins ranges that overlap or touch.
  void Merge();
  // Whether every key of `range` is inside. A range that ends before it begins holds no key; it
  // counts as its first key, so that nobody learns of ranges that are not his.
  // Requires: Merge was called after the last Add.
  bool Covers(const KeyRange& range) const;
  size_t size() const { return ranges_.size(); }

 private:
  struct Range {
    std::string begin;
    std::string end;  // exclusive; meaningless when open
    bool open = false;  // to the end of all keys
  };
  std::vector<Range> ranges_;  // by begin
};

// What a user's roles add up to.
struct MergedPermissions {
  RangeSet reads;
  RangeSet writes;

  // An undefined type is stored like any other and gives nothing (AUTH-016).
  void Add(const authpb::Permission& permission);
  void Merge() {
    reads.Merge();
    writes.Merge();
  }
};

// The merged permissions of the users that were asked about since the last change.
class PermissionCache {
 public:
  // Null when it has to be made: see Insert. Valid until the next change of the cache.
  const MergedPermissions* Find(std::string_view user) const {
    auto found = by_user_.find(Key(user));
    return found == by_user_.end() ? nullptr : &found->second;
  }
  const MergedPermissions& Insert(std::string_view user, MergedPermissions merged) {
    return by_user_.insert_or_assign(Key(user), std::move(merged)).first->second;
  }
  void Drop(std::string_view user) { by_user_.erase(Key(user)); }
  void Clear() { by_user_.clear(); }

 private:
  static absl::string_view Key(std::string_view user) { return {user.data(), user.size()}; }

  absl::flat_hash_map<std::string, MergedPermissions> by_user_;
};

}  // namespace etcdd::auth
