#include "tests/support/fake_clock.h"

#include <algorithm>

#include "server/base/check.h"

namespace etcdd::testing {

FakeClock::FakeClock()
    : monotonic_(absl::Seconds(1000)),
      wall_(absl::FromCivil(absl::CivilSecond(2026, 1, 1), absl::UTCTimeZone())) {}

absl::Duration FakeClock::Monotonic() const {
  absl::MutexLock lock(&mutex_);
  return monotonic_;
}

absl::Time FakeClock::Wall() const {
  absl::MutexLock lock(&mutex_);
  return wall_;
}

void FakeClock::AdvanceBy(absl::Duration duration) {
  ETCDD_CHECK(duration >= absl::ZeroDuration());
  const absl::Duration end = Monotonic() + duration;
  RunReady();
  while (true) {
    absl::Duration next = end;
    for (const FakeStrand* strand : strands_) {
      const std::optional<absl::Duration> due = strand->next_due();
      if (due.has_value()) next = std::min(next, *due);
    }
    {
      absl::MutexLock lock(&mutex_);
      wall_ += next - monotonic_;
      monotonic_ = next;
    }
    const size_t ran = RunReady();
    if (ran == 0 && next == end) return;
  }
}

size_t FakeClock::RunReady() {
  size_t ran = 0;
  bool again = true;
  while (again) {
    again = false;
    // By index: a task may make a strand.
    for (size_t i = 0; i < strands_.size(); ++i) {
      if (!strands_[i]->RunOne()) continue;
      ++ran;
      again = true;
    }
  }
  return ran;
}

void FakeClock::JumpWall(absl::Duration by) {
  absl::MutexLock lock(&mutex_);
  wall_ += by;
}

FakeStrand::FakeStrand(FakeClock* clock) : clock_(clock) { clock_->strands_.push_back(this); }

FakeStrand::~FakeStrand() {
  auto& strands = clock_->strands_;
  strands.erase(std::find(strands.begin(), strands.end(), this));
}

void FakeStrand::Post(base::Task task) {
  absl::MutexLock lock(&mutex_);
  queue_.push_back(std::move(task));
}

base::TimerId FakeStrand::PostAfter(absl::Duration delay, base::Task task) {
  const absl::Duration due = clock_->Monotonic() + std::max(delay, absl::ZeroDuration());
  absl::MutexLock lock(&mutex_);
  const base::TimerId id = ++last_timer_;
  timers_.emplace(std::make_pair(due, id), std::move(task));
  return id;
}

void FakeStrand::Cancel(base::TimerId id) {
  base::Task dropped;  // destroyed outside the lock: what it owns may call us
  absl::MutexLock lock(&mutex_);
  const auto found = std::find_if(timers_.begin(), timers_.end(),
                                  [id](const auto& timer) { return timer.first.second == id; });
  if (found == timers_.end()) return;
  dropped = std::move(found->second);
  timers_.erase(found);
}

size_t FakeStrand::RunReady() {
  size_t ran = 0;
  while (RunOne()) ++ran;
  return ran;
}

bool FakeStrand::RunOne() {
  const absl::Duration now = clock_->Monotonic();
  base::Task task;
  {
    absl::MutexLock lock(&mutex_);
    if (!timers_.empty() && timers_.begin()->first.first <= now) {
      task = std::move(timers_.begin()->second);
      timers_.erase(timers_.begin());
    } else if (!queue_.empty()) {
      task = std::move(queue_.front());
      queue_.pop_front();
    } else {
      return false;
    }
  }
  task();
  return true;
}

size_t FakeStrand::posted_count() const {
  absl::MutexLock lock(&mutex_);
  return queue_.size();
}

size_t FakeStrand::timer_count() const {
  absl::MutexLock lock(&mutex_);
  return timers_.size();
}

std::optional<absl::Duration> FakeStrand::next_due() const {
  absl::MutexLock lock(&mutex_);
  if (timers_.empty()) return std::nullopt;
  return timers_.begin()->first.first;
}

}  // namespace etcdd::testing
