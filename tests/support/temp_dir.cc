#include "tests/support/temp_dir.h"

#include <cstdlib>
#include <filesystem>
#include <system_error>

#include "server/base/check.h"

namespace etcdd::testing {

TempDir::TempDir() {
  const char* const parent = std::getenv("TMPDIR");
  path_ = std::string(parent != nullptr && *parent != '\0' ? parent : "/tmp") + "/etcdd-XXXXXX";
  ETCDD_CHECK_MSG(mkdtemp(path_.data()) != nullptr, path_);
}

TempDir::~TempDir() {
  std::error_code ignored;  // a left-over directory does not make a test wrong
  std::filesystem::remove_all(path_, ignored);
}

}  // namespace etcdd::testing
