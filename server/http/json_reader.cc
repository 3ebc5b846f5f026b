#include "server/http/json_reader.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "server/base/status_macros.h"
#include "server/http/utf8.h"

namespace etcdd::http {
namespace {

absl::string_view Abseil(std::string_view text) { return {text.data(), text.size()}; }

bool IsDigit(char c) { return c >= '0' && c <= '9'; }

}  // namespace

absl::Status JsonReader::Error(std::string_view text) const {
  if (value_ >= text_.size()) return SyntaxError();  // a value was expected, and none came
  const std::string_view before = text_.substr(0, value_);
  const auto line = 1 + std::count(before.begin(), before.end(), '\n');
  const size_t column = before.size() - (before.rfind('\n') + 1) + 1;
  return absl::InvalidArgumentError(
      absl::StrCat("proto: (line ", line, ":", column, "): ", Abseil(text)));
}

absl::Status JsonReader::SyntaxError() const {
  if (at_ >= text_.size()) return absl::InvalidArgumentError("unexpected EOF");
  const std::string_view rest = text_.substr(at_);
  return absl::InvalidArgumentError(absl::StrCat(
      "proto: syntax error (offset ", at_, "): unexpected token ",
      Abseil(rest.substr(0, std::max<size_t>(Utf8Length(rest), 1)))));
}

JsonReader::Kind JsonReader::Next() {
  while (at_ < text_.size() && std::string_view(" \t\r\n").find(text_[at_]) != text_.npos) ++at_;
  value_ = at_;
  if (at_ == text_.size()) return Kind::kEnd;
  switch (text_[at_]) {
    case '{': return Kind::kObject;
    case '[': return Kind::kArray;
    case '"': return Kind::kString;
    case 't': return Kind::kTrue;
    case 'f': return Kind::kFalse;
    case 'n': return Kind::kNull;
    default: return text_[at_] == '-' || IsDigit(text_[at_]) ? Kind::kNumber : Kind::kOther;
  }
}

bool JsonReader::TakeIf(char c) {
  if (at_ >= text_.size() || text_[at_] != c) return false;
  ++at_;
  return true;
}

absl::Status JsonReader::ReadObject(
    absl::FunctionRef<absl::Status(std::string_view name)> member) {
  if (Next() != Kind::kObject) return SyntaxError();
  ++at_;
  if (++depth_ > kJsonDepthMax) return Error("exceeded maximum recursion depth");
  Next();
  for (bool first = true; !TakeIf('}'); first = false) {
    if (!first && !TakeIf(',')) return SyntaxError();
    Next();
    ETCDD_ASSIGN_OR_RETURN(const std::string name, ReadString());
    const size_t name_begin = value_;
    Next();
    if (!TakeIf(':')) return SyntaxError();
    value_ = name_begin;
    ETCDD_RETURN_IF_ERROR(member(name));
    Next();
  }
  --depth_;
  return absl::OkStatus();
}

absl::Status JsonReader::ReadArray(absl::FunctionRef<absl::Status()> element) {
  if (Next() != Kind::kArray) return SyntaxError();
  ++at_;
  if (++depth_ > kJsonDepthMax) return Error("exceeded maximum recursion depth");
  Next();
  for (bool first = true; !TakeIf(']'); first = false) {
    if (!first && !TakeIf(',')) return SyntaxError();
    ETCDD_RETURN_IF_ERROR(element());
    Next();
  }
  --depth_;
  return absl::OkStatus();
}

absl::StatusOr<std::string> JsonReader::ReadString() {
  if (Next() != Kind::kString) return SyntaxError();
  ++at_;
  std::string out;
  while (!TakeIf('"')) {
    if (at_ >= text_.size()) return SyntaxError();
    if (TakeIf('\\')) {
      ETCDD_RETURN_IF_ERROR(ReadEscape(&out));
      continue;
    }
    const size_t length = Utf8Length(text_.substr(at_));
    if (length == 0) return Error("invalid UTF-8 in string");
    if (static_cast<unsigned char>(text_[at_]) < 0x20) {
      return Error("invalid control character in string");
    }
    out.append(text_, at_, length);
    at_ += length;
  }
  return out;
}

absl::Status JsonReader::ReadEscape(std::string* out) {
  constexpr std::string_view kEscapes = "\"\\/bfnrt";
  constexpr std::string_view kMeanings = "\"\\/\b\f\n\r\t";
  if (at_ >= text_.size()) return SyntaxError();
  if (const size_t found = kEscapes.find(text_[at_]); found != kEscapes.npos) {
    out->push_back(kMeanings[found]);
    ++at_;
    return absl::OkStatus();
  }
  if (!TakeIf('u')) return SyntaxError();
  int code_point = ReadHex();
  if (code_point >= 0xd800 && code_point < 0xdc00) {
    const int low = TakeIf('\\') && TakeIf('u') ? ReadHex() : -1;
    if (low < 0xdc00 || low >= 0xe000) return Error("invalid surrogate pair in string");
    code_point = 0x10000 + ((code_point - 0xd800) << 10) + (low - 0xdc00);
  } else if (code_point < 0 || (code_point >= 0xdc00 && code_point < 0xe000)) {
    return Error("invalid escape in string");
  }
  AppendUtf8(static_cast<uint32_t>(code_point), out);
  return absl::OkStatus();
}

int JsonReader::ReadHex() {
  int value = 0;
  for (int i = 0; i < 4; ++i, ++at_) {
    const char c = at_ < text_.size() ? text_[at_] : ' ';
    const int digit = IsDigit(c)               ? c - '0'
                      : c >= 'a' && c <= 'f' ? c - 'a' + 10
                      : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                             : -1;
    if (digit < 0) return -1;
    value = value * 16 + digit;
  }
  return value;
}

bool JsonReader::TakeDigits() {
  const size_t begin = at_;
  while (at_ < text_.size() && IsDigit(text_[at_])) ++at_;
  return at_ > begin;
}

absl::StatusOr<std::string_view> JsonReader::ReadNumber() {
  if (Next() != Kind::kNumber) return SyntaxError();
  const size_t begin = at_;
  TakeIf('-');
  if (!TakeIf('0') && !TakeDigits()) return SyntaxError();
  if (TakeIf('.') && !TakeDigits()) return SyntaxError();
  if (TakeIf('e') || TakeIf('E')) {
    if (!TakeIf('+')) TakeIf('-');
    if (!TakeDigits()) return SyntaxError();
  }
  if (at_ < text_.size() && IsDigit(text_[at_])) return SyntaxError();  // "01"
  return text_.substr(begin, at_ - begin);
}

absl::Status JsonReader::ReadWord() {
  Next();
  for (const std::string_view word : {"true", "false", "null"}) {
    if (text_.substr(at_, word.size()) != word) continue;
    at_ += word.size();
    return absl::OkStatus();
  }
  return SyntaxError();
}

absl::Status JsonReader::Skip() {
  switch (Next()) {
    case Kind::kObject: return ReadObject([this](std::string_view) { return Skip(); });
    case Kind::kArray: return ReadArray([this] { return Skip(); });
    case Kind::kString: return ReadString().status();
    case Kind::kNumber: return ReadNumber().status();
    case Kind::kTrue:
    case Kind::kFalse:
    case Kind::kNull: return ReadWord();
    case Kind::kEnd:
    case Kind::kOther: break;
  }
  return SyntaxError();
}

}  // namespace etcdd::http
