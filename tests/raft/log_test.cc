// The log and its parts: unstable, joined, and the simple storage.

#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "raft/describe.h"
#include "raft/log.h"
#include "raft/memory_storage.h"
#include "raft/unstable.h"
#include "tests/raft/test_node.h"

namespace etcdd::raft {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;
using testing::SizeIs;

std::shared_ptr<const Snapshot> SnapshotAt(uint64_t index, uint64_t term) {
  Snapshot snapshot;
  snapshot.index = index;
  snapshot.term = term;
  return std::make_shared<const Snapshot>(std::move(snapshot));
}

// {term, term, ...} from `first` on.
std::vector<Entry> Terms(uint64_t first, std::vector<uint64_t> terms) {
  std::vector<Entry> entries;
  for (uint64_t term : terms) entries.push_back(MakeEntry(term, first + entries.size()));
  return entries;
}

std::vector<uint64_t> TermsOf(absl::Span<const Entry> entries) {
  std::vector<uint64_t> terms;
  for (const Entry& entry : entries) terms.push_back(entry.term);
  return terms;
}

void Add(Unstable* unstable, std::vector<Entry> entries) {
  unstable->TruncateAndAppend(absl::MakeSpan(entries));
  unstable->CheckInvariants();
}

// Unstable ----------------------------------------------------------------------------------------

TEST(UnstableTest, FirstLastAndTerm) {
  Unstable unstable(5, nullptr);
  EXPECT_FALSE(unstable.FirstIndex().has_value());
  EXPECT_FALSE(unstable.LastIndex().has_value());
  EXPECT_FALSE(unstable.Term(5).has_value());
  Add(&unstable, Terms(5, {1, 2}));
  EXPECT_EQ(unstable.LastIndex(), 6u);
  EXPECT_EQ(unstable.Term(6), 2u);
  EXPECT_FALSE(unstable.Term(4).has_value());
  EXPECT_FALSE(unstable.Term(7).has_value());
  unstable.Restore(SnapshotAt(9, 4));
  EXPECT_EQ(unstable.FirstIndex(), 10u);
  EXPECT_EQ(unstable.LastIndex(), 9u);
  EXPECT_EQ(unstable.Term(9), 4u);
  EXPECT_FALSE(unstable.Term(8).has_value());
  EXPECT_THAT(unstable.entries(), IsEmpty());
}

TEST(UnstableTest, AppendsInEveryPosition) {
  struct Case {
    uint64_t first;
    std::vector<uint64_t> added;
    uint64_t offset;
    uint64_t in_progress;
    std::vector<uint64_t> terms;
  };
  // Before: 5..7 of term 1, 5 and 6 in progress.
  for (const Case& c : std::vector<Case>{{8, {2}, 5, 7, {1, 1, 1, 2}},
                                         {5, {2, 2}, 5, 5, {2, 2}},
                                         {4, {2}, 4, 4, {2}},
                                         {6, {2}, 5, 6, {1, 2}},
                                         {7, {2, 2}, 5, 7, {1, 1, 2, 2}}}) {
    Unstable unstable(5, nullptr);
    Add(&unstable, Terms(5, {1, 1}));
    unstable.AcceptInProgress();
    Add(&unstable, Terms(7, {1}));
    Add(&unstable, Terms(c.first, c.added));
    EXPECT_EQ(unstable.offset(), c.offset) << c.first;
    EXPECT_EQ(unstable.offset_in_progress(), c.in_progress) << c.first;
    EXPECT_EQ(TermsOf(unstable.entries()), c.terms);
  }
}

TEST(UnstableTest, StableToNeedsIndexAndTerm) {
  struct Case {
    uint64_t index;
    uint64_t term;
    uint64_t offset;
    const char* log;
  };
  for (const Case& c : std::vector<Case>{
           {5, 1, 6, ""},
           {7, 3, 8, ""},
           {6, 1, 5, "entry at (index,term)=(6,1) mismatched with entry at (6,2) in unstable log"},
           {4, 1, 5, "entry at index 4 missing from unstable log; ignoring"},
           {8, 3, 5, "entry at index 8 missing from unstable log; ignoring"}}) {
    TestLogger logger;
    Unstable unstable(5, &logger);
    Add(&unstable, Terms(5, {1, 2, 3}));
    unstable.AcceptInProgress();
    unstable.StableTo(c.index, c.term);
    unstable.CheckInvariants();
    EXPECT_EQ(unstable.offset(), c.offset) << c.index;
    EXPECT_EQ(unstable.offset_in_progress(), 8u);
    EXPECT_EQ(logger.lines.empty(), std::string(c.log).empty());
    EXPECT_TRUE(logger.lines.empty() || logger.Contains(c.log));
  }
  TestLogger logger;
  Unstable unstable(5, &logger);
  unstable.Restore(SnapshotAt(9, 4));
  unstable.StableTo(9, 4);
  EXPECT_TRUE(logger.Contains("entry at index 9 matched unstable snapshot; ignoring"));
  unstable.StableSnapshotTo(8);
  EXPECT_NE(unstable.snapshot(), nullptr);
  unstable.StableSnapshotTo(9);
  EXPECT_EQ(unstable.snapshot(), nullptr);
}

TEST(UnstableTest, NextAreThoseNotInProgress) {
  Unstable unstable(5, nullptr);
  Add(&unstable, Terms(5, {1, 1}));
  EXPECT_THAT(unstable.NextEntries(), SizeIs(2));
  unstable.AcceptInProgress();
  EXPECT_THAT(unstable.NextEntries(), IsEmpty());
  Add(&unstable, Terms(7, {1}));
  EXPECT_THAT(unstable.NextEntries(), SizeIs(1));
  unstable.Restore(SnapshotAt(9, 4));
  EXPECT_NE(unstable.NextSnapshot(), nullptr);
  unstable.AcceptInProgress();
  EXPECT_EQ(unstable.NextSnapshot(), nullptr);
}

TEST(UnstableTest, AcknowledgedEntriesAreReleasedAtOnce) {
  // R40.
  Unstable unstable(1, nullptr);
  std::vector<Entry> entries = Terms(1, {1, 1, 1, 1, 1, 1, 1, 1});
  const base::Bytes payload = base::Bytes::Copy("payload");
  for (Entry& entry : entries) entry.data = payload;
  Add(&unstable, std::move(entries));
  for (uint64_t index = 1; index <= 8; ++index) {
    unstable.StableTo(index, 1);
    unstable.CheckInvariants();
    EXPECT_THAT(unstable.entries(), SizeIs(8 - index));
  }
}

// MemoryStorage -----------------------------------------------------------------------------------

TEST(MemoryStorageTest, TermsAndBounds) {
  MemoryStorage storage;
  EXPECT_EQ(storage.FirstIndex(), 1u);
  EXPECT_EQ(storage.LastIndex(), 0u);
  EXPECT_EQ(*storage.Term(0), 0u);
  ASSERT_TRUE(storage.ApplySnapshot(SnapshotAt(3, 3)).ok());
  storage.Append(Terms(4, {4, 5}));
  EXPECT_TRUE(IsCompacted(storage.Term(2).status()));
  EXPECT_EQ(*storage.Term(3), 3u);
  EXPECT_EQ(*storage.Term(5), 5u);
  EXPECT_TRUE(IsEntryUnavailable(storage.Term(6).status()));
}

TEST(MemoryStorageTest, EntriesUnderALimitAlwaysOne) {
  MemoryStorage storage;
  storage.Append(Terms(1, {1, 1, 1}));
  const size_t size = EncodedSize(MakeEntry(1, 1));
  for (const auto& [limit, count] :
       std::vector<std::pair<uint64_t, size_t>>{{0, 1}, {size, 1}, {2 * size - 1, 1},
                                                {2 * size, 2}, {kNoLimit, 3}}) {
    std::vector<Entry> entries;
    ASSERT_TRUE(storage.Entries(1, 4, limit, &entries).ok());
    EXPECT_THAT(entries, SizeIs(count)) << limit;
  }
  std::vector<Entry> entries;
  EXPECT_TRUE(IsEntryUnavailable(storage.Entries(1, 5, kNoLimit, &entries)));
  EXPECT_TRUE(IsCompacted(storage.Entries(0, 2, kNoLimit, &entries)));
}

TEST(MemoryStorageTest, AppendOverlaps) {
  for (const auto& [first, expected] : std::vector<std::pair<uint64_t, std::vector<uint64_t>>>{
           {1, {9, 9}}, {3, {9}}, {4, {1, 9}}, {5, {1, 1, 9}}, {6, {1, 1, 1, 9}}}) {
    MemoryStorage storage;
    ASSERT_TRUE(storage.ApplySnapshot(SnapshotAt(2, 1)).ok());
    storage.Append(Terms(3, {1, 1, 1}));
    storage.Append(Terms(first, std::vector<uint64_t>(first < 3 ? 4 : 1, 9)));
    std::vector<Entry> entries;
    ASSERT_TRUE(storage.Entries(3, storage.LastIndex() + 1, kNoLimit, &entries).ok());
    EXPECT_EQ(TermsOf(entries), expected) << first;
  }
}

TEST(MemoryStorageTest, SnapshotsAndCompaction) {
  MemoryStorage storage;
  Snapshot conf_only;
  conf_only.conf_state.voters = {1, 2};
  // R39.
  ASSERT_TRUE(storage.ApplySnapshot(std::make_shared<const Snapshot>(conf_only)).ok());
  EXPECT_THAT(storage.GetInitialState()->conf_state.voters, ElementsAre(1, 2));
  storage.Append(Terms(1, {1, 2, 3}));
  EXPECT_TRUE(IsEntryUnavailable(storage.CreateSnapshot(4, {}, {}).status()));
  ASSERT_TRUE(storage.CreateSnapshot(2, {}, {}).ok());
  EXPECT_EQ((*storage.GetSnapshot())->term, 2u);
  EXPECT_EQ(storage.CreateSnapshot(2, {}, {}).status(), SnapshotOutOfDateError());
  ASSERT_TRUE(storage.Compact(2).ok());
  EXPECT_TRUE(IsCompacted(storage.Compact(2)));
  EXPECT_TRUE(IsEntryUnavailable(storage.Compact(4)));
  EXPECT_EQ(storage.FirstIndex(), 3u);
  EXPECT_EQ(storage.ApplySnapshot(SnapshotAt(2, 2)), SnapshotOutOfDateError());
  ASSERT_TRUE(storage.ApplySnapshot(SnapshotAt(9, 4)).ok());
  EXPECT_EQ(storage.LastIndex(), 9u);
  // A configuration alone is accepted only while nothing else is known.
  EXPECT_EQ(storage.ApplySnapshot(std::make_shared<const Snapshot>(conf_only)),
            SnapshotOutOfDateError());
  EXPECT_EQ(storage.LastIndex(), 9u);
}

// Log ---------------------------------------------------------------------------------------------

// Stable 1..3 with terms 1 2 2, unstable 4..5 with terms 3 3.
class LogTest : public testing::Test {
 protected:
  LogTest() : log_(Fill(&storage_), kNoLimit, &logger_) {
    std::vector<Entry> entries = Terms(4, {3, 3});
    log_.Append(absl::MakeSpan(entries));
  }
  static MemoryStorage* Fill(MemoryStorage* storage) {
    storage->Append(Terms(1, {1, 2, 2}));
    return storage;
  }
  absl::StatusOr<Log::AppendResult> MaybeAppend(EntryId previous, uint64_t commit,
                                                std::vector<Entry> entries) {
    auto result = log_.MaybeAppend(previous, commit, absl::MakeSpan(entries));
    log_.CheckInvariants();
    return result;
  }
  std::vector<uint64_t> AllTerms() {
    std::vector<Entry> entries;
    EXPECT_TRUE(log_.Entries(1, log_.LastIndex() + 1, kNoLimit, &entries).ok());
    return TermsOf(entries);
  }

