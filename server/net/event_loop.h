#pragma once

// The event loop: one thread on which connections, timers and posted work run to completion. It is
// a base::Strand, so whole parts of the server (raft loop, apply) can live on it and a hand-over
// between them is a function call (architecture.md D17).
//
// The loop works in turns:
//   1. wait for readiness (not at all while work is left), handlers of all ready descriptors run
//   2. due timers, then posted tasks, until there are none (bounded)
//   3. hooks deferred to the end of the turn run once each: connections write their output here, so
//      all replies of a turn leave in one write per connection
//
// A turn without work of ours allocates nothing; Post from the loop's own thread makes no system
// call. Readiness is edge-triggered and a descriptor is registered once, so a turn costs one wait
// plus the reads and writes themselves. Code that wants Boost.Asio objects (peers) gets an
// io_context that this loop drives; the price of two more system calls per turn is paid only once
// somebody asked for it.
//
// Thread-safe: Post, PostAfter, Cancel, Stop. Everything else: the loop's thread (or before Run).

#include <atomic>
#include <cstdint>
#include <map>
#include <memory>
#include <thread>
#include <unordered_map>
#include <utility>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "boost/asio/io_context.hpp"
#include "server/base/clock.h"
#include "server/base/strand.h"
#include "server/net/timer_queue.h"

namespace etcdd::net {

// Owner of one file descriptor.
class IoHandler {
 public:
  // `events` are epoll bits. Edge-triggered: after a full buffer was read, or a write fell short,
  // there is no second call for the same state.
  virtual void OnReady(uint32_t events) = 0;

 protected:
  ~IoHandler() = default;
};

// Something that wants to run once at a certain point of a turn, however often it asked.
class TurnHook {
 public:
  virtual void OnTurn() = 0;

 protected:
  ~TurnHook() = default;

 private:
  friend class EventLoop;
  bool queued_ = false;
};

class EventLoop final : public base::Strand {
 public:
  // `clock` must outlive the loop.
  explicit EventLoop(const base::Clock* clock);
  ~EventLoop() override;
  EventLoop(const EventLoop&) = delete;
  EventLoop& operator=(const EventLoop&) = delete;

  void Post(base::Task task) override;
  base::TimerId PostAfter(absl::Duration delay, base::Task task) override;
  void Cancel(base::TimerId id) override;

  // Runs turns on the calling thread until Stop.
  void Run();
  // Runs one turn; waits at most `wait_max` for something to do. For tests and embedders.
  void RunTurn(absl::Duration wait_max);
  // Ends Run after the current turn.
  void Stop();

  // Time of the current turn, Clock::Monotonic read once per turn.
  absl::Duration now() const { return now_; }
  TimerQueue& timers() { return timers_; }
  const base::Clock& clock() const { return *clock_; }

  // Watches `fd` for input, output space and hang-up until Unwatch. The handler is told nothing
  // more once Unwatch returned, not even for events of the current turn.
  void Watch(int fd, IoHandler* handler);
  void Unwatch(int fd, IoHandler* handler);

  // Runs `hook` in step 3 of this turn (or of the next one when called from step 3 of such a hook
  // that already ran).
  void AtEndOfTurn(TurnHook* hook) { Defer(hook, &end_hooks_); }
  // Runs `hook` at the start of the next turn, which then does not wait. For work split into fair
  // pieces.
  void NextTurn(TurnHook* hook) { Defer(hook, &next_hooks_); }
  // Takes a hook back; part of destroying it.
  void Forget(TurnHook* hook);

  // For objects built on Boost.Asio; their handlers run on this loop. Everything posted to it from
  // other threads wakes the loop.
  boost::asio::io_context& io_context();

 private:
  struct AsioGuest;
  using TimerKey = std::pair<absl::Duration, base::TimerId>;

  static void Defer(TurnHook* hook, std::vector<TurnHook*>* list) {
    if (hook->queued_) return;
    hook->queued_ = true;
    list->push_back(hook);
  }
  bool OnLoopThread() const {
    return owner_.load(std::memory_order_relaxed) == std::this_thread::get_id();
  }
  void Wake();
  absl::Duration TimeToNextTimer();
  void WaitAndDispatch(absl::Duration wait_max);
  void DispatchReady(int wait_ms);
  void FireTimers();
  bool RunTasks();
  static bool RunHooks(std::vector<TurnHook*>* list, std::vector<TurnHook*>* running);

  const base::Clock* const clock_;
  const int epoll_fd_;
  const int wake_fd_;  // eventfd
  std::atomic<std::thread::id> owner_;
  std::atomic<bool> stop_{false};
  std::atomic<bool> woken_{false};  // the eventfd holds a count, or the loop is awake

  // Confined to the loop's thread.
  absl::Duration now_;
  TimerQueue timers_;
  std::vector<base::Task> tasks_;
  std::vector<base::Task> running_tasks_;
  std::vector<TurnHook*> end_hooks_;
  std::vector<TurnHook*> next_hooks_;
  std::vector<TurnHook*> running_hooks_;
  void* ready_batch_ = nullptr;  // epoll events not yet handled, for Unwatch
  int ready_begin_ = 0;
  int ready_end_ = 0;
  std::unique_ptr<AsioGuest> asio_;

  absl::Mutex mu_;
  std::vector<base::Task> foreign_tasks_ ABSL_GUARDED_BY(mu_);
  std::map<TimerKey, base::Task> delayed_ ABSL_GUARDED_BY(mu_);
  std::unordered_map<base::TimerId, absl::Duration> delayed_index_ ABSL_GUARDED_BY(mu_);
  base::TimerId next_timer_id_ ABSL_GUARDED_BY(mu_) = 1;
  // True when foreign_tasks_ or delayed_ may hold something: spares the lock in idle turns.
  std::atomic<bool> foreign_pending_{false};
  std::atomic<bool> delayed_pending_{false};
};

}  // namespace etcdd::net
