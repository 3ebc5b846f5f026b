#pragma once

// One watch of the server's own: the hub's responses, decoded.
//
// Confined to the server strand.

#include <functional>
#include <memory>
#include <string>

#include "mvcc/watch_hub.h"
#include "proto/rpc.pb.h"

namespace etcdd::concurrency {

class HubWatch final : private mvcc::WatchSink {
 public:
  // Hears of each response with events, and of the end, which is that the watch's next revision has
  // been compacted. Runs inside the hub: it must neither make nor destroy a watch. False: enough
  // for now, go on after OnWritable.
  using OnResponse = std::function<bool(const etcdserverpb::WatchResponse& response)>;

  // `hub` must outlive the watch.
  HubWatch(mvcc::WatchHub* hub, const mvcc::WatchCreate& create, OnResponse on_response);

  void OnWritable() { stream_->OnWritable(); }

 private:
  bool Send(std::string head, base::Bytes events) override;

  const OnResponse on_response_;
  const std::unique_ptr<mvcc::WatchStream> stream_;
};

}  // namespace etcdd::concurrency
