#include <limits>
#include <optional>
#include <unordered_set>
#include <utility>
#include <vector>

#include <google/protobuf/descriptor.h>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "server/base/check.h"
#include "server/base/status_macros.h"
#include "server/http/base64.h"
#include "server/http/json_codec.h"
#include "server/http/json_reader.h"

namespace etcdd::http {
namespace {

using google::protobuf::Descriptor;
using google::protobuf::FieldDescriptor;
using google::protobuf::Message;
using google::protobuf::Reflection;
using Kind = JsonReader::Kind;

absl::string_view Abseil(std::string_view text) { return {text.data(), text.size()}; }

// No 64-bit number has more digits.
constexpr int kIntegerDigitsMax = 20;

// "-12", "1.20e1" -> "-12", "12"; nullopt when it is no whole number, or far too long.
std::optional<std::string> WholeNumber(std::string_view text) {
  JsonReader reader(text);
  const auto number = reader.ReadNumber();
  if (!number.ok() || number->size() != text.size()) return std::nullopt;
  const bool negative = text.front() == '-';
  if (negative) text.remove_prefix(1);
  int64_t exponent = 0;
  if (const size_t e = text.find_first_of("eE"); e != text.npos) {
    std::string_view digits = text.substr(e + 1);
    if (digits.front() == '+') digits.remove_prefix(1);
    if (!absl::SimpleAtoi(Abseil(digits), &exponent)) return std::nullopt;
    text = text.substr(0, e);
  }
  std::string digits(text);
  if (const size_t dot = digits.find('.'); dot != digits.npos) {
    if (exponent < INT64_MIN / 2) return std::nullopt;
    exponent -= static_cast<int64_t>(digits.size() - dot - 1);
    digits.erase(dot, 1);
  }
  digits.erase(0, digits.find_first_not_of('0'));
  if (digits.empty()) return "0";
  for (; exponent < 0 && !digits.empty() && digits.back() == '0'; ++exponent) digits.pop_back();
  if (exponent < 0 || exponent > kIntegerDigitsMax || digits.size() > kIntegerDigitsMax) {
    return std::nullopt;
  }
  digits.append(static_cast<size_t>(exponent), '0');
  return negative ? "-" + digits : digits;
}

class MessageReader {
 public:
  explicit MessageReader(JsonReader* reader) : reader_(*reader) {}

  absl::Status Read(Message* message) {
    std::unordered_set<const void*> seen;  // fields and oneofs
    return reader_.ReadObject([&](std::string_view name) {
      const FieldDescriptor* field = FindField(*message->GetDescriptor(), name);
      if (field == nullptr) return reader_.Skip();
      if (!seen.insert(field).second) {
        return reader_.Error(absl::StrCat("duplicate field \"", Abseil(name), "\""));
      }
      if (reader_.Next() == Kind::kNull) return reader_.ReadWord();
      if (field->containing_oneof() != nullptr && !seen.insert(field->containing_oneof()).second) {
        return reader_.Error(absl::StrCat("error parsing \"", Abseil(name), "\", oneof ",
                                          field->containing_oneof()->full_name(),
                                          " is already set"));
      }
      if (!field->is_repeated()) return ReadValue(message, field);
      return reader_.ReadArray([&] { return ReadValue(message, field); });
    });
  }

 private:
  static const FieldDescriptor* FindField(const Descriptor& descriptor, std::string_view name) {
    for (int i = 0; i < descriptor.field_count(); ++i) {
      const FieldDescriptor* field = descriptor.field(i);
      if (field->name() == name || field->json_name() == name) return field;
    }
    return nullptr;
  }

  absl::Status Invalid(const FieldDescriptor* field) const {
    return reader_.Error(absl::StrCat("invalid value for ", field->type_name(), " field ",
                                      field->name()));
  }

