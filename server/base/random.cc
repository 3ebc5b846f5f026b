#include "server/base/random.h"

#include <sys/random.h>

#include <array>
#include <cerrno>
#include <cstddef>

#include "server/base/check.h"

namespace etcdd::base {
namespace {

// SplitMix64: 64 bits of state, full period, equal on every machine.
class SeededRandom final : public Random {
 public:
  explicit SeededRandom(uint64_t seed) : state_(seed) {}
  uint64_t Next() override {
    state_ += 0x9e3779b97f4a7c15u;
    uint64_t mixed = state_;
    mixed = (mixed ^ (mixed >> 30)) * 0xbf58476d1ce4e5b9u;
    mixed = (mixed ^ (mixed >> 27)) * 0x94d049bb133111ebu;
    return mixed ^ (mixed >> 31);
  }

 private:
  uint64_t state_;
};

// The kernel's generator, read in blocks: auth tokens come from here, so it must not be guessable.
class SystemRandom final : public Random {
 public:
  uint64_t Next() override {
    if (used_ == block_.size()) Refill();
    const uint64_t value = block_[used_];
    block_[used_++] = 0;
    return value;
  }

 private:
  void Refill() {
    ssize_t got = 0;
    do {
      // Up to 256 bytes come whole and uninterrupted once the pool is ready, getrandom(2).
      got = getrandom(block_.data(), sizeof block_, 0);
    } while (got < 0 && errno == EINTR);
    ETCDD_CHECK(got == static_cast<ssize_t>(sizeof block_));
    used_ = 0;
  }

  std::array<uint64_t, 32> block_{};
  size_t used_ = block_.size();
};

}  // namespace

std::unique_ptr<Random> NewSeededRandom(uint64_t seed) {
  return std::make_unique<SeededRandom>(seed);
}

std::unique_ptr<Random> NewSystemRandom() { return std::make_unique<SystemRandom>(); }

}  // namespace etcdd::base
