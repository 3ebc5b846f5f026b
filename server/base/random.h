#pragma once

// Random numbers as an interface. The daemon seeds from the system, tests from a number.
// Confined to its owner's strand.

#include <cstdint>
#include <memory>

namespace etcdd::base {

class Random {
 public:
  virtual ~Random() = default;
  virtual uint64_t Next() = 0;
  // Uniform in [0, bound). Requires: bound > 0.
  uint64_t Uniform(uint64_t bound) { return Next() % bound; }
};

// The same numbers for the same seed on every machine.
std::unique_ptr<Random> NewSeededRandom(uint64_t seed);
// From the kernel's generator; cannot be guessed, so it is fit for tokens.
std::unique_ptr<Random> NewSystemRandom();

}  // namespace etcdd::base
