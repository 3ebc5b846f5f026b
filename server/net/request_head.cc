#include "server/net/request_head.h"

#include "server/net/grpc_codec.h"
#include "server/net/limits.h"

namespace etcdd::net {
namespace {

constexpr size_t kFieldOverheadBytes = 32;  // RFC 9113 section 10.5.1

bool EndsWith(std::string_view text, std::string_view end) {
  return text.size() >= end.size() && text.substr(text.size() - end.size()) == end;
}

}  // namespace

void RequestHead::Clear() {
  text_.clear();
  if (text_.capacity() > kPooledStringBytesMax) text_ = std::string();
  fields_.clear();
  path_ = method_ = content_type_ = timeout_ = encoding_name_ = Piece();
  encoding_ = MessageEncoding::kIdentity;
  list_bytes_ = 0;
}

RequestHead::Piece RequestHead::Keep(std::string_view text) {
  const Piece piece{static_cast<uint32_t>(text_.size()), static_cast<uint32_t>(text.size())};
  text_.append(text);
  return piece;
}

void RequestHead::AddField(std::string_view name, std::string_view value) {
  fields_.push_back(Entry{static_cast<uint32_t>(text_.size()), static_cast<uint32_t>(name.size()),
                          static_cast<uint32_t>(value.size())});
  text_.append(name);
  text_.append(value);
}

std::optional<std::string_view> RequestHead::Find(std::string_view name) const {
  for (const Entry& entry : fields_) {
    if (entry.name_size != name.size()) continue;
    const std::string_view field(text_.data() + entry.begin, entry.name_size + entry.value_size);
    if (field.substr(0, name.size()) == name) return field.substr(name.size());
  }
  return std::nullopt;
}

void RequestHead::Add(std::string_view name, std::string_view value) {
  list_bytes_ += name.size() + value.size() + kFieldOverheadBytes;
  if (list_bytes_ > kHeaderListBytesMax) return;  // refused later; no need to keep it
  if (name == ":path") {
    path_ = Keep(value);
  } else if (name == ":method") {
    method_ = Keep(value);
  } else if (name == ":scheme" || name == "te" || name == "grpc-accept-encoding") {
    return;
  } else if (name == "content-type") {
    content_type_ = Keep(value);
  } else if (name == "grpc-timeout") {
    timeout_ = Keep(value);
  } else if (name == "grpc-encoding") {
    encoding_name_ = Keep(value);
    encoding_ = value == "identity" ? MessageEncoding::kIdentity
                : value == "gzip"   ? MessageEncoding::kGzip
                                    : MessageEncoding::kUnknown;
  } else if (EndsWith(name, "-bin")) {
    // Several values may share one field, separated by commas; callers ask for the first.
    if (const auto bytes = DecodeBinaryHeader(value.substr(0, value.find(',')))) {
      AddField(name, *bytes);
    }
  } else {
    AddField(name, value);
  }
}

}  // namespace etcdd::net
