#pragma once

// Checks that stay on in release builds. A failed check is our own mistake: the process says which
// one on stderr and aborts, because going on could write wrong data.
//
//   ETCDD_CHECK(applied <= committed);
//   ETCDD_CHECK_MSG(ok, absl::StrCat("term ", term, " went back"));

#include <string_view>

namespace etcdd::base {

[[noreturn]] void CheckFailed(const char* file, int line, const char* condition,
                              std::string_view message);

}  // namespace etcdd::base

#define ETCDD_CHECK(condition)                                            \
  (__builtin_expect(static_cast<bool>(condition), 1)                      \
       ? static_cast<void>(0)                                             \
       : ::etcdd::base::CheckFailed(__FILE__, __LINE__, #condition, ""))

// `message` is evaluated only on failure.
#define ETCDD_CHECK_MSG(condition, message)                               \
  (__builtin_expect(static_cast<bool>(condition), 1)                      \
       ? static_cast<void>(0)                                             \
       : ::etcdd::base::CheckFailed(__FILE__, __LINE__, #condition, (message)))
