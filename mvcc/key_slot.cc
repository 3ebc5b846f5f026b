#include "mvcc/key_slot.h"

#include <algorithm>
#include <cstring>
#include <new>

#include "server/base/check.h"

namespace etcdd::mvcc {
namespace {

using base::Bytes;

// A Bytes is one pointer to its block. These three move such a pointer in and out of a machine word
// without touching the reference count; blocks are aligned to 16, which leaves four bits for tags.
static_assert(sizeof(Bytes) == sizeof(uint64_t));
static_assert(__STDCPP_DEFAULT_NEW_ALIGNMENT__ >= 16);

uint64_t ReleaseToWord(Bytes bytes) {
  uint64_t word;
  std::memcpy(&word, static_cast<const void*>(&bytes), sizeof word);
  new (&bytes) Bytes();
  return word;
}
class BorrowedBytes {
 public:
  explicit BorrowedBytes(uint64_t word) { std::memcpy(storage_, &word, sizeof word); }
  const Bytes& get() const { return *std::launder(reinterpret_cast<const Bytes*>(storage_)); }
  Bytes Take() { return std::move(*std::launder(reinterpret_cast<Bytes*>(storage_))); }

 private:
  alignas(Bytes) unsigned char storage_[sizeof(Bytes)];
};

// Narrow form of a revision: main 46 bits, sub 17 bits, tombstone 1 bit. What does not fit makes
// its history wide (16 bytes a revision).
constexpr int kNarrowSubBits = 17;
constexpr int64_t kNarrowMainEnd = int64_t{1} << 46;
constexpr int64_t kNarrowSubEnd = int64_t{1} << kNarrowSubBits;

bool FitsNarrow(const KeyRevision& r) {
  return r.revision.main < kNarrowMainEnd && r.revision.sub < kNarrowSubEnd;
}
uint64_t PackNarrow(const KeyRevision& r) {
  return static_cast<uint64_t>(r.revision.main) << (kNarrowSubBits + 1) |
         static_cast<uint64_t>(r.revision.sub) << 1 | static_cast<uint64_t>(r.tombstone);
}
KeyRevision UnpackNarrow(uint64_t packed) {
  return {{static_cast<int64_t>(packed >> (kNarrowSubBits + 1)),
           static_cast<int64_t>((packed >> 1) & (kNarrowSubEnd - 1))},
          (packed & 1) != 0};
}

}  // namespace

struct KeySlot::History {
  uint64_t record;  // a released Bytes
  uint32_t size;
  uint32_t capacity : 31;
  uint32_t wide : 1;
  // Narrow: one word each. Wide: main, then sub * 2 + tombstone.
  uint64_t* words() { return reinterpret_cast<uint64_t*>(this + 1); }
  const uint64_t* words() const { return reinterpret_cast<const uint64_t*>(this + 1); }

  static size_t BytesFor(size_t capacity, bool wide) {
    return sizeof(History) + capacity * (wide ? 16 : 8);
  }
  static History* New(size_t capacity, bool wide) {
    ETCDD_CHECK(capacity < (uint32_t{1} << 31));
    auto* history = new (::operator new(BytesFor(capacity, wide))) History;
    history->size = 0;
    history->capacity = static_cast<uint32_t>(capacity) & 0x7fffffff;
    history->wide = wide;
    return history;
  }
  static void Delete(History* history) { ::operator delete(history); }

