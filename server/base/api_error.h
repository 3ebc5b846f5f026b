#pragma once

// The errors clients see: etcd's gRPC code and exact text, made from one table (facts:
// rpc-errors.tsv). Clients match on the text, so nobody writes these texts elsewhere.
//
//   return base::ApiError(base::ErrorId::kEmptyKey);
//
// absl::StatusCode values equal gRPC's, so a Status travels to the wire unchanged.

#include <string_view>

#include "absl/status/status.h"

namespace etcdd::base {

enum class ErrorId {
#define ETCDD_API_ERROR(id, code, text) id,
#include "server/base/api_error.inc"
#undef ETCDD_API_ERROR
};

absl::Status ApiError(ErrorId id);
std::string_view ApiErrorText(ErrorId id);

// True when `status` is exactly this error.
bool IsApiError(const absl::Status& status, ErrorId id);

}  // namespace etcdd::base
