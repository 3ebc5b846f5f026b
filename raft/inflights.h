#pragma once

// The sliding window of append messages in flight to one follower: for each, the index of its last
// entry and its payload bytes, in order. A ring that grows on demand up to the message limit.

#include <cstddef>
#include <cstdint>
#include <vector>

namespace etcdd::raft {

class Inflights {
 public:
  // bytes_max 0 = no byte limit. The byte limit is soft: the message that crosses it is let in.
  Inflights(uint64_t messages_max, uint64_t bytes_max)
      : messages_max_(messages_max), bytes_max_(bytes_max) {}

  // Requires: not Full(), and `last_index` above all before.
  void Add(uint64_t last_index, uint64_t bytes);
  // The follower acknowledged everything up to `index`. Indexes outside the window have no effect.
  void FreeUpTo(uint64_t index);
  void Reset();

  bool Full() const {
    return count_ == messages_max_ || (bytes_max_ != 0 && bytes_ >= bytes_max_);
  }
  uint64_t count() const { return count_; }
  uint64_t bytes() const { return bytes_; }

 private:
  struct Message {
    uint64_t last_index;
    uint64_t bytes;
  };

  void Grow();

  uint64_t messages_max_;
  uint64_t bytes_max_;
  std::vector<Message> ring_;  // size is a power of two, or 0
  size_t start_ = 0;           // position of the oldest message
  uint64_t count_ = 0;         // <= messages_max_
  uint64_t bytes_ = 0;         // sum over the window
};

}  // namespace etcdd::raft
