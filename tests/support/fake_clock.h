#pragma once

// Time that only moves when told, and strands which run on it.
//
//   FakeClock clock;
//   FakeStrand strand(&clock);
//   strand.PostAfter(absl::Seconds(1), tick);
//   clock.AdvanceBy(absl::Seconds(3));   // runs tick when the clock shows +1 s, ends at +3 s
//
// AdvanceBy stops at every timer of every strand on the way, so a timer which sets the next one
// fires as often as it would in real time. All strands of a clock run in the calling thread, in a
// fixed order: by due time, then in the order the strands were made.
//
// Clock and Strand methods are thread-safe; the driving methods (AdvanceBy, RunReady) and making
// and destroying strands belong to one thread, and AdvanceBy must not be called from a task.

#include <cstdint>
#include <deque>
#include <map>
#include <optional>
#include <utility>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "server/base/clock.h"
#include "server/base/strand.h"

namespace etcdd::testing {

class FakeStrand;

class FakeClock final : public base::Clock {
 public:
  // Calendar time begins at 2026-01-01 00:00:00 UTC, steady time at 1000 s.
  FakeClock();

  absl::Duration Monotonic() const override;
  absl::Time Wall() const override;

  // Runs what is ready, then moves time by `duration`, running each timer at its due time.
  void AdvanceBy(absl::Duration duration);
  // Runs posted tasks and due timers of all strands until none is left; time stands still.
  // Returns the number of tasks run.
  size_t RunReady();
  // Moves calendar time alone, forward or back, as an operator or NTP does.
  void JumpWall(absl::Duration by);

 private:
  friend class FakeStrand;

  std::vector<FakeStrand*> strands_;  // in the order they were made; driving thread only

  mutable absl::Mutex mutex_;
  absl::Duration monotonic_ ABSL_GUARDED_BY(mutex_);  // only grows
  absl::Time wall_ ABSL_GUARDED_BY(mutex_);
};

class FakeStrand final : public base::Strand {
 public:
  // `clock` must outlive the strand.
  explicit FakeStrand(FakeClock* clock);
  // Destroys what has not run.
  ~FakeStrand() override;

  void Post(base::Task task) override;
  base::TimerId PostAfter(absl::Duration delay, base::Task task) override;
  void Cancel(base::TimerId id) override;

  // Runs this strand's posted tasks and due timers until none is left. Returns how many ran.
  size_t RunReady();
  // Runs at most one task. False: nothing was ready.
  bool RunOne();
  // The same as FakeClock::AdvanceBy of its clock, so it runs the other strands too.
  void AdvanceBy(absl::Duration duration) { clock_->AdvanceBy(duration); }

  size_t posted_count() const;
  size_t timer_count() const;
  // When the next timer is due, in steady time.
  std::optional<absl::Duration> next_due() const;

 private:
  FakeClock* const clock_;

  mutable absl::Mutex mutex_;
  std::deque<base::Task> queue_ ABSL_GUARDED_BY(mutex_);
  std::map<std::pair<absl::Duration, base::TimerId>, base::Task> timers_ ABSL_GUARDED_BY(mutex_);
  base::TimerId last_timer_ ABSL_GUARDED_BY(mutex_) = 0;
};

}  // namespace etcdd::testing
