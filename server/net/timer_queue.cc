#include "server/net/timer_queue.h"

#include "server/base/check.h"

namespace etcdd::net {

void Timer::Schedule(TimerQueue* queue, absl::Duration when) {
  Cancel();
  when_ = when;
  queue->Insert(this);
}

void Timer::Cancel() {
  if (queue_ != nullptr) queue_->Remove(this);
}

TimerQueue::~TimerQueue() {
  for (Timer* timer : heap_) timer->queue_ = nullptr;
}

absl::Duration TimerQueue::next() const {
  return heap_.empty() ? absl::InfiniteDuration() : heap_.front()->when_;
}

void TimerQueue::Fire(absl::Duration now) {
  // A callback that schedules itself again for a time already past waits for the next call, so a
  // turn ends: at most as many fire as were there on entry.
  for (size_t budget = heap_.size(); budget > 0; --budget) {
    if (heap_.empty() || heap_.front()->when_ > now) return;
    Timer* timer = heap_.front();
    Remove(timer);
    timer->callback_();
  }
}

void TimerQueue::Insert(Timer* timer) {
  ETCDD_CHECK(timer->queue_ == nullptr);
  timer->queue_ = this;
  heap_.push_back(timer);
  SiftUp(timer, heap_.size() - 1);
}

void TimerQueue::Remove(Timer* timer) {
  ETCDD_CHECK(timer->queue_ == this);
  const size_t index = timer->index_;
  timer->queue_ = nullptr;
  Timer* last = heap_.back();
  heap_.pop_back();
  if (last == timer) return;
  if (index > 0 && last->when_ < heap_[(index - 1) / 2]->when_) {
    SiftUp(last, index);
  } else {
    SiftDown(last, index);
  }
}

void TimerQueue::Place(Timer* timer, size_t index) {
  heap_[index] = timer;
  timer->index_ = index;
}

void TimerQueue::SiftUp(Timer* timer, size_t index) {
  while (index > 0) {
    const size_t parent = (index - 1) / 2;
    if (!(timer->when_ < heap_[parent]->when_)) break;
    Place(heap_[parent], index);
    index = parent;
  }
  Place(timer, index);
}

void TimerQueue::SiftDown(Timer* timer, size_t index) {
  for (;;) {
    size_t child = 2 * index + 1;
    if (child >= heap_.size()) break;
    if (child + 1 < heap_.size() && heap_[child + 1]->when_ < heap_[child]->when_) ++child;
    if (!(heap_[child]->when_ < timer->when_)) break;
    Place(heap_[child], index);
    index = child;
  }
  Place(timer, index);
}

}  // namespace etcdd::net
