#pragma once

// Messages to another member one by one, each a POST /raft: for members that have no stream to us
// (yet), and for those that are no peers. A few connections work on one queue; replication waits
// behind everything else, so that heartbeats and votes are not late.
//
// Confined to the loop.

#include <cstddef>
#include <deque>
#include <memory>
#include <string>
#include <vector>

#include "raft/types.h"
#include "server/net/http1_client.h"
#include "server/transport/context.h"

namespace etcdd::transport {

class Pipeline {
 public:
  // Both must outlive the pipeline.
  Pipeline(Context* context, PeerHost* host);
  ~Pipeline();
  Pipeline(const Pipeline&) = delete;
  Pipeline& operator=(const Pipeline&) = delete;

  // False: too much is waiting, the message is dropped.
  bool Send(raft::Message message);
  void Stop();

 private:
  class Worker;

  bool empty() const { return urgent_.empty() && bulk_.empty(); }
  raft::Message TakeNext();
  // Gives what waits to workers without work.
  void Pump();

  Context* const context_;
  PeerHost* const host_;
  std::vector<std::unique_ptr<Worker>> workers_;
  std::deque<raft::Message> urgent_;
  std::deque<raft::Message> bulk_;  // appends and proposals
  bool stopped_ = false;
};

}  // namespace etcdd::transport
