#pragma once

// Virtual time for a whole cluster: every strand of every member runs here, in one thread, in an
// order drawn from the seed.
//
//   Scheduler scheduler(seed);
//   SimClock clock(&scheduler, {.drift_ppm = 200});
//   SimStrand strand(&scheduler, &clock);
//   strand.PostAfter(absl::Seconds(1), tick);
//   scheduler.RunUntil(absl::Seconds(3));
//
// At each step the scheduler runs one task of one strand: of all strands that have something to do
// at the earliest possible time, one at random. Tasks of a strand run in posting order, as Strand
// promises; between strands every order can happen.
//
// A task takes no time unless it says so with Charge (a slow disk does). Then its strand is busy
// until the time is over, and what the task posts or sends after the charge leaves only then.
//
// True time is what Scheduler::Now says; a member sees it through its SimClock, which may be wrong.
// Confined to one thread.

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <utility>
#include <vector>

#include "absl/time/time.h"
#include "server/base/clock.h"
#include "server/base/random.h"
#include "server/base/strand.h"

namespace etcdd::sim {

class SimStrand;

// How far a member's steady clock may run from true time; the simulated machines stay inside.
inline constexpr int64_t kClockDriftPpmMax = 2000;

class Scheduler {
 public:
  explicit Scheduler(uint64_t seed);
  ~Scheduler();
  Scheduler(const Scheduler&) = delete;
  Scheduler& operator=(const Scheduler&) = delete;

  // True time since the begin of the run, what the running task has charged included.
  absl::Duration Now() const { return absl::Nanoseconds(now_ + charged_); }
  base::Random& random() { return *random_; }

  // The running task has taken so long. No effect outside of tasks of strands that can be charged.
  void Charge(absl::Duration duration);

  // Runs everything that is due up to `end`; then it is `end`.
  void RunUntil(absl::Duration end);
  // Runs until `done` says so, looked at after each task; false: it was `end` before.
  bool RunUntil(absl::Duration end, const std::function<bool()>& done);

  // Called after each task with the strand that ran it; nullptr when the strand is gone.
  void set_after_task(std::function<void(SimStrand*)> hook) { after_task_ = std::move(hook); }
  uint64_t tasks_run() const { return tasks_run_; }

 private:
  friend class SimStrand;

  bool RunOne(int64_t end);

  const std::unique_ptr<base::Random> random_;
  std::vector<SimStrand*> strands_;  // in the order they were made
  std::vector<SimStrand*> ready_;    // scratch of RunOne
  int64_t now_ = 0;                  // nanoseconds; only grows
  int64_t charged_ = 0;
  SimStrand* running_ = nullptr;
  uint64_t sequence_ = 0;
  uint64_t tasks_run_ = 0;
  std::function<void(SimStrand*)> after_task_;
};

// A member's idea of time. Its steady clock runs a little fast or slow; its calendar may be off by
// anything.
class SimClock final : public base::Clock {
 public:
  struct Options {
    int64_t drift_ppm = 0;  // of the steady clock; |drift| <= kClockDriftPpmMax
    absl::Duration wall_offset = absl::ZeroDuration();
  };
  SimClock(const Scheduler* scheduler, Options options);

  absl::Duration Monotonic() const override;
  absl::Time Wall() const override;

  void JumpWall(absl::Duration by) { options_.wall_offset += by; }
  // How much true time passes while this clock shows `duration` more; rounded up.
  absl::Duration ToTrue(absl::Duration duration) const;

 private:
  const Scheduler* const scheduler_;
  Options options_;
};

class SimStrand final : public base::Strand {
 public:
  // `clock`: whose time delays are in; null: true time, and tasks cannot be charged for. Both must
  // outlive the strand.
  SimStrand(Scheduler* scheduler, const SimClock* clock);
  // Destroys what has not run. Not from within a task of its own.
  ~SimStrand() override;

  void Post(base::Task task) override;
  base::TimerId PostAfter(absl::Duration delay, base::Task task) override;
  void Cancel(base::TimerId id) override;

  // Posts for a point in true time, not before now.
  base::TimerId PostAt(absl::Duration when, base::Task task);
  // A paused strand runs nothing; what comes due waits.
  void SetPaused(bool paused) { paused_ = paused; }
  size_t size() const { return queue_.size(); }

 private:
  friend class Scheduler;
  using Key = std::pair<int64_t, uint64_t>;  // due, then posting order

  // When the first task can run; nullopt: nothing to run.
  std::optional<int64_t> NextTime() const;

  Scheduler* const scheduler_;
  const SimClock* const clock_;
  std::map<Key, base::Task> queue_;
  int64_t busy_until_ = 0;
  bool paused_ = false;
};

}  // namespace etcdd::sim
