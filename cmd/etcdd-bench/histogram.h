#pragma once

// A latency histogram of fixed size: 64 linear steps per power of two, so a percentile is at most
// 1.6 % too high and recording costs a few instructions. Units are the caller's (nanoseconds here).

#include <array>
#include <cstdint>

namespace etcdd::bench {

class Histogram {
 public:
  void Record(uint64_t value);
  void Clear() { *this = Histogram(); }

  uint64_t count() const { return count_; }
  uint64_t max() const { return max_; }
  double mean() const;

  // The smallest recorded step below or at which at least `percent` % of the values lie, as its
  // upper end, never above max(). 0 when empty. Requires: 0 < percent <= 100.
  uint64_t Percentile(double percent) const;

 private:
  static constexpr int kStepBits = 6;
  static constexpr uint64_t kSteps = 1u << kStepBits;

  static uint32_t Bucket(uint64_t value);
  static uint64_t UpperEnd(uint32_t bucket);

  std::array<uint64_t, (64 - kStepBits + 1) << kStepBits> counts_{};
  uint64_t count_ = 0;
  uint64_t max_ = 0;
  double sum_ = 0;
};

}  // namespace etcdd::bench
