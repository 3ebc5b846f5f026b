#pragma once

// Reads JSON text from front to end without building a tree: whoever knows what should come next
// asks for it. Strict RFC 8259; nesting is bounded, memory is one string at a time.
//
//   JsonReader reader(text);
//   reader.ReadObject([&](std::string_view name) { return reader.Skip(); });
//
// Every method begins at the next value and leaves the reader behind it. After an error the reader
// is not to be used. Errors are InvalidArgument and name line and column. Not thread-safe.

#include <cstddef>
#include <string>
#include <string_view>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace etcdd::http {

inline constexpr int kJsonDepthMax = 100;

class JsonReader {
 public:
  enum class Kind { kObject, kArray, kString, kNumber, kTrue, kFalse, kNull, kEnd, kOther };

  // `text` must outlive the reader.
  explicit JsonReader(std::string_view text) : text_(text) {}

  // What comes next, after white space.
  Kind Next();
  // Bytes read so far.
  size_t position() const { return at_; }

  // Calls `member` behind the name of each member; it reads the value.
  absl::Status ReadObject(absl::FunctionRef<absl::Status(std::string_view name)> member);
  // Calls `element` before each element; it reads the element.
  absl::Status ReadArray(absl::FunctionRef<absl::Status()> element);
  absl::StatusOr<std::string> ReadString();
  // The number as written.
  absl::StatusOr<std::string_view> ReadNumber();
  // true, false or null, whichever is next.
  absl::Status ReadWord();
  // Any value.
  absl::Status Skip();

  // "proto: (line 1:8): TEXT" at what was read last.
  absl::Status Error(std::string_view text) const;

 private:
  absl::Status SyntaxError() const;
  bool TakeIf(char c);
  bool TakeDigits();
  absl::Status ReadEscape(std::string* out);
  // Four hex digits; -1 when there are none.
  int ReadHex();

  const std::string_view text_;
  size_t at_ = 0;
  size_t value_ = 0;  // where the last value or name began
  int depth_ = 0;
};

}  // namespace etcdd::http
