#include "server/net/http1.h"

#include "absl/strings/match.h"

namespace etcdd::net {

std::string_view Http1Request::header(std::string_view name) const {
  const absl::string_view wanted(name.data(), name.size());
  for (const auto& [field, value] : headers) {
    if (absl::EqualsIgnoreCase(field, wanted)) return value;
  }
  return {};
}

}  // namespace etcdd::net