  MemoryStorage storage_;
  TestLogger logger_;
  Log log_;
};

TEST_F(LogTest, UpToDate) {
  EXPECT_TRUE(log_.IsUpToDate({3, 5}));
  EXPECT_TRUE(log_.IsUpToDate({4, 1}));
  EXPECT_FALSE(log_.IsUpToDate({3, 4}));
  EXPECT_FALSE(log_.IsUpToDate({2, 9}));
}

TEST_F(LogTest, MaybeAppendTable) {
  EXPECT_FALSE(MaybeAppend({2, 5}, 5, {})->matched);
  EXPECT_FALSE(MaybeAppend({0, 6}, 5, {})->matched);
  EXPECT_EQ(log_.committed(), 0u);
  EXPECT_EQ(MaybeAppend({3, 5}, 1, {})->last_new_index, 5u);
  EXPECT_EQ(log_.committed(), 1u);
  EXPECT_EQ(MaybeAppend({2, 2}, 9, Terms(3, {2}))->last_new_index, 3u);
  EXPECT_EQ(log_.committed(), 3u);
  EXPECT_THAT(AllTerms(), ElementsAre(1, 2, 2, 3, 3));
  EXPECT_EQ(MaybeAppend({2, 3}, 3, Terms(4, {3, 4, 4}))->last_new_index, 6u);
  EXPECT_THAT(AllTerms(), ElementsAre(1, 2, 2, 3, 4, 4));
  EXPECT_TRUE(
      logger_.Contains("found conflict at index 5 [existing term: 3, conflicting term: 4]"));
  // Below committed: somebody's log is corrupt.
  EXPECT_TRUE(absl::IsDataLoss(MaybeAppend({1, 1}, 3, Terms(2, {9})).status()));
  EXPECT_TRUE(absl::IsDataLoss(MaybeAppend({2, 2}, 3, Terms(3, {9})).status())) << "the last one";
  EXPECT_THAT(AllTerms(), ElementsAre(1, 2, 2, 3, 4, 4));
}

TEST_F(LogTest, AnOverwriteOfStableEntriesWaitsInTheUnstablePart) {
  ASSERT_TRUE(MaybeAppend({2, 2}, 0, Terms(3, {5}))->matched);
  EXPECT_EQ(log_.unstable().offset(), 3u);
  EXPECT_EQ(log_.LastIndex(), 3u);
  EXPECT_EQ(*log_.Term(3), 5u);
  EXPECT_THAT(AllTerms(), ElementsAre(1, 2, 5));
}

TEST_F(LogTest, ConflictSearchByTerm) {
  EXPECT_EQ(log_.FindConflictByTerm(5, 9), (EntryId{3, 5}));
  EXPECT_EQ(log_.FindConflictByTerm(5, 2), (EntryId{2, 3}));
  EXPECT_EQ(log_.FindConflictByTerm(3, 1), (EntryId{1, 1}));
  EXPECT_EQ(log_.FindConflictByTerm(3, 0), (EntryId{0, 0}));
  EXPECT_EQ(log_.FindConflictByTerm(9, 2), (EntryId{0, 9})) << "unknown beyond the end";
  ASSERT_TRUE(storage_.Compact(2).ok());
  EXPECT_EQ(log_.FindConflictByTerm(5, 1), (EntryId{0, 1})) << "unknown before the beginning";
}

TEST_F(LogTest, SlicesGlueStableAndUnstableUnderOneLimit) {
  const size_t size = EncodedSize(MakeEntry(1, 1));
  for (uint64_t low = 1; low <= 5; ++low) {
    for (uint64_t high = low; high <= 6; ++high) {
      for (uint64_t units = 0; units <= 6; ++units) {
        std::vector<Entry> entries;
        ASSERT_TRUE(log_.Entries(low, high, units * size, &entries).ok());
        const uint64_t expected = std::min(high - low, std::max<uint64_t>(units, 1));
        ASSERT_THAT(entries, SizeIs(high == low ? 0 : expected)) << low << " " << high;
        for (size_t i = 0; i < entries.size(); ++i) ASSERT_EQ(entries[i].index, low + i);
      }
    }
  }
  ASSERT_TRUE(storage_.Compact(1).ok());
  std::vector<Entry> entries;
  EXPECT_TRUE(IsCompacted(log_.Entries(1, 3, kNoLimit, &entries)));
}

TEST_F(LogTest, CommitOnlyOwnTermAndForward) {
  EXPECT_FALSE(log_.MaybeCommit(3, 3));
  EXPECT_TRUE(log_.MaybeCommit(4, 3));
  EXPECT_FALSE(log_.MaybeCommit(4, 3));
  EXPECT_FALSE(log_.MaybeCommit(kNoLimit, 3)) << "an empty quorum decides nothing";
  log_.CommitTo(2);
  EXPECT_EQ(log_.committed(), 4u);
  EXPECT_DEATH(log_.CommitTo(6), "Was the raft log corrupted");
}

TEST_F(LogTest, OnlyStableEntriesUnlessAllowed) {
  log_.CommitTo(5);
  std::vector<Entry> entries;
  log_.NextCommitted(/*allow_unstable=*/false, &entries);
  EXPECT_THAT(entries, SizeIs(3));
  entries.clear();
  log_.NextCommitted(/*allow_unstable=*/true, &entries);
  EXPECT_THAT(entries, SizeIs(5));
  log_.Restore(SnapshotAt(9, 4));
  EXPECT_FALSE(log_.HasNextCommitted(true)) << "a pending snapshot comes first";
}

TEST(LogPause, PausedWhenFullOrCut) {
  struct Case {
    uint64_t index;
    uint64_t bytes;
    bool paused;
  };
  for (const Case& c : std::vector<Case>{{3, 99, false}, {3, 100, true}, {2, 50, true}}) {
    MemoryStorage storage;
    storage.Append(Terms(1, {1, 1, 1, 1}));
    Log log(&storage, 100, nullptr);
    log.CommitTo(3);
    log.AcceptApplying(c.index, c.bytes, false);
    log.CommitTo(4);
    EXPECT_EQ(log.HasNextCommitted(false), !c.paused) << c.index << " " << c.bytes;
    log.AppliedTo(1, 10);
    EXPECT_TRUE(log.HasNextCommitted(false)) << "an acknowledgement makes room";
    log.CheckInvariants();
  }
}

TEST(LogPause, ABatchFillsWhatIsLeftOfTheWindow) {
  const size_t size = EncodedSize(MakeEntry(1, 1));
  MemoryStorage storage;
  storage.Append(Terms(1, {1, 1, 1, 1}));
  Log log(&storage, 3 * size, nullptr);
  log.CommitTo(1);
  log.AcceptApplying(1, size, false);
  log.CommitTo(4);
  std::vector<Entry> entries;
  log.NextCommitted(false, &entries);
  EXPECT_THAT(entries, SizeIs(2)) << "one of three places is taken";
}

TEST_F(LogTest, RestoreReplacesEverything) {
  log_.Restore(SnapshotAt(9, 4));
  log_.CheckInvariants();
  EXPECT_TRUE(logger_.Contains(
      "log [committed=0, applied=0, applying=0, unstable.offset=4, unstable.offsetInProgress=4, "
      "len(unstable.Entries)=2] starts to restore snapshot [index: 9, term: 4]"));
  EXPECT_EQ(log_.committed(), 9u);
  EXPECT_EQ(log_.FirstIndex(), 10u);
  EXPECT_EQ(log_.LastEntry(), (EntryId{4, 9}));
  EXPECT_TRUE(IsCompacted(log_.Term(8).status()));
}

TEST_F(LogTest, ScanGoesThroughAllPages) {
  for (const uint64_t page : {uint64_t{1}, uint64_t{20}, kNoLimit}) {
    std::vector<uint64_t> seen;
    ASSERT_TRUE(log_.Scan(2, 6, page, [&seen](const Entry& entry) {
      seen.push_back(entry.index);
      return entry.index < 5;
    }).ok());
    EXPECT_THAT(seen, ElementsAre(2, 3, 4, 5));
  }
}

}  // namespace
}  // namespace etcdd::raft
