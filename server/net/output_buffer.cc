#include "server/net/output_buffer.h"

#include <utility>

#include "server/base/check.h"
#include "server/net/limits.h"

namespace etcdd::net {
namespace {

// The block keeps at most this much between uses.
constexpr size_t kKeptBlockBytesMax = 2 * kWriteBytesMax;

}  // namespace

void OutputBuffer::Append(std::string_view piece) {
  if (piece.empty()) return;
  if (segments_.size() == first_ || segments_.back().shared != nullptr) {
    Segment& segment = segments_.emplace_back();
    segment.offset = block_.size();
  }
  block_.append(piece);
  segments_.back().size += piece.size();
  size_ += piece.size();
}

void OutputBuffer::AppendShared(std::string_view piece, const PieceOwner& owner) {
  if (piece.size() < kSharedPieceBytesMin) {
    Append(piece);
    return;
  }
  Segment& segment = segments_.emplace_back();
  segment.shared = piece.data();
  segment.size = piece.size();
  segment.owner = owner;
  size_ += piece.size();
}

void OutputBuffer::AppendAll(OutputBuffer* from) {
  ETCDD_CHECK(from != this);
  for (size_t i = from->first_; i < from->segments_.size(); ++i) {
    Segment& segment = from->segments_[i];
    if (segment.shared == nullptr) {
      Append({from->block_.data() + segment.offset, segment.size});
      continue;
    }
    size_ += segment.size;
    segments_.push_back(std::move(segment));
  }
  from->Clear();
}

int OutputBuffer::Vectors(iovec* out, int max) const {
  int count = 0;
  for (size_t i = first_; i < segments_.size() && count < max; ++i, ++count) {
    out[count].iov_base = const_cast<char*>(Data(segments_[i]));
    out[count].iov_len = segments_[i].size;
  }
  return count;
}

void OutputBuffer::Consume(size_t count) {
  ETCDD_CHECK(count <= size_);
  size_ -= count;
  while (count > 0) {
    Segment& segment = segments_[first_];
    if (count < segment.size) {
      if (segment.shared != nullptr) {
        segment.shared += count;
      } else {
        segment.offset += count;
      }
      segment.size -= count;
      break;
    }
    count -= segment.size;
    segment.owner = PieceOwner();
    ++first_;
  }
  if (size_ == 0) Clear();
}

void OutputBuffer::Clear() {
  segments_.clear();
  first_ = 0;
  size_ = 0;
  if (block_.capacity() > kKeptBlockBytesMax) {
    block_ = std::string();
  } else {
    block_.clear();
  }
}

std::string OutputBuffer::ToString() const {
  std::string result;
  for (size_t i = first_; i < segments_.size(); ++i) {
    result.append(Data(segments_[i]), segments_[i].size);
  }
  return result;
}

}  // namespace etcdd::net
