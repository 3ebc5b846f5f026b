#pragma once

// Counters, gauges and histograms, and the page of text Prometheus reads.
//
//   base::Metrics metrics;
//   base::Counter& puts = metrics.AddCounter("etcd_mvcc_put_total", "Total number of puts.");
//   puts.Add();                                     // one relaxed atomic add, any thread
//   std::string body = metrics.TextPage();          // content type kTextPageType
//
// Handles are cheap to use and made once, at start or when a label value first appears; they live
// as long as the Metrics. Asking again for the same name and labels gives the same object.
// Requires of every Add...: a valid name, a help text, and the type, help and label names the name
// was first given (our own mistake otherwise: ETCDD_CHECK).
//
// Thread-safe. Values on a page are each right; the page is not one instant.

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"

namespace etcdd::base {

// Only grows.
class Counter {
 public:
  void Add(uint64_t count = 1) { value_.fetch_add(count, std::memory_order_relaxed); }
  uint64_t value() const { return value_.load(std::memory_order_relaxed); }

 private:
  std::atomic<uint64_t> value_{0};
};

class Gauge {
 public:
  void Set(double value) { value_.store(value, std::memory_order_relaxed); }
  void Add(double change) { value_.fetch_add(change, std::memory_order_relaxed); }
  double value() const { return value_.load(std::memory_order_relaxed); }

 private:
  std::atomic<double> value_{0};
};

class Histogram {
 public:
  // Upper bounds of the buckets, growing; the bucket for all above is added.
  explicit Histogram(std::vector<double> bounds);
  void Observe(double value);

  const std::vector<double>& bounds() const { return bounds_; }
  // Observations in bucket `i` alone, i <= bounds().size().
  uint64_t count(size_t i) const { return counts_[i].load(std::memory_order_relaxed); }
  double sum() const { return sum_.load(std::memory_order_relaxed); }

 private:
  const std::vector<double> bounds_;
  const std::unique_ptr<std::atomic<uint64_t>[]> counts_;  // one more than bounds_
  std::atomic<double> sum_{0};
};

// start, start * factor, ... `count` bounds. Requires: start > 0, factor > 1, count > 0.
std::vector<double> ExponentialBuckets(double start, double factor, size_t count);

class Metrics {
 public:
  // Name and value pairs, in the order they shall be printed.
  using Labels = std::vector<std::pair<std::string, std::string>>;

  static constexpr char kTextPageType[] = "text/plain; version=0.0.4; charset=utf-8";

  Metrics();
  ~Metrics();
  Metrics(const Metrics&) = delete;
  Metrics& operator=(const Metrics&) = delete;

  Counter& AddCounter(std::string_view name, std::string_view help, const Labels& labels = {});
  Gauge& AddGauge(std::string_view name, std::string_view help, const Labels& labels = {});
  Histogram& AddHistogram(std::string_view name, std::string_view help,
                          std::vector<double> bounds, const Labels& labels = {});

  // Values asked for when a page is made, by the thread that makes it and with no lock held. `read`
  // must stay callable as long as pages are made. Given again for the same name and labels, the new
  // function counts.
  void AddGaugeFunction(std::string_view name, std::string_view help, const Labels& labels,
                        std::function<double()> read);
  void AddCounterFunction(std::string_view name, std::string_view help, const Labels& labels,
                          std::function<double()> read);

  // All families by name, metrics of a family by labels, in Prometheus's text format 0.0.4.
  std::string TextPage() const;

 private:
  enum class Type { kCounter, kGauge, kHistogram };
  struct Metric;
  struct Family;

  Metric& FindOrAdd(Type type, std::string_view name, std::string_view help, const Labels& labels)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  mutable absl::Mutex mutex_;
  std::map<std::string, std::unique_ptr<Family>, std::less<>> families_ ABSL_GUARDED_BY(mutex_);
};

// The process_... metrics every Prometheus client library shows: CPU seconds, memory, open files
// and their limit, start time. Read from /proc when a page is made.
void AddProcessMetrics(Metrics* metrics);

}  // namespace etcdd::base
