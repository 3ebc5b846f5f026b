#pragma once

// The nodes of TreeIndex. Both kinds keep, per entry, a *head*: the first bytes of the entry's key
// after the prefix which all keys of the node share, as a big-endian number. A search compares
// heads, which lie side by side, and touches a key only where heads are equal.

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "mvcc/key_slot.h"
#include "server/base/coding.h"

namespace etcdd::mvcc {

inline size_t CommonPrefix(std::string_view a, std::string_view b) {
  const size_t end = a.size() < b.size() ? a.size() : b.size();
  size_t i = 0;
  while (i < end && a[i] == b[i]) ++i;
  return i;
}

// The first bytes of `key` from `skip` on, zero padded.
template <typename Head>
Head KeyHead(std::string_view key, size_t skip) {
  if constexpr (sizeof(Head) == 8) {
    if (skip + 8 <= key.size()) return base::ReadBigEndian64(key.data() + skip);
  }
  Head head = 0;
  for (size_t i = 0; i < sizeof(Head); ++i) {
    const size_t at = skip + i;
    const Head byte = at < key.size() ? static_cast<uint8_t>(key[at]) : Head{0};
    head = static_cast<Head>(head << 8 | byte);
  }
  return head;
}

struct LeafNode {
  static constexpr uint32_t kCapacity = 64;

  uint32_t prefix = 0;  // bytes shared by all keys
  uint16_t count = 0;
  uint16_t live = 0;
  uint16_t inserted = kCapacity;  // position of the last Insert; kCapacity: unknown
  uint16_t heads[kCapacity];
  KeySlot slots[kCapacity];

  // First slot whose key is >= `key`; count when none. `*found`: it is equal.
  uint32_t LowerBound(std::string_view key, bool* found) const;
  // The slot with this key, or count. Touches fewer keys than LowerBound.
  uint32_t Find(std::string_view key) const;

  // Requires: room, and `position` is the place of the key.
  void Insert(uint32_t position, KeySlot slot);
  void Remove(uint32_t position);
  // Moves the slots from `from` on to the end of `to`, which comes right after or before it.
  void MoveTail(uint32_t from, LeafNode* to);
  void MoveAllToFrontOf(LeafNode* to);
  // Recomputes prefix and heads.
  void Reindex();
  uint32_t CountLive(uint32_t begin, uint32_t end) const;

 private:
  // Positions with this head: [first, last).
  void HeadRange(uint16_t head, uint32_t* first, uint32_t* last) const;
};

struct InnerNode {
  static constexpr uint32_t kCapacity = 64;

  uint32_t count = 0;   // children
  uint32_t prefix = 0;  // bytes shared by all separators
  uint64_t heads[kCapacity - 1];
  void* children[kCapacity];
  uint64_t live[kCapacity];  // live keys below each child
  // Keys below child i < separators[i] <= keys below child i + 1.
  std::string separators[kCapacity - 1];

  uint32_t ChildFor(std::string_view key) const;
  // Requires: room. Puts `child` behind `position`, divided by `separator`.
  void InsertAfter(uint32_t position, std::string separator, void* child, uint64_t child_live);
  // Removes the child and one separator next to it.
  void Remove(uint32_t position);
  // Moves the children from `from` >= 1 on to the empty `to`; returns the separator between.
  std::string Split(uint32_t from, InnerNode* to);
  void Reindex();
  uint64_t LiveBefore(uint32_t position) const;
};

}  // namespace etcdd::mvcc
