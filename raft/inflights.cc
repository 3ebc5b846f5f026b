#include "raft/inflights.h"

#include <algorithm>
#include <utility>

#include "server/base/check.h"

namespace etcdd::raft {

void Inflights::Add(uint64_t last_index, uint64_t bytes) {
  ETCDD_CHECK(!Full());
  if (count_ == ring_.size()) Grow();
  ring_[(start_ + count_) & (ring_.size() - 1)] = {last_index, bytes};
  ++count_;
  bytes_ += bytes;
}

void Inflights::FreeUpTo(uint64_t index) {
  while (count_ > 0 && ring_[start_].last_index <= index) {
    bytes_ -= ring_[start_].bytes;
    start_ = (start_ + 1) & (ring_.size() - 1);
    --count_;
  }
  if (count_ == 0) start_ = 0;
}

void Inflights::Reset() {
  start_ = 0;
  count_ = 0;
  bytes_ = 0;
}

void Inflights::Grow() {
  constexpr size_t kFirstSize = 8;
  std::vector<Message> bigger(ring_.empty() ? kFirstSize : ring_.size() * 2);
  for (size_t i = 0; i < count_; ++i) bigger[i] = ring_[(start_ + i) & (ring_.size() - 1)];
  ring_ = std::move(bigger);
  start_ = 0;
}

}  // namespace etcdd::raft
