// TreeIndex against a sorted map, KeySlot's histories, and the record codec.

#include "mvcc/tree_index.h"

#include <map>
#include <string>
#include <vector>

#include "gtest/gtest.h"
#include "mvcc/record.h"
#include "server/base/random.h"

namespace etcdd::mvcc {
namespace {

using base::Bytes;

KeySlot Pair(std::string_view key, int64_t main) {
  return KeySlot::Make(EncodeRecord({.key = key, .create_revision = main, .mod_revision = main,
                                     .version = 1}),
                       KeyRevision{{main, 0}, false});
}

TEST(Record, EncodesAscendingFieldsAndNoZeros) {  // MAINT-030
  const Bytes record = EncodeRecord({.key = "k", .create_revision = 2, .mod_revision = 300,
                                     .version = 1, .value = "v", .lease = -1});
  EXPECT_EQ(record.view(), std::string_view("\x0a\x01k\x10\x02\x18\xac\x02\x20\x01\x2a\x01v\x30"
                                            "\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", 24));
  EXPECT_EQ(EncodeRecord({.key = "k"}).view(), std::string_view("\x0a\x01k"));
  const auto decoded = DecodeRecord(record.view());
  ASSERT_TRUE(decoded.has_value());
  EXPECT_EQ(decoded->lease, -1);
  EXPECT_EQ(decoded->mod_revision, 300);
  EXPECT_TRUE(IsCanonicalRecord(record.view(), *decoded));
  EXPECT_EQ(RecordModRevision(record.view()), 300);
  EXPECT_EQ(RecordWithoutValueAndLease(record.view()),
            std::string_view("\x0a\x01k\x10\x02\x18\xac\x02\x20\x01"));
  EXPECT_EQ(RecordWithoutValue(record.view()),
            EncodeRecord({.key = "k", .create_revision = 2, .mod_revision = 300, .version = 1,
                          .lease = -1}).view());
}

TEST(Record, FindsLongKeys) {
  const std::string key(20000, 'x');
  EXPECT_EQ(RecordKey(EncodeRecord({.key = key, .value = "v"}).view()), key);
}

TEST(Record, ToleratesForeignEncodingsAndRefusesGarbage) {
  // Version before the key, an unknown field, then the rest.
  const std::string foreign("\x20\x05\x0a\x01k\x7a\x02zz\x10\x02\x18\x02");
  const auto decoded = DecodeRecord(foreign);
  ASSERT_TRUE(decoded.has_value());
  EXPECT_EQ(decoded->version, 5);
  EXPECT_EQ(decoded->key, "k");
  EXPECT_FALSE(IsCanonicalRecord(foreign, *decoded));
  EXPECT_FALSE(DecodeRecord(std::string_view("\x0a\x05k", 3)).has_value());
  EXPECT_FALSE(DecodeRecord(std::string_view("\x10\xff", 2)).has_value());
  const std::string reordered("\x0a\x01k\x20\x01\x10\x02\x18\x02");
  EXPECT_FALSE(IsCanonicalRecord(reordered, *DecodeRecord(reordered)));
}

TEST(Revision, EncodesInTimeOrder) {
  EXPECT_EQ(EncodeRevision({1, 2}), std::string("\0\0\0\0\0\0\0\x01_\0\0\0\0\0\0\0\x02", 17));
  EXPECT_LT(EncodeRevision({255, 7}, true), EncodeRevision({256, 0}));
  EXPECT_LT(EncodeRevision({5, 1}), EncodeRevision({5, 2}));
  const auto decoded = DecodeRevision(EncodeRevision({7, 3}, true));
  ASSERT_TRUE(decoded.has_value());
  EXPECT_EQ(decoded->revision, (Revision{7, 3}));
  EXPECT_TRUE(decoded->tombstone);
  std::string bad = EncodeRevision({7, 3});
  EXPECT_TRUE(DecodeRevision(bad).has_value());
  EXPECT_FALSE(DecodeRevision(bad.substr(1)).has_value());
  EXPECT_FALSE(DecodeRevision(bad + "x").has_value());
  bad[8] = '-';
  EXPECT_FALSE(DecodeRevision(bad).has_value());
  bad[8] = '_';
  bad[0] = '\xff';
  EXPECT_FALSE(DecodeRevision(bad).has_value());
}

class KeySlotTest : public ::testing::Test {
 protected:
  ~KeySlotTest() override { slot_.Free(); }
  void Append(int64_t main, int64_t sub = 0, bool tombstone = false) {
    slot_.Append(tombstone ? EncodeRecord({.key = "k", .mod_revision = main})
                           : EncodeRecord({.key = "k", .create_revision = 2, .mod_revision = main,
                                           .version = 1}),
                 {{main, sub}, tombstone});
    slot_.Check();
  }
  std::string Compact(int64_t main, bool* gone = nullptr, bool* kept = nullptr) {
    std::vector<KeyRevision> garbage;
    bool any = false;
    const bool empty = slot_.Compact(main, &garbage, &any);
    if (gone != nullptr) *gone = empty;
    if (kept != nullptr) *kept = any;
    std::string text;
    for (const KeyRevision& r : garbage) {
      text += (text.empty() ? "" : " ") + std::to_string(r.revision.main) + "." +
              std::to_string(r.revision.sub) + (r.tombstone ? "t" : "");
    }
    if (!empty) slot_.Check();
    return text;
  }