  // Sets a singular field, adds to a repeated one.
  absl::Status ReadValue(Message* message, const FieldDescriptor* field) {
    const Reflection& reflection = *message->GetReflection();
    const bool repeated = field->is_repeated();
    switch (field->cpp_type()) {
#define ETCDD_SET(Type, value) (repeated ? reflection.Add##Type(message, field, value) \
                                         : reflection.Set##Type(message, field, value))
#define ETCDD_READ_INTEGER(Type, type)                          \
  {                                                             \
    ETCDD_ASSIGN_OR_RETURN(const type value, Integer<type>(field)); \
    ETCDD_SET(Type, value);                                     \
    return absl::OkStatus();                                    \
  }
      case FieldDescriptor::CPPTYPE_INT32: ETCDD_READ_INTEGER(Int32, int32_t)
      case FieldDescriptor::CPPTYPE_INT64: ETCDD_READ_INTEGER(Int64, int64_t)
      case FieldDescriptor::CPPTYPE_UINT32: ETCDD_READ_INTEGER(UInt32, uint32_t)
      case FieldDescriptor::CPPTYPE_UINT64: ETCDD_READ_INTEGER(UInt64, uint64_t)
#undef ETCDD_READ_INTEGER
      case FieldDescriptor::CPPTYPE_BOOL: {
        const Kind kind = reader_.Next();
        if (kind != Kind::kTrue && kind != Kind::kFalse) return Invalid(field);
        ETCDD_SET(Bool, kind == Kind::kTrue);
        return reader_.ReadWord();
      }
      case FieldDescriptor::CPPTYPE_ENUM: {
        ETCDD_ASSIGN_OR_RETURN(const std::optional<int> number, EnumNumber(field));
        if (number) ETCDD_SET(EnumValue, *number);
        return absl::OkStatus();
      }
      case FieldDescriptor::CPPTYPE_STRING: {
        ETCDD_ASSIGN_OR_RETURN(std::string text, Text(field));
        ETCDD_SET(String, std::move(text));
        return absl::OkStatus();
      }
#undef ETCDD_SET
      case FieldDescriptor::CPPTYPE_MESSAGE:
        if (reader_.Next() != Kind::kObject) return Invalid(field);
        return Read(repeated ? reflection.AddMessage(message, field)
                             : reflection.MutableMessage(message, field));
      case FieldDescriptor::CPPTYPE_DOUBLE:
      case FieldDescriptor::CPPTYPE_FLOAT: break;
    }
    ETCDD_CHECK(false && "no JSON form for this type of field");
    return absl::OkStatus();
  }

  template <typename T>
  absl::StatusOr<T> Integer(const FieldDescriptor* field) {
    const Kind kind = reader_.Next();
    std::string text;
    if (kind == Kind::kString) {
      ETCDD_ASSIGN_OR_RETURN(text, reader_.ReadString());
    } else if (kind == Kind::kNumber) {
      ETCDD_ASSIGN_OR_RETURN(const std::string_view number, reader_.ReadNumber());
      text = number;
    }
    const std::optional<std::string> digits = WholeNumber(text);
    T value = 0;
    if (!digits || !absl::SimpleAtoi(*digits, &value)) return Invalid(field);
    return value;
  }

  // nullopt for a name that the enum does not have.
  absl::StatusOr<std::optional<int>> EnumNumber(const FieldDescriptor* field) {
    const Kind kind = reader_.Next();
    if (kind == Kind::kNumber) return Integer<int32_t>(field);
    if (kind != Kind::kString) return Invalid(field);
    ETCDD_ASSIGN_OR_RETURN(const std::string name, reader_.ReadString());
    const auto* value = field->enum_type()->FindValueByName(name);
    return value == nullptr ? std::nullopt : std::optional<int>(value->number());
  }

  // A string, or the bytes that its base64 means.
  absl::StatusOr<std::string> Text(const FieldDescriptor* field) {
    if (reader_.Next() != Kind::kString) return Invalid(field);
    ETCDD_ASSIGN_OR_RETURN(std::string text, reader_.ReadString());
    if (field->type() == FieldDescriptor::TYPE_STRING) return text;
    std::optional<std::string> bytes = DecodeBase64(text);
    if (!bytes) return Invalid(field);
    return *std::move(bytes);
  }

  JsonReader& reader_;
};

}  // namespace

absl::Status MessageFromJson(std::string_view json, Message* message) {
  JsonReader reader(json);
  switch (reader.Next()) {
    case Kind::kEnd: return absl::OkStatus();
    case Kind::kObject: return MessageReader(&reader).Read(message);
    default: break;
  }
  const absl::Status skipped = reader.Skip();
  return skipped.ok() ? absl::InvalidArgumentError("proto: syntax error: a message is an object")
                      : skipped;
}

}  // namespace etcdd::http
