#pragma once

// Cuts a request body that arrives in pieces into the JSON objects it consists of; nothing or white
// space is between them.
//
// Not thread-safe.

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>

#include "absl/status/statusor.h"

namespace etcdd::http {

class MessageSplitter {
 public:
  // Longer objects are an error, bytes.
  explicit MessageSplitter(size_t message_bytes_max) : message_bytes_max_(message_bytes_max) {}

  void Append(std::string_view piece);
  // The next complete object as it was sent; nullopt when more bytes are needed. Errors:
  // InvalidArgument for what cannot become an object, ResourceExhausted for too long ones; the
  // splitter is not to be used any more.
  absl::StatusOr<std::optional<std::string>> Next();
  // True when nothing but white space is left.
  bool empty() const;

 private:
  std::string buffer_;
  // Of buffer_: where the first object that was not given out begins, how far it was looked at, and
  // what was found there.
  size_t begin_ = 0;
  size_t scanned_ = 0;
  size_t depth_ = 0;
  bool in_string_ = false;
  bool escaped_ = false;
  const size_t message_bytes_max_;
};

}  // namespace etcdd::http
