#include "cmd/etcdd-bench/histogram.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <random>
#include <vector>

namespace etcdd::bench {
namespace {

TEST(Histogram, EmptyAnswersZero) {
  const Histogram histogram;
  EXPECT_EQ(histogram.count(), 0u);
  EXPECT_EQ(histogram.Percentile(50), 0u);
  EXPECT_EQ(histogram.mean(), 0);
}

TEST(Histogram, SmallValuesAreExact) {
  Histogram histogram;
  for (uint64_t value = 1; value <= 60; ++value) histogram.Record(value);
  EXPECT_EQ(histogram.Percentile(50), 30u);
  EXPECT_EQ(histogram.Percentile(90), 54u);
  EXPECT_EQ(histogram.Percentile(100), 60u);
  EXPECT_DOUBLE_EQ(histogram.mean(), 30.5);
}

TEST(Histogram, OneValueIsEveryPercentile) {
  Histogram histogram;
  histogram.Record(123456789);
  EXPECT_EQ(histogram.Percentile(0.001), 123456789u);
  EXPECT_EQ(histogram.Percentile(100), 123456789u);
  EXPECT_EQ(histogram.max(), 123456789u);
}

TEST(Histogram, ExtremeValuesHaveABucket) {
  Histogram histogram;
  histogram.Record(0);
  histogram.Record(UINT64_MAX);
  EXPECT_EQ(histogram.Percentile(50), 0u);
  EXPECT_EQ(histogram.Percentile(100), UINT64_MAX);
}

TEST(Histogram, PercentilesAreAtMostOneStepAboveTheSortedValues) {
  std::mt19937_64 random(7);
  std::lognormal_distribution<double> latency(12, 2);
  Histogram histogram;
  std::vector<uint64_t> values;
  for (int i = 0; i < 20000; ++i) {
    values.push_back(static_cast<uint64_t>(latency(random)));
    histogram.Record(values.back());
  }
  std::sort(values.begin(), values.end());
  for (const double percent : {1.0, 10.0, 50.0, 90.0, 99.0, 99.9}) {
    const auto rank = static_cast<size_t>(std::ceil(percent / 100 * 20000)) - 1;
    const auto exact = static_cast<double>(values[rank]);
    const auto found = static_cast<double>(histogram.Percentile(percent));
    EXPECT_GE(found, exact) << percent;
    EXPECT_LE(found, exact * (1 + 1.0 / 64) + 1) << percent;
  }
}

}  // namespace
}  // namespace etcdd::bench
