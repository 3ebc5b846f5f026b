#include "server/http/message_splitter.h"

#include <algorithm>

#include "absl/strings/str_cat.h"

namespace etcdd::http {
namespace {

constexpr std::string_view kWhiteSpace = " \t\r\n";

}  // namespace

void MessageSplitter::Append(std::string_view piece) {
  // Here, and not for each object: a piece may hold thousands.
  buffer_.erase(0, begin_);
  scanned_ -= std::min(scanned_, begin_);
  begin_ = 0;
  buffer_.append(piece);
}

bool MessageSplitter::empty() const {
  return buffer_.find_first_not_of(kWhiteSpace, begin_) == buffer_.npos;
}

absl::StatusOr<std::optional<std::string>> MessageSplitter::Next() {
  if (depth_ == 0) {
    begin_ = std::min(buffer_.find_first_not_of(kWhiteSpace, begin_), buffer_.size());
    scanned_ = begin_;
    if (begin_ == buffer_.size()) return std::nullopt;
    if (buffer_[begin_] != '{') {
      return absl::InvalidArgumentError("proto: syntax error: a message is an object");
    }
  }
  for (; scanned_ < buffer_.size(); ++scanned_) {
    const char c = buffer_[scanned_];
    if (in_string_) {
      in_string_ = escaped_ || c != '"';
      escaped_ = !escaped_ && c == '\\';
    } else if (c == '"') {
      in_string_ = true;
    } else if (c == '{' || c == '[') {
      ++depth_;
    } else if ((c == '}' || c == ']') && --depth_ == 0) {
      ++scanned_;
      break;
    }
  }
  const size_t size = scanned_ - begin_;
  if (size > message_bytes_max_) {
    return absl::ResourceExhaustedError(absl::StrCat(
        "grpc: received message larger than max (", size, " vs. ", message_bytes_max_, ")"));
  }
  if (depth_ > 0) return std::nullopt;
  std::string message = buffer_.substr(begin_, size);
  begin_ = scanned_;
  return message;
}

}  // namespace etcdd::http
