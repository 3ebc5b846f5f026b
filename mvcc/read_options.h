#pragma once

// What a read of the store may ask and what it answers. Plain data; the views are borrowed for the
// duration of the call.

#include <cstdint>
#include <string>
#include <string_view>

namespace etcdd::mvcc {

enum class SortOrder : uint8_t { kNone, kAscend, kDescend };
enum class SortTarget : uint8_t { kKey, kVersion, kCreate, kMod, kValue };

// A RangeRequest without its transport parts. The numbers of unknown sort options are refused by
// the caller (KV-027), and so is an empty key (KV-015).
struct RangeOptions {
  std::string_view key = {};
  // KV-012: empty = exactly `key`; one zero byte = all keys >= `key`; else [key, range_end).
  std::string_view range_end = {};
  int64_t revision = 0;  // <= 0: the newest one (KV-016)
  int64_t limit = 0;     // <= 0: none (KV-019)
  bool count_only = false;
  bool keys_only = false;
  // Leaves RangeResult.count at 0: pages after the first need no count, and one at an old revision
  // walks the range.
  bool skip_count = false;
  SortOrder sort_order = SortOrder::kNone;
  SortTarget sort_target = SortTarget::kKey;
  // Inclusive; 0 = off (KV-023).
  int64_t min_mod_revision = 0;
  int64_t max_mod_revision = 0;
  int64_t min_create_revision = 0;
  int64_t max_create_revision = 0;
};

struct RangeResult {
  int64_t revision = 0;       // store revision at read time, for the header (KV-007)
  int64_t read_revision = 0;  // the revision that was read; pin the next page to it
  int64_t count = 0;          // KV-018
  int64_t kvs_count = 0;      // pairs appended to the output
  bool more = false;          // KV-019
  // When `more` and the answer is in key order without filters: where the next page begins.
  std::string resume_key;
};

// One pair as a compare of a transaction sees it. All zero and empty when the key is absent
// (KV-042). `key` and `value` are valid until the call that handed it out returns, or as long as
// the object that owns it (see the methods).
struct KeyState {
  bool exists = false;
  int64_t create_revision = 0;
  int64_t mod_revision = 0;
  int64_t version = 0;
  int64_t lease = 0;
  std::string_view key = {};
  std::string_view value;
};

}  // namespace etcdd::mvcc
