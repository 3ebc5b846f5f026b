#pragma once

// The two stream formats of the peer protocol as bytes (peer-protocol.md section 4): the message
// stream carries whole messages, msgapp v2 carries appends whose common fields both sides know.
// Payloads of entries are not copied on the way out when they are long: OutputBuffer refers to
// them, so all peers share one copy. On the way in an entry's payload is copied once, from where it
// was received to its own block.
//
// Confined to one strand.

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "raft/types.h"
#include "server/net/output_buffer.h"

namespace etcdd::transport {

enum class StreamKind { kMessage, kMsgApp };

// "stream Message", "stream MsgApp v2": in log lines.
std::string_view StreamTypeName(StreamKind kind);
// "message", "msgapp": in paths.
std::string_view StreamPathName(StreamKind kind);

// raftpb bytes of a message, as the body of a POST. Not for messages with responses.
void AppendMessage(const raft::Message& message, net::OutputBuffer* out);

class StreamEncoder {
 public:
  virtual ~StreamEncoder() = default;
  // Appends one frame. Requires: a message of this stream (MsgApp only on msgapp).
  virtual void Encode(const raft::Message& message, net::OutputBuffer* out) = 0;
  virtual void EncodeLinkHeartbeat(net::OutputBuffer* out) = 0;
};

class StreamDecoder {
 public:
  virtual ~StreamDecoder() = default;
  // Takes received bytes and gives away each message that is complete; link heartbeats are
  // swallowed. `sink` says false to stop (the decoder is then not used again). InvalidArgument: the
  // stream is broken. Memory grows with what was received, not with what a length announces.
  using Sink = absl::FunctionRef<bool(raft::Message message)>;
  virtual absl::Status Feed(std::string_view bytes, Sink sink) = 0;
};

std::unique_ptr<StreamEncoder> NewStreamEncoder(StreamKind kind);
// For the stream from `remote` to `self`.
std::unique_ptr<StreamDecoder> NewStreamDecoder(StreamKind kind, raft::NodeId self,
                                                raft::NodeId remote);

// Collects a given number of bytes that arrive in pieces.
class Assembler {
 public:
  // Takes bytes off the front of `*in`. True: `*out` is `size` contiguous bytes, valid until the
  // next call or until `*in` goes away. False: `*in` is used up and more is needed; ask again with
  // the same size.
  bool Take(std::string_view* in, size_t size, std::string_view* out);

 private:
  std::string partial_;
  bool taken_ = false;  // partial_ was given out
};

}  // namespace etcdd::transport
