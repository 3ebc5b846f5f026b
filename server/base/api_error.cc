#include "server/base/api_error.h"

#include <cstddef>
#include <iterator>

#include "absl/strings/string_view.h"
#include "server/base/check.h"

namespace etcdd::base {
namespace {

struct Entry {
  absl::StatusCode code;
  std::string_view text;
};

constexpr Entry kEntries[] = {
#define ETCDD_API_ERROR(id, code, text) {absl::StatusCode::code, text},
#include "server/base/api_error.inc"
#undef ETCDD_API_ERROR
};

const Entry& Find(ErrorId id) {
  const auto index = static_cast<size_t>(id);
  ETCDD_CHECK(index < std::size(kEntries));
  return kEntries[index];
}

}  // namespace

absl::Status ApiError(ErrorId id) {
  const Entry& entry = Find(id);
  return absl::Status(entry.code, absl::string_view(entry.text.data(), entry.text.size()));
}

std::string_view ApiErrorText(ErrorId id) { return Find(id).text; }

bool IsApiError(const absl::Status& status, ErrorId id) {
  const Entry& entry = Find(id);
  const absl::string_view message = status.message();
  return status.code() == entry.code &&
         std::string_view(message.data(), message.size()) == entry.text;
}

}  // namespace etcdd::base
