#pragma once

// Hashes over the stored records, by which members find out whether they hold the same data
// (backend-schema.md section 4, MAINT-025..030).

#include <cstdint>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "mvcc/backend/backend.h"
#include "mvcc/revision.h"

namespace etcdd::mvcc {

struct HashKvResult {
  uint32_t hash = 0;
  int64_t compact_revision = -1;  // the one the hash was made with
  int64_t hash_revision = 0;
  int64_t revision = 0;           // of the store, for the header; 0 in stored hashes
};

// The running hash and the rule which records count (MAINT-027).
class RevisionHasher {
 public:
  // `keep`: sorted; the newest revisions of all keys at `revision` as far as they are at or below
  // `compact_revision`. `keep_any`: false when no key at all is kept at `revision`.
  RevisionHasher(int64_t revision, int64_t compact_revision, std::vector<Revision> keep,
                 bool keep_any);

  // Records in revision order. False: beyond `revision`, stop.
  bool Add(const DecodedRevision& decoded, std::string_view key, std::string_view value);
  uint32_t hash() const { return hash_; }

 private:
  const int64_t revision_;
  const int64_t compact_revision_;
  const std::vector<Revision> keep_;
  const bool keep_any_;
  size_t keep_next_ = 0;
  uint32_t hash_;
};

// Maintenance.Hash (MAINT-025): all buckets, without consistent_index, term and storageVersion.
absl::StatusOr<uint32_t> HashBackend(const View& view);

}  // namespace etcdd::mvcc
