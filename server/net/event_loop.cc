#include "server/net/event_loop.h"

#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <limits>

#include "boost/asio/executor_work_guard.hpp"
#include "boost/asio/posix/stream_descriptor.hpp"
#include "server/base/check.h"

namespace etcdd::net {
namespace {

constexpr int kEventsPerWait = 256;
// Rounds of "tasks made tasks" in one turn before descriptors are looked at again.
constexpr int kTaskRoundsMax = 64;
constexpr int kAsioHandlersPerTurn = 64;

int MustOpen(int fd, const char* what) {
  ETCDD_CHECK_MSG(fd >= 0, what);
  return fd;
}

// epoll's unit, rounded up so that a timer is due when the wait returns. -1 waits for ever.
int WaitMilliseconds(absl::Duration wait) {
  if (wait == absl::InfiniteDuration()) return -1;
  if (wait <= absl::ZeroDuration()) return 0;
  const int64_t ms = absl::ToInt64Milliseconds(absl::Ceil(wait, absl::Milliseconds(1)));
  return static_cast<int>(std::min<int64_t>(ms, std::numeric_limits<int>::max()));
}

}  // namespace

// The io_context of others. Our epoll descriptor is itself watched by it, so that waiting in the
// io_context waits for everything.
struct EventLoop::AsioGuest {
  explicit AsioGuest(int epoll_fd)
      : work(context.get_executor()), ours(context, ::dup(epoll_fd)) {}

  void Arm() {
    if (armed) return;
    armed = true;
    ours.async_wait(boost::asio::posix::stream_descriptor::wait_read,
                    [this](const boost::system::error_code&) { armed = false; });
  }

  boost::asio::io_context context{1};
  boost::asio::executor_work_guard<boost::asio::io_context::executor_type> work;
  boost::asio::posix::stream_descriptor ours;
  bool armed = false;  // a wait for our descriptors is outstanding
};

EventLoop::EventLoop(const base::Clock* clock)
    : clock_(clock),
      epoll_fd_(MustOpen(::epoll_create1(EPOLL_CLOEXEC), "epoll_create1")),
      wake_fd_(MustOpen(::eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC), "eventfd")),
      now_(clock->Monotonic()) {
  epoll_event event{};
  event.events = EPOLLIN | EPOLLET;
  event.data.ptr = nullptr;
  ETCDD_CHECK(::epoll_ctl(epoll_fd_, EPOLL_CTL_ADD, wake_fd_, &event) == 0);
}

EventLoop::~EventLoop() {
  asio_.reset();
  ::close(wake_fd_);
  ::close(epoll_fd_);
}

void EventLoop::Post(base::Task task) {
  if (OnLoopThread()) {
    tasks_.push_back(std::move(task));
    return;
  }
  {
    absl::MutexLock lock(&mu_);
    foreign_tasks_.push_back(std::move(task));
    foreign_pending_.store(true, std::memory_order_release);
  }
  Wake();
}

base::TimerId EventLoop::PostAfter(absl::Duration delay, base::Task task) {
  const absl::Duration when = clock_->Monotonic() + delay;
  base::TimerId id;
  {
    absl::MutexLock lock(&mu_);
    id = next_timer_id_++;
    delayed_.emplace(TimerKey(when, id), std::move(task));
    delayed_index_.emplace(id, when);
    delayed_pending_.store(true, std::memory_order_release);
  }
  if (!OnLoopThread()) Wake();
  return id;
}

void EventLoop::Cancel(base::TimerId id) {
  base::Task dropped;  // destroyed outside the lock: it may own anything
  absl::MutexLock lock(&mu_);
  const auto index = delayed_index_.find(id);
  if (index == delayed_index_.end()) return;
  const auto entry = delayed_.find(TimerKey(index->second, id));
  dropped = std::move(entry->second);
  delayed_.erase(entry);
  delayed_index_.erase(index);
}

void EventLoop::Wake() {
  if (woken_.exchange(true, std::memory_order_acq_rel)) return;
  const uint64_t one = 1;
  const ssize_t written = ::write(wake_fd_, &one, sizeof one);
  ETCDD_CHECK(written == sizeof one || errno == EAGAIN);
}

void EventLoop::Stop() {
  stop_.store(true, std::memory_order_release);
  Wake();
}

void EventLoop::Run() {
  owner_.store(std::this_thread::get_id());
  while (!stop_.load(std::memory_order_acquire)) RunTurn(absl::InfiniteDuration());
  stop_.store(false);
}

void EventLoop::RunTurn(absl::Duration wait_max) {
  owner_.store(std::this_thread::get_id(), std::memory_order_relaxed);
  if (!next_hooks_.empty() || !end_hooks_.empty() || !tasks_.empty() ||
      foreign_pending_.load(std::memory_order_acquire)) {
    wait_max = absl::ZeroDuration();
  } else if (wait_max > absl::ZeroDuration()) {
    wait_max = std::min(wait_max, TimeToNextTimer());
  }
  // Hooks of the turn before run after the wait, so that `now_` is theirs too.
  WaitAndDispatch(wait_max);
  RunHooks(&next_hooks_, &running_hooks_);
  FireTimers();
  for (int round = 0; round < kTaskRoundsMax && RunTasks(); ++round) {
  }
  RunHooks(&end_hooks_, &running_hooks_);
}