  KeyRevision At(size_t index) const {
    if (!wide) return UnpackNarrow(words()[index]);
    const uint64_t low = words()[2 * index + 1];
    return {{static_cast<int64_t>(words()[2 * index]), static_cast<int64_t>(low >> 1)},
            (low & 1) != 0};
  }
  void Push(const KeyRevision& r) {
    ETCDD_CHECK(size < capacity);
    if (wide) {
      words()[2 * size] = static_cast<uint64_t>(r.revision.main);
      words()[2 * size + 1] = static_cast<uint64_t>(r.revision.sub) << 1 |
                              static_cast<uint64_t>(r.tombstone);
    } else {
      words()[size] = PackNarrow(r);
    }
    ++size;
  }
  // A copy of the revisions from `first` on.
  History* CopyFrom(size_t first, size_t new_capacity, bool new_wide) const {
    History* copy = New(new_capacity, new_wide);
    copy->record = record;
    for (size_t i = first; i < size; ++i) copy->Push(At(i));
    return copy;
  }
};

KeySlot KeySlot::Make(Bytes record, const std::vector<KeyRevision>& revisions, bool resident) {
  ETCDD_CHECK(!revisions.empty() && !record.empty());
  KeySlot slot;
  const KeyRevision& last = revisions.back();
  if (revisions.size() == 1 && !last.tombstone && last.revision.sub == 0) {
    slot.word_ = ReleaseToWord(std::move(record));
  } else {
    const bool wide = !std::all_of(revisions.begin(), revisions.end(), FitsNarrow);
    History* history = History::New(revisions.size(), wide);
    history->record = ReleaseToWord(std::move(record));
    for (const KeyRevision& r : revisions) history->Push(r);
    slot.word_ = reinterpret_cast<uint64_t>(history) | kHistory;
    slot.SetTag(kDead, last.tombstone);
  }
  slot.SetTag(kNotResident, !resident);
  return slot;
}

KeySlot KeySlot::Make(Bytes record, const KeyRevision& only) {
  if (only.tombstone || only.revision.sub != 0) {
    return Make(std::move(record), std::vector<KeyRevision>{only});
  }
  ETCDD_CHECK(!record.empty());
  KeySlot slot;
  slot.word_ = ReleaseToWord(std::move(record));
  return slot;
}

void KeySlot::Free() {
  if (word_ == 0) return;
  BorrowedBytes(record_word()).Take();
  if (has_history()) History::Delete(history());
  word_ = 0;
}

uint64_t KeySlot::record_word() const {
  const uint64_t word = Load();
  return (word & kHistory) != 0 ? reinterpret_cast<const History*>(word & ~kTags)->record
                                : word & ~kTags;
}

void KeySlot::SetRecordWord(uint64_t word) {
  if (has_history()) {
    history()->record = word;
  } else {
    word_ = word | (word_ & kTags);
  }
}

std::string_view KeySlot::record() const { return BorrowedBytes(record_word()).get().view(); }

Bytes KeySlot::ShareRecord() const { return BorrowedBytes(record_word()).get(); }

size_t KeySlot::revision_count() const { return has_history() ? history()->size : 1; }

KeyRevision KeySlot::revision_at(size_t index) const {
  if (has_history()) return history()->At(index);
  return {{RecordModRevision(record()), 0}, false};
}

size_t KeySlot::CountUpTo(int64_t main) const {
  if (!has_history()) return RecordModRevision(record()) <= main ? 1 : 0;
  const History& h = *history();
  if (h.At(h.size - 1).revision.main <= main) return h.size;
  size_t low = 0;
  size_t high = h.size - 1;
  while (low < high) {
    const size_t middle = (low + high) / 2;
    if (h.At(middle).revision.main <= main) {
      low = middle + 1;
    } else {
      high = middle;
    }
  }
  return low;
}

void KeySlot::Expand(bool wide, size_t capacity) {
  const KeyRevision only = revision_at(0);
  History* expanded = History::New(capacity, wide || !FitsNarrow(only));
  expanded->record = word_ & ~kTags;
  expanded->Push(only);
  word_ = reinterpret_cast<uint64_t>(expanded) | kHistory | (word_ & kTags);
}

Bytes KeySlot::Append(Bytes record, KeyRevision revision) {
  ETCDD_CHECK(current().revision < revision.revision);
  const bool wide = !FitsNarrow(revision);
  if (!has_history()) Expand(wide, 3);
  History* h = history();
  if (h->size == h->capacity || (wide && !h->wide)) {
    // Room for a quarter more, rounded so that a narrow block fills malloc's 16-byte steps.
    const size_t capacity = (h->size + 1 + h->size / 4) | 1;
    History* larger = h->CopyFrom(0, capacity, wide || h->wide);
    History::Delete(h);
    h = larger;
    word_ = reinterpret_cast<uint64_t>(h) | (word_ & kTags);
  }
  h->Push(revision);
  Bytes old = BorrowedBytes(h->record).Take();
  h->record = ReleaseToWord(std::move(record));
  SetTag(kDead, revision.tombstone);
  SetTag(kNotResident, false);
  return old;
}

Bytes KeySlot::ReplaceRecord(Bytes record, bool resident) {
  Bytes old = BorrowedBytes(record_word()).Take();
  SetRecordWord(ReleaseToWord(std::move(record)));
  SetTag(kNotResident, !resident);
  return old;
}

bool KeySlot::Compact(int64_t main, std::vector<KeyRevision>* garbage, bool* kept) {
  size_t drop = CountUpTo(main);
  if (drop == 0) return false;
  const KeyRevision newest = revision_at(drop - 1);
  if (!newest.tombstone || newest.revision.main == main) {
    *kept = true;
    --drop;
  }
  if (drop == 0) return false;
  for (size_t i = 0; i < drop; ++i) garbage->push_back(revision_at(i));
  const size_t left = revision_count() - drop;
  if (left == 0) return true;
  History* h = history();
  const KeyRevision last = h->At(h->size - 1);
  if (left == 1 && !last.tombstone && last.revision.sub == 0) {
    word_ = h->record | (word_ & kTags & ~kHistory);
  } else {
    const bool wide = h->wide && !(left == 1 && FitsNarrow(last));
    word_ = reinterpret_cast<uint64_t>(h->CopyFrom(drop, left, wide)) | (word_ & kTags);
  }
  History::Delete(h);
  return false;
}

void KeySlot::Touch() const {
  if ((Load() & kTouched) == 0) {
    __atomic_fetch_or(const_cast<uint64_t*>(&word_), kTouched, __ATOMIC_RELAXED);
  }
}

bool KeySlot::TestAndClearTouched() {
  const bool touched = (word_ & kTouched) != 0;
  word_ &= ~kTouched;
  return touched;
}

size_t KeySlot::history_bytes() const {
  return has_history() ? History::BytesFor(history()->capacity, history()->wide) : 0;
}

void KeySlot::Check() const {
  const size_t count = revision_count();
  ETCDD_CHECK(count >= 1 && !key().empty());
  for (size_t i = 1; i < count; ++i) {
    ETCDD_CHECK(revision_at(i - 1).revision < revision_at(i).revision);
  }
  const KeyRevision last = current();
  ETCDD_CHECK(last.tombstone == dead());
  ETCDD_CHECK(RecordModRevision(record()) == last.revision.main);
  ETCDD_CHECK(resident() || !dead());
}

}  // namespace etcdd::mvcc
