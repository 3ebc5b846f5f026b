#pragma once

// A revision is (main, sub): main counts transactions, sub counts changes inside one. On disk it is
// 17 bytes, 8 big-endian main, '_', 8 big-endian sub, and one more byte 't' for a deletion, exactly
// as in etcd's `key` bucket, so byte order is time order.

#include <compare>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace etcdd::mvcc {

struct Revision {
  int64_t main = 0;
  int64_t sub = 0;
  friend auto operator<=>(const Revision&, const Revision&) = default;
};

inline constexpr size_t kRevisionBytes = 17;
inline constexpr size_t kTombstoneBytes = 18;

// 17 bytes, or 18 with `tombstone`.
std::string EncodeRevision(Revision revision, bool tombstone = false);
void AppendRevision(Revision revision, bool tombstone, std::string* out);

struct DecodedRevision {
  Revision revision;
  bool tombstone = false;
};
// nullopt when the bytes are not a revision key.
std::optional<DecodedRevision> DecodeRevision(std::string_view bytes);

}  // namespace etcdd::mvcc
