#pragma once

// Cuts a stream of request bytes into gRPC messages: the five-byte prefix and the message may come
// in any pieces. A message that lies whole in one piece is handed out as a view into that piece.
//
// Confined to one loop.

#include <cstddef>
#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "server/net/grpc_codec.h"

namespace etcdd::net {

// What "grpc-encoding" of the request promised.
enum class MessageEncoding { kIdentity, kGzip, kUnknown };

class MessageReader {
 public:
  enum class Outcome { kNeedMore, kMessage, kError };

  // Starts over. Messages above `size_max` bytes (before and after decompression) are refused.
  // `encoding_name` is used in an error text and must outlive the reading.
  void Reset(size_t size_max, MessageEncoding encoding, std::string_view encoding_name);

  // Takes bytes off the front of `input` up to the end of one message. kMessage: `message` is valid
  // until the next call and no longer than `input`'s bytes. kError: `error` says why, nothing more
  // can be read. kNeedMore: `input` is empty.
  Outcome Next(std::string_view* input, std::string_view* message, absl::Status* error);

  // Bytes held of a message that is not complete.
  size_t assembling() const { return buffer_.size(); }
  // True between messages.
  bool idle() const { return prefix_have_ == 0; }

 private:
  Outcome Deliver(std::string_view raw, std::string_view* message, absl::Status* error);

  size_t size_max_ = 0;
  MessageEncoding encoding_ = MessageEncoding::kIdentity;
  std::string_view encoding_name_;
  char prefix_bytes_[kMessagePrefixBytes] = {};
  size_t prefix_have_ = 0;
  MessagePrefix prefix_;   // valid when prefix_have_ == kMessagePrefixBytes
  std::string buffer_;     // of the current message when it comes in pieces
  std::string delivered_;  // what the last message view points to, unless it is in the input
};

}  // namespace etcdd::net
