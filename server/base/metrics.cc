#include "server/base/metrics.h"

#include <prometheus/metric_family.h>
#include <prometheus/text_serializer.h>

#include <algorithm>

#include "server/base/check.h"

namespace etcdd::base {
namespace {

// [a-zA-Z_:][a-zA-Z0-9_:]*, Prometheus data model; labels have no colon.
bool IsName(std::string_view name, bool label) {
  const auto good = [label](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
           c == '_' || (c == ':' && !label);
  };
  return !name.empty() && !(name.front() >= '0' && name.front() <= '9') &&
         std::all_of(name.begin(), name.end(), good);
}

}  // namespace

// One line of a family (or the lines of one histogram): exactly one of the members is in use.
struct Metrics::Metric {
  Counter counter;
  Gauge gauge;
  std::unique_ptr<Histogram> histogram;
  std::function<double()> read;
};

struct Metrics::Family {
  Type type;
  std::string help;
  // unique_ptr: handles must stay where they are.
  std::map<Labels, std::unique_ptr<Metric>> metrics;
};

Histogram::Histogram(std::vector<double> bounds)
    : bounds_(std::move(bounds)),
      counts_(std::make_unique<std::atomic<uint64_t>[]>(bounds_.size() + 1)) {
  ETCDD_CHECK(std::is_sorted(bounds_.begin(), bounds_.end(), std::less_equal<>()));
}

void Histogram::Observe(double value) {
  const auto bound = std::lower_bound(bounds_.begin(), bounds_.end(), value);
  counts_[static_cast<size_t>(bound - bounds_.begin())].fetch_add(1, std::memory_order_relaxed);
  sum_.fetch_add(value, std::memory_order_relaxed);
}

std::vector<double> ExponentialBuckets(double start, double factor, size_t count) {
  ETCDD_CHECK(start > 0 && factor > 1 && count > 0);
  std::vector<double> bounds;
  for (size_t i = 0; i < count; ++i, start *= factor) bounds.push_back(start);
  return bounds;
}

Metrics::Metrics() = default;
Metrics::~Metrics() = default;

Counter& Metrics::AddCounter(std::string_view name, std::string_view help, const Labels& labels) {
  absl::MutexLock lock(&mutex_);
  return FindOrAdd(Type::kCounter, name, help, labels).counter;
}

Gauge& Metrics::AddGauge(std::string_view name, std::string_view help, const Labels& labels) {
  absl::MutexLock lock(&mutex_);
  return FindOrAdd(Type::kGauge, name, help, labels).gauge;
}

Histogram& Metrics::AddHistogram(std::string_view name, std::string_view help,
                                 std::vector<double> bounds, const Labels& labels) {
  absl::MutexLock lock(&mutex_);
  Metric& metric = FindOrAdd(Type::kHistogram, name, help, labels);
  if (metric.histogram == nullptr) {
    metric.histogram = std::make_unique<Histogram>(std::move(bounds));
  } else {
    ETCDD_CHECK(metric.histogram->bounds() == bounds);
  }
  return *metric.histogram;
}

void Metrics::AddGaugeFunction(std::string_view name, std::string_view help, const Labels& labels,
                               std::function<double()> read) {
  absl::MutexLock lock(&mutex_);
  FindOrAdd(Type::kGauge, name, help, labels).read = std::move(read);
}

void Metrics::AddCounterFunction(std::string_view name, std::string_view help,
                                 const Labels& labels, std::function<double()> read) {
  absl::MutexLock lock(&mutex_);
  FindOrAdd(Type::kCounter, name, help, labels).read = std::move(read);
}

Metrics::Metric& Metrics::FindOrAdd(Type type, std::string_view name, std::string_view help,
                                    const Labels& labels) {
  auto& family = families_[std::string(name)];
  if (family == nullptr) {
    ETCDD_CHECK(IsName(name, /*label=*/false));
    ETCDD_CHECK(!help.empty());
    for (const auto& [label, value] : labels) ETCDD_CHECK(IsName(label, /*label=*/true));
    family = std::make_unique<Family>(Family{type, std::string(help), {}});
  }
  ETCDD_CHECK_MSG(family->type == type, name);
  ETCDD_CHECK_MSG(family->help == help, name);
  auto& metric = family->metrics[labels];
  if (metric == nullptr) {
    const Labels& first = family->metrics.begin()->first;
    ETCDD_CHECK(first.size() == labels.size());
    for (size_t i = 0; i < labels.size(); ++i) ETCDD_CHECK(first[i].first == labels[i].first);
    metric = std::make_unique<Metric>();
  }
  return *metric;
}

std::string Metrics::TextPage() const {
  std::vector<prometheus::MetricFamily> page;
  // Where to put what a function says, once the lock is given back.
  struct Question {
    std::function<double()> read;
    size_t family;
    size_t metric;
  };
  std::vector<Question> questions;
  {
    absl::MutexLock lock(&mutex_);
    for (const auto& [name, family] : families_) {
      prometheus::MetricFamily& out = page.emplace_back();
      out.name = name;
      out.help = family->help;
      out.type = family->type == Type::kCounter ? prometheus::MetricType::Counter
                 : family->type == Type::kGauge ? prometheus::MetricType::Gauge
                                                : prometheus::MetricType::Histogram;
      for (const auto& [labels, metric] : family->metrics) {
        if (metric->read != nullptr) {
          questions.push_back({metric->read, page.size() - 1, out.metric.size()});
        }
        prometheus::ClientMetric& line = out.metric.emplace_back();
        for (const auto& [label, value] : labels) line.label.push_back({label, value});
        line.counter.value = static_cast<double>(metric->counter.value());
        line.gauge.value = metric->gauge.value();
        if (metric->histogram == nullptr) continue;
        uint64_t cumulative = 0;
        for (size_t i = 0; i < metric->histogram->bounds().size(); ++i) {
          cumulative += metric->histogram->count(i);
          line.histogram.bucket.push_back({cumulative, metric->histogram->bounds()[i]});
        }
        // The serializer adds the +Inf bucket, which holds them all.
        line.histogram.sample_count =
            cumulative + metric->histogram->count(metric->histogram->bounds().size());
        line.histogram.sample_sum = metric->histogram->sum();
      }
    }
  }
  for (const Question& question : questions) {
    const double value = question.read();
    prometheus::ClientMetric& line = page[question.family].metric[question.metric];
    line.counter.value = value;
    line.gauge.value = value;
  }
  return prometheus::TextSerializer().Serialize(page);
}

}  // namespace etcdd::base
