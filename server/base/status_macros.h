#pragma once

// Early return for absl::Status and absl::StatusOr.
//
//   ETCDD_RETURN_IF_ERROR(file->Sync());
//   ETCDD_ASSIGN_OR_RETURN(auto file, fs->Open(path, mode));

#include "absl/status/status.h"
#include "absl/status/statusor.h"

#define ETCDD_RETURN_IF_ERROR(expression)                 \
  do {                                                    \
    if (auto etcdd_status = (expression); !etcdd_status.ok()) return etcdd_status; \
  } while (false)

#define ETCDD_CONCAT_INNER(a, b) a##b
#define ETCDD_CONCAT(a, b) ETCDD_CONCAT_INNER(a, b)
#define ETCDD_ASSIGN_OR_RETURN(declaration, expression) \
  ETCDD_ASSIGN_OR_RETURN_INNER(ETCDD_CONCAT(etcdd_or_, __LINE__), declaration, expression)
#define ETCDD_ASSIGN_OR_RETURN_INNER(temporary, declaration, expression) \
  auto temporary = (expression);                                         \
  if (!temporary.ok()) return std::move(temporary).status();             \
  declaration = std::move(*temporary)
