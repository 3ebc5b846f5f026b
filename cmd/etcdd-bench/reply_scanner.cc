#include "cmd/etcdd-bench/reply_scanner.h"

#include <algorithm>

#include "cmd/etcdd-bench/frame.h"
#include "server/base/coding.h"

namespace etcdd::bench {
namespace {

constexpr size_t kPrefixBytes = 5;

}  // namespace

void ReplyScanner::Feed(std::string_view bytes) {
  while (well_formed_ && !bytes.empty()) {
    if (skip_left_ > 0) {
      const uint64_t skipped = std::min<uint64_t>(skip_left_, bytes.size());
      bytes.remove_prefix(skipped);
      skip_left_ -= skipped;
      message_left_ -= skipped;
      FinishMessageIfDone();
      continue;
    }
    if (carry_size_ == 0) {
      const size_t used = TakeToken(bytes);
      if (used > 0) {
        bytes.remove_prefix(used);
        continue;
      }
    }
    if (!well_formed_) return;
    if (carry_size_ == carry_.size()) {
      well_formed_ = false;
      return;
    }
    carry_[carry_size_++] = bytes.front();
    bytes.remove_prefix(1);
    if (TakeToken({carry_.data(), carry_size_}) > 0) carry_size_ = 0;
  }
}

size_t ReplyScanner::TakeToken(std::string_view bytes) {
  if (!in_message_) {
    if (bytes.size() < kPrefixBytes) return 0;
    if (bytes[0] != 0) well_formed_ = false;  // compressed, which was not asked for
    message_left_ = ReadBigEndian32(bytes.data() + 1);
    in_message_ = true;
    FinishMessageIfDone();
    return kPrefixBytes;
  }
  std::string_view rest = bytes.substr(0, message_left_);
  const size_t available = rest.size();
  const bool whole = available == message_left_ || available >= kTokenBytesMax;
  const auto tag = base::TakeVarint(&rest);
  const auto value = tag.has_value() ? base::TakeVarint(&rest) : std::nullopt;
  if (!value.has_value()) {
    if (whole) well_formed_ = false;
    return 0;
  }
  const uint64_t field = *tag >> 3;
  const uint64_t wire_type = *tag & 7;
  const size_t used = available - rest.size();
  message_left_ -= used;
  // etcd's replies hold varints and length-delimited fields only.
  if (wire_type == 2) {
    skip_left_ = *value;
    if (skip_left_ > message_left_) well_formed_ = false;
  } else if (wire_type != 0) {
    well_formed_ = false;
  }
  if (field <= kFieldMax) {
    ++occurrences_[field];
    if (wire_type == 0) varints_[field] = *value;
  }
  FinishMessageIfDone();
  return used;
}

void ReplyScanner::FinishMessageIfDone() {
  if (message_left_ > 0) return;
  in_message_ = false;
  ++messages_;
}

}  // namespace etcdd::bench
