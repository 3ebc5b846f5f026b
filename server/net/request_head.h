#pragma once

// The header block of one request: names and values one after the other in one string, whose memory
// is reused from request to request.
//
// Confined to one loop.

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "server/net/message_reader.h"

namespace etcdd::net {

class RequestHead {
 public:
  void Clear();
  // One header field as it arrives. "-bin" values are decoded here; undecodable ones are dropped.
  void Add(std::string_view name, std::string_view value);

  // Fields of HTTP/2 and gRPC; empty when absent. Views are valid until Clear or Add.
  std::string_view path() const { return View(path_); }
  std::string_view method() const { return View(method_); }
  std::string_view content_type() const { return View(content_type_); }
  std::string_view timeout() const { return View(timeout_); }
  std::string_view encoding_name() const { return View(encoding_name_); }
  MessageEncoding encoding() const { return encoding_; }
  // First value of any other field, by exact lower-case name.
  std::optional<std::string_view> Find(std::string_view name) const;
  // Size as SETTINGS_MAX_HEADER_LIST_SIZE counts it.
  size_t list_bytes() const { return list_bytes_; }

 private:
  struct Piece {
    uint32_t begin = 0;
    uint32_t size = 0;
  };
  struct Entry {
    uint32_t begin, name_size, value_size;
  };

  std::string_view View(Piece piece) const { return {text_.data() + piece.begin, piece.size}; }
  Piece Keep(std::string_view text);
  void AddField(std::string_view name, std::string_view value);

  std::string text_;
  std::vector<Entry> fields_;
  Piece path_, method_, content_type_, timeout_, encoding_name_;
  MessageEncoding encoding_ = MessageEncoding::kIdentity;
  size_t list_bytes_ = 0;
};

}  // namespace etcdd::net