  KeySlot slot_ = Pair("k", 2);
};

TEST_F(KeySlotTest, OneRevisionNeedsNoHistory) {
  EXPECT_FALSE(slot_.has_history());
  EXPECT_EQ(slot_.CountUpTo(1), 0u);
  EXPECT_EQ(slot_.CountUpTo(2), 1u);
  EXPECT_EQ(slot_.key(), "k");
  Append(5);
  EXPECT_TRUE(slot_.has_history());
  EXPECT_EQ(Compact(5), "2.0");
  EXPECT_FALSE(slot_.has_history());
  EXPECT_EQ(slot_.current().revision, (Revision{5, 0}));
}

TEST_F(KeySlotTest, SubRevisionsAreKept) {
  Append(5, 3);
  EXPECT_EQ(Compact(7), "2.0");
  EXPECT_EQ(slot_.current().revision, (Revision{5, 3}));
  EXPECT_TRUE(slot_.has_history());
}

TEST_F(KeySlotTest, HistoriesWidenForLargeNumbers) {
  Append(5, 1 << 20);
  Append(int64_t{1} << 60, 7, true);
  ASSERT_EQ(slot_.revision_count(), 3u);
  EXPECT_EQ(slot_.revision_at(0).revision, (Revision{2, 0}));
  EXPECT_EQ(slot_.revision_at(1).revision, (Revision{5, 1 << 20}));
  EXPECT_EQ(slot_.revision_at(2).revision, (Revision{int64_t{1} << 60, 7}));
  EXPECT_TRUE(slot_.dead());
  EXPECT_EQ(slot_.CountUpTo(6), 2u);
}

TEST_F(KeySlotTest, Kv071TheNewestAtOrBelowStays) {
  Append(4);
  Append(6);
  Append(9);
  EXPECT_EQ(Compact(1), "");
  EXPECT_EQ(Compact(5), "2.0");
  EXPECT_EQ(Compact(8), "4.0");
  EXPECT_EQ(slot_.revision_count(), 2u);
}

TEST_F(KeySlotTest, Kv071ADeletionGoesUnlessItIsExactlyThere) {
  Append(4, 0, true);
  bool gone;
  bool kept;
  EXPECT_EQ(Compact(4, &gone, &kept), "2.0");
  EXPECT_FALSE(gone);
  EXPECT_TRUE(kept);
  EXPECT_EQ(Compact(5, &gone, &kept), "4.0t");
  EXPECT_TRUE(gone);
  EXPECT_FALSE(kept);
}

TEST_F(KeySlotTest, Kv071ADeletionBeforeANewLifeGoes) {
  Append(4, 0, true);
  Append(8);
  EXPECT_EQ(Compact(6), "2.0 4.0t");
  EXPECT_EQ(slot_.revision_count(), 1u);
  EXPECT_FALSE(slot_.dead());
}

TEST_F(KeySlotTest, DeletedAndPutInOneRevision) {
  Append(10, 0, true);
  Append(10, 1);
  EXPECT_EQ(slot_.CountUpTo(10), 3u);
  EXPECT_EQ(Compact(10), "2.0 10.0t");
  EXPECT_FALSE(slot_.dead());
}

TEST_F(KeySlotTest, StubsAndTouches) {
  EXPECT_FALSE(slot_.TestAndClearTouched());
  slot_.Touch();
  EXPECT_TRUE(slot_.TestAndClearTouched());
  EXPECT_FALSE(slot_.TestAndClearTouched());
  const Bytes old = slot_.ReplaceRecord(Bytes::Copy(slot_.record()), false);
  EXPECT_FALSE(slot_.resident());
  EXPECT_EQ(old.view(), slot_.record());
  Append(5);
  EXPECT_TRUE(slot_.resident());
}

// ---- The tree ----

class TreeIndexTest : public ::testing::Test {
 protected:
  void Put(const std::string& key) {
    ++revision_;
    TreeIndex::Path path;
    if (tree_.Locate(key, &path)) {
      EXPECT_TRUE(model_.contains(key));
      tree_.Update(&path, [&](KeySlot& slot) {
        slot.Append(EncodeRecord({.key = key, .create_revision = 1, .mod_revision = revision_,
                                  .version = 1}), {{revision_, 0}, false});
      });
    } else {
      EXPECT_FALSE(model_.contains(key));
      tree_.Insert(&path, Pair(key, revision_));
      EXPECT_EQ(path.slot().key(), key);
    }
    model_[key] = true;
  }
  void Kill(const std::string& key) {
    TreeIndex::Path path;
    if (!tree_.Locate(key, &path) || path.slot().dead()) return;
    ++revision_;
    tree_.Update(&path, [&](KeySlot& slot) {
      slot.Append(EncodeRecord({.key = key, .mod_revision = revision_}), {{revision_, 0}, true});
    });
    model_[key] = false;
  }
  void Erase(const std::string& key) {
    TreeIndex::Path path;
    ASSERT_EQ(tree_.Locate(key, &path), model_.contains(key));
    if (!model_.contains(key)) return;
    tree_.Erase(&path);
    model_.erase(key);
  }
  uint64_t ModelCount(const std::string& key, const std::string& end) const {
    uint64_t count = 0;
    for (auto it = model_.lower_bound(key); it != model_.end() && (end.empty() || it->first < end);
         ++it) {
      count += it->second ? 1 : 0;
    }
    return count;
  }
  void CheckAll() {
    tree_.CheckInvariants();
    ASSERT_EQ(tree_.size(), model_.size());
    TreeIndex::Path path;
    auto expected = model_.begin();
    for (bool valid = tree_.Seek({}, &path); valid; valid = tree_.Next(&path), ++expected) {
      ASSERT_NE(expected, model_.end());
      ASSERT_EQ(path.slot().key(), expected->first);
      ASSERT_EQ(path.slot().dead(), !expected->second);
    }
    ASSERT_EQ(expected, model_.end());
  }

