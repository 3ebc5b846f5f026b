#pragma once

// Cuts the bytes of a gRPC stream into messages. A message that lies whole in one chunk is handed
// on without being copied.

#include <algorithm>
#include <cstdint>
#include <string>
#include <string_view>

#include "cmd/etcdd-bench/frame.h"

namespace etcdd::bench {

class MessageAssembler {
 public:
  // Calls on_message(std::string_view) for every message that is complete with these bytes; the
  // view is valid during the call.
  template <typename OnMessage>
  void Feed(std::string_view bytes, OnMessage&& on_message) {
    while (!bytes.empty()) {
      if (partial_.empty() && bytes.size() >= kPrefixBytes) {
        const size_t whole = kPrefixBytes + ReadBigEndian32(bytes.data() + 1);
        if (bytes.size() >= whole) {
          on_message(bytes.substr(kPrefixBytes, whole - kPrefixBytes));
          bytes.remove_prefix(whole);
          continue;
        }
      }
      size_t wanted = kPrefixBytes;
      if (partial_.size() >= kPrefixBytes) wanted += ReadBigEndian32(partial_.data() + 1);
      const size_t taken = std::min(wanted - partial_.size(), bytes.size());
      partial_.append(bytes.substr(0, taken));
      bytes.remove_prefix(taken);
      if (partial_.size() >= kPrefixBytes &&
          partial_.size() == kPrefixBytes + ReadBigEndian32(partial_.data() + 1)) {
        on_message(std::string_view(partial_).substr(kPrefixBytes));
        partial_.clear();
      }
    }
  }

 private:
  static constexpr size_t kPrefixBytes = 5;
  std::string partial_;
};

}  // namespace etcdd::bench
