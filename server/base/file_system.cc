#include "server/base/file_system.h"

#include "server/base/status_macros.h"

namespace etcdd::base {

absl::StatusOr<std::string> ReadFile(FileSystem& fs, const std::string& path) {
  ETCDD_ASSIGN_OR_RETURN(auto file, fs.Open(path, OpenMode::kRead));
  ETCDD_ASSIGN_OR_RETURN(const uint64_t size, file->Size());
  std::string content;
  ETCDD_RETURN_IF_ERROR(file->ReadAt(0, size, &content));
  return content;
}

std::string JoinPath(std::string_view directory, std::string_view name) {
  std::string path(directory);
  if (!path.empty() && path.back() != '/') path.push_back('/');
  path.append(name);
  return path;
}

}  // namespace etcdd::base
