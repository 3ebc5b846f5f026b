// Runs data-driven files, byte for byte: those of the raft conformance folder, and our own in
// testdata/. The folder is $ETCDD_RAFT_CONFORMANCE, or ../shared/raft-conformance beside the source
// tree; without it only our own run, with a message.

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <iostream>
#include <ostream>
#include <string>
#include <utility>
#include <vector>

#include "gtest/gtest.h"
#include "tests/raft/datadriven.h"
#include "tests/raft/interaction_env.h"
#include "tests/raft/math_scripts.h"

namespace etcdd::raft {
namespace {

namespace fs = std::filesystem;

fs::path Folder() {
  const char* configured = std::getenv("ETCDD_RAFT_CONFORMANCE");
  if (configured != nullptr) return configured;
  return fs::path(ETCDD_SOURCE_DIR) / ".." / "shared" / "raft-conformance";
}

fs::path OwnFolder() { return fs::path(ETCDD_SOURCE_DIR) / "tests" / "raft" / "testdata"; }

struct ScriptFile {
  std::string path;
  std::string name;  // for the test's name

  friend std::ostream& operator<<(std::ostream& out, const ScriptFile& file) {
    return out << file.path;
  }
};

// The files of one folder, in order; `prefix` goes before their tests' names.
std::vector<ScriptFile> FilesIn(const fs::path& folder, const std::string& prefix) {
  std::vector<ScriptFile> files;
  std::error_code error;
  for (const fs::directory_entry& entry : fs::directory_iterator(folder, error)) {
    if (entry.path().extension() != ".txt") continue;
    std::string name = prefix + entry.path().stem().string();
    std::replace_if(name.begin(), name.end(), [](unsigned char c) { return !std::isalnum(c); },
                    '_');
    files.push_back({entry.path().lexically_normal().string(), name});
  }
  std::sort(files.begin(), files.end(),
            [](const ScriptFile& a, const ScriptFile& b) { return a.path < b.path; });
  return files;
}

std::vector<ScriptFile> Files(const std::string& kind) {
  std::vector<ScriptFile> files = FilesIn(Folder() / kind, "");
  for (ScriptFile& own : FilesIn(OwnFolder() / kind, "own_")) files.push_back(std::move(own));
  return files;
}

std::string TestName(const testing::TestParamInfo<ScriptFile>& info) { return info.param.name; }

TEST(ConformanceFolder, HoldsScriptsOfEachKind) {
  for (const char* kind : {"interaction", "quorum", "confchange"}) {
    EXPECT_FALSE(FilesIn(OwnFolder() / kind, "").empty()) << kind;
  }
  if (std::getenv("ETCDD_RAFT_CONFORMANCE") == nullptr && !fs::exists(Folder())) {
    std::cout << "no raft conformance files at " << Folder()
              << ": skipped; set ETCDD_RAFT_CONFORMANCE to run them\n";
    return;
  }
  size_t files = 0;
  for (const char* kind : {"interaction", "quorum", "confchange"}) {
    files += FilesIn(Folder() / kind, "").size();
  }
  EXPECT_GT(files, 0u) << Folder();
}

class InteractionScript : public testing::TestWithParam<ScriptFile> {};

TEST_P(InteractionScript, Matches) {
  InteractionEnv env;
  const std::string difference =
      RunScript(GetParam().path, [&env](const ScriptCase& one) { return env.Run(one); });
  EXPECT_TRUE(difference.empty()) << difference;
}

class QuorumScript : public testing::TestWithParam<ScriptFile> {};

TEST_P(QuorumScript, Matches) {
  const std::string difference = RunScript(GetParam().path, RunQuorumCase);
  EXPECT_TRUE(difference.empty()) << difference;
}

class ConfChangeScript : public testing::TestWithParam<ScriptFile> {};

TEST_P(ConfChangeScript, Matches) {
  ConfChangeEnv env;
  const std::string difference =
      RunScript(GetParam().path, [&env](const ScriptCase& one) { return env.Run(one); });
  EXPECT_TRUE(difference.empty()) << difference;
}

GTEST_ALLOW_UNINSTANTIATED_PARAMETERIZED_TEST(InteractionScript);
GTEST_ALLOW_UNINSTANTIATED_PARAMETERIZED_TEST(QuorumScript);
GTEST_ALLOW_UNINSTANTIATED_PARAMETERIZED_TEST(ConfChangeScript);
INSTANTIATE_TEST_SUITE_P(Files, InteractionScript, testing::ValuesIn(Files("interaction")),
                         TestName);
INSTANTIATE_TEST_SUITE_P(Files, QuorumScript, testing::ValuesIn(Files("quorum")), TestName);
INSTANTIATE_TEST_SUITE_P(Files, ConfChangeScript, testing::ValuesIn(Files("confchange")),
                         TestName);

}  // namespace
}  // namespace etcdd::raft