  TreeIndex tree_;
  std::map<std::string, bool> model_;  // key -> alive
  int64_t revision_ = 1;
};

TEST_F(TreeIndexTest, EmptyTree) {
  TreeIndex::Path path;
  EXPECT_FALSE(tree_.Seek("a", &path));
  EXPECT_EQ(tree_.Find("a"), nullptr);
  EXPECT_EQ(tree_.CountLive("a", {}), 0u);
  tree_.CheckInvariants();
}

TEST_F(TreeIndexTest, RandomChangesEqualASortedMap) {
  for (const uint64_t seed : {1, 2, 3, 4, 5, 6}) {
    SCOPED_TRACE(seed);
    const auto random = base::NewSeededRandom(seed);
    // From a handful of keys that share everything to many that share little.
    const uint64_t space = uint64_t{50} << (3 * seed);
    const auto key = [&] {
      const uint64_t n = random->Uniform(space);
      std::string text = n % 3 == 0 ? "/registry/pods/default/p" : n % 3 == 1 ? "" : "/r";
      for (uint64_t rest = n / 3; rest > 0; rest /= 4) text += "\x00\x01" "a\xff"[rest % 4];
      return text.empty() ? std::string("x") : text;
    };
    for (int i = 0; i < 20000; ++i) {
      // Grow for a while, then shrink, again and again.
      const bool grow = i / 4000 % 2 == 0;
      const uint64_t what = random->Uniform(10);
      if (what < (grow ? 8u : 2u)) {
        Put(key());
      } else if (what < (grow ? 9u : 3u)) {
        Kill(key());
      } else if (model_.empty() || random->Uniform(3) == 0) {
        Erase(key());
      } else {
        const auto at = model_.lower_bound(key());
        Erase(at == model_.end() ? model_.begin()->first : std::string(at->first));
      }
      if (i % 50 == 0) {
        const std::string begin = key();
        const std::string end = random->Uniform(5) == 0 ? std::string() : key();
        ASSERT_EQ(tree_.CountLive(begin, end), ModelCount(begin, end));
        TreeIndex::Path path;
        const auto expected = model_.lower_bound(begin);
        ASSERT_EQ(tree_.Seek(begin, &path), expected != model_.end());
        if (expected != model_.end()) {
          ASSERT_EQ(path.slot().key(), expected->first);
        }
        ASSERT_EQ(tree_.Find(begin) != nullptr, model_.contains(begin));
      }
      if (i % 2000 == 0) CheckAll();
    }
    CheckAll();
    while (!model_.empty()) Erase(std::string(model_.begin()->first));
    CheckAll();
  }
}

TEST_F(TreeIndexTest, AscendingRunsLeaveFullLeaves) {
  // Three interleaved ascending runs.
  for (int i = 0; i < 30000; ++i) {
    char key[32];
    snprintf(key, sizeof key, "run%d/%08d", i % 3, i);
    Put(key);
  }
  CheckAll();
  EXPECT_LT(static_cast<double>(tree_.bytes()) / 30000, 13.0);
}

TEST_F(TreeIndexTest, BulkBuildEqualsInsertion) {
  for (const int count : {0, 1, 59, 60, 61, 3600, 3601, 20000}) {
    SCOPED_TRACE(count);
    std::vector<KeySlot> slots;
    model_.clear();
    for (int i = 0; i < count; ++i) {
      char key[32];
      snprintf(key, sizeof key, "%08d", i * 7);
      slots.push_back(i % 5 == 0 ? KeySlot::Make(EncodeRecord({.key = key, .mod_revision = 3}),
                                                 {{{2, 0}, false}, {{3, 0}, true}})
                                 : Pair(key, 2));
      model_[key] = i % 5 != 0;
    }
    tree_.BuildSorted(slots);
    CheckAll();
    EXPECT_EQ(tree_.CountLive("00001000", "00020000"), ModelCount("00001000", "00020000"));
    revision_ = 10;
    for (int i = 0; i < 500; ++i) Put("0000" + std::to_string(i * 131 % 2000));
    CheckAll();
  }
}

}  // namespace
}  // namespace etcdd::mvcc
