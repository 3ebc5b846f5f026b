#include "tests/sim/scheduler.h"

#include <algorithm>
#include <limits>

#include "server/base/check.h"

namespace etcdd::sim {
namespace {

constexpr int64_t kMillion = 1'000'000;
// A member's steady clock begins somewhere; not at zero, so that nobody takes zero for "never".
constexpr absl::Duration kMonotonicStart = absl::Seconds(1000);

absl::Time WallStart() {
  return absl::FromCivil(absl::CivilSecond(2026, 1, 1), absl::UTCTimeZone());
}

}  // namespace

Scheduler::Scheduler(uint64_t seed) : random_(base::NewSeededRandom(seed)) {}

Scheduler::~Scheduler() { ETCDD_CHECK(strands_.empty()); }

void Scheduler::Charge(absl::Duration duration) {
  ETCDD_CHECK(duration >= absl::ZeroDuration());
  if (running_ == nullptr || running_->clock_ == nullptr) return;
  charged_ += absl::ToInt64Nanoseconds(duration);
}

void Scheduler::RunUntil(absl::Duration end) {
  while (RunOne(absl::ToInt64Nanoseconds(end))) {
  }
}

bool Scheduler::RunUntil(absl::Duration end, const std::function<bool()>& done) {
  while (!done()) {
    if (!RunOne(absl::ToInt64Nanoseconds(end))) return done();
  }
  return true;
}

bool Scheduler::RunOne(int64_t end) {
  ETCDD_CHECK(running_ == nullptr);
  int64_t earliest = std::numeric_limits<int64_t>::max();
  for (const SimStrand* strand : strands_) {
    if (const auto next = strand->NextTime()) earliest = std::min(earliest, *next);
  }
  const int64_t time = std::max(now_, earliest);
  if (earliest == std::numeric_limits<int64_t>::max() || time > end) {
    now_ = std::max(now_, end);
    return false;
  }
  ready_.clear();
  for (SimStrand* strand : strands_) {
    const auto next = strand->NextTime();
    if (next.has_value() && *next <= time) ready_.push_back(strand);
  }
  SimStrand* const chosen =
      ready_.size() == 1 ? ready_[0] : ready_[random_->Uniform(ready_.size())];
  now_ = time;
  charged_ = 0;
  running_ = chosen;
  auto first = chosen->queue_.begin();
  base::Task task = std::move(first->second);
  chosen->queue_.erase(first);
  task();
  task = nullptr;  // what it owns goes while the strand still counts as running
  ++tasks_run_;
  chosen->busy_until_ = now_ + charged_;
  charged_ = 0;
  running_ = nullptr;
  if (after_task_) after_task_(chosen);
  return true;
}

SimClock::SimClock(const Scheduler* scheduler, Options options)
    : scheduler_(scheduler), options_(options) {
  ETCDD_CHECK(std::abs(options.drift_ppm) <= kClockDriftPpmMax);
}

absl::Duration SimClock::Monotonic() const {
  const absl::Duration now = scheduler_->Now();
  return kMonotonicStart + now + now * options_.drift_ppm / kMillion;
}

absl::Time SimClock::Wall() const { return WallStart() + Monotonic() + options_.wall_offset; }

absl::Duration SimClock::ToTrue(absl::Duration duration) const {
  return duration * kMillion / (kMillion + options_.drift_ppm) + absl::Nanoseconds(2);
}

SimStrand::SimStrand(Scheduler* scheduler, const SimClock* clock)
    : scheduler_(scheduler), clock_(clock) {
  scheduler_->strands_.push_back(this);
}

SimStrand::~SimStrand() {
  ETCDD_CHECK(scheduler_->running_ != this);
  queue_.clear();
  auto& strands = scheduler_->strands_;
  strands.erase(std::find(strands.begin(), strands.end(), this));
}

void SimStrand::Post(base::Task task) { PostAt(scheduler_->Now(), std::move(task)); }

base::TimerId SimStrand::PostAfter(absl::Duration delay, base::Task task) {
  delay = std::max(delay, absl::ZeroDuration());
  const absl::Duration wait = clock_ == nullptr ? delay : clock_->ToTrue(delay);
  return PostAt(scheduler_->Now() + wait, std::move(task));
}

base::TimerId SimStrand::PostAt(absl::Duration when, base::Task task) {
  const absl::Duration due = std::max(when, scheduler_->Now());
  const base::TimerId id = ++scheduler_->sequence_;
  queue_.emplace(Key{absl::ToInt64Nanoseconds(due), id}, std::move(task));
  return id;
}

void SimStrand::Cancel(base::TimerId id) {
  const auto found = std::find_if(queue_.begin(), queue_.end(),
                                  [id](const auto& entry) { return entry.first.second == id; });
  if (found == queue_.end()) return;
  base::Task dropped = std::move(found->second);  // what it owns may call us
  queue_.erase(found);
}

std::optional<int64_t> SimStrand::NextTime() const {
  if (paused_ || queue_.empty()) return std::nullopt;
  return std::max(queue_.begin()->first.first, busy_until_);
}

}  // namespace etcdd::sim
