#include "server/net/message_reader.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "server/net/limits.h"

namespace etcdd::net {
namespace {

// Reserved at once for a message in pieces; more comes as bytes really arrive, so that a client
// cannot make us allocate with prefixes alone.
constexpr size_t kFirstReserveBytes = 64 << 10;

void ShrinkForPool(std::string* text) {
  text->clear();
  if (text->capacity() > kPooledStringBytesMax) *text = std::string();
}

}  // namespace

void MessageReader::Reset(size_t size_max, MessageEncoding encoding,
                          std::string_view encoding_name) {
  size_max_ = size_max;
  encoding_ = encoding;
  encoding_name_ = encoding_name;
  prefix_have_ = 0;
  ShrinkForPool(&buffer_);
  ShrinkForPool(&delivered_);
}

MessageReader::Outcome MessageReader::Next(std::string_view* input, std::string_view* message,
                                           absl::Status* error) {
  if (prefix_have_ < kMessagePrefixBytes) {
    const size_t count = std::min(input->size(), kMessagePrefixBytes - prefix_have_);
    if (count > 0) std::memcpy(prefix_bytes_ + prefix_have_, input->data(), count);
    prefix_have_ += count;
    input->remove_prefix(count);
    if (prefix_have_ < kMessagePrefixBytes) return Outcome::kNeedMore;
    const auto prefix = ReadMessagePrefix(prefix_bytes_);
    if (!prefix.has_value()) {
      *error = absl::InternalError("grpc: received unexpected payload format");
      return Outcome::kError;
    }
    prefix_ = *prefix;
    if (prefix_.size > size_max_) {
      *error = MessageTooLargeError(prefix_.size, size_max_);
      return Outcome::kError;
    }
  }
  const size_t missing = prefix_.size - buffer_.size();
  if (buffer_.empty() && input->size() >= missing) {
    const std::string_view raw = input->substr(0, missing);
    input->remove_prefix(missing);
    return Deliver(raw, message, error);
  }
  if (buffer_.empty()) buffer_.reserve(std::min<size_t>(prefix_.size, kFirstReserveBytes));
  const size_t count = std::min(input->size(), missing);
  buffer_.append(input->substr(0, count));
  input->remove_prefix(count);
  if (count < missing) return Outcome::kNeedMore;
  delivered_ = std::move(buffer_);
  buffer_.clear();
  return Deliver(delivered_, message, error);
}

MessageReader::Outcome MessageReader::Deliver(std::string_view raw, std::string_view* message,
                                              absl::Status* error) {
  prefix_have_ = 0;
  if (!prefix_.compressed) {
    *message = raw;
    return Outcome::kMessage;
  }
  switch (encoding_) {
    case MessageEncoding::kIdentity:
      *error =
          absl::InternalError("grpc: compressed flag set with identity or empty encoding");
      return Outcome::kError;
    case MessageEncoding::kUnknown:
      *error = absl::UnimplementedError(
          absl::StrCat("grpc: Decompressor is not installed for grpc-encoding \"",
                       absl::string_view(encoding_name_.data(), encoding_name_.size()), "\""));
      return Outcome::kError;
    case MessageEncoding::kGzip: break;
  }
  auto inflated = GunzipMessage(raw, size_max_);
  if (!inflated.ok()) {
    *error = inflated.status();
    return Outcome::kError;
  }
  delivered_ = *std::move(inflated);
  *message = delivered_;
  return Outcome::kMessage;
}

}  // namespace etcdd::net
