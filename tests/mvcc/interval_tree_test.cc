// The interval tree and the watcher group against plain lists.

#include "mvcc/interval_tree.h"

#include <algorithm>
#include <map>
#include <memory>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "mvcc/watcher_group.h"

namespace etcdd::mvcc {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

std::vector<int> Holding(IntervalTree<int>& tree, std::string_view key) {
  std::vector<int> found;
  tree.VisitHolding(key, [&](int& value) { found.push_back(value); });
  return found;
}

TEST(IntervalTreeTest, IntervalsAreHalfOpen) {
  IntervalTree<int> tree;
  tree.FindOrMake("b", "d") = 1;
  EXPECT_THAT(Holding(tree, "a"), IsEmpty());
  EXPECT_THAT(Holding(tree, "b"), ElementsAre(1));
  EXPECT_THAT(Holding(tree, "czzz"), ElementsAre(1));
  EXPECT_THAT(Holding(tree, "d"), IsEmpty());
}

TEST(IntervalTreeTest, EmptyEndMeansNoEnd) {
  IntervalTree<int> tree;
  tree.FindOrMake("b", "") = 1;
  tree.FindOrMake("b", "c") = 2;
  EXPECT_THAT(Holding(tree, "a"), IsEmpty());
  EXPECT_THAT(Holding(tree, "b"), ElementsAre(2, 1));
  EXPECT_THAT(Holding(tree, "\xff\xff"), ElementsAre(1));
}

TEST(IntervalTreeTest, ComparesBytesAsUnsigned) {
  IntervalTree<int> tree;
  tree.FindOrMake(std::string_view("\0", 1), "\x80") = 1;
  tree.FindOrMake("\x80", "\xff") = 2;
  EXPECT_THAT(Holding(tree, "\x7f"), ElementsAre(1));
  EXPECT_THAT(Holding(tree, "\x80"), ElementsAre(2));
  EXPECT_THAT(Holding(tree, "\xfe"), ElementsAre(2));
}

TEST(IntervalTreeTest, SameIntervalHasOneValue) {
  IntervalTree<int> tree;
  tree.FindOrMake("a", "b") = 1;
  tree.FindOrMake("a", "b") = 2;
  EXPECT_EQ(tree.size(), 1u);
  EXPECT_EQ(*tree.Find("a", "b"), 2);
  EXPECT_EQ(tree.Find("a", "c"), nullptr);
  EXPECT_FALSE(tree.Erase("a", "c"));
  EXPECT_TRUE(tree.Erase("a", "b"));
  EXPECT_TRUE(tree.empty());
}

TEST(IntervalTreeTest, BehavesLikeAList) {
  std::mt19937 random(5);
  const auto key = [&] {
    std::string bytes;
    for (uint64_t i = 1 + random() % 3; i > 0; --i) {
      bytes.push_back(static_cast<char>('a' + random() % 6));
    }
    return bytes;
  };
  IntervalTree<int> tree;
  std::map<std::pair<std::string, std::string>, int> list;
  for (int step = 0; step < 20000; ++step) {
    // The list grows for a while, then shrinks, and so on.
    const bool grow = random() % 100 < (step / 2000 % 2 == 0 ? 70 : 30);
    if (grow) {
      const std::string begin = key();
      const std::string end = random() % 8 == 0 ? "" : begin + key();
      tree.FindOrMake(begin, end) = step;
      list[{begin, end}] = step;
    } else if (!list.empty()) {
      auto it = list.lower_bound({key(), ""});
      if (it == list.end()) it = list.begin();
      ASSERT_TRUE(tree.Erase(it->first.first, it->first.second));
      list.erase(it);
    }
    ASSERT_EQ(tree.size(), list.size());
    if (step % 100 == 0) tree.CheckInvariants();
    const std::string probe = key();
    std::vector<int> expected;
    for (const auto& [interval, value] : list) {
      if (interval.first <= probe && (interval.second.empty() || probe < interval.second)) {
        expected.push_back(value);
      }
    }
    std::vector<int> found = Holding(tree, probe);
    std::sort(expected.begin(), expected.end());
    std::sort(found.begin(), found.end());
    ASSERT_EQ(found, expected);
  }
}

struct Member {
  int number = 0;
  KeyRange range;
  size_t group_index = 0;
};

TEST(WatcherGroupTest, FindsKeysAndRanges) {
  WatcherGroup<Member> group;
  std::vector<std::unique_ptr<Member>> members;
  const auto add = [&](KeyRange range) {
    members.push_back(std::make_unique<Member>());
    members.back()->number = static_cast<int>(members.size());
    members.back()->range = range;
    group.Add(range, members.back().get());
  };
  const auto watching = [&](std::string_view key) {
    std::vector<int> numbers;
    group.VisitWatching(key, [&](Member& member) { numbers.push_back(member.number); });
    std::sort(numbers.begin(), numbers.end());
    return numbers;
  };
  add({"a", "", true});
  add({"a", "", true});
  add({"a", "b", false});
  add({"a", "", false});
  add({"b", "c", false});
  EXPECT_THAT(watching("a"), ElementsAre(1, 2, 3, 4));
  EXPECT_THAT(watching("ax"), ElementsAre(3, 4));
  EXPECT_THAT(watching("b"), ElementsAre(4, 5));
  group.Remove(members[0]->range, members[0].get());
  EXPECT_THAT(watching("a"), ElementsAre(2, 3, 4));
  group.Remove(members[2]->range, members[2].get());
  group.Remove(members[1]->range, members[1].get());
  EXPECT_THAT(watching("a"), ElementsAre(4));
  EXPECT_EQ(group.size(), 2u);
}

TEST(WatcherGroupTest, BehavesLikeAList) {
  std::mt19937 random(9);
  WatcherGroup<Member> group;
  std::vector<std::unique_ptr<Member>> members;
  for (int step = 0; step < 5000; ++step) {
    if (random() % 2 == 0) {
      auto member = std::make_unique<Member>();
      member->number = step;
      member->range.single = random() % 2 == 0;
      member->range.key = std::string(1, static_cast<char>('a' + random() % 8));
      if (!member->range.single && random() % 4 != 0) member->range.end = member->range.key + "m";
      group.Add(member->range, member.get());
      members.push_back(std::move(member));
    } else if (!members.empty()) {
      const auto chosen = members.begin() + static_cast<int64_t>(random() % members.size());
      group.Remove((*chosen)->range, chosen->get());
      members.erase(chosen);
    }
    std::string probe(1, static_cast<char>('a' + random() % 8));
    if (random() % 2 == 0) probe.push_back(static_cast<char>('a' + random() % 26));
    std::vector<int> expected;
    for (const auto& member : members) {
      if (member->range.Holds(probe)) expected.push_back(member->number);
    }
    std::vector<int> found;
    group.VisitWatching(probe, [&](Member& member) { found.push_back(member.number); });
    std::sort(found.begin(), found.end());
    ASSERT_EQ(found, expected);
    ASSERT_EQ(group.size(), members.size());
  }
}

}  // namespace
}  // namespace etcdd::mvcc
