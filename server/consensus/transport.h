#pragma once

// What the raft loop wants of a network. A member without peers has none.

#include "raft/types.h"

namespace etcdd::consensus {

class Transport {
 public:
  virtual ~Transport() = default;
  // Sends a message to its `to`, or drops it: raft repeats what matters. Never blocks.
  virtual void Send(raft::Message message) = 0;
};

}  // namespace etcdd::consensus
