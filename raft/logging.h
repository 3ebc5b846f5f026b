#pragma once

// Log lines of the library: formatted only when someone listens. `logger` may be null.

#include "absl/strings/str_format.h"
#include "raft/config.h"

#define ETCDD_RAFT_LOG(logger, level, ...)                                          \
  do {                                                                              \
    ::etcdd::raft::Logger* const etcdd_raft_logger = (logger);                      \
    if (etcdd_raft_logger != nullptr &&                                             \
        etcdd_raft_logger->Enabled(::etcdd::base::LogLevel::level)) {               \
      etcdd_raft_logger->Log(::etcdd::base::LogLevel::level,                        \
                             absl::StrFormat(__VA_ARGS__));                         \
    }                                                                               \
  } while (false)
