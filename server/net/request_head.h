#pragma once

// The header block of one request, in memory that is reused from request to request.
//
// Confined to one loop.

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "server/net/message_reader.h"

namespace etcdd::net {

// Names and values one after the other in one string.
class HeaderList {
 public:
  void Clear();
  void Add(std::string_view name, std::string_view value);
  // First value under exactly this name.
  std::optional<std::string_view> Find(std::string_view name) const;

 private:
  struct Entry {
    uint32_t begin, name_size, value_size;
  };
  std::string text_;
  std::vector<Entry> entries_;
};

class RequestHead {
 public:
  void Clear();
  // One header field as it arrives. "-bin" values are decoded here; undecodable ones are dropped.
  void Add(std::string_view name, std::string_view value);

  const std::string& path() const { return path_; }
  std::string_view method() const { return method_; }
  std::string_view content_type() const { return content_type_; }
  std::string_view timeout() const { return timeout_; }
  MessageEncoding encoding() const { return encoding_; }
  std::string_view encoding_name() const { return encoding_name_; }
  // Everything a handler may ask for: all but the fields HTTP/2 and gRPC use themselves.
  const HeaderList& headers() const { return headers_; }
  // Size as SETTINGS_MAX_HEADER_LIST_SIZE counts it.
  size_t list_bytes() const { return list_bytes_; }

 private:
  std::string path_;
  std::string method_;
  std::string content_type_;
  std::string timeout_;
  std::string encoding_name_;
  MessageEncoding encoding_ = MessageEncoding::kIdentity;
  HeaderList headers_;
  size_t list_bytes_ = 0;
};

}  // namespace etcdd::net
