#include "mvcc/tree_node.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "server/base/check.h"

namespace etcdd::mvcc {

void LeafNode::HeadRange(uint16_t head, uint32_t* first, uint32_t* last) const {
  uint32_t low = 0;
  uint32_t size = count;
  while (size > 0) {
    const uint32_t half = size / 2;
    const bool below = heads[low + half] < head;
    low = below ? low + half + 1 : low;
    size = below ? size - half - 1 : half;
  }
  *first = low;
  while (low < count && heads[low] == head) ++low;
  *last = low;
}

uint32_t LeafNode::LowerBound(std::string_view key, bool* found) const {
  *found = false;
  if (count == 0) return 0;
  uint32_t first;
  uint32_t last;
  HeadRange(KeyHead<uint16_t>(key, prefix), &first, &last);
  const std::string_view probe = slots[std::min<uint32_t>(first, count - 1u)].key();
  if (CommonPrefix(key, probe) < prefix) return key < probe ? 0 : count;
  while (first < last) {
    const uint32_t middle = first + (last - first) / 2;
    const int order = slots[middle].key().compare(key);
    if (order == 0) {
      *found = true;
      return middle;
    }
    if (order < 0) {
      first = middle + 1;
    } else {
      last = middle;
    }
  }
  return first;
}

uint32_t LeafNode::Find(std::string_view key) const {
  // Were the key here, it would share the prefix: no need to look at it before.
  uint32_t first;
  uint32_t last;
  HeadRange(KeyHead<uint16_t>(key, prefix), &first, &last);
  for (; first < last; ++first) {
    if (slots[first].key() == key) return first;
  }
  return count;
}

void LeafNode::Insert(uint32_t position, KeySlot slot) {
  ETCDD_CHECK(count < kCapacity && position <= count);
  std::memmove(heads + position + 1, heads + position, (count - position) * sizeof heads[0]);
  std::memmove(static_cast<void*>(slots + position + 1), slots + position,
               (count - position) * sizeof slots[0]);
  slots[position] = slot;
  inserted = static_cast<uint16_t>(position);
  ++count;
  live = static_cast<uint16_t>(live + (slot.dead() ? 0 : 1));
  const bool at_edge = position == 0 || position + 1 == count;
  if (at_edge && (count == 1 || CommonPrefix(slots[0].key(), slots[count - 1].key()) < prefix)) {
    Reindex();
    inserted = static_cast<uint16_t>(position);
  } else {
    heads[position] = KeyHead<uint16_t>(slot.key(), prefix);
  }
}

void LeafNode::Remove(uint32_t position) {
  ETCDD_CHECK(position < count);
  live = static_cast<uint16_t>(live - (slots[position].dead() ? 0 : 1));
  const uint32_t behind = count - position - 1u;
  std::memmove(heads + position, heads + position + 1, behind * sizeof heads[0]);
  std::memmove(static_cast<void*>(slots + position), slots + position + 1,
               behind * sizeof slots[0]);
  --count;
}

void LeafNode::MoveTail(uint32_t from, LeafNode* to) {
  const uint32_t moved = count - from;
  ETCDD_CHECK(to->count + moved <= kCapacity);
  std::memcpy(static_cast<void*>(to->slots + to->count), slots + from, moved * sizeof slots[0]);
  const uint32_t moved_live = CountLive(from, count);
  to->count = static_cast<uint16_t>(to->count + moved);
  to->live = static_cast<uint16_t>(to->live + moved_live);
  count = static_cast<uint16_t>(from);
  live = static_cast<uint16_t>(live - moved_live);
  Reindex();
  to->Reindex();
}

void LeafNode::MoveAllToFrontOf(LeafNode* to) {
  ETCDD_CHECK(to->count + count <= kCapacity);
  std::memmove(static_cast<void*>(to->slots + count), to->slots, to->count * sizeof slots[0]);
  std::memcpy(static_cast<void*>(to->slots), slots, count * sizeof slots[0]);
  to->count = static_cast<uint16_t>(to->count + count);
  to->live = static_cast<uint16_t>(to->live + live);
  count = 0;
  live = 0;
  to->Reindex();
}

void LeafNode::Reindex() {
  inserted = kCapacity;
  if (count == 0) {
    prefix = 0;
    return;
  }
  prefix = static_cast<uint32_t>(CommonPrefix(slots[0].key(), slots[count - 1].key()));
  for (uint32_t i = 0; i < count; ++i) heads[i] = KeyHead<uint16_t>(slots[i].key(), prefix);
}

uint32_t LeafNode::CountLive(uint32_t begin, uint32_t end) const {
  uint32_t result = 0;
  for (uint32_t i = begin; i < end; ++i) result += slots[i].dead() ? 0 : 1;
  return result;
}

uint32_t InnerNode::ChildFor(std::string_view key) const {
  if (count <= 1) return 0;
  if (prefix > 0) {
    const std::string_view shared = std::string_view(separators[0]).substr(0, prefix);
    const int order = key.substr(0, prefix).compare(shared);  // a shorter key is below
    if (order < 0) return 0;
    if (order > 0) return count - 1;
  }
  const uint64_t head = KeyHead<uint64_t>(key, prefix);
  const uint64_t* const end = heads + (count - 1);
  auto position = static_cast<uint32_t>(std::upper_bound(heads, end, head) - heads);
  while (position > 0 && heads[position - 1] == head && key < separators[position - 1]) --position;
  return position;
}

void InnerNode::InsertAfter(uint32_t position, std::string separator, void* child,
                            uint64_t child_live) {
  ETCDD_CHECK(count < kCapacity && position < count);
  for (uint32_t i = count - 1; i > position; --i) separators[i] = std::move(separators[i - 1]);
  for (uint32_t i = count; i > position + 1; --i) {
    children[i] = children[i - 1];
    live[i] = live[i - 1];
  }
  separators[position] = std::move(separator);
  children[position + 1] = child;
  live[position + 1] = child_live;
  ++count;
  Reindex();
}

void InnerNode::Remove(uint32_t position) {
  ETCDD_CHECK(position < count);
  for (uint32_t i = position; i + 1 < count; ++i) {
    children[i] = children[i + 1];
    live[i] = live[i + 1];
  }
  if (count > 1) {
    for (uint32_t i = position == 0 ? 0 : position - 1; i + 2 < count; ++i) {
      separators[i] = std::move(separators[i + 1]);
    }
    separators[count - 2].clear();
  }
  --count;
  Reindex();
}

std::string InnerNode::Split(uint32_t from, InnerNode* to) {
  ETCDD_CHECK(from >= 1 && from < count && to->count == 0);
  std::string middle = std::move(separators[from - 1]);
  separators[from - 1].clear();
  for (uint32_t i = from; i < count; ++i) {
    to->children[i - from] = children[i];
    to->live[i - from] = live[i];
    if (i + 1 < count) {
      to->separators[i - from] = std::move(separators[i]);
      separators[i].clear();
    }
  }
  to->count = count - from;
  count = from;
  Reindex();
  to->Reindex();
  return middle;
}

void InnerNode::Reindex() {
  if (count <= 1) {
    prefix = 0;
    return;
  }
  prefix = static_cast<uint32_t>(CommonPrefix(separators[0], separators[count - 2]));
  for (uint32_t i = 0; i + 1 < count; ++i) heads[i] = KeyHead<uint64_t>(separators[i], prefix);
}

uint64_t InnerNode::LiveBefore(uint32_t position) const {
  uint64_t result = 0;
  for (uint32_t i = 0; i < position; ++i) result += live[i];
  return result;
}

}  // namespace etcdd::mvcc
