#pragma once

// All keys in byte order: a B+tree of our own with KeySlots (8 bytes a key) in its leaves and, in
// its inner nodes, how many live keys are below each child. So the number of live keys of a range
// costs two descents. Filling in ascending order, also in several ascending runs, leaves full
// leaves behind.
//
// Const methods may race with each other; changing ones need exclusion. Owns its slots.

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "mvcc/key_slot.h"
#include "mvcc/tree_node.h"

namespace etcdd::mvcc {

class TreeIndex {
 public:
  // A place in the tree: a slot, or where a key would go. Invalid after Insert and Erase (except as
  // they say) and after the next change by another Path.
  class Path {
   public:
    const KeySlot& slot() const { return leaf_->slots[slot_]; }
    // For walks that look at every record: fetches the one a few slots on.
    void PrefetchAhead() const {
      const uint32_t ahead = slot_ + kPrefetchSlots;
      if (ahead < leaf_->count) leaf_->slots[ahead].Prefetch();
    }

   private:
    friend class TreeIndex;
    struct Step {
      InnerNode* node;
      uint32_t child;
    };
    static constexpr int kDepthMax = 16;
    static constexpr uint32_t kPrefetchSlots = 6;

    Step steps_[kDepthMax];
    int depth_ = 0;
    LeafNode* leaf_ = nullptr;
    uint32_t slot_ = 0;
  };

  TreeIndex();
  ~TreeIndex();
  TreeIndex(const TreeIndex&) = delete;
  TreeIndex& operator=(const TreeIndex&) = delete;

  // Null when absent.
  const KeySlot* Find(std::string_view key) const;

  // True when the key is there. Else `path` is where it would go, good for Insert.
  bool Locate(std::string_view key, Path* path);

  // First key >= `key`; false when there is none.
  bool Seek(std::string_view key, Path* path) const;
  // The following key; false when there is none.
  bool Next(Path* path) const;

  // Requires: Locate said false for the slot's key and nothing changed since.
  void Insert(Path* path, KeySlot slot);
  // Changes the slot by `change(KeySlot&)` and keeps the counts right; `change` must not change the
  // key. The path stays valid.
  template <typename Change>
  void Update(Path* path, Change&& change) {
    KeySlot& slot = path->leaf_->slots[path->slot_];
    const bool was_dead = slot.dead();
    const size_t history_bytes_before = slot.history_bytes();
    change(slot);
    history_bytes_ += slot.history_bytes() - history_bytes_before;
    if (slot.dead() != was_dead) AddLive(path, slot.dead() ? -1 : 1);
  }
  // Removes the slot and frees it.
  void Erase(Path* path);

  // Replaces the content by these slots, ascending by key without duplicates. Takes them over.
  void BuildSorted(const std::vector<KeySlot>& slots);

  // Live keys in [key, range_end); empty range_end: to the end.
  uint64_t CountLive(std::string_view key, std::string_view range_end) const;
  uint64_t live_keys() const;
  // Keys, the dead ones included.
  uint64_t size() const { return size_; }
  // Heap bytes of nodes and histories, without the records.
  uint64_t bytes() const;

  void CheckInvariants() const;

 private:
  struct Subtree {
    void* node;
    uint64_t live;
  };

  uint64_t LiveBefore(std::string_view key) const;
  void AddLive(Path* path, int64_t delta);
  void SplitLeaf(Path* path, std::string_view key);
  void InsertChild(Path* path, int level, std::string separator, Subtree left, Subtree right);
  void RemoveLeaf(Path* path);
  void MergeLeaf(Path* path);
  void FreeNode(void* node, int height);
  void Clear();
  uint64_t CheckNode(const void* node, int height, std::string_view low, const std::string* high,
                     uint64_t* keys) const;

  void* root_;      // a LeafNode when height_ is 0, else an InnerNode
  int height_ = 0;  // inner levels
  uint64_t size_ = 0;
  uint64_t leaves_ = 1;
  uint64_t inners_ = 0;
  uint64_t history_bytes_ = 0;
};

}  // namespace etcdd::mvcc
