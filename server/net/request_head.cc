#include "server/net/request_head.h"

#include "server/net/grpc_codec.h"
#include "server/net/limits.h"

namespace etcdd::net {
namespace {

constexpr size_t kFieldOverheadBytes = 32;  // RFC 9113 section 10.5.1

// What the front door itself needs to know of a field.
enum class Field { kOther, kPath, kMethod, kContentType, kTimeout, kEncoding, kUnused };

Field Classify(std::string_view name) {
  switch (name.size()) {
    case 2: return name == "te" ? Field::kUnused : Field::kOther;
    case 5: return name == ":path" ? Field::kPath : Field::kOther;
    case 7:
      if (name == ":method") return Field::kMethod;
      return name == ":scheme" ? Field::kUnused : Field::kOther;
    case 12:
      if (name == "content-type") return Field::kContentType;
      return name == "grpc-timeout" ? Field::kTimeout : Field::kOther;
    case 13: return name == "grpc-encoding" ? Field::kEncoding : Field::kOther;
    case 14: return name == "content-length" ? Field::kUnused : Field::kOther;
    case 20: return name == "grpc-accept-encoding" ? Field::kUnused : Field::kOther;
    default: return Field::kOther;
  }
}

bool IsBinary(std::string_view name) {
  constexpr std::string_view kBinary = "-bin";
  return name.size() > kBinary.size() && name.substr(name.size() - kBinary.size()) == kBinary;
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
  switch (Classify(name)) {
    case Field::kPath: path_ = Keep(value); return;
    case Field::kMethod: method_ = Keep(value); return;
    case Field::kContentType: content_type_ = Keep(value); return;
    case Field::kTimeout: timeout_ = Keep(value); return;
    case Field::kEncoding:
      encoding_name_ = Keep(value);
      encoding_ = value == "identity" ? MessageEncoding::kIdentity
                  : value == "gzip"   ? MessageEncoding::kGzip
                                      : MessageEncoding::kUnknown;
      return;
    case Field::kUnused: return;
    case Field::kOther: break;
  }
  if (!IsBinary(name)) {
    AddField(name, value);
  } else if (const auto bytes = DecodeBinaryHeader(value.substr(0, value.find(',')))) {
    // Several values may share one field, separated by commas; callers ask for the first.
    AddField(name, *bytes);
  }
}

}  // namespace etcdd::net
