#pragma once

// Timers that cost nothing to set and to take back: one per request with a deadline. A binary heap
// of borrowed Timer objects; each knows its place, so Cancel needs no search. Deadlines mostly
// grow, so an insert is an append.
//
// Confined to the event loop that owns the queue.

#include <cstddef>
#include <vector>

#include "absl/functional/any_invocable.h"
#include "absl/time/time.h"

namespace etcdd::net {

class TimerQueue;

// One timer with a fixed callback. Destroying it cancels it. The callback may reschedule or destroy
// its own timer's owner.
class Timer {
 public:
  explicit Timer(absl::AnyInvocable<void()> callback) : callback_(std::move(callback)) {}
  ~Timer() { Cancel(); }
  Timer(const Timer&) = delete;
  Timer& operator=(const Timer&) = delete;

  // Fires once when the loop's time has reached `when` (Clock::Monotonic). Replaces an earlier
  // schedule. Requires: `queue` outlives the schedule.
  void Schedule(TimerQueue* queue, absl::Duration when);
  void Cancel();
  bool scheduled() const { return queue_ != nullptr; }

 private:
  friend class TimerQueue;

  absl::AnyInvocable<void()> callback_;
  TimerQueue* queue_ = nullptr;
  absl::Duration when_;
  size_t index_ = 0;
};

class TimerQueue {
 public:
  ~TimerQueue();
  // Fires every timer with when <= now that was due on entry.
  void Fire(absl::Duration now);
  // Earliest scheduled time; InfiniteDuration when empty.
  absl::Duration next() const;
  size_t size() const { return heap_.size(); }

 private:
  friend class Timer;

  void Insert(Timer* timer);
  void Remove(Timer* timer);
  void Place(Timer* timer, size_t index);
  void SiftUp(Timer* timer, size_t index);
  void SiftDown(Timer* timer, size_t index);

  std::vector<Timer*> heap_;  // heap_[i]->index_ == i; parent <= child
};

}  // namespace etcdd::net
