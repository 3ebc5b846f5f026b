#pragma once

// Memory for nghttp2's many small objects (streams, frames, header arrays: about ten per request).
// Freed blocks wait in lists by size, last in first out; the C library's thread cache keeps seven
// of a size, and a turn frees hundreds.
//
// Confined to one loop. Must outlive the sessions that use it.

#include <nghttp2/nghttp2.h>

#include <array>
#include <cstddef>

namespace etcdd::net {

class SessionMemory {
 public:
  SessionMemory();
  ~SessionMemory();
  SessionMemory(const SessionMemory&) = delete;
  SessionMemory& operator=(const SessionMemory&) = delete;

  // For nghttp2_session_server_new3.
  nghttp2_mem* functions() { return &functions_; }

 private:
  struct Block;  // precedes the bytes handed out
  struct Functions;
  friend struct Functions;

  static constexpr size_t kClassBytes = 32;
  static constexpr size_t kClasses = 32;  // blocks up to 1 KiB are kept

  void* Allocate(size_t size);
  void Free(void* memory);

  nghttp2_mem functions_;
  std::array<Block*, kClasses> free_{};
  size_t kept_bytes_ = 0;
};

}  // namespace etcdd::net
