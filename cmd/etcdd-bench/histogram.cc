#include "cmd/etcdd-bench/histogram.h"

#include <algorithm>
#include <cmath>

#include "server/base/check.h"

namespace etcdd::bench {

// Values below kSteps have a bucket each. Above, the top kStepBits + 1 bits choose it: the leading
// one gives the power of two, the rest the step.
uint32_t Histogram::Bucket(uint64_t value) {
  if (value < kSteps) return static_cast<uint32_t>(value);
  const int shift = 63 - __builtin_clzll(value) - kStepBits;
  return static_cast<uint32_t>((static_cast<uint64_t>(shift) << kStepBits) + (value >> shift));
}

uint64_t Histogram::UpperEnd(uint32_t bucket) {
  if (bucket < kSteps) return bucket;
  const uint32_t shift = (bucket >> kStepBits) - 1;
  const uint64_t step = kSteps + (bucket & (kSteps - 1));
  return ((step + 1) << shift) - 1;
}

void Histogram::Record(uint64_t value) {
  ++counts_[Bucket(value)];
  ++count_;
  sum_ += static_cast<double>(value);
  max_ = std::max(max_, value);
}

double Histogram::mean() const {
  return count_ == 0 ? 0 : sum_ / static_cast<double>(count_);
}

uint64_t Histogram::Percentile(double percent) const {
  ETCDD_CHECK(percent > 0 && percent <= 100);
  if (count_ == 0) return 0;
  const auto wanted =
      static_cast<uint64_t>(std::ceil(percent / 100 * static_cast<double>(count_)));
  uint64_t seen = 0;
  for (uint32_t bucket = 0; bucket < counts_.size(); ++bucket) {
    seen += counts_[bucket];
    if (seen >= wanted) return std::min(UpperEnd(bucket), max_);
  }
  return max_;
}

}  // namespace etcdd::bench
