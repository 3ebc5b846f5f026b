#include "mvcc/revision.h"

#include "server/base/check.h"
#include "server/base/coding.h"

namespace etcdd::mvcc {
namespace {

constexpr char kSeparator = '_';
constexpr char kTombstone = 't';

}  // namespace

void AppendRevision(Revision revision, bool tombstone, std::string* out) {
  ETCDD_CHECK(revision.main >= 0 && revision.sub >= 0);
  base::AppendBigEndian64(static_cast<uint64_t>(revision.main), out);
  out->push_back(kSeparator);
  base::AppendBigEndian64(static_cast<uint64_t>(revision.sub), out);
  if (tombstone) out->push_back(kTombstone);
}

std::string EncodeRevision(Revision revision, bool tombstone) {
  std::string out;
  out.reserve(kTombstoneBytes);
  AppendRevision(revision, tombstone, &out);
  return out;
}

std::optional<DecodedRevision> DecodeRevision(std::string_view bytes) {
  if (bytes.size() != kRevisionBytes && bytes.size() != kTombstoneBytes) return std::nullopt;
  if (bytes[8] != kSeparator) return std::nullopt;
  if (bytes.size() == kTombstoneBytes && bytes[kRevisionBytes] != kTombstone) return std::nullopt;
  DecodedRevision decoded;
  decoded.revision.main = static_cast<int64_t>(base::ReadBigEndian64(bytes.data()));
  decoded.revision.sub = static_cast<int64_t>(base::ReadBigEndian64(bytes.data() + 9));
  if (decoded.revision.main < 0 || decoded.revision.sub < 0) return std::nullopt;
  decoded.tombstone = bytes.size() == kTombstoneBytes;
  return decoded;
}

}  // namespace etcdd::mvcc
