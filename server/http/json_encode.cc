#include <google/protobuf/descriptor.h>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "server/base/check.h"
#include "server/http/json_codec.h"
#include "server/http/utf8.h"

namespace etcdd::http {
namespace {

using google::protobuf::FieldDescriptor;
using google::protobuf::Message;
using google::protobuf::Reflection;

absl::string_view Abseil(std::string_view text) { return {text.data(), text.size()}; }

// One value: a singular field's, or a repeated one's at `index`.
class ValueWriter {
 public:
  ValueWriter(const Message& message, const FieldDescriptor* field, std::string* out)
      : message_(message), reflection_(*message.GetReflection()), field_(field), out_(out) {}

  void Append(int index) const {
    const bool repeated = field_->is_repeated();
    switch (field_->cpp_type()) {
#define ETCDD_GET(Type) (repeated ? reflection_.GetRepeated##Type(message_, field_, index) \
                                  : reflection_.Get##Type(message_, field_))
      case FieldDescriptor::CPPTYPE_INT32: return absl::StrAppend(out_, ETCDD_GET(Int32));
      case FieldDescriptor::CPPTYPE_UINT32: return absl::StrAppend(out_, ETCDD_GET(UInt32));
      case FieldDescriptor::CPPTYPE_INT64:
        return absl::StrAppend(out_, "\"", ETCDD_GET(Int64), "\"");
      case FieldDescriptor::CPPTYPE_UINT64:
        return absl::StrAppend(out_, "\"", ETCDD_GET(UInt64), "\"");
      case FieldDescriptor::CPPTYPE_BOOL:
        return absl::StrAppend(out_, ETCDD_GET(Bool) ? "true" : "false");
      case FieldDescriptor::CPPTYPE_MESSAGE: return AppendJson(ETCDD_GET(Message), out_);
      case FieldDescriptor::CPPTYPE_ENUM: return AppendEnum(ETCDD_GET(EnumValue));
#undef ETCDD_GET
      case FieldDescriptor::CPPTYPE_STRING: return AppendText(index);
      case FieldDescriptor::CPPTYPE_DOUBLE:
      case FieldDescriptor::CPPTYPE_FLOAT: break;
    }
    ETCDD_CHECK(false && "no JSON form for this type of field");
  }

 private:
  void AppendEnum(int number) const {
    const auto* value = field_->enum_type()->FindValueByNumber(number);
    if (value == nullptr) return absl::StrAppend(out_, number);
    absl::StrAppend(out_, "\"", value->name(), "\"");
  }

  void AppendText(int index) const {
    std::string scratch;
    const std::string& text =
        field_->is_repeated()
            ? reflection_.GetRepeatedStringReference(message_, field_, index, &scratch)
            : reflection_.GetStringReference(message_, field_, &scratch);
    if (field_->type() == FieldDescriptor::TYPE_STRING) return AppendJsonString(text, out_);
    absl::StrAppend(out_, "\"", absl::Base64Escape(text), "\"");
  }

  const Message& message_;
  const Reflection& reflection_;
  const FieldDescriptor* const field_;
  std::string* const out_;
};

}  // namespace

void AppendJson(const Message& message, std::string* out) {
  const Reflection& reflection = *message.GetReflection();
  const auto* descriptor = message.GetDescriptor();
  char separator = '{';
  for (int i = 0; i < descriptor->field_count(); ++i) {
    const FieldDescriptor* field = descriptor->field(i);
    const bool repeated = field->is_repeated();
    const int count = repeated ? reflection.FieldSize(message, field)
                               : static_cast<int>(reflection.HasField(message, field));
    if (count == 0) continue;
    out->push_back(separator);
    separator = ',';
    absl::StrAppend(out, "\"", field->name(), "\":");
    if (repeated) out->push_back('[');
    const ValueWriter writer(message, field, out);
    for (int k = 0; k < count; ++k) {
      if (k > 0) out->push_back(',');
      writer.Append(k);
    }
    if (repeated) out->push_back(']');
  }
  if (separator == '{') out->push_back('{');
  out->push_back('}');
}

void AppendJsonString(std::string_view text, std::string* out) {
  out->push_back('"');
  while (!text.empty()) {
    const size_t length = Utf8Length(text);
    const char c = text.front();
    if (length == 0) {
      out->append("\xef\xbf\xbd");
    } else if (c == '"' || c == '\\') {
      out->push_back('\\');
      out->push_back(c);
    } else if (c == '\n') {
      out->append("\\n");
    } else if (c == '\r') {
      out->append("\\r");
    } else if (c == '\t') {
      out->append("\\t");
    } else if (static_cast<unsigned char>(c) < 0x20) {
      absl::StrAppend(out, "\\u", absl::Hex(c, absl::kZeroPad4));
    } else {
      absl::StrAppend(out, Abseil(text.substr(0, length)));
    }
    text.remove_prefix(length == 0 ? 1 : length);
  }
  out->push_back('"');
}

}  // namespace etcdd::http
