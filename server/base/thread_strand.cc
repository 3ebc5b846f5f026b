// Strand on a thread of its own.

#include <pthread.h>

#include <chrono>
#include <condition_variable>
#include <map>
#include <mutex>
#include <thread>
#include <utility>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "server/base/check.h"
#include "server/base/strand.h"

namespace etcdd::base {
namespace {

using Instant = std::chrono::steady_clock::time_point;

// std::mutex and not absl::Mutex: timers need a wait on the steady clock, Abseil of this age waits
// on the calendar clock, where a set-back would hold timers up by as much.
class ThreadStrand final : public Strand {
 public:
  explicit ThreadStrand(const char* thread_name) : thread_([this] { Run(); }) {
    // Linux takes at most 15 letters; a longer name is a mistake in the caller's code.
    ETCDD_CHECK(pthread_setname_np(thread_.native_handle(), thread_name) == 0);
  }

  ~ThreadStrand() override {
    ETCDD_CHECK(std::this_thread::get_id() != thread_.get_id());
    {
      std::lock_guard<std::mutex> lock(mutex_);
      stopping_ = true;
    }
    wake_.notify_one();
    thread_.join();
  }

  void Post(Task task) override {
    bool wake = false;
    {
      std::lock_guard<std::mutex> lock(mutex_);
      queue_.push_back(std::move(task));
      wake = std::exchange(waiting_, false);
    }
    if (wake) wake_.notify_one();
  }

  TimerId PostAfter(absl::Duration delay, Task task) override {
    const Instant due = Due(delay);
    TimerId id = 0;
    bool wake = false;
    {
      std::lock_guard<std::mutex> lock(mutex_);
      id = ++last_timer_;
      const auto it = timers_.emplace(std::make_pair(due, id), std::move(task)).first;
      timer_due_.emplace(id, due);
      // A timer behind the first one does not change how long the thread may sleep.
      if (it == timers_.begin()) wake = std::exchange(waiting_, false);
    }
    if (wake) wake_.notify_one();
    return id;
  }

  void Cancel(TimerId id) override {
    Task dropped;  // destroyed outside the lock: what it owns may call us
    std::lock_guard<std::mutex> lock(mutex_);
    const auto found = timer_due_.find(id);
    if (found == timer_due_.end()) return;
    const auto timer = timers_.find({found->second, id});
    ETCDD_CHECK(timer != timers_.end());
    dropped = std::move(timer->second);
    timers_.erase(timer);
    timer_due_.erase(found);
  }

 private:
  static Instant Due(absl::Duration delay) {
    // A bound keeps the sum with now() inside the clock's range; nobody lives to see it pass.
    constexpr absl::Duration kDelayMax = absl::Hours(24 * 365 * 50);
    if (delay > kDelayMax) delay = kDelayMax;
    if (delay < absl::ZeroDuration()) delay = absl::ZeroDuration();
    return std::chrono::steady_clock::now() + absl::ToChronoNanoseconds(delay);
  }

  void Run() {
    std::vector<Task> batch;
    std::unique_lock<std::mutex> lock(mutex_);
    while (true) {
      // One due timer at a time, so that it can still be cancelled by the task before it.
      if (!stopping_ && !timers_.empty() &&
          timers_.begin()->first.first <= std::chrono::steady_clock::now()) {
        Task task = std::move(timers_.begin()->second);
        timer_due_.erase(timers_.begin()->first.second);
        timers_.erase(timers_.begin());
        lock.unlock();
        task();
        task = nullptr;
        lock.lock();
      }
      if (!queue_.empty()) {
        batch.swap(queue_);
        lock.unlock();
        for (Task& task : batch) {
          task();
          task = nullptr;
        }
        batch.clear();
        lock.lock();
        continue;
      }
      if (stopping_) return;
      Wait(lock);
    }
  }

  // Sleeps until work is posted, the strand stops or the first timer is due.
  void Wait(std::unique_lock<std::mutex>& lock) {
    waiting_ = true;
    const auto ready = [this] { return stopping_ || !waiting_; };
    if (timers_.empty()) {
      wake_.wait(lock, ready);
    } else {
      const Instant due = timers_.begin()->first.first;
      wake_.wait_until(lock, due, ready);
    }
    waiting_ = false;
  }

  std::mutex mutex_;
  std::condition_variable wake_;
  // Guarded by mutex_.
  bool stopping_ = false;
  bool waiting_ = false;  // the thread sleeps and nobody has woken it yet
  std::vector<Task> queue_;
  TimerId last_timer_ = 0;  // only grows
  // By due time, then in the order of posting; timer_due_ finds the entry of an id.
  std::map<std::pair<Instant, TimerId>, Task> timers_;
  absl::flat_hash_map<TimerId, Instant> timer_due_;

  std::thread thread_;  // last: it uses all of the above
};

}  // namespace

std::unique_ptr<Strand> NewThreadStrand(const char* thread_name) {
  return std::make_unique<ThreadStrand>(thread_name);
}

}  // namespace etcdd::base
