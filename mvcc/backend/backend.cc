#include "mvcc/backend/backend.h"

#include <array>

#include "server/base/check.h"

namespace etcdd::mvcc {
namespace {

constexpr std::array<std::string_view, kBucketCount> kBucketNames = {
    "alarm", "auth",  "authRoles", "authUsers",       "cluster",
    "key",   "lease", "members",   "members_removed", "meta",
};

}  // namespace

std::string_view BucketName(Bucket bucket) {
  const auto index = static_cast<size_t>(bucket);
  ETCDD_CHECK(index < kBucketNames.size());
  return kBucketNames[index];
}

}  // namespace etcdd::mvcc
