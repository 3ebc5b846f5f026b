#pragma once

// Our end of a stream which the other member has asked for: messages wait here while its connection
// takes no more, up to a limit. It sends signs of life, and gives a connection up that takes
// nothing for kStreamIdleMax.
//
// Confined to the loop.

#include <cstddef>
#include <deque>
#include <memory>
#include <string_view>

#include "absl/time/time.h"
#include "raft/types.h"
#include "server/net/http1.h"
#include "server/net/output_buffer.h"
#include "server/net/timer_queue.h"
#include "server/transport/context.h"
#include "server/transport/stream_codec.h"

namespace etcdd::transport {

class StreamWriter {
 public:
  // Both must outlive the writer.
  StreamWriter(Context* context, PeerHost* host, StreamKind kind);
  ~StreamWriter();
  StreamWriter(const StreamWriter&) = delete;
  StreamWriter& operator=(const StreamWriter&) = delete;

  // Answers `exchange` with the stream; a newer one replaces an older one, and what waited for that
  // is lost with it.
  void Attach(std::shared_ptr<net::Http1Exchange> exchange);
  bool attached() const { return exchange_ != nullptr; }
  // Requires: attached. False: too much is waiting, the message is dropped.
  bool Write(raft::Message message);
  // Ends the stream in good order.
  void Stop();

 private:
  void Encode(const raft::Message& message);
  void Send();
  void OnWritable();
  void OnTimer();
  void Lose(std::string_view why);
  void Detach();

  Context* const context_;
  PeerHost* const host_;
  const StreamKind kind_;
  std::shared_ptr<net::Http1Exchange> exchange_;  // null: not attached
  std::unique_ptr<StreamEncoder> encoder_;
  net::OutputBuffer frames_;  // empty between calls
  std::deque<raft::Message> queue_;
  size_t queue_bytes_ = 0;  // of their entries
  bool blocked_ = false;
  absl::Duration blocked_since_;
  net::Timer timer_;
};

}  // namespace etcdd::transport
