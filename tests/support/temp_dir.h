#pragma once

// A fresh directory on the real disk, removed with everything in it at the end of the test.

#include <string>

namespace etcdd::testing {

class TempDir {
 public:
  // Under $TMPDIR, else /tmp. A failure ends the process: no test can go on without.
  TempDir();
  ~TempDir();
  TempDir(const TempDir&) = delete;
  TempDir& operator=(const TempDir&) = delete;

  const std::string& path() const { return path_; }
  // The path of `name` in the directory.
  std::string Path(const std::string& name) const { return path_ + "/" + name; }

 private:
  std::string path_;
};

}  // namespace etcdd::testing
