#pragma once

// Bytes on their way to a socket. Short pieces are copied together into one block, long ones stay
// where they are and are kept alive until written, so a 300 KiB reply is never copied and a turn's
// hundred small ones are one piece.
//
// Confined to one loop.

#include <sys/uio.h>

#include <cstddef>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "server/base/bytes.h"

namespace etcdd::net {

// Whatever keeps a shared piece alive: one of the two is set.
struct PieceOwner {
  base::Bytes bytes;
  std::shared_ptr<const std::string> text;
};

class OutputBuffer {
 public:
  // Copies `piece`.
  void Append(std::string_view piece);
  // Refers to `piece` inside `owner` when it is long (kSharedPieceBytesMin), copies it otherwise.
  void AppendShared(std::string_view piece, const PieceOwner& owner);
  // Moves all bytes of `from` to the end of this one; shared pieces stay where they lie.
  void AppendAll(OutputBuffer* from);

  size_t size() const { return size_; }
  bool empty() const { return size_ == 0; }

  // Fills at most `max` vectors with the unwritten bytes in order; returns how many. They stay
  // valid until the next change of the buffer.
  int Vectors(iovec* out, int max) const;
  // Drops `count` written bytes from the front. Requires: count <= size().
  void Consume(size_t count);
  // Drops everything, keeps memory for reuse.
  void Clear();
  // All unwritten bytes in one string. For tests and diagnostics.
  std::string ToString() const;

 private:
  struct Segment {
    const char* shared = nullptr;  // nullptr: in block_ at `offset`
    size_t offset = 0;
    size_t size = 0;
    PieceOwner owner;
  };
  const char* Data(const Segment& segment) const {
    return segment.shared != nullptr ? segment.shared : block_.data() + segment.offset;
  }

  std::string block_;
  std::vector<Segment> segments_;  // [first_, end) are unwritten
  size_t first_ = 0;
  size_t size_ = 0;
};

}  // namespace etcdd::net
