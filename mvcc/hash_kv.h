#pragma once

// Hashes over the stored records, by which members find out whether they hold the same data
// (backend-schema.md section 4, MAINT-025..030).

#include <cstdint>
#include <string_view>

#include "absl/status/statusor.h"
#include "mvcc/backend/backend.h"
#include "mvcc/revision.h"

namespace etcdd::mvcc {

struct HashKvResult {
  uint32_t hash = 0;
  int64_t compact_revision = -1;  // the one the hash was made with
  int64_t hash_revision = 0;
  int64_t revision = 0;  // of the store, for the header; 0 in stored hashes
};

// The running hash and the rule which records count (MAINT-027), for a hash revision R and a
// compact revision C.
class RevisionHasher {
 public:
  RevisionHasher(int64_t revision, int64_t compact_revision);

  // `skip` false: no key at all is kept at R, and then superseded records count too. Default true.
  void set_skip(bool skip) { skip_ = skip; }

  // Records in revision order. `kept`: the record is the newest of its key at R and alive there
  // (only looked at when main <= C).
  void Add(const DecodedRevision& decoded, bool kept, std::string_view key,
           std::string_view value);

  uint32_t hash() const { return hash_; }

 private:
  const int64_t revision_;
  const int64_t compact_revision_;
  bool skip_ = true;
  uint32_t hash_;
};

// Maintenance.Hash (MAINT-025): all buckets, without consistent_index, term and storageVersion.
absl::StatusOr<uint32_t> HashBackend(const View& view);

}  // namespace etcdd::mvcc
