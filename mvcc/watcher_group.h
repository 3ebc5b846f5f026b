#pragma once

// Who watches a key? Watchers of one key are found by hash, watchers of a range in an interval
// tree, so the cost of a change does not depend on how many watch other keys.
//
// Member is any type with `size_t group_index`, which belongs to the group while the member is in
// it. Members of the same key or range come in an order that depends on additions and removals
// only. The hash map is never iterated.
//
// Confined to its owner's thread.

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/hash/hash.h"
#include "absl/strings/string_view.h"
#include "mvcc/interval_tree.h"
#include "server/base/check.h"

namespace etcdd::mvcc {

// One key, or the interval [key, end) where an empty end means "no end".
struct KeyRange {
  std::string key;
  std::string end;
  bool single = true;

  bool Holds(std::string_view other) const {
    if (single) return other == key;
    return key <= other && (end.empty() || other < end);
  }
};

template <typename Member>
class WatcherGroup {
 public:
  // Requires: `member` is in no group.
  void Add(const KeyRange& range, Member* member) {
    List& list = range.single ? keys_[range.key] : ranges_.FindOrMake(range.key, range.end);
    member->group_index = list.size();
    list.push_back(member);
    ++size_;
  }

  // Requires: `member` was added with this range.
  void Remove(const KeyRange& range, Member* member) {
    if (range.single) {
      const auto it = keys_.find(range.key);
      ETCDD_CHECK(it != keys_.end());
      RemoveFrom(&it->second, member);
      if (it->second.empty()) keys_.erase(it);
    } else {
      List* const list = ranges_.Find(range.key, range.end);
      ETCDD_CHECK(list != nullptr);
      RemoveFrom(list, member);
      if (list->empty()) ranges_.Erase(range.key, range.end);
    }
    --size_;
  }

  // Calls visit(Member&) for each member that watches `key`. The group must not change meanwhile.
  template <typename Visit>
  void VisitWatching(std::string_view key, Visit&& visit) {
    if (const auto it = keys_.find(key); it != keys_.end()) {
      for (Member* member : it->second) visit(*member);
    }
    if (ranges_.empty()) return;
    ranges_.VisitHolding(key, [&visit](List& list) {
      for (Member* member : list) visit(*member);
    });
  }

  size_t size() const { return size_; }
  bool empty() const { return size_ == 0; }

 private:
  using List = std::vector<Member*>;
  struct KeyHash {
    using is_transparent = void;
    size_t operator()(std::string_view key) const {
      return absl::Hash<absl::string_view>()(absl::string_view(key.data(), key.size()));
    }
  };
  struct KeyEqual {
    using is_transparent = void;
    bool operator()(std::string_view a, std::string_view b) const { return a == b; }
  };

  static void RemoveFrom(List* list, Member* member) {
    const size_t index = member->group_index;
    ETCDD_CHECK(index < list->size() && (*list)[index] == member);
    (*list)[index] = list->back();
    (*list)[index]->group_index = index;
    list->pop_back();
  }

  absl::flat_hash_map<std::string, List, KeyHash, KeyEqual> keys_;
  IntervalTree<List> ranges_;
  size_t size_ = 0;
};

}  // namespace etcdd::mvcc
