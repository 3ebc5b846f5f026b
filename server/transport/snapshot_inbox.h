#pragma once

// Images that arrive from other members (POST /raft/snapshot): the message first, which opens a
// sink, then the image, whose pieces go to the sink in order on the strand that may block. A sender
// is not read while too many of its bytes wait for the disk. When the sink has made all of it
// durable, the message goes to raft and the sender gets its 204.
//
// Confined to the loop.

#include <cstddef>
#include <memory>
#include <unordered_set>

#include "server/net/http1.h"
#include "server/transport/context.h"

namespace etcdd::transport {

class SnapshotInbox {
 public:
  // `context` must outlive the inbox.
  explicit SnapshotInbox(Context* context);
  // What is under way is refused.
  ~SnapshotInbox();
  SnapshotInbox(const SnapshotInbox&) = delete;
  SnapshotInbox& operator=(const SnapshotInbox&) = delete;

  // Takes a request that passed the first checks, with its body in pieces.
  void Receive(std::shared_ptr<net::Http1Exchange> exchange);
  // Ends what is under way.
  void RefuseAll();
  size_t size() const { return arrivals_.size(); }

 private:
  class Arrival;

  Context* const context_;
  std::unordered_set<std::shared_ptr<Arrival>> arrivals_;
};

}  // namespace etcdd::transport