absl::Duration EventLoop::TimeToNextTimer() {
  absl::Duration next = timers_.next();
  if (delayed_pending_.load(std::memory_order_acquire)) {
    absl::MutexLock lock(&mu_);
    if (delayed_.empty()) {
      delayed_pending_.store(false, std::memory_order_release);
    } else {
      next = std::min(next, delayed_.begin()->first.first);
    }
  }
  if (next == absl::InfiniteDuration()) return next;
  return std::max(absl::ZeroDuration(), next - clock_->Monotonic());
}

void EventLoop::WaitAndDispatch(absl::Duration wait_max) {
  if (asio_ == nullptr) {
    DispatchReady(WaitMilliseconds(wait_max));
    return;
  }
  asio_->Arm();
  if (wait_max == absl::InfiniteDuration()) {
    asio_->context.run_one();
  } else if (wait_max > absl::ZeroDuration()) {
    asio_->context.run_one_for(absl::ToChronoNanoseconds(wait_max));
  }
  now_ = clock_->Monotonic();
  for (int i = 0; i < kAsioHandlersPerTurn && asio_->armed; ++i) {
    if (asio_->context.poll_one() == 0) break;
  }
  DispatchReady(0);
}

void EventLoop::DispatchReady(int wait_ms) {
  epoll_event events[kEventsPerWait];
  const int count = ::epoll_wait(epoll_fd_, events, kEventsPerWait, wait_ms);
  ETCDD_CHECK_MSG(count >= 0 || errno == EINTR, std::strerror(errno));
  now_ = clock_->Monotonic();
  ready_batch_ = events;
  ready_end_ = std::max(count, 0);
  for (ready_begin_ = 0; ready_begin_ < ready_end_;) {
    const epoll_event event = events[ready_begin_++];
    if (event.data.ptr == this) continue;  // unwatched meanwhile
    if (event.data.ptr == nullptr) {
      uint64_t counted;
      while (::read(wake_fd_, &counted, sizeof counted) > 0) {
      }
      // An exchange, not a store: it must see what a poster wrote before it found woken_ set.
      woken_.exchange(false, std::memory_order_acq_rel);
      continue;
    }
    static_cast<IoHandler*>(event.data.ptr)->OnReady(event.events);
  }
  ready_batch_ = nullptr;
}

void EventLoop::FireTimers() {
  timers_.Fire(now_);
  if (!delayed_pending_.load(std::memory_order_acquire)) return;
  for (;;) {
    base::Task task;
    {
      absl::MutexLock lock(&mu_);
      if (delayed_.empty() || delayed_.begin()->first.first > now_) return;
      const auto first = delayed_.begin();
      delayed_index_.erase(first->first.second);
      task = std::move(first->second);
      delayed_.erase(first);
    }
    task();
  }
}

bool EventLoop::RunTasks() {
  if (foreign_pending_.load(std::memory_order_acquire)) {
    absl::MutexLock lock(&mu_);
    foreign_pending_.store(false, std::memory_order_release);
    for (base::Task& task : foreign_tasks_) tasks_.push_back(std::move(task));
    foreign_tasks_.clear();
  }
  if (tasks_.empty()) return false;
  running_tasks_.swap(tasks_);
  for (base::Task& task : running_tasks_) {
    task();
    task = nullptr;  // what it owned dies before the next one runs
  }
  running_tasks_.clear();
  return true;
}

bool EventLoop::RunHooks(std::vector<TurnHook*>* list, std::vector<TurnHook*>* running) {
  if (list->empty()) return false;
  running->swap(*list);
  for (size_t i = 0; i < running->size(); ++i) {
    TurnHook* hook = (*running)[i];
    if (hook == nullptr) continue;
    hook->queued_ = false;
    hook->OnTurn();
  }
  running->clear();
  return true;
}

void EventLoop::Forget(TurnHook* hook) {
  // Also when it is not queued: it may be in the batch that runs right now.
  hook->queued_ = false;
  for (std::vector<TurnHook*>* list : {&end_hooks_, &next_hooks_, &running_hooks_}) {
    std::replace(list->begin(), list->end(), hook, static_cast<TurnHook*>(nullptr));
  }
}

void EventLoop::Watch(int fd, IoHandler* handler) {
  epoll_event event{};
  event.events = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET;
  event.data.ptr = handler;
  ETCDD_CHECK_MSG(::epoll_ctl(epoll_fd_, EPOLL_CTL_ADD, fd, &event) == 0, std::strerror(errno));
}

void EventLoop::Unwatch(int fd, IoHandler* handler) {
  epoll_event ignored{};
  ETCDD_CHECK_MSG(::epoll_ctl(epoll_fd_, EPOLL_CTL_DEL, fd, &ignored) == 0, std::strerror(errno));
  if (ready_batch_ == nullptr) return;
  auto* events = static_cast<epoll_event*>(ready_batch_);
  for (int i = ready_begin_; i < ready_end_; ++i) {
    if (events[i].data.ptr == handler) events[i].data.ptr = this;
  }
}

boost::asio::io_context& EventLoop::io_context() {
  if (asio_ == nullptr) asio_ = std::make_unique<AsioGuest>(epoll_fd_);
  return asio_->context;
}

}  // namespace etcdd::net
