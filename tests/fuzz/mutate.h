#pragma once

// What a fuzz program without libFuzzer does to good input.

#include <cstdint>
#include <string>

#include "server/base/random.h"

namespace etcdd::testing {

// One to four changes: bytes set, flipped, taken out, put in, or the end cut off.
inline void Mutate(base::Random& random, std::string* bytes) {
  for (uint64_t count = random.Uniform(4) + 1; count > 0 && !bytes->empty(); --count) {
    const auto at = static_cast<size_t>(random.Uniform(bytes->size()));
    switch (random.Uniform(5)) {
      case 0:
        (*bytes)[at] = static_cast<char>(random.Uniform(256));
        break;
      case 1:
        (*bytes)[at] = static_cast<char>((*bytes)[at] ^ (1 << random.Uniform(8)));
        break;
      case 2:
        bytes->erase(at, static_cast<size_t>(random.Uniform(16)));
        break;
      case 3:
        bytes->insert(at, static_cast<size_t>(random.Uniform(16)),
                      static_cast<char>(random.Uniform(256)));
        break;
      default:
        bytes->resize(at);
    }
  }
}

}  // namespace etcdd::testing
