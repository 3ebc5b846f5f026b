#pragma once

// Looks at the top level of a gRPC reply message as its bytes arrive, without keeping them: how
// often each field occurs and the values of its varints. Enough to be sure that a reply is what was
// asked for, at a cost that does not show beside a server.

#include <array>
#include <cstdint>
#include <string_view>

namespace etcdd::bench {

class ReplyScanner {
 public:
  static constexpr uint32_t kFieldMax = 15;

  // Starts anew, for another call.
  void Reset() { *this = ReplyScanner(); }

  // The next bytes of the stream: gRPC length prefix, message, perhaps further messages.
  void Feed(std::string_view bytes);

  // Complete messages so far; the counts below are sums over all of them.
  uint32_t messages() const { return messages_; }
  // False once the bytes cannot be an uncompressed gRPC message holding a protobuf message.
  bool well_formed() const { return well_formed_; }
  // Inside a message, or inside its prefix.
  bool incomplete() const { return carry_size_ > 0 || in_message_; }
  // Occurrences of a field. Requires: field <= kFieldMax.
  uint32_t occurrences(uint32_t field) const { return occurrences_[field]; }
  // Last varint value of a field, 0 when absent. Requires: field <= kFieldMax.
  uint64_t varint(uint32_t field) const { return varints_[field]; }

 private:
  static constexpr size_t kTokenBytesMax = 20;  // tag and varint

  // Tries to take one token (prefix, or tag with varint or length) off the front; 0 when more
  // bytes are needed, else the bytes used.
  size_t TakeToken(std::string_view bytes);
  void FinishMessageIfDone();

  uint32_t messages_ = 0;
  bool well_formed_ = true;
  bool in_message_ = false;
  uint64_t message_left_ = 0;  // bytes of this message not yet consumed
  uint64_t skip_left_ = 0;     // bytes of the present field's content, part of message_left_
  size_t carry_size_ = 0;      // bytes of a token cut by the end of a chunk
  std::array<char, kTokenBytesMax> carry_{};
  std::array<uint32_t, kFieldMax + 1> occurrences_{};
  std::array<uint64_t, kFieldMax + 1> varints_{};
};

}  // namespace etcdd::bench
