#pragma once

// A map from key intervals to values which answers "which intervals hold this key?" in
// O(log n + answers). Watches of ranges are kept in it.
//
// A treap ordered by (begin, end), each node knowing the greatest end below it. Its shape depends
// on the order of operations only, never on addresses or hash seeds, so visits are reproducible.
//
// Intervals are half-open, [begin, end); an empty end means "no end".
// Confined to its owner's thread. Values stay where they are until their interval is erased.

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <utility>

#include "server/base/check.h"

namespace etcdd::mvcc {

template <typename Value>
class IntervalTree {
 public:
  // The value of exactly this interval, made when absent.
  Value& FindOrMake(std::string_view begin, std::string_view end) {
    return *Insert(&root_, begin, end);
  }

  // nullptr when the interval is not here.
  Value* Find(std::string_view begin, std::string_view end) {
    Node* node = root_.get();
    while (node != nullptr) {
      const int order = Compare(begin, end, *node);
      if (order == 0) return &node->value;
      node = order < 0 ? node->left.get() : node->right.get();
    }
    return nullptr;
  }

  // False when the interval is not here.
  bool Erase(std::string_view begin, std::string_view end) { return Erase(&root_, begin, end); }

  // Calls visit(Value&) for every interval that holds `key`, in order of (begin, end). The tree
  // must not change meanwhile.
  template <typename Visit>
  void VisitHolding(std::string_view key, Visit&& visit) {
    VisitHolding(root_.get(), key, visit);
  }

  size_t size() const { return size_; }
  bool empty() const { return size_ == 0; }

  // Aborts when order, heap property or end bounds are broken.
  void CheckInvariants() const {
    ETCDD_CHECK(CheckNode(root_.get(), nullptr, nullptr) == size_);
  }

 private:
  struct Node {
    std::string begin;
    std::string end;
    uint64_t priority;
    // The node of this subtree whose end is greatest.
    const Node* last;
    std::unique_ptr<Node> left, right;
    Value value{};
  };
  using Link = std::unique_ptr<Node>;

  static bool EndLess(std::string_view a, std::string_view b) {
    if (a.empty()) return false;
    return b.empty() || a < b;
  }
  static bool EndAfter(std::string_view end, std::string_view key) {
    return end.empty() || key < end;
  }
  static int Compare(std::string_view begin, std::string_view end, const Node& node) {
    if (const int order = begin.compare(node.begin); order != 0) return order;
    if (EndLess(end, node.end)) return -1;
    return EndLess(node.end, end) ? 1 : 0;
  }
  static void Update(Node* node) {
    node->last = node;
    for (const Node* child : {node->left.get(), node->right.get()}) {
      if (child != nullptr && EndLess(node->last->end, child->last->end)) node->last = child->last;
    }
  }
  // Well mixed numbers, the same in every run.
  uint64_t NextPriority() {
    uint64_t x = (priorities_ += 0x9e3779b97f4a7c15);
    x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9;
    x = (x ^ (x >> 27)) * 0x94d049bb133111eb;
    return x ^ (x >> 31);
  }

  Value* Insert(Link* link, std::string_view begin, std::string_view end) {
    if (*link == nullptr) {
      *link = std::make_unique<Node>(
          Node{std::string(begin), std::string(end), NextPriority(), nullptr, nullptr, nullptr});
      (*link)->last = link->get();
      ++size_;
      return &(*link)->value;
    }
    const int order = Compare(begin, end, **link);
    if (order == 0) return &(*link)->value;
    Link& child = order < 0 ? (*link)->left : (*link)->right;
    Value* const value = Insert(&child, begin, end);
    if (child->priority > (*link)->priority) {
      RotateUp(link, order < 0);
    }
    Update(link->get());
    return value;
  }

  // Makes the left or right child the parent.
  static void RotateUp(Link* link, bool left) {
    Link child = std::move(left ? (*link)->left : (*link)->right);
    if (left) {
      (*link)->left = std::move(child->right);
    } else {
      (*link)->right = std::move(child->left);
    }
    Update(link->get());
    (left ? child->right : child->left) = std::move(*link);
    *link = std::move(child);
  }

  bool Erase(Link* link, std::string_view begin, std::string_view end) {
    if (*link == nullptr) return false;
    const int order = Compare(begin, end, **link);
    if (order == 0) {
      *link = Merge(std::move((*link)->left), std::move((*link)->right));
      --size_;
      return true;
    }
    if (!Erase(order < 0 ? &(*link)->left : &(*link)->right, begin, end)) return false;
    Update(link->get());
    return true;
  }

  // Joins two trees, all of `left` before all of `right`.
  static Link Merge(Link left, Link right) {
    if (left == nullptr) return right;
    if (right == nullptr) return left;
    if (left->priority > right->priority) {
      left->right = Merge(std::move(left->right), std::move(right));
      Update(left.get());
      return left;
    }
    right->left = Merge(std::move(left), std::move(right->left));
    Update(right.get());
    return right;
  }

  template <typename Visit>
  static void VisitHolding(Node* node, std::string_view key, Visit& visit) {
    while (node != nullptr && EndAfter(node->last->end, key)) {
      VisitHolding(node->left.get(), key, visit);
      if (key < node->begin) return;  // so do all to the right
      if (EndAfter(node->end, key)) visit(node->value);
      node = node->right.get();
    }
  }

  // Returns the number of nodes.
  static size_t CheckNode(const Node* node, const Node* lower, const Node* upper) {
    if (node == nullptr) return 0;
    ETCDD_CHECK(lower == nullptr || Compare(lower->begin, lower->end, *node) < 0);
    ETCDD_CHECK(upper == nullptr || Compare(upper->begin, upper->end, *node) > 0);
    bool last_is_below = node->last == node;
    for (const Node* child : {node->left.get(), node->right.get()}) {
      if (child == nullptr) continue;
      ETCDD_CHECK(child->priority <= node->priority);
      ETCDD_CHECK(!EndLess(node->last->end, child->last->end));
      last_is_below |= node->last == child->last;
    }
    ETCDD_CHECK(last_is_below && !EndLess(node->last->end, node->end));
    return 1 + CheckNode(node->left.get(), lower, node) + CheckNode(node->right.get(), node, upper);
  }

  Link root_;
  size_t size_ = 0;
  uint64_t priorities_ = 0;
};

}  // namespace etcdd::mvcc
