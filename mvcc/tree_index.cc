#include "mvcc/tree_index.h"

#include <algorithm>
#include <utility>

#include "server/base/check.h"

namespace etcdd::mvcc {
namespace {

// A leaf with fewer slots looks for a neighbour to merge with, if both fill at most kMergedMax.
constexpr uint32_t kMergeBelow = LeafNode::kCapacity / 4;
constexpr uint32_t kMergedMax = LeafNode::kCapacity * 3 / 4;
// Bulk building leaves a little room, so that the first inserts do not split every leaf.
constexpr size_t kBuildFill = 60;

LeafNode* AsLeaf(void* node) { return static_cast<LeafNode*>(node); }
InnerNode* AsInner(void* node) { return static_cast<InnerNode*>(node); }

// The shortest key that is above `left` and not above `right`.
std::string Separator(std::string_view left, std::string_view right) {
  ETCDD_CHECK(left < right);
  return std::string(right.substr(0, CommonPrefix(left, right) + 1));
}

uint64_t LiveBelow(const InnerNode& node) { return node.LiveBefore(node.count); }

}  // namespace

TreeIndex::TreeIndex() : root_(new LeafNode) {}

TreeIndex::~TreeIndex() { FreeNode(root_, height_); }

void TreeIndex::FreeNode(void* node, int height) {
  if (height == 0) {
    LeafNode* leaf = AsLeaf(node);
    for (uint32_t i = 0; i < leaf->count; ++i) leaf->slots[i].Free();
    delete leaf;
    return;
  }
  InnerNode* inner = AsInner(node);
  for (uint32_t i = 0; i < inner->count; ++i) FreeNode(inner->children[i], height - 1);
  delete inner;
}

void TreeIndex::Clear() {
  FreeNode(root_, height_);
  root_ = new LeafNode;
  height_ = 0;
  size_ = 0;
  leaves_ = 1;
  inners_ = 0;
  history_bytes_ = 0;
}

const KeySlot* TreeIndex::Find(std::string_view key) const {
  void* node = root_;
  for (int level = 0; level < height_; ++level) {
    const InnerNode* inner = AsInner(node);
    node = inner->children[inner->ChildFor(key)];
  }
  const LeafNode* leaf = AsLeaf(node);
  const uint32_t position = leaf->Find(key);
  return position == leaf->count ? nullptr : &leaf->slots[position];
}

bool TreeIndex::Locate(std::string_view key, Path* path) {
  void* node = root_;
  path->depth_ = height_;
  for (int level = 0; level < height_; ++level) {
    InnerNode* inner = AsInner(node);
    const uint32_t child = inner->ChildFor(key);
    path->steps_[level] = {inner, child};
    node = inner->children[child];
  }
  path->leaf_ = AsLeaf(node);
  bool found;
  path->slot_ = path->leaf_->LowerBound(key, &found);
  return found;
}

bool TreeIndex::Seek(std::string_view key, Path* path) const {
  const_cast<TreeIndex*>(this)->Locate(key, path);
  if (path->slot_ < path->leaf_->count) return true;
  if (path->leaf_->count == 0) return false;
  path->slot_ = path->leaf_->count - 1u;
  return Next(path);
}

bool TreeIndex::Next(Path* path) const {
  if (++path->slot_ < path->leaf_->count) return true;
  int level = path->depth_ - 1;
  while (level >= 0 && path->steps_[level].child + 1 == path->steps_[level].node->count) --level;
  if (level < 0) return false;
  void* node = path->steps_[level].node->children[++path->steps_[level].child];
  while (++level < path->depth_) {
    path->steps_[level] = {AsInner(node), 0};
    node = AsInner(node)->children[0];
  }
  path->leaf_ = AsLeaf(node);
  path->slot_ = 0;
  return true;
}

void TreeIndex::AddLive(Path* path, int64_t delta) {
  path->leaf_->live = static_cast<uint16_t>(path->leaf_->live + delta);
  for (int level = 0; level < path->depth_; ++level) {
    path->steps_[level].node->live[path->steps_[level].child] += static_cast<uint64_t>(delta);
  }
}

void TreeIndex::Insert(Path* path, KeySlot slot) {
  if (path->leaf_->count == LeafNode::kCapacity) {
    SplitLeaf(path, slot.key());
    ETCDD_CHECK(!Locate(slot.key(), path));
  }
  path->leaf_->Insert(path->slot_, slot);
  ++size_;
  history_bytes_ += slot.history_bytes();
  if (slot.dead()) return;
  for (int level = 0; level < path->depth_; ++level) {
    ++path->steps_[level].node->live[path->steps_[level].child];
  }
}

void TreeIndex::SplitLeaf(Path* path, std::string_view key) {
  LeafNode* left = path->leaf_;
  auto* right = new LeafNode;
  ++leaves_;
  std::string separator;
  if (path->slot_ == left->count) {
    // An ascending run: leave the full leaf as it is.
    separator = Separator(left->slots[left->count - 1].key(), key);
  } else {
    // In the middle of an ascending run: divide where it goes on.
    const bool ascending = path->slot_ > 0 && path->slot_ == left->inserted + 1u;
    left->MoveTail(ascending ? path->slot_ : left->count / 2, right);
    separator = Separator(left->slots[left->count - 1].key(), right->slots[0].key());
  }
  InsertChild(path, path->depth_ - 1, std::move(separator), {left, left->live},
              {right, right->live});
}

void TreeIndex::InsertChild(Path* path, int level, std::string separator, Subtree left,
                            Subtree right) {
  if (level < 0) {
    ETCDD_CHECK(height_ < Path::kDepthMax);
    auto* root = new InnerNode;
    ++inners_;
    root->children[0] = left.node;
    root->live[0] = left.live;
    root->count = 1;
    root->InsertAfter(0, std::move(separator), right.node, right.live);
    root_ = root;
    ++height_;
    return;
  }
  InnerNode* node = path->steps_[level].node;
  uint32_t child = path->steps_[level].child;
  if (node->count == InnerNode::kCapacity) {
    const uint32_t from = child + 1 == node->count ? child : node->count / 2;
    auto* sibling = new InnerNode;
    ++inners_;
    std::string middle = node->Split(from, sibling);
    InsertChild(path, level - 1, std::move(middle), {node, LiveBelow(*node)},
                {sibling, LiveBelow(*sibling)});
    if (child >= from) {
      node = sibling;
      child -= from;
    }
  }
  node->live[child] = left.live;
  node->InsertAfter(child, std::move(separator), right.node, right.live);
}

void TreeIndex::Erase(Path* path) {
  LeafNode* leaf = path->leaf_;
  KeySlot slot = leaf->slots[path->slot_];
  if (!slot.dead()) {
    for (int level = 0; level < path->depth_; ++level) {
      --path->steps_[level].node->live[path->steps_[level].child];
    }
  }
  leaf->Remove(path->slot_);
  --size_;
  history_bytes_ -= slot.history_bytes();
  slot.Free();
  if (leaf->count == 0) {
    RemoveLeaf(path);
  } else if (leaf->count < kMergeBelow) {
    MergeLeaf(path);
  }
}

void TreeIndex::RemoveLeaf(Path* path) {
  if (path->depth_ == 0) return;  // the root may be an empty leaf
  delete path->leaf_;
  --leaves_;
  int level = path->depth_ - 1;
  while (level > 0 && path->steps_[level].node->count == 1) {
    delete path->steps_[level].node;
    --inners_;
    --level;
  }
  path->steps_[level].node->Remove(path->steps_[level].child);
  if (AsInner(root_)->count == 0) {
    delete AsInner(root_);
    --inners_;
    root_ = new LeafNode;
    ++leaves_;
    height_ = 0;
  }
  while (height_ > 0 && AsInner(root_)->count == 1) {
    InnerNode* old = AsInner(root_);
    root_ = old->children[0];
    delete old;
    --inners_;
    --height_;
  }
}

void TreeIndex::MergeLeaf(Path* path) {
  if (path->depth_ == 0) return;
  auto& [parent, child] = path->steps_[path->depth_ - 1];
  LeafNode* leaf = path->leaf_;
  if (child + 1 < parent->count) {
    LeafNode* right = AsLeaf(parent->children[child + 1]);
    if (leaf->count + right->count > kMergedMax) return;
    parent->live[child + 1] += parent->live[child];
    leaf->MoveAllToFrontOf(right);
    // The separator left of the merged leaf must be the one left of `leaf`.
    parent->separators[child] = child == 0 ? std::string() : parent->separators[child - 1];
    RemoveLeaf(path);
  } else if (child > 0) {
    LeafNode* left = AsLeaf(parent->children[child - 1]);
    if (leaf->count + left->count > kMergedMax) return;
    parent->live[child - 1] += parent->live[child];
    leaf->MoveTail(0, left);
    RemoveLeaf(path);
  }
}

void TreeIndex::BuildSorted(const std::vector<KeySlot>& slots) {
  Clear();
  if (slots.empty()) return;
  delete AsLeaf(root_);
  leaves_ = 0;
  size_ = slots.size();
  // One level: its nodes with live counts, and the separator in front of each but the first.
  std::vector<Subtree> level;
  std::vector<std::string> separators;
  for (size_t at = 0; at < slots.size();) {
    auto* leaf = new LeafNode;
    ++leaves_;
    const size_t end = std::min(slots.size(), at + kBuildFill);
    if (at > 0) separators.push_back(Separator(slots[at - 1].key(), slots[at].key()));
    for (; at < end; ++at) {
      leaf->slots[leaf->count++] = slots[at];
      history_bytes_ += slots[at].history_bytes();
    }
    leaf->live = static_cast<uint16_t>(leaf->CountLive(0, leaf->count));
    leaf->Reindex();
    level.push_back({leaf, leaf->live});
  }
  while (level.size() > 1) {
    std::vector<Subtree> above;
    std::vector<std::string> separators_above;
    for (size_t at = 0; at < level.size();) {
      auto* inner = new InnerNode;
      ++inners_;
      if (at > 0) separators_above.push_back(std::move(separators[at - 1]));
      const size_t end = std::min(level.size(), at + kBuildFill);
      for (const size_t begin = at; at < end; ++at) {
        if (at > begin) inner->separators[inner->count - 1] = std::move(separators[at - 1]);
        inner->children[inner->count] = level[at].node;
        inner->live[inner->count++] = level[at].live;
      }
      inner->Reindex();
      above.push_back({inner, LiveBelow(*inner)});
    }
    level = std::move(above);
    separators = std::move(separators_above);
    ++height_;
  }
  root_ = level[0].node;
}

uint64_t TreeIndex::LiveBefore(std::string_view key) const {
  uint64_t result = 0;
  void* node = root_;
  for (int level = 0; level < height_; ++level) {
    const InnerNode* inner = AsInner(node);
    const uint32_t child = inner->ChildFor(key);
    result += inner->LiveBefore(child);
    node = inner->children[child];
  }
  const LeafNode* leaf = AsLeaf(node);
  bool found;
  return result + leaf->CountLive(0, leaf->LowerBound(key, &found));
}

uint64_t TreeIndex::CountLive(std::string_view key, std::string_view range_end) const {
  const uint64_t end = range_end.empty() ? live_keys() : LiveBefore(range_end);
  const uint64_t begin = LiveBefore(key);
  return end > begin ? end - begin : 0;
}

uint64_t TreeIndex::live_keys() const {
  return height_ == 0 ? AsLeaf(root_)->live : LiveBelow(*AsInner(root_));
}

uint64_t TreeIndex::bytes() const {
  return leaves_ * sizeof(LeafNode) + inners_ * sizeof(InnerNode) + history_bytes_;
}

uint64_t TreeIndex::CheckNode(const void* node, int height, std::string_view low,
                              const std::string* high, uint64_t* keys) const {
  if (height == 0) {
    const auto& leaf = *static_cast<const LeafNode*>(node);
    ETCDD_CHECK(leaf.count > 0 || height_ == 0);
    for (uint32_t i = 0; i < leaf.count; ++i) {
      const std::string_view key = leaf.slots[i].key();
      leaf.slots[i].Check();
      ETCDD_CHECK(key >= low && (high == nullptr || key < *high));
      ETCDD_CHECK(i == 0 || leaf.slots[i - 1].key() < key);
      ETCDD_CHECK(CommonPrefix(key, leaf.slots[0].key()) >= leaf.prefix);
      ETCDD_CHECK(leaf.heads[i] == KeyHead<uint16_t>(key, leaf.prefix));
    }
    ETCDD_CHECK(leaf.live == leaf.CountLive(0, leaf.count));
    *keys += leaf.count;
    return leaf.live;
  }
  const auto& inner = *static_cast<const InnerNode*>(node);
  ETCDD_CHECK(inner.count >= 1);
  uint64_t live = 0;
  for (uint32_t i = 0; i < inner.count; ++i) {
    const std::string_view child_low = i == 0 ? low : std::string_view(inner.separators[i - 1]);
    const std::string* child_high = i + 1 == inner.count ? high : &inner.separators[i];
    const uint64_t below = CheckNode(inner.children[i], height - 1, child_low, child_high, keys);
    ETCDD_CHECK(below == inner.live[i]);
    live += below;
  }
  return live;
}

void TreeIndex::CheckInvariants() const {
  uint64_t keys = 0;
  const uint64_t live = CheckNode(root_, height_, std::string_view(), nullptr, &keys);
  ETCDD_CHECK(keys == size_);
  ETCDD_CHECK(live == live_keys());
}

}  // namespace etcdd::mvcc
