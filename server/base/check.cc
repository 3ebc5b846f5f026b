#include "server/base/check.h"

#include <cstdlib>
#include <string>

#include "server/base/log.h"

namespace etcdd::base {

void CheckFailed(const char* file, int line, const char* condition, std::string_view message) {
  if (message.empty()) {
    Log(LogLevel::kPanic, "", file, line, "check failed", {{"condition", condition}});
  } else {
    Log(LogLevel::kPanic, "", file, line, "check failed",
        {{"condition", condition}, {"error", message}});
  }
  std::abort();
}

}  // namespace etcdd::base
