#pragma once

// Ids of proposals, unique across members and restarts: 16 bits of the member's id, 40 bits of
// milliseconds at start, 8 bits of counter; the counter runs over into the milliseconds, which a
// restart then overtakes (peer-protocol.md section 8).
//
// Confined to the server strand.

#include <cstdint>

#include "absl/time/time.h"

namespace etcdd::server {

class RequestIdGenerator {
 public:
  RequestIdGenerator() = default;
  RequestIdGenerator(uint64_t member_id, absl::Time start)
      : prefix_(member_id << 48),
        suffix_((static_cast<uint64_t>(absl::ToUnixMillis(start)) << 8) & kSuffixMask) {}

  // Never 0.
  uint64_t Next() {
    suffix_ = (suffix_ + 1) & kSuffixMask;
    const uint64_t id = prefix_ | suffix_;
    return id == 0 ? Next() : id;
  }

 private:
  static constexpr uint64_t kSuffixMask = (uint64_t{1} << 48) - 1;
  uint64_t prefix_ = 0;
  uint64_t suffix_ = 0;
};

}  // namespace etcdd::server
